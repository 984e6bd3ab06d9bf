"""Walk over a GGUF header's values, believing none of them.

Every method takes `what` is being read, in words, for the error: "FILE is not a valid GGUF: the type of tensor 'x' at
byte 123: expected ..., found ...".
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from ..errors import ModelInvalid, UsageError
from .types import STRUCT_CODES, ValueType

# A header ends before this many bytes: the largest in use are near 32 MiB (vocabulary, merges, chat template).
MAX_HEADER = 256 << 20
# Entries of all arrays together, because each string costs a step: a vocabulary of 262,144 with scores, types and
# merges has 1.3 million, and 8 million take about a second.
MAX_ENTRIES = 8 << 20
MAX_DEPTH = 3  # arrays in arrays

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SIZES = {kind: struct.calcsize(code) for kind, code in STRUCT_CODES.items()}


def shown(value: object) -> str:
    """A value of the file as a message may show it: escaped, because it may hold anything, and short."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


@dataclass(frozen=True)
class ArrayRef:
    """Where an array lies that was checked and not decoded yet."""

    cursor: Cursor
    what: str
    pos: int  # of its first entry
    kind: ValueType
    count: int

    def __len__(self) -> int:
        return self.count

    def decode(self) -> list[Any]:
        self.cursor.check_open(self.what)
        at = Cursor(self.cursor.name, self.cursor.buffer)
        at.pos = self.pos
        try:
            return at.entries(self.what, self.kind, self.count)
        except (struct.error, OverflowError, UnicodeDecodeError) as e:
            raise at.error(self.what, "what was checked on opening", "a file that changed since", self.pos) from e


class Cursor:
    """A position in a file's bytes, and the reading of the format's primitive values from there."""

    def __init__(self, name: str, buffer: mmap.mmap) -> None:
        self.name = PurePath(name).name
        self.buffer = buffer
        self.pos = 0
        self.size = len(buffer)
        self.end = min(self.size, MAX_HEADER)  # of what may be header
        self.entries_left = MAX_ENTRIES

    def error(self, what: str, expected: object, found: object, at: int | None = None) -> ModelInvalid:
        """The error to raise about `what` at byte `at` (default: here)."""
        at = self.pos if at is None else at
        return ModelInvalid(
            f"{self.name} is not a valid GGUF: {what} at byte {at}: expected {expected}, found {found}.",
            remedy="Download or convert the file again.",
            data={"file": self.name, "position": at},
        )

    def check_open(self, what: str) -> None:
        if self.buffer.closed:
            raise UsageError(f"{self.name} is closed; {what} can no longer be read.")

    def peek(self, n: int) -> bytes:
        return self.buffer[self.pos : self.pos + n]

    def need(self, what: str, n: int) -> None:
        """That `n` more bytes are there."""
        if n > self.end - self.pos:
            limit = "" if self.end == self.size else " (a header may be no longer)"
            raise self.error(what, f"{n} bytes", f"{self.end - self.pos} until byte {self.end}{limit}")

    def u32(self, what: str) -> int:
        self.need(what, 4)
        value: int = _U32.unpack_from(self.buffer, self.pos)[0]
        self.pos += 4
        return value

    def u64(self, what: str) -> int:
        self.need(what, 8)
        value: int = _U64.unpack_from(self.buffer, self.pos)[0]
        self.pos += 8
        return value

    def count(self, what: str, each: int, most: int) -> int:
        """A number of things that take at least `each` bytes apiece, at most `most`."""
        at = self.pos
        n = self.u64(what)
        if n > most:
            raise self.error(what, f"at most {most}", n, at)
        if n * each > self.end - self.pos:
            raise self.error(what, f"at most {(self.end - self.pos) // each} in the bytes that remain", n, at)
        return n

    def string(self, what: str, most: int = MAX_HEADER) -> str:
        at = self.pos
        n = self.u64(what)
        if n > most or n > self.end - self.pos:
            raise self.error(what, f"a string of at most {min(most, self.end - self.pos)} bytes", f"{n} bytes", at)
        data = self.buffer[self.pos : self.pos + n]
        try:
            text = data.decode()
        except UnicodeDecodeError as e:
            raise self.error(what, "UTF-8", f"byte {data[e.start]:#04x}", self.pos + e.start) from None
        self.pos += n
        return text

    def value_type(self, what: str) -> ValueType:
        at = self.pos
        number = self.u32(what)
        try:
            return ValueType(number)
        except ValueError:
            raise self.error(what, "a value type, 0 to 12", number, at) from None

    def value(self, what: str, kind: ValueType) -> Any:
        """A scalar or a string; an array as the ArrayRef of a checked one."""
        if kind == ValueType.STRING:
            return self.string(what)
        if kind == ValueType.ARRAY:
            entry, count = self._array_start(what)
            ref = ArrayRef(self, what, self.pos, entry, count)
            self.skip(what, entry, count, 1)
            return ref
        return self.entries(what, kind, 1)[0]

    def _array_start(self, what: str) -> tuple[ValueType, int]:
        kind = self.value_type(f"the entry type in {what}")
        each = _SIZES.get(kind, 8 if kind == ValueType.STRING else 12)
        count = self.count(f"the length of {what}", each, self.entries_left)
        self.entries_left -= count
        return kind, count

    def skip(self, what: str, kind: ValueType, count: int, depth: int) -> None:
        """Step over `count` entries, checking all that could make decoding them fail."""
        if kind == ValueType.STRING:
            self._skip_strings(what, count)
        elif kind == ValueType.ARRAY:
            if depth >= MAX_DEPTH:
                raise self.error(what, f"arrays at most {MAX_DEPTH} deep", "a deeper one")
            for _ in range(count):
                inner, n = self._array_start(what)
                self.skip(what, inner, n, depth + 1)
        else:
            self.need(what, count * _SIZES[kind])
            if kind == ValueType.BOOL:
                self._check_bools(what, self.buffer[self.pos : self.pos + count])
            self.pos += count * _SIZES[kind]

    def _check_bools(self, what: str, data: bytes) -> None:
        if odd := data.translate(None, b"\0\1"):
            at = self.pos + data.index(odd[0])
            raise self.error(what, "a bool, 0 or 1", odd[0], at)

    def _skip_strings(self, what: str, count: int) -> None:
        """Lengths and UTF-8 of many strings, at two C calls a string: a vocabulary with merges has half a million.

        Between texts whose lengths are below 128, all length bytes are ASCII; so a run of them is UTF-8 as a whole
        just if each text is, and is checked as a whole. A longer text is checked apart.
        """
        buffer, unpack, pos = self.buffer, _U64.unpack_from, self.pos
        run = pos
        try:
            for _ in range(count):
                n = unpack(buffer, pos)[0]
                if n > 127:
                    buffer[run:pos].decode()
                    run = pos + 8
                    pos = run + n
                    buffer[run:pos].decode()
                    run = pos
                else:
                    pos += 8 + n
            buffer[run:pos].decode()
        except (struct.error, OverflowError, UnicodeDecodeError):
            pos = self.end + 1
        if pos <= self.end:
            self.pos = pos
            return
        for i in range(count):  # something is wrong: now slowly, to say where
            self.string(f"entry {i} of {what}")

    def _strings(self, count: int) -> list[Any]:
        """Strings that `skip` has checked, with no second check."""
        buffer, unpack, pos, texts = self.buffer, _U64.unpack_from, self.pos, []
        for _ in range(count):
            start = pos + 8
            pos = start + unpack(buffer, pos)[0]
            texts.append(buffer[start:pos].decode())
        self.pos = pos
        return texts

    def entries(self, what: str, kind: ValueType, count: int) -> list[Any]:
        """The next `count` values of one type, decoded; strings and arrays must have been through `skip`."""
        if kind == ValueType.STRING:
            return self._strings(count)
        if kind == ValueType.ARRAY:
            arrays = []
            for _ in range(count):
                inner, n = self._array_start(what)
                arrays.append(self.entries(what, inner, n))
            return arrays
        n = count * _SIZES[kind]
        self.need(what, n)
        if kind == ValueType.BOOL:
            self._check_bools(what, self.buffer[self.pos : self.pos + n])
        values: list[Any] = list(struct.unpack_from(f"<{count}{STRUCT_CODES[kind]}", self.buffer, self.pos))
        self.pos += n
        return [bool(v) for v in values] if kind == ValueType.BOOL else values
