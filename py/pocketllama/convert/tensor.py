"""Tensors as their rows, read a few at a time: from files, and from each other.

All but the last of a tensor's dimensions together count its rows; a vector's rows have one element. What a converter
does to weights is then little: take rows in another order, put tensors behind or beside each other, transpose, add.
Nothing is computed before it is asked for, so that a tensor of any size passes through a few megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelInvalid

F32 = NDArray[np.float32]
Rows = NDArray[np.int64]  # which rows of another tensor, in order

# The NumPy type of a stored element. bfloat16 is the upper half of a float32.
_STORED = {"f32": "<f4", "f16": "<f2", "bf16": "<u2", "f64": "<f8"}
WIDTHS = {"f32": 4, "f16": 2, "bf16": 2, "f64": 8, "i64": 8, "i32": 4, "i16": 2, "i8": 1, "u8": 1, "bool": 1}
CHUNK = 1 << 20  # elements read at a time
# Rows that lie within this many times as many are read with what is between them.
_SPREAD = 4


class Tensor(Protocol):
    """One tensor. `shape` is torch's, the contiguous dimension last."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self, start: int, stop: int) -> F32:
        """The rows from `start` up to `stop`, of shape (stop - start, the last dimension)."""


def n_rows(shape: Sequence[int]) -> int:
    rows = 1
    for dim in shape if len(shape) == 1 else shape[:-1]:
        rows *= dim
    return rows


def row_width(shape: Sequence[int]) -> int:
    return shape[-1] if len(shape) > 1 else 1


def chunks(tensor: Tensor) -> Iterator[F32]:
    """All rows in order, about CHUNK elements at a time."""
    rows, step = n_rows(tensor.shape), max(1, CHUNK // max(1, row_width(tensor.shape)))
    for start in range(0, rows, step):
        yield tensor.read(start, min(rows, start + step))


def whole(tensor: Tensor) -> F32:
    """The tensor as an array of its shape; for small ones."""
    return tensor.read(0, n_rows(tensor.shape)).reshape(tensor.shape)


def floats(data: bytes, dtype: str, name: str, file: str) -> F32:
    """Stored elements as float32; ModelInvalid if they are no floats. What is too large becomes infinite."""
    if dtype not in _STORED:
        raise ModelInvalid(f"The tensor {name!r} of {file} holds {dtype}, not floats.")
    raw = np.frombuffer(data, _STORED[dtype])
    if dtype == "bf16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return raw.astype(np.float32)


def gather(tensor: Tensor, rows: Rows) -> F32:
    """These rows of a tensor, read in as few pieces as their order allows."""
    if not len(rows):
        return tensor.read(0, 0)
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= _SPREAD * len(rows):
        return tensor.read(low, high)[rows - low]
    ends = np.flatnonzero(np.diff(rows) != 1) + 1
    return np.concatenate([tensor.read(int(run[0]), int(run[-1]) + 1) for run in np.split(rows, ends)])


class Array:
    """A tensor that is in memory."""

    def __init__(self, array: F32) -> None:
        self.shape: tuple[int, ...] = array.shape
        self._rows = array.reshape(n_rows(array.shape), row_width(array.shape))

    def read(self, start: int, stop: int) -> F32:
        return self._rows[start:stop]


class Picked:
    """Rows of a tensor in another order, or some of them, under a shape of the same last dimension."""

    def __init__(self, tensor: Tensor, rows: Rows, shape: tuple[int, ...]) -> None:
        self.shape, self._tensor, self._rows = shape, tensor, rows

    def read(self, start: int, stop: int) -> F32:
        return gather(self._tensor, self._rows[start:stop])


class Reshaped:
    """The same elements under another shape. Where the last dimension differs too, all is read at once."""

    def __init__(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        self.shape, self._tensor = shape, tensor
        self._same = row_width(shape) == row_width(tensor.shape)

    def read(self, start: int, stop: int) -> F32:
        if self._same:
            return self._tensor.read(start, stop)
        return whole(self._tensor).reshape(-1, row_width(self.shape))[start:stop]


class Stacked:
    """Tensors behind each other, under the shape that they have together."""

    def __init__(self, tensors: Sequence[Tensor], shape: tuple[int, ...]) -> None:
        self.shape, self._tensors = shape, list(tensors)
        self._starts = np.cumsum([0, *(n_rows(t.shape) for t in tensors)])

    def read(self, start: int, stop: int) -> F32:
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        pieces = []
        for i in range(first, len(self._tensors)):
            at = int(self._starts[i])
            if at >= stop:
                break
            pieces.append(self._tensors[i].read(max(0, start - at), min(stop, int(self._starts[i + 1])) - at))
        return np.concatenate(pieces) if pieces else np.empty((0, row_width(self.shape)), np.float32)


class Beside:
    """Matrices beside each other: each has some of every row's elements."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = list(tensors)
        self.shape = (*tensors[0].shape[:-1], sum(t.shape[-1] for t in tensors))

    def read(self, start: int, stop: int) -> F32:
        return np.concatenate([t.read(start, stop) for t in self._tensors], axis=1)


class Transposed:
    """The last two dimensions change places. One matrix of a stack is in memory at a time."""

    def __init__(self, tensor: Tensor) -> None:
        *before, self._of, self._width = tensor.shape
        self.shape = (*before, self._width, self._of)
        self._tensor = tensor
        self._matrix: tuple[int, F32] | None = None

    def read(self, start: int, stop: int) -> F32:
        pieces = []
        while start < stop:
            i, row = divmod(start, self._width)
            n = min(stop - start, self._width - row)
            pieces.append(np.ascontiguousarray(self._at(i)[:, row : row + n].T))
            start += n
        return np.concatenate(pieces) if pieces else np.empty((0, self._of), np.float32)

    def _at(self, i: int) -> F32:
        if self._matrix is None or self._matrix[0] != i:
            self._matrix = None  # before the next one is read
            self._matrix = i, self._tensor.read(i * self._of, (i + 1) * self._of)
        return self._matrix[1]


class Mapped:
    """A function of each element, or of whole rows that keeps their shape."""

    def __init__(self, tensor: Tensor, function: Callable[[F32], F32]) -> None:
        self.shape, self._tensor, self._function = tensor.shape, tensor, function

    def read(self, start: int, stop: int) -> F32:
        return self._function(self._tensor.read(start, stop))


class LowRank:
    """A matrix with the product of two narrow ones added to it: `tensor` + `scale` · b · a, as LoRA has it.

    `a` is of shape (rank, columns), `b` of (rows, rank).
    """

    def __init__(self, tensor: Tensor, a: F32, b: F32, scale: float) -> None:
        self.shape, self._tensor, self._a, self._b = tensor.shape, tensor, a * np.float32(scale), b

    def read(self, start: int, stop: int) -> F32:
        rows: F32 = self._tensor.read(start, stop) + self._b[start:stop] @ self._a
        return rows
