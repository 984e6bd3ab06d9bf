"""Strings that know which of their characters a template wrote itself.

A chat template puts control tokens around what people wrote, and the result is one text. Whether `<|im_end|>` in it
ends a turn must depend on who wrote it. So everything that a template writes literally is a `Marked` string, what it is
given is a plain one, and the operations that templates do with them carry the marks along. Where one is not known here,
its result is plain: at worst a control token of the template stays text, never the reverse.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, SupportsIndex

Spans = tuple[tuple[int, int], ...]  # [start, end) in characters: ascending, neither empty nor touching each other

MAX_TEXT = 8 << 20  # characters of one text


class Marked(str):
    """Equal in every way to the plain string; `spans` are the characters that the template wrote."""

    __slots__ = ("spans",)
    spans: Spans

    def __new__(cls, text: object = "", spans: Spans = ()) -> Marked:
        self = super().__new__(cls, text)
        self.spans = spans
        return self

    @classmethod
    def own(cls, text: str) -> Marked:
        """All of `text` is the template's."""
        return cls(text, ((0, len(text)),) if text else ())

    def __str__(self) -> str:
        return self  # the compiled templates say str(x) of everything

    def __reduce__(self) -> Any:
        return Marked, (_plain(self), self.spans)

    # ---- together --------------------------------------------------------------------------------------------------

    def __add__(self, other: str) -> str:
        if hasattr(other, "__html__"):  # markupsafe's strings escape what they are added to
            return other.__radd__(_plain(self))  # type: ignore[attr-defined,no-any-return]
        return cat((self, other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return cat((other, self)) if isinstance(other, str) else NotImplemented

    def __mul__(self, n: SupportsIndex) -> str:
        return cat([self] * _bounded(len(self), n))

    __rmul__ = __mul__

    def join(self, parts: Iterable[str]) -> str:
        each: list[str] = []
        for part in parts:
            if not isinstance(part, str):
                raise TypeError(f"a string was expected to join, {type(part).__name__} found")
            each += (self, part) if each else (part,)
        return cat(each)

    # ---- apart -----------------------------------------------------------------------------------------------------

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self._cut(start, max(start, stop)) if step == 1 else super().__getitem__(key)
        i = key.__index__()
        if not -len(self) <= i < len(self):
            raise IndexError("string index out of range")
        return self._cut(i % len(self), i % len(self) + 1)

    def _cut(self, start: int, stop: int) -> Marked:
        spans = ((max(a, start) - start, min(b, stop) - start) for a, b in self.spans if a < stop and b > start)
        return Marked(str.__getitem__(self, slice(start, stop)), tuple(spans))

    def lstrip(self, chars: str | None = None, /) -> str:
        return self._cut(len(self) - len(str.lstrip(self, chars)), len(self))

    def rstrip(self, chars: str | None = None, /) -> str:
        return self._cut(0, len(str.rstrip(self, chars)))

    def strip(self, chars: str | None = None, /) -> str:
        return self.rstrip(chars).lstrip(chars)

    def removeprefix(self, prefix: str, /) -> str:
        return self._cut(len(prefix), len(self)) if self.startswith(prefix) else self

    def removesuffix(self, suffix: str, /) -> str:
        return self._cut(0, len(self) - len(suffix)) if self.endswith(suffix) else self

    def _pieces(self, pieces: list[str]) -> list[str]:
        """Parts of this text, in order, as cuts of it: each is found where the one before it ended, or a little later,
        because what lies between them is a separator."""
        cuts: list[str] = []
        at = 0
        for piece in pieces:
            at = self.index(piece, at)
            cuts.append(self._cut(at, at + len(piece)))
            at += len(piece)
        return cuts

    def _split_at(self, sep: str, pieces: list[str]) -> list[str]:
        cuts: list[str] = []
        at = 0
        for piece in pieces:
            cuts.append(self._cut(at, at + len(piece)))
            at += len(piece) + len(sep)
        return cuts

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        pieces = str.split(self, sep, maxsplit)
        return self._pieces(pieces) if sep is None else self._split_at(sep, pieces)

    def rsplit(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        pieces = str.rsplit(self, sep, maxsplit)
        return self._pieces(pieces) if sep is None else self._split_at(sep, pieces)

    def splitlines(self, keepends: bool = False) -> list[str]:
        cuts: list[str] = []
        at = 0
        for whole, line in zip(str.splitlines(self, True), str.splitlines(self, keepends), strict=True):
            cuts.append(self._cut(at, at + len(line)))
            at += len(whole)
        return cuts

    def partition(self, sep: str, /) -> tuple[str, str, str]:
        return self._around(str.partition(self, sep))

    def rpartition(self, sep: str, /) -> tuple[str, str, str]:
        return self._around(str.rpartition(self, sep))

    def _around(self, three: tuple[str, str, str]) -> tuple[str, str, str]:
        a, b = len(three[0]), len(three[0]) + len(three[1])
        return self._cut(0, a), self._cut(a, b), self._cut(b, len(self))

    # ---- changed ---------------------------------------------------------------------------------------------------

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> str:
        if not old:
            return super().replace(old, new, count)
        n = count.__index__()
        return Marked(new, new.spans if isinstance(new, Marked) else ()).join(self.split(old, n)) if n else self

    def _same_length(self, text: str) -> str:
        # Letters that become two when their case changes would move the marks.
        return Marked(text, self.spans) if len(text) == len(self) else text

    def upper(self) -> str:
        return self._same_length(str.upper(self))

    def lower(self) -> str:
        return self._same_length(str.lower(self))

    def capitalize(self) -> str:
        return self._same_length(str.capitalize(self))

    def title(self) -> str:
        return self._same_length(str.title(self))


def cat(parts: Iterable[str]) -> Marked:
    """The texts one after the other. OverflowError beyond MAX_TEXT."""
    texts: list[str] = []
    spans: list[tuple[int, int]] = []
    at = 0
    for part in parts:
        if isinstance(part, Marked):
            for start, end in part.spans:
                if spans and spans[-1][1] == at + start:
                    spans[-1] = (spans[-1][0], at + end)
                else:
                    spans.append((at + start, at + end))
        texts.append(part)
        at += len(part)
        if at > MAX_TEXT:
            raise OverflowError(f"a text of more than {MAX_TEXT} characters")
    return Marked("".join(texts), tuple(spans))


def _plain(text: str) -> str:
    return "".join((text,)) if type(text) is str else str.__getitem__(text, slice(None))


def _bounded(length: int, n: SupportsIndex) -> int:
    times = max(0, n.__index__())
    if length * times > MAX_TEXT:
        raise OverflowError(f"a text of more than {MAX_TEXT} characters")
    return times
