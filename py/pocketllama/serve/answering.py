"""What completions and chat have in common: sending off the texts, counting tokens, streaming or collecting."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine import Completion
from .answers import json_response
from .requests import SamplingBody
from .state import State
from .stream import ClientGone, EventStream, unless_gone
from .ticket import Chunk, Job, Ticket
from .worker import Worker


@dataclass
class Usage:
    """Tokens of a request; a prompt that several choices share counts once."""

    prompts: dict[int, int] = field(default_factory=dict)
    cached: dict[int, int] = field(default_factory=dict)
    completion: int = 0

    def add(self, prompt: int, chunk: Chunk) -> None:
        if not isinstance(chunk.end, Completion):
            return
        self.prompts[prompt] = chunk.end.prompt_tokens
        self.cached[prompt] = max(self.cached.get(prompt, 0), chunk.end.cached_tokens)
        self.completion += chunk.end.completion_tokens

    def as_json(self) -> dict[str, Any]:
        prompt = sum(self.prompts.values())
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.completion,
            "total_tokens": prompt + self.completion,
            "prompt_tokens_details": {"cached_tokens": sum(self.cached.values())},
        }


class Answering:
    """One request for texts: `jobs` of `choices` each for every prompt."""

    def __init__(
        self, request: Request, state: State, worker: Worker, body: SamplingBody, kind: str, prefix: str
    ) -> None:
        self.request, self.state, self.worker, self.body = request, state, worker, body
        self.choices = body.n or 1
        self.usage = Usage()
        self._first: Chunk | None = None  # that ended
        self.head = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "object": kind,
            "created": int(time.time()),
            "model": worker.name,
            "system_fingerprint": state.fingerprint(worker),
        }

    async def run(
        self,
        jobs: list[Job],
        events: Callable[[Ticket], AsyncIterator[Any]],
        answer: Callable[[list[Chunk]], dict[str, Any]],
    ) -> Response:
        """Queue the jobs and answer: a stream of `events`, or what `answer` makes of all that came."""
        ticket = self.worker.submit(jobs)
        receive = self.request.receive
        try:
            # What is wrong with the prompts is an HTTP status also where the answer is a stream.
            await unless_gone(receive, ticket, ticket.accepted())
            if self.body.stream:
                ticket.limit = self.state.settings.max_backlog
                return EventStream(ticket, self._noting(events(ticket)), self.state.settings)
            chunks = await unless_gone(receive, ticket, ticket.results())
        except ClientGone:
            self.request.scope["note"] = "left by the client"
            return Response(status_code=499)
        except BaseException:
            ticket.cancel.set()
            raise
        for chunk in chunks:
            self.count(chunk)
        self._note()
        return json_response({**self.head, **answer(chunks), "usage": self.usage.as_json(), **self.timings(chunks)})

    def count(self, chunk: Chunk) -> None:
        """Add to the usage what a chunk ends."""
        self.usage.add(chunk.index // self.choices, chunk)
        if isinstance(chunk.end, Completion) and self._first is None:
            self._first = chunk

    def timed(self) -> dict[str, Any]:
        """The timings of the choice that ended first."""
        return self.timings([self._first]) if self._first else {}

    @staticmethod
    def timings(chunks: list[Chunk]) -> dict[str, Any]:
        """Where the time went, as everywhere in pocketllama; of the first choice."""
        end = chunks[0].end if chunks else None
        return {"timings": end.timings.as_json()} if isinstance(end, Completion) else {}

    async def _noting(self, events: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for event in events:
                yield event
        finally:
            self._note()

    def _note(self) -> None:
        u = self.usage.as_json()
        # Where the client left before the end, nobody has counted.
        counts = f" {u['prompt_tokens']}+{u['completion_tokens']} tokens" if u["total_tokens"] else ""
        self.request.scope["note"] = f"{self.worker.name}{counts}"


async def chunks_of(ticket: Ticket) -> AsyncIterator[Chunk]:
    """Each chunk by itself."""
    async for chunks in ticket.chunks():
        for chunk in chunks:
            yield chunk
