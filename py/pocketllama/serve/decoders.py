"""How texts are written on a model: many at a time where the library has sequences, one where it has not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ..engine import LLM
from ..engine.batch import Batch, Request
from ..engine.generation import Generation
from ..errors import PocketllamaError
from .ticket import Job, Ticket


@dataclass(frozen=True)
class News:
    """A piece of text of a job, and its end."""

    ticket: Ticket
    job: Job
    text: str = ""
    end: Any = None  # its Completion
    error: PocketllamaError | None = None


class Decoder(Protocol):
    """For the engine's thread alone."""

    slots: int

    @property
    def running(self) -> int:
        """How many texts are under way."""

    def add(self, ticket: Ticket, job: Job) -> None:
        """Begin a text; there must be a free slot."""

    def step(self) -> list[News]:
        """Go on for a fraction of a second, or a token. What was cancelled ends in it."""


class BatchDecoder:
    """Up to `slots` texts in one batch."""

    def __init__(self, llm: LLM) -> None:
        self.slots = llm.n_seqs
        self._batch = Batch(llm)
        self._requests: dict[Request, tuple[Ticket, Job]] = {}

    @property
    def running(self) -> int:
        return len(self._requests)

    def add(self, ticket: Ticket, job: Job) -> None:
        self._requests[self._batch.add(job.tokens, job.options, cancel=ticket.cancel, choices=job.choices)] = (
            ticket,
            job,
        )

    def step(self) -> list[News]:
        news = [News(*self._requests[request], text=text) for request, text in self._batch.step()]
        for request in [r for r in self._requests if r.done]:
            ticket, job = self._requests.pop(request)
            news.append(News(ticket, job, end=request.result(), error=request.error))
        return news


class SingleDecoder:
    """One text after the other."""

    slots = 1

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._current: tuple[Ticket, Job, Generation, Iterator[str]] | None = None

    @property
    def running(self) -> int:
        return int(self._current is not None)

    def add(self, ticket: Ticket, job: Job) -> None:
        generation = self._llm.complete(job.tokens, job.options, cancel=ticket.cancel, choices=job.choices)
        self._current = ticket, job, generation, iter(generation)

    def step(self) -> list[News]:
        if self._current is None:
            return []
        ticket, job, generation, pieces = self._current
        try:
            piece = next(pieces, None)
            if piece is not None:
                return [News(ticket, job, text=piece)]
            self._current = None
            return [News(ticket, job, end=generation.result())]
        except PocketllamaError as e:
            self._current = None
            return [News(ticket, job, end=None, error=e)]


def decoder_for(llm: LLM) -> Decoder:
    return BatchDecoder(llm) if llm.n_seqs else SingleDecoder(llm)
