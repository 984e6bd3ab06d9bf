"""Whose turn it is on an engine that can hold one generation in its KV cache.

A generation keeps the turn from its first token to its last, because giving the cache to another and back means
evaluating everything again. But a caller may take one piece of a stream and never come back for the next; so a
generation that lies idle between two pieces can be robbed of its turn, and it will evaluate again when it goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

# How long a suspended stream keeps its turn while others wait: longer than it takes to print a piece, shorter than a
# person waits without wondering.
PATIENCE_S = 0.25


class Turn:
    """A lock around native calls, and the notion of an owner that outlasts the single call."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._busy_thread: int | None = None  # the thread inside a `with` now
        self._depth = 0
        self._owner: object | None = None
        self._owner_thread = 0
        self._idle_since = 0.0

    @contextmanager
    def step(self, owner: object | None = None) -> Iterator[None]:
        """Hold the engine for some native calls; reentrant. With an `owner`, also become or stay the one whose
        generation is in the cache."""
        me = threading.get_ident()
        with self._condition:
            while not self._may_enter(me, owner):
                # A suspended owner does not notify when its patience runs out, so wait no longer than that.
                self._condition.wait(PATIENCE_S / 5)
            if owner is not None:
                self._owner, self._owner_thread = owner, me
            self._busy_thread = me
            self._depth += 1
        try:
            yield
        finally:
            with self._condition:
                self._depth -= 1
                if self._depth == 0:
                    self._busy_thread = None
                    self._idle_since = time.monotonic()
                    self._condition.notify_all()

    def _may_enter(self, me: int, owner: object | None) -> bool:
        if self._busy_thread is not None:
            return self._busy_thread == me
        if owner is None or self._owner is None or self._owner is owner:
            return True
        # The suspended owner's own thread cannot go on with it while it waits here: waiting would be a deadlock.
        return self._owner_thread == me or time.monotonic() - self._idle_since >= PATIENCE_S

    def leave(self, owner: object) -> None:
        """The generation has ended; its turn is free."""
        with self._condition:
            if self._owner is owner:
                self._owner = None
                self._condition.notify_all()
