"""One engine for any number of connections: which method runs where, and what waits for what."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from .._version import __version__
from ..engine.pool import Pool
from ..errors import Cancelled, InvalidRequest, MethodNotFound
from .connection import Call
from .lane import Lane
from .params import Param, take

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Limits:
    """What a peer may ask for at most; `initialize` tells them."""

    max_message_bytes: int = 16 * 2**20
    max_queue: int = 64
    max_prompt_bytes: int = 4 * 2**20

    def as_json(self) -> dict[str, int]:
        return {
            "maxMessageBytes": self.max_message_bytes,
            "maxQueue": self.max_queue,
            "maxPromptBytes": self.max_prompt_bytes,
        }


@dataclass(frozen=True)
class Method:
    """A method: its handler, its parameters, the lane it runs on (None: at once, on the reading thread), and what
    a request that is cancelled while it waits is answered with (None: the error Cancelled)."""

    handler: Callable[[Service, Call, dict[str, Any]], Any]
    params: dict[str, Param] = field(default_factory=dict)
    lane: str | None = None
    when_cancelled: Callable[[Service, dict[str, Any]], Any] | None = None
    lenient: bool = False  # unknown parameters are let through (what editors send with `initialize`)


class Service:
    """Holds the models and the queues; connections call `dispatch`."""

    def __init__(self, pool: Pool, default_model: str, limits: Limits | None = None) -> None:
        from .methods import METHODS

        self.pool, self.default_model = pool, default_model
        self.limits = limits or Limits()
        self._methods = METHODS
        self._started = time.monotonic()
        self._lanes = {
            # Completions take turns on the engine; a download must not keep them waiting.
            "engine": Lane("engine", self.limits.max_queue),
            "pull": Lane("pull", self.limits.max_queue),
        }
        self.answered = 0

    def dispatch(self, call: Call) -> None:
        """Start `call`; its errors become its answer."""
        try:
            self._start(call)
        except Exception as e:
            call.fail(e)

    def _start(self, call: Call) -> None:
        name = call.message.method
        method = self._methods.get(name)
        if method is None:
            # A notification that is not known is none of our business, as in LSP.
            raise MethodNotFound(f"There is no method {name[:80]!r}.", data={"methods": sorted(self._methods)})
        if call.connection.shutdown_requested and name != "exit":
            raise InvalidRequest("The connection is shut down; only exit may follow.")
        params = dict(call.params) if method.lenient else take(call.params, method.params)
        if method.lane is None:
            self._run(method, call, params)
            return
        lane = self._lanes[method.lane]

        def job() -> None:
            # A cancelled call still has to be answered; its handler is told at its first question.
            self._run(method, call, params)

        def abort_waiting() -> None:
            if lane.withdraw(job):
                self._answer_cancelled(method, call, params)

        call.abort_waiting = abort_waiting
        lane.submit(job)
        if call.cancelled:  # between the request's arrival and its place in the queue
            abort_waiting()

    def _run(self, method: Method, call: Call, params: dict[str, Any]) -> None:
        try:
            if call.cancelled and method.lane is not None:
                self._answer_cancelled(method, call, params)
                return
            value = method.handler(self, call, params)
        except Exception as e:
            call.fail(e)
        else:
            self.answered += 1
            call.finish(value)

    def _answer_cancelled(self, method: Method, call: Call, params: dict[str, Any]) -> None:
        if method.when_cancelled:
            call.finish(method.when_cancelled(self, params))
        else:
            call.fail(Cancelled("Cancelled before it began."))

    def preload(self) -> None:
        """Load the default model before it is asked for; an error comes again when it is."""

        def job() -> None:
            with suppress(Exception):
                self.pool.get(self.default_model)

        self._lanes["engine"].submit(job)

    def describe(self) -> dict[str, Any]:
        """What `status` answers."""
        engine = self._lanes["engine"]
        return {
            "version": __version__,
            "pid": os.getpid(),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "default_model": self.default_model,
            "models": self.pool.describe(),
            "queue": {"waiting": engine.waiting, "running": engine.running, "limit": engine.limit},
            "answered": self.answered,
        }

    def close(self, timeout: float) -> bool:
        """Stop the lanes and free the models; False if a native call did not end within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for lane in self._lanes.values():
            lane.stop()
        if not all(lane.join(deadline - time.monotonic()) for lane in self._lanes.values()):
            return False
        self.pool.close()
        return True
