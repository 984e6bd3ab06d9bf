"""One model's thread. Nobody else touches the model, so that no request waits for a lock that another one takes again
and again; between two steps of the decoding it reads what has come, begins what there is room for, and makes one call.

The queue is fair between requests: of those that wait, the one of which the fewest texts have begun is next, and of
equals the first that came. A request for 100 choices keeps nobody waiting for more than one of them.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..engine import LLM, Completion
from ..engine.generation import check_prompt
from ..errors import Busy, Cancelled, ContextOverflow, EngineError, PocketllamaError
from .answers import ShuttingDown
from .decoders import News, decoder_for
from .ticket import Job, Ticket

log = logging.getLogger("pocketllama.serve")


class Worker:
    """The requests of one model."""

    def __init__(self, name: str, llm: LLM, queue: int, on_end: Callable[[Ticket, Completion], Any]) -> None:
        self.name, self.llm, self.queue = name, llm, queue
        self._on_end = on_end
        self._decoder = decoder_for(llm)
        self.slots = self._decoder.slots
        self._lengths = Lengths(llm)
        self._changed = threading.Condition()
        self._arrived: deque[Ticket] = deque()
        self._open: set[Ticket] = set()  # admitted and not ended
        self._stopping = False
        self._mean_s = 2.0  # how long a request takes, as far as they have shown
        # Of the thread alone:
        self._texts: list[tuple[Ticket, deque[Job]]] = []  # that have not begun, by request, in the order they came
        self._calls: list[tuple[Ticket, deque[Job]]] = []
        self._thread = threading.Thread(target=self._run, name=f"pocketllama-{name}", daemon=True)
        self._thread.start()

    # ---- any thread ----------------------------------------------------------------------------------------------

    def submit(self, jobs: Sequence[Job]) -> Ticket:
        """Admit a request, from the event loop. Busy if too many wait; then nothing of it has been computed."""
        with self._changed:
            if self._stopping:
                raise ShuttingDown
            limit = self.slots + self.queue
            if len(self._open) >= limit:
                wait = math.ceil(self._mean_s * (len(self._open) / self.slots))
                raise Busy(
                    f"{self.slots} requests are under way and {self.queue} wait.",
                    remedy="Try again in a moment.",
                    data={"retry_after": max(1, min(60, wait))},
                )
            ticket = Ticket(jobs, asyncio.get_running_loop())
            self._open.add(ticket)
            self._arrived.append(ticket)
            self._changed.notify_all()
        return ticket

    @property
    def load(self) -> tuple[int, int]:
        """Requests that are being answered, and those that wait."""
        with self._changed:
            running = sum(ticket.started > 0 for ticket in self._open)
            return running, len(self._open) - running

    def cancel_waiting(self) -> None:
        """Refuse what has not begun, and all that comes."""
        with self._changed:
            self._stopping = True
            waiting = [ticket for ticket in self._open if not ticket.started]
            self._changed.notify_all()
        for ticket in waiting:
            ticket.fail(ShuttingDown())

    def cancel_all(self) -> None:
        """End every request now, with what there is."""
        with self._changed:
            self._stopping = True
            tickets = list(self._open)
            self._changed.notify_all()
        for ticket in tickets:
            ticket.fail(ShuttingDown())

    def close(self, timeout: float) -> bool:
        """End every request and free the model; False if a native call did not end in time."""
        self.cancel_all()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self.llm.close()
        return True

    # ---- its thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._arrived or self._open or self._stopping)
                if self._stopping and not self._open:
                    return
                arrived, self._arrived = list(self._arrived), deque()
            try:
                self._turn(arrived)
            except Exception as e:  # of a step: what was in it is given up, and the next one drops it
                for ticket in [*self._open]:
                    ticket.fail(_known(e))

    def _turn(self, arrived: list[Ticket]) -> None:
        for ticket in arrived:
            self._prepare(ticket)
        self._drop_cancelled()
        while self._texts and self._decoder.running < self._decoder.slots:
            self._begin_text()
        if self._calls and (self.llm.n_seqs or not self._decoder.running):
            self._make_call()
        if self._decoder.running:
            for news in self._decoder.step():
                self._deliver(news)

    def _prepare(self, ticket: Ticket) -> None:
        """Read its prompts, so that what is wrong with them is said before the answer begins."""
        try:
            for job in ticket.jobs:
                if ticket.cancel():
                    break
                if job.text:
                    self._lengths.check(job.text)
                if job.prompt:
                    job.tokens = job.prompt(self.llm)
                    check_prompt(len(job.tokens), self.llm.context_length, job.options)
        except Exception as e:
            ticket.fail(_known(e))
            self._leave(ticket, len(ticket.jobs))
            return
        ticket.accept()
        waiting = self._calls if ticket.jobs[0].call else self._texts
        waiting.append((ticket, deque(ticket.jobs)))

    def _drop_cancelled(self) -> None:
        """What has not begun and is not wanted any more. What has begun is ended by the decoder."""
        for waiting in (self._texts, self._calls):
            for ticket, jobs in [entry for entry in waiting if entry[0].cancel()]:
                waiting.remove((ticket, jobs))
                self._leave(ticket, len(jobs))
                ticket.fail(Cancelled("The request was given up."))

    def _next(self, waiting: list[tuple[Ticket, deque[Job]]]) -> tuple[Ticket, Job]:
        entry = min(waiting, key=lambda entry: entry[0].started)  # the first of equals
        ticket, jobs = entry
        job = jobs.popleft()
        if not jobs:
            waiting.remove(entry)
        ticket.started += 1
        return ticket, job

    def _begin_text(self) -> None:
        ticket, job = self._next(self._texts)
        try:
            self._decoder.add(ticket, job)
        except Exception as e:
            ticket.fail(_known(e))
            self._leave(ticket, 1)

    def _make_call(self) -> None:
        ticket, job = self._next(self._calls)
        assert job.call
        try:
            value = job.call(self.llm, ticket.cancel)
        except Exception as e:
            self._leave(ticket, 1)
            ticket.fail(_known(e))
        else:
            self._leave(ticket, 1)
            ticket.put(job, "", value)

    def _deliver(self, news: News) -> None:
        ticket, job = news.ticket, news.job
        if news.end and not news.error:
            self._on_end(ticket, news.end)
            if job.after:
                job.after(self.llm, news.end)
        if news.error or news.end:
            self._leave(ticket, 1)  # before it is told: whoever has an answer finds the place free
        if news.error:
            ticket.fail(news.error)
        elif news.text or news.end:
            ticket.put(job, news.text, news.end)

    def _leave(self, ticket: Ticket, n: int) -> None:
        """So many of a request's jobs are over."""
        ticket.open -= n
        if ticket.open <= 0:
            with self._changed:
                self._open.discard(ticket)
                if ticket.started:
                    self._mean_s += 0.2 * (time.monotonic() - ticket.created - self._mean_s)


class Lengths:
    """Tells texts that are longer than any that fits without tokenizing them, which takes seconds for megabytes."""

    SHORT = 64 << 10  # bytes, for which it is not worth to look

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._longest = 0  # bytes of the longest token, when they have been looked at

    def check(self, text: str) -> None:
        """ContextOverflow if each token of `text` would have to be longer than any is."""
        n = len(text.encode(errors="replace"))
        if n <= self.SHORT:
            return
        llm = self._llm
        self._longest = self._longest or max(len(llm.piece(token)) for token in range(llm.vocab_size))
        # Normalizers may take something from a text: four times as much leaves room for that.
        if n > 4 * self._longest * llm.context_length:
            raise ContextOverflow(
                f"The prompt has {n} bytes, far more than the context of {llm.context_length} tokens holds.",
                remedy="Shorten the prompt, or load the model with a larger context_length.",
                data={"context_length": llm.context_length},
            )


def _known(error: Exception) -> PocketllamaError:
    """`error`, or what stands for one that nobody has thought of, which the log shows."""
    if isinstance(error, PocketllamaError):
        return error
    log.error("a fault of the server", exc_info=error)
    return EngineError("The server failed; its log says how.")
