"""How long a download waits, how often it tries again, and how it is cancelled. No network here."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from pocketllama.errors import Cancelled, DownloadError, UsageError

Cancel = Callable[[], bool]
Say = Callable[[str], None]  # told what is waited for

_BACKOFF = 0.5  # seconds of the first pause, doubled each time
_POLL = 0.1  # seconds between two looks at the cancel callback
_ENOUGH = 1 << 10  # bytes within `patience`, below which a connection counts as stalled
_RENEWS = 1 << 20  # bytes after which earlier failures are forgotten


class Transient(Exception):
    """A failure that a later try may not meet. `retry_after`: seconds that the server asked for."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """Seconds and counts that bound a download's waits."""

    stall: float = 20.0  # without a byte: the connection is given up and resumed
    patience: float = 30.0  # without a byte over all tries: the download fails
    attempts: int = 6  # failures in a row
    longest_wait: float = 60.0  # the longest Retry-After that is obeyed
    backoff: float = _BACKOFF

    @classmethod
    def from_environment(cls) -> Limits:
        """`POCKETLLAMA_STALL` sets the seconds of a stall; the rest follows in proportion."""
        text = os.environ.get("POCKETLLAMA_STALL", "")
        try:
            stall = float(text) if text else cls.stall
        except ValueError:
            stall = 0.0
        if not 0.05 <= stall <= 3600:
            raise UsageError(f"POCKETLLAMA_STALL={text!r} is no number of seconds between 0.05 and 3600")
        return cls(stall=stall, patience=1.5 * stall, longest_wait=3 * stall, backoff=min(_BACKOFF, stall / 10))


class Patience:
    """Decides after each failure whether to try again: counts tries and the time since the last useful byte."""

    def __init__(self, what: str, limits: Limits, cancel: Cancel | None, say: Say | None = None) -> None:
        self.what = what
        self.limits = limits
        self.cancel = cancel
        self._say = say
        self._last = time.monotonic()
        self._fresh = 0  # bytes since self._last
        self._gained = 0  # bytes since the last failure that counted
        self._failures = 0

    def progressed(self, count: int) -> None:
        """`count` bytes came that were not here before. Transient where they have long been too few."""
        self._fresh += count
        self._gained += count
        if self._fresh >= _ENOUGH:
            self._fresh, self._last = 0, time.monotonic()
        elif time.monotonic() - self._last > self.limits.patience:
            raise Transient(f"less than {_ENOUGH} bytes came in {self.limits.patience:.0f} s")
        if self._gained >= _RENEWS:
            self._failures = 0

    def deadline(self) -> float:
        """When (time.monotonic) to stop waiting for the next byte."""
        return min(time.monotonic() + self.limits.stall, self._last + self.limits.patience)

    def pause(self, failure: Transient) -> None:
        """Waits until the next try is due; DownloadError where there is none."""
        self._failures += 1
        self._gained = 0
        asked = failure.retry_after
        left = self._last + self.limits.patience - time.monotonic()
        if asked is not None and asked > self.limits.longest_wait:
            raise DownloadError(
                f"{self.what}: {failure}, and asks to wait {asked:.0f} s", remedy="try again later: it resumes"
            ) from failure
        if self._failures >= self.limits.attempts or (left <= 0 and asked is None):
            raise DownloadError(
                f"{self.what}: {failure} (gave up after {self._failures} tries)",
                remedy="check the connection and run the same command again: it resumes where it stopped",
            ) from failure
        if asked is not None:
            self._last += asked  # time that the server asked for is no stall
            wait = asked
        else:
            wait = min(self.limits.backoff * 2 ** (self._failures - 1) * random.uniform(0.7, 1.0), left)
        if self._say is not None:
            when = f" in {wait:.0f} s" if wait >= 1 else ""
            self._say(f"trying again{when} ({self._failures + 1} of {self.limits.attempts}): {failure}")
        until = time.monotonic() + wait
        while (rest := until - time.monotonic()) > 0:
            stop_if(self.cancel)
            time.sleep(min(_POLL, rest))


def stop_if(cancel: Cancel | None) -> None:
    if cancel is not None and cancel():
        raise Cancelled("the download was cancelled", remedy="run it again: it resumes where it stopped")
