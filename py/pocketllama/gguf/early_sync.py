"""Brings a file that is being written to the disk while more of it is made, so that the last fsync() finds little left.

Left to itself the system begins with that many seconds later, and then the processor and the disk wait for each other.
"""

from __future__ import annotations

import os
import threading

_STEP = 64 << 20  # bytes between two flushes: each also writes the file system's journal


class EarlySync:
    """Flushes the file `fd` after each so many bytes, in a thread that begins with the first of them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._new = 0  # bytes since the last flush was asked for
        self._due = threading.Event()
        self._stopped = False
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    def wrote(self, size: int) -> None:
        """So many more bytes are in the file."""
        self._new += size
        if self._new < _STEP:
            return
        self._new = 0
        if self._thread is None:
            # A descriptor of its own: the other may be closed, and its number given away, while a flush goes on.
            self._thread = threading.Thread(target=self._run, args=(os.dup(self._fd),), name="early-sync", daemon=True)
            self._thread.start()
        self._due.set()

    def abandon(self) -> None:
        """No more flushes; whatever goes on is not waited for."""
        self._stopped = True
        self._due.set()

    def finish(self) -> None:
        """No more flushes, and what goes on is waited for. Raises the OSError of any: it is reported only once."""
        self.abandon()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self, fd: int) -> None:
        flush = getattr(os, "fdatasync", os.fsync)
        try:
            while self._due.wait() and not self._stopped:
                self._due.clear()
                flush(fd)
        except OSError as e:
            self._error = e
        finally:
            os.close(fd)
