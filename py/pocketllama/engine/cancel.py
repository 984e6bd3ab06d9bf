"""Stopping an evaluation from another thread."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int32


class Cancel:
    """What may be given as `cancel`: `set()`, from any thread, is heard within a layer's time on our own library.

    Any other function is asked between chunks only, a fraction of a second apart. `also` is such a function.
    """

    def __init__(self, also: Callable[[], bool] = lambda: False) -> None:
        self.flag = c_int32(0)  # the library looks at it while it computes
        self._also = also

    def set(self) -> None:
        self.flag.value = 1

    def __call__(self) -> bool:
        return self.flag.value != 0 or self._also()


def flag_of(cancel: Callable[[], bool]) -> c_int32 | None:
    """What the library may look at to hear `cancel`."""
    return cancel.flag if isinstance(cancel, Cancel) else None
