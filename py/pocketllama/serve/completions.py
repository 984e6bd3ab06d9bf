"""POST /v1/completions: texts that go on as a prompt begins."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine import LLM
from ..engine.options import check_text, check_tokens
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
    worker = state.worker(body.model)
    answering = Answering(request, state, worker, body, "text_completion", "cmpl")
    prompts = body.prompts()
    jobs = [
        Job(
            i * answering.choices + choice,
            prompt=lambda llm, prompt=prompt: tokens_of(llm, prompt),  # type: ignore[misc]
            options=body.sampling(choice),
        )
        for i, prompt in enumerate(prompts)
        for choice in range(answering.choices)
    ]

    def echo(index: int) -> str:
        prompt = prompts[index // answering.choices]
        if not body.echo:
            return ""
        return prompt if isinstance(prompt, str) else worker.llm.decode(prompt)

    def choice(chunk: Chunk, text: str) -> dict[str, Any]:
        reason = chunk.end.finish_reason if chunk.end else None
        return {"index": chunk.index, "text": text, "logprobs": None, "finish_reason": reason}

    async def events(ticket: Ticket) -> AsyncIterator[Any]:
        begun: set[int] = set()
        async for chunk in chunks_of(ticket):
            answering.count(chunk)
            text = chunk.text if chunk.index in begun else echo(chunk.index) + chunk.text
            begun.add(chunk.index)
            yield {**answering.head, "choices": [choice(chunk, text)], **_no_usage(body)}
        if body.include_usage:
            yield {**answering.head, "choices": [], "usage": answering.usage.as_json()}

    def answer(chunks: list[Chunk]) -> dict[str, Any]:
        return {"choices": [choice(chunk, echo(chunk.index) + chunk.text) for chunk in chunks]}

    return await answering.run(jobs, events, answer)


def _no_usage(body: CompletionBody) -> dict[str, None]:
    return {"usage": None} if body.include_usage else {}


def tokens_of(llm: LLM, prompt: str | list[int]) -> list[int]:
    """The tokens of a prompt that is a text, or is tokens."""
    if isinstance(prompt, str):
        return llm.tokenize(check_text("prompt", prompt))
    return check_tokens(prompt, llm.vocab_size)
