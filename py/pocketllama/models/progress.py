"""How far a download is: the event, and a bar for terminals."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

from pocketllama.models.patience import Say
from pocketllama.units import human_size


@dataclass(frozen=True)
class ProgressEvent:
    """`done` of `total` bytes of `file` are on this machine; `total` is None where a server does not say.

    `note` says what goes on while no byte comes: who is asked, or why the next try waits.
    """

    file: str
    done: int
    total: int | None
    note: str = ""


Progress = Callable[[ProgressEvent], None]


def notes(progress: Progress | None, file: str) -> Say | None:
    """Says of `file` what is waited for, before its first byte is here."""
    return None if progress is None else lambda note: progress(ProgressEvent(file, 0, None, note))


@contextmanager
def bar(stream: TextIO | None = None) -> Iterator[Progress]:
    """A Progress that draws on `stream` (default: stderr): a bar on a terminal, else a line at each quarter.

    A stream that is closed or broken ends the drawing, never the download.
    """
    stream = stream or sys.stderr
    try:
        terminal = stream.isatty()
    except (AttributeError, ValueError):  # not quite a file, or a closed one
        terminal = False
    painter: _Bars | _Lines = _Bars(stream) if terminal else _Lines(stream)
    alive = True

    def draw(event: ProgressEvent) -> None:
        nonlocal alive
        if alive:
            try:
                painter.draw(event)
            except (OSError, ValueError):  # a broken pipe, a closed file
                alive = False

    try:
        yield draw
    finally:
        try:
            painter.close()
        except (OSError, ValueError):
            pass


class _Bars:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._file = ""
        self._bar: Any = None
        self._noted = False  # the last line of the terminal is a note

    def draw(self, event: ProgressEvent) -> None:
        if event.note:
            self._note(f"{event.file}: {event.note}")
            return
        self._note("")
        if event.file != self._file:
            from tqdm import tqdm

            self.close()
            self._file = event.file
            name = event.file.rpartition("/")[2]
            self._bar = tqdm(
                desc=name if len(name) <= 40 else f"{name[:18]}...{name[-19:]}",
                total=event.total,
                initial=event.done,  # bytes of an earlier try do not count as speed
                unit="B",
                unit_scale=True,
                file=self._stream,
                dynamic_ncols=True,
            )
        self._bar.total = event.total
        if event.done < self._bar.n:  # the server made it start over
            self._bar.reset(event.total)
        self._bar.update(event.done - self._bar.n)

    def _note(self, text: str) -> None:
        """Writes over the last line, the bar's included: the bar comes back with the next bytes. Empty: erases it."""
        if text or self._noted:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{text if len(text) <= width else text[: width - 1] + '…'}")
            self._stream.flush()
            self._noted = bool(text)

    def close(self) -> None:
        self._note("")
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class _Lines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._file = ""
        self._quarter = -1

    def draw(self, event: ProgressEvent) -> None:
        if event.note:
            self._stream.write(f"{event.file}: {event.note}\n")
            self._stream.flush()
            return
        if event.file != self._file:
            self._file, self._quarter = event.file, -1
        quarter = 4 * event.done // event.total if event.total else 0
        if quarter <= self._quarter:
            return
        self._quarter = quarter
        of = f"{25 * quarter}% of {human_size(event.total)}" if event.total else human_size(event.done)
        self._stream.write(f"{event.file}: {of}\n")
        self._stream.flush()

    def close(self) -> None:
        pass
