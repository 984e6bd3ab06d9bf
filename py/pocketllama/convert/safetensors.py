"""Tensors of a safetensors file: a length, a JSON table of names, types, shapes and places, then the numbers.

Source: the format's description in the safetensors project. The table is read as if it were hostile: every tensor lies
inside the file, takes the bytes that its shape says, and shares none with another.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from typing import Any

from .range_file import RangeFile
from .tensor import F32, WIDTHS, floats, row_width

_MAX_HEADER = 100 << 20  # bytes; the format's own bound
_MAX_DIMS = 8
# The format's names of element types; those of one byte with a scale beside them are only passed over.
_TYPES = {
    "F32": "f32",
    "F16": "f16",
    "BF16": "bf16",
    "F64": "f64",
    "I64": "i64",
    "I32": "i32",
    "I16": "i16",
    "I8": "i8",
    "U8": "u8",
    "BOOL": "bool",
}
_OTHER_WIDTHS = {"F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "U16": 2, "U32": 4, "U64": 8}


class SafeTensor:
    """One tensor of the file, as `tensor.Tensor`; `dtype` as in `tensor.WIDTHS`, or the format's own name."""

    def __init__(self, file: SafeTensors, name: str, dtype: str, shape: tuple[int, ...], offset: int) -> None:
        self.name, self.dtype, self.shape = name, dtype, shape
        self._file, self._offset = file, offset

    def read(self, start: int, stop: int) -> F32:
        return floats(self.read_bytes(start, stop), self.dtype, self.name, self._file.path.name).reshape(
            stop - start, row_width(self.shape)
        )

    def read_bytes(self, start: int, stop: int) -> bytes:
        """The rows as they are stored."""
        size = row_width(self.shape) * WIDTHS.get(self.dtype, 1)
        return self._file.read(self._offset + start * size, (stop - start) * size)


class SafeTensors(RangeFile):
    """An open file: `tensors` maps names to SafeTensors. ModelInvalid where it is damaged. Use it in a `with`."""

    def _parse(self) -> None:
        start = self.read(0, min(8, self.size))
        if len(start) < 8:
            raise self.damaged(f"it has {self.size} bytes")
        (length,) = struct.unpack("<Q", start)
        if length > min(_MAX_HEADER, self.size - 8):
            raise self.damaged(f"its table would have {length} bytes, the file has {self.size}")
        try:
            table = json.loads(self.read(8, length).decode(), object_pairs_hook=self._without_twins)
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict):
            raise self.damaged("its table is no JSON object")
        table.pop("__metadata__", None)
        base = 8 + length
        self.tensors: dict[str, SafeTensor] = {}
        places = []
        for name, entry in table.items():
            dtype, shape, begin, end = self._entry(name, entry, self.size - base)
            self.tensors[name] = SafeTensor(self, name, dtype, shape, base + begin)
            places.append((begin, end, name))
        places.sort()
        for (_, end, before), (begin, _, name) in pairwise(places):
            if begin < end:
                raise self.damaged(f"its tensors {before[:80]!r} and {name[:80]!r} share bytes")

    def _without_twins(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            raise self.damaged("its table has a name twice")
        return table

    def _entry(self, name: str, entry: Any, room: int) -> tuple[str, tuple[int, ...], int, int]:
        """(type, shape, first byte, byte behind the last) of a tensor in the `room` bytes behind the table."""
        entry = entry if isinstance(entry, dict) else {}
        dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
        width = WIDTHS[_TYPES[dtype]] if dtype in _TYPES else _OTHER_WIDTHS.get(str(dtype))
        sizes = [*shape, *offsets] if isinstance(shape, list) and isinstance(offsets, list) else [None]
        if width is None or not all(type(n) is int and 0 <= n < 2**48 for n in sizes):
            raise self.damaged(f"its entry for {name[:80]!r} is none of the format")
        size = width
        for dim in shape:
            size *= dim
        if len(offsets) != 2 or len(shape) > _MAX_DIMS or offsets[1] - offsets[0] != size or offsets[1] > room:
            raise self.damaged(f"its tensor {name[:80]!r} of {size} bytes is said to be at {offsets[:2]} of {room}")
        return _TYPES.get(str(dtype), str(dtype)), tuple(shape), offsets[0], offsets[1]
