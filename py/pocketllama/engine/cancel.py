"""Stopping an evaluation from another thread."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32
from threading import Event

from ..errors import UsageError


class Cancel:
    """What may be given as `cancel`: `set()`, from any thread, is heard within a layer's time on our own library.

    Any other function is asked between chunks only, a fraction of a second apart. `also` is such a function.
    """

    def __init__(self, also: Callable[[], bool] = lambda: False, flag: c_int32 | None = None) -> None:
        self.flag = flag or c_int32(0)  # the library looks at it while it computes
        self._also = also

    def set(self) -> None:
        self.flag.value = 1

    def __call__(self) -> bool:
        return self.flag.value != 0 or self._also()


def flag_of(cancel: Callable[[], bool]) -> c_int32 | None:
    """What the library may look at to hear `cancel`."""
    return cancel.flag if isinstance(cancel, Cancel) else None


def heard(cancel: Callable[[], bool], signal: Event | None) -> Callable[[], bool]:
    """`cancel`, which also asks whether `signal` is set."""
    if signal is None:
        return cancel
    if not callable(getattr(signal, "is_set", None)):
        raise UsageError(f"signal must be a threading.Event, not {type(signal).__name__}.")
    return Cancel(lambda: signal.is_set() or cancel(), flag_of(cancel))
