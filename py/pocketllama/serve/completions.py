"""POST /v1/completions: texts that go on as a prompt begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine import LLM
from ..engine.choices import Choices
from ..engine.options import check_text, check_tokens
from . import logprobs
from .answering import Answering, chunks_of
from .body import read_json
from .requests import CompletionBody, invalid, read
from .state import state_of
from .ticket import Chunk, Job, Ticket


async def completions(request: Request) -> Response:
    state = state_of(request)
    body = read(CompletionBody, await read_json(request, state.settings))
    if body.best_of not in (None, body.n or 1):
        raise invalid("best_of", "best_of must be n: texts are not written to be thrown away.")
    if body.echo and body.logprobs is not None:
        raise invalid("echo", "echo and logprobs cannot be had together: prompts have no probabilities here.")
    worker = state.worker(body.model)
    if body.logprobs is not None:
        logprobs.check_possible(worker.llm)
    answering = Answering(request, state, worker, body, "text_completion", "cmpl")
    prompts = body.prompts()
    jobs = [
        Job(
            i * answering.choices + choice,
            text=prompt if isinstance(prompt, str) else "",
            prompt=tokens,
            options=body.sampling(choice),
            choices=None if body.logprobs is None else Choices(logprobs=body.logprobs),
        )
        for i, (prompt, tokens) in enumerate(zip(prompts, map(_once, prompts), strict=True))
        for choice in range(answering.choices)
    ]

    def echo(index: int) -> str:
        prompt = prompts[index // answering.choices]
        if not body.echo:
            return ""
        return prompt if isinstance(prompt, str) else worker.llm.decode(prompt)

    def choice(chunk: Chunk, text: str, offset: int = 0) -> dict[str, Any]:
        reason = chunk.end.finish_reason if chunk.end else None
        noted = None if body.logprobs is None else logprobs.for_completion(worker.llm, chunk.logprobs, offset)
        return {"index": chunk.index, "text": text, "logprobs": noted, "finish_reason": reason}

    async def events(ticket: Ticket) -> AsyncIterator[Any]:
        lengths: dict[int, int] = {}  # of the texts so far, by choice
        async for chunk in chunks_of(ticket):
            answering.count(chunk)
            text = chunk.text if chunk.index in lengths else echo(chunk.index) + chunk.text
            offset = lengths.get(chunk.index, 0)
            lengths[chunk.index] = offset + len(text)
            yield {**answering.head, "choices": [choice(chunk, text, offset)], **_no_usage(body)}
        if body.include_usage:
            yield {**answering.head, "choices": [], "usage": answering.usage.as_json(), **answering.timed()}

    def answer(chunks: list[Chunk]) -> dict[str, Any]:
        return {"choices": [choice(chunk, echo(chunk.index) + chunk.text) for chunk in chunks]}

    return await answering.run(jobs, events, answer)


def _no_usage(body: CompletionBody) -> dict[str, None]:
    return {"usage": None} if body.include_usage else {}


def _once(prompt: str | list[int]) -> Callable[[LLM], list[int]]:
    """The tokens of a prompt, made once for all of its choices."""
    made: list[list[int]] = []

    def tokens(llm: LLM) -> list[int]:
        if not made:
            made.append(tokens_of(llm, prompt))
        return list(made[0])

    return tokens


def tokens_of(llm: LLM, prompt: str | list[int]) -> list[int]:
    """The tokens of a prompt that is a text, or is tokens."""
    if isinstance(prompt, str):
        return llm.tokenize(check_text("prompt", prompt))
    return check_tokens(prompt, llm.vocab_size)
