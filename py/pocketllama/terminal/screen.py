"""What a chat shows: answers on standard output, all else on standard error; in a terminal wrapped between words."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache

from .. import output
from .lines import unechoed

_DIM, _PLAIN, _CLEAR = "\x1b[2m", "\x1b[0m", "\r\x1b[K"
_HARMLESS = "\n\t\u200c\u200d"  # not printable by themselves, and part of words and emoji
_NARROWEST = 20


def harmless(text: str) -> str:
    """`text` without what a terminal would obey: a model's words are only words."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _HARMLESS else "\ufffd" for c in text)


class Screen:
    """Where a chat writes. `live`: answers go to a terminal."""

    def __init__(self, live: bool) -> None:
        self.live = live
        self._colour = sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Something about the chat, in dim letters; long lines are broken between words."""
        for line in harmless(text).split("\n"):
            for part in _fold(line, self.width if self._colour else 0):
                sys.stderr.write(f"{_DIM}{part}{_PLAIN}\n" if self._colour else f"{part}\n")
        sys.stderr.flush()

    @property
    def width(self) -> int:
        """The columns of the terminal now; people resize it."""
        return max(_NARROWEST, shutil.get_terminal_size().columns)

    def undisturbed(self) -> AbstractContextManager[None]:
        """While it lasts, what is typed is not shown."""
        return unechoed() if self.live else nullcontext()

    def answer(self) -> AnswerWriter:
        """What writes the next answer, piece by piece."""
        return AnswerWriter(output.write, lambda: self.width) if self.live else AnswerWriter(output.write, None)


class AnswerWriter:
    """Writes an answer as it comes. White space before its first word and behind its last one is not shown.

    On a terminal, a word that reaches the edge is taken back and begins the next line, but not in a block of
    code, whose lines are its own. What stands between <think> and </think> is dim.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int] | None) -> None:
        self._flush, self._width = write, width
        self._out: list[str] = []
        self._column = 0
        self._word = ""  # the word at the end of the line, as far as it has come
        self._space = ""  # white space that is shown when a word follows
        self._tail = ""  # the end of the text, for marks that come in pieces
        self._begun = self._code = False
        self.dim = False
        if width:
            write(f"{_DIM}…{_PLAIN}")  # until the first word comes: reading a long message takes its time

    def feed(self, piece: str) -> None:
        for c in harmless(piece) if self._width else piece:
            self._put(c)
        self._written()

    def _write(self, text: str) -> None:
        self._out.append(text)

    def _written(self) -> None:
        if self._out:
            self._flush("".join(self._out))
            self._out.clear()

    def _put(self, c: str) -> None:
        if c in " \t\n":
            if self._begun:
                self._space += c
            return
        if self._space:
            self._flush_space()
        if self._width and not self._begun:
            self._write(_CLEAR)
        self._begun = True
        self._mark(c)
        self._show(c)
        if self._width and self.dim and self._tail.endswith("</think>"):
            self.dim = False
            self._write(_PLAIN)

    def _flush_space(self) -> None:
        space, self._space = self._space, ""
        self._word = ""
        for c in space.expandtabs(4) if self._width else space:
            self._tail = (self._tail + c)[-12:]
            if c == "\n":
                self._column = 0
            elif self._width and self._column >= self._width() and not self._code:
                continue  # the edge of the terminal is as good as a space
            else:
                self._column += 1
            self._write(c)

    def _mark(self, c: str) -> None:
        self._tail = (self._tail + c)[-12:]
        if self._tail.endswith("```"):
            self._code = not self._code
            self._tail = self._tail[:-3]
        if self._width and not self.dim and self._tail.endswith("<think>"):
            self.dim = True
            self._write(_DIM)

    def _show(self, c: str) -> None:
        if self._width is None:
            self._write(c)
            return
        wide, limit = _columns(c), self._width()
        if self._column + wide > limit and not self._code:
            word = self._word
            if word and _columns(word) < limit and _breaks_only_at_spaces(word + c):
                # Take the word back, and begin the next line with it.
                self._write(f"\x1b[{_columns(word)}D\x1b[K\n{word}")
                self._column = _columns(word)
            else:
                self._write("\n")
                self._column, self._word = 0, ""
        self._write(c)
        self._word += c
        self._column += wide

    def end(self) -> None:
        """The answer is over."""
        if self.dim:
            self._write(_PLAIN)
        if self._begun or not self._width:
            self._write("\n")
        else:
            self._write(_CLEAR)
        self._written()


def _breaks_only_at_spaces(word: str) -> bool:
    """Chinese and Japanese break anywhere; they are wide."""
    return all(_columns(c) < 2 for c in word)


@cache
def _character(c: str) -> int:
    from wcwidth import wcwidth

    return max(0, wcwidth(c))


def _columns(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_character, text))


def _fold(line: str, width: int) -> list[str]:
    """A line in parts that fit, broken at spaces; its indentation is that of every part."""
    if not width or _columns(line) <= width:
        return [line]
    indent = " " * min(len(line) - len(line.lstrip()), width // 2)
    parts, part = [], indent
    for word in line.split():
        if part.strip() and _columns(part) + 1 + _columns(word) > width:
            parts.append(part)
            part = indent
        part += (" " if part.strip() else "") + word
    return [*parts, part]
