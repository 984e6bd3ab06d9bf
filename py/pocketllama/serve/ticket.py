"""What joins the two sides of a request: the thread that decodes writes, the coroutine that answers reads.

A reader that is slow costs nothing but the text it has not taken: pieces that wait become one, and the thread never
waits for anybody.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..engine.cancel import Cancel
from ..engine.choices import Choices, TokenLogprobs
from ..engine.options import Completion, Sampling
from ..errors import PocketllamaError
from .answers import HttpError

_PER_TOKEN = 100  # bytes that a token with its probability takes


@dataclass
class Job:
    """One text to be written for a request, or one call (`call`) that is made for it on the engine's thread."""

    index: int
    text: str = ""  # what the prompt is made of, for a look at its length
    prompt: Callable[[Any], list[int]] | None = None  # its tokens, by the model's tokenizer
    options: Sampling = field(default_factory=Sampling)
    choices: Choices | None = None
    call: Callable[[Any, Cancel], Any] | None = None
    after: Callable[[Any, Completion], None] | None = None  # on the engine's thread, when the text has ended
    tokens: list[int] = field(default_factory=list)
    told: int = 0  # of how many tokens the probabilities were handed on


@dataclass
class Chunk:
    """What came of a job since it was last looked at; `end` is its completion, or the value of its call."""

    index: int
    text: str = ""
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    end: Any = None


class Ticket:
    """One request under way: its jobs, and what came of them."""

    def __init__(self, jobs: Sequence[Job], loop: asyncio.AbstractEventLoop) -> None:
        self.jobs = list(jobs)
        self.cancel = Cancel()
        self.created = time.monotonic()
        self.first_text: float | None = None
        self.started = 0  # how many of its jobs have begun
        self.open = len(self.jobs)  # … have not ended
        self._loop = loop
        self._accepted: asyncio.Future[None] = loop.create_future()
        self._accepted.add_done_callback(lambda f: f.cancelled() or f.exception())  # need not be asked for
        self._lock = threading.Lock()
        self._pending: dict[int, Chunk] = {}
        self._backlog = 0  # about how many bytes are pending
        self.limit: int | None = None  # of that; of a stream, which is read as it comes
        self._error: PocketllamaError | None = None
        self._news = asyncio.Event()

    # ---- the engine's thread -------------------------------------------------------------------------------------

    def accept(self) -> None:
        """Its prompts are read and fit."""
        self._call(self._settle, None)

    def put(self, job: Job, text: str, end: Any = None) -> None:
        """A piece of a job's text, and what it has ended with, if it has."""
        if text and self.first_text is None:
            self.first_text = time.monotonic()
        with self._lock:
            self._backlog += len(text)
            chunk = self._pending.setdefault(job.index, Chunk(job.index))
            chunk.text += text
            chunk.end = end
            if job.choices:
                new = job.choices.logprobs[job.told :]
                chunk.logprobs += new
                job.told += len(new)
                self._backlog += sum(_PER_TOKEN * (1 + len(noted.top)) for noted in new)
            too_slow = self.limit is not None and self._backlog > self.limit
        if too_slow:
            self.fail(HttpError(503, "too_slow", "The client does not read what it has asked for."))
        self._call(self._news.set)

    def fail(self, error: PocketllamaError) -> None:
        """Nothing more will come; the first error counts."""
        self.cancel.set()
        with self._lock:
            self._error = self._error or error
        self._call(self._settle, error)
        self._call(self._news.set)

    def _call(self, function: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop has ended: nobody reads any more
            self.cancel.set()

    def _settle(self, error: PocketllamaError | None) -> None:
        if self._accepted.done():
            return
        if error:
            self._accepted.set_exception(error)
        else:
            self._accepted.set_result(None)

    # ---- the answering coroutine ---------------------------------------------------------------------------------

    async def accepted(self) -> None:
        """Returns when the prompts have been read; raises what is wrong with them."""
        await asyncio.shield(self._accepted)

    async def chunks(self) -> AsyncIterator[list[Chunk]]:
        """What comes, until every job has ended; a PocketllamaError when the request has failed."""
        left = len(self.jobs)
        while left:
            await self._news.wait()
            self._news.clear()
            with self._lock:
                chunks, self._pending, self._backlog = list(self._pending.values()), {}, 0
                error = self._error
            left -= sum(chunk.end is not None for chunk in chunks)
            if chunks:
                yield chunks
            if error:  # also where all has ended: what failed was then ended as given up
                raise error

    async def results(self) -> list[Chunk]:
        """Every job's whole text and end, in the order of the jobs."""
        whole = {job.index: Chunk(job.index) for job in self.jobs}
        async for chunks in self.chunks():
            for chunk in chunks:
                mine = whole[chunk.index]
                mine.text += chunk.text
                mine.logprobs += chunk.logprobs
                mine.end = chunk.end
        return [whole[job.index] for job in self.jobs]
