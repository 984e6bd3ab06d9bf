"""POST /v1/chat/completions: the next message of a conversation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..chat.calls import Call, Reader, call_object, message_of
from ..engine import LLM
from ..engine.choices import Choices
from ..engine.conversation import ChatPrompt, with_stops
from ..engine.shape import Shape
from . import logprobs
from .answering import Answering, chunks_of
from .body import read_json
from .formats import shape_asked
from .requests import ChatBody, invalid, read
from .state import state_of
from .ticket import Chunk, Job, Ticket


async def chat(request: Request) -> Response:
    state = state_of(request)
    body = read(ChatBody, await read_json(request, state.settings))
    worker = state.worker(body.model)
    if body.top_logprobs and not body.logprobs:
        raise invalid("top_logprobs", "top_logprobs needs logprobs to be true.")
    if body.logprobs:
        logprobs.check_possible(worker.llm)
    answering = Answering(request, state, worker, body, "chat.completion", "chatcmpl")
    # Off the event loop and off the engine's thread: templates and schemas may take their time, up to their limits.
    shape = await asyncio.to_thread(shape_asked, worker, body, state.settings.max_schema)
    conversation = await asyncio.to_thread(Conversation, worker.llm, body, shape)
    jobs = [_job(worker.llm, body, shape, conversation, choice) for choice in range(answering.choices)]
    answer = _Answer(answering, body, shape)
    return await answering.run(jobs, answer.events, answer.whole)


class Conversation:
    """The conversation as the model's template has it; its tokens are for the engine's thread to make."""

    def __init__(self, llm: LLM, body: ChatBody, shape: Shape) -> None:
        messages = [message.model_dump(exclude_none=True) for message in body.messages]
        variables = body.chat_template_kwargs or {}
        taken = {"messages", "tools", "add_generation_prompt", "facts", "self"} & variables.keys()
        if taken:
            raise invalid("chat_template_kwargs", f"chat_template_kwargs may not hold {sorted(taken)[0]}.")
        self.template = llm.template()
        self.prompt = self.template.render(messages, shape.tools, True, llm.file.chat, **variables)
        self._made: ChatPrompt | None = None

    def made(self, llm: LLM) -> ChatPrompt:
        """With its tokens, which are made once for all choices. ContextOverflow if they do not fit."""
        if self._made is None:
            self._made = ChatPrompt(self.prompt, llm.prompt_tokens(self.prompt), self.template)
        llm.check_conversation(len(self._made.tokens))
        return self._made


def _job(llm: LLM, body: ChatBody, shape: Shape, conversation: Conversation, choice: int) -> Job:
    most = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
    # As long as the context has room, the answer may go on.
    options = body.sampling(choice, shape.defaults, max_tokens=llm.context_length if most is None else most)
    n_top = (body.top_logprobs or 0) if body.logprobs else None
    return Job(
        choice,
        text=conversation.prompt.text,
        prompt=lambda llm: list(conversation.made(llm).tokens),
        options=with_stops(options, conversation.template.stops),
        choices=Choices(shape.constraint(), n_top) if shape.constrained or body.logprobs else None,
        # The next turn of the conversation finds in the cache what was said in these very tokens.
        after=lambda llm, end: llm.remember(conversation.made(llm), list(end.tokens)),
    )


class _Answer:
    """The answer in OpenAI's form, whole or as events."""

    def __init__(self, answering: Answering, body: ChatBody, shape: Shape) -> None:
        self._answering, self._body, self._shape = answering, body, shape
        self._head = {**answering.head, "object": "chat.completion.chunk"}
        self._n_calls: dict[int, int] = {}

    # ---- whole ---------------------------------------------------------------------------------------------------

    def whole(self, chunks: list[Chunk]) -> dict[str, Any]:
        return {"choices": list(map(self._choice, chunks))}

    def _choice(self, chunk: Chunk) -> dict[str, Any]:
        message = {**message_of(chunk.text, self._shape.style or None), "refusal": None}
        reason = chunk.end.finish_reason
        if "tool_calls" in message:
            message["content"] = message["content"] or None
            reason = "tool_calls" if reason == "stop" else reason
        noted = logprobs.for_chat(self._answering.worker.llm, chunk.logprobs) if self._body.logprobs else None
        return {"index": chunk.index, "message": message, "logprobs": noted, "finish_reason": reason}

    # ---- as events -----------------------------------------------------------------------------------------------

    async def events(self, ticket: Ticket) -> AsyncIterator[Any]:
        answering, style = self._answering, self._shape.style
        readers = {job.index: Reader(style) for job in ticket.jobs} if style else {}
        for job in ticket.jobs:
            yield self._event(job.index, {"role": "assistant", "content": ""})
        async for chunk in chunks_of(ticket):
            answering.count(chunk)
            event = partial(self._event, chunk.index)
            reader = readers.get(chunk.index)
            pieces: list[str | Call] = [chunk.text] if chunk.text else []
            if reader:
                pieces = [*reader.feed(chunk.text), *(reader.finish() if chunk.end else [])]
            noted = chunk.logprobs
            for piece in pieces:
                yield event(self._delta(chunk.index, piece), noted=noted)
                noted = []
            if noted and not chunk.end:
                yield event({}, noted=noted)
            if chunk.end:
                reason = chunk.end.finish_reason
                called = reason == "stop" and self._n_calls.get(chunk.index)
                yield {**event({}, "tool_calls" if called else reason, noted), **answering.timings([chunk])}
        if self._body.include_usage:
            yield {**self._head, "choices": [], "usage": answering.usage.as_json(), **answering.timed()}

    def _delta(self, index: int, piece: str | Call) -> dict[str, Any]:
        if isinstance(piece, str):
            return {"content": piece}
        n = self._n_calls[index] = self._n_calls.get(index, 0) + 1
        return {"tool_calls": [{"index": n - 1, **call_object(piece)}]}

    def _event(
        self, index: int, delta: dict[str, Any], reason: str | None = None, noted: list[Any] | None = None
    ) -> dict[str, Any]:
        likely = logprobs.for_chat(self._answering.worker.llm, noted) if noted else None
        choice = {"index": index, "delta": delta, "logprobs": likely, "finish_reason": reason}
        return {**self._head, "choices": [choice], **({"usage": None} if self._body.include_usage else {})}
