"""POST /v1/chat/completions: the next message of a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine import LLM
from ..engine.options import check_text
from .answering import Answering, chunks_of
from .body import read_json
from .requests import ChatBody, Message, read
from .state import state_of
from .ticket import Chunk, Job, Ticket


async def chat(request: Request) -> Response:
    state = state_of(request)
    body = read(ChatBody, await read_json(request, state.settings))
    worker = state.worker(body.model)
    answering = Answering(request, state, worker, body, "chat.completion", "chatcmpl")
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    # As long as the context has room, the answer may go on.
    longest = worker.llm.context_length if most is None else most

    def prompt(llm: LLM) -> list[int]:
        return llm.tokenize(plain(body.messages))

    jobs = [
        Job(choice, prompt=prompt, options=body.sampling(choice, max_tokens=longest))
        for choice in range(answering.choices)
    ]
    streamed = {**answering.head, "object": "chat.completion.chunk"}

    def delta(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**streamed, "choices": [choice], **({"usage": None} if body.include_usage else {})}

    async def events(ticket: Ticket) -> AsyncIterator[Any]:
        for index in range(answering.choices):
            yield delta(index, {"role": "assistant", "content": ""})
        async for chunk in chunks_of(ticket):
            answering.count(chunk)
            if chunk.text:
                yield delta(chunk.index, {"content": chunk.text})
            if chunk.end:
                yield {**delta(chunk.index, {}, chunk.end.finish_reason), **answering.timings([chunk])}
        if body.include_usage:
            yield {**streamed, "choices": [], "usage": answering.usage.as_json()}

    def answer(chunks: list[Chunk]) -> dict[str, Any]:
        return {
            "choices": [
                {
                    "index": chunk.index,
                    "message": {"role": "assistant", "content": chunk.text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": chunk.end.finish_reason,
                }
                for chunk in chunks
            ]
        }

    return await answering.run(jobs, events, answer)


def text_of(message: Message) -> str:
    """The text of a message, whose content may come in parts."""
    content = message.content or ""
    text = content if isinstance(content, str) else "".join(part.text for part in content)
    return check_text("messages.content", text)


def plain(messages: list[Message]) -> str:
    """The prompt for a model without a chat template: what was said, one after the other, for it to go on."""
    return "\n\n".join(filter(None, map(text_of, messages)))
