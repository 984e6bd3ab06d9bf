"""Importance matrices: for each matrix of a model, the mean square of what its columns are multiplied by.

    the error of a product Σ (w[i] - w'[i]) * x[i] has the expected square Σ (w[i] - w'[i])² * mean(x[i]²)

so a column whose activations are large deserves the finer rounding. The files are GGUFs of the kind that
llama.cpp's `llama-imatrix` writes and reads: general.type "imatrix", and for each matrix NAME the tensors
NAME.in_sum2 (sums of squares, (columns, experts)) and NAME.counts (of tokens, (1, experts); one for all where all
matrices of a tensor see every token). Its older files (.dat), of means and one count for each tensor, are read as well.
"""

from __future__ import annotations

import math
import os
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from .. import gguf
from ..errors import ModelInvalid, ModelNotFound, StorageError
from ..gguf import ArrayOf, GGMLType, TensorSpec, ValueType

_SUFFIXES = (".in_sum2", ".counts")
_MOST_ENTRIES, _MOST_NAME, _MOST_VALUES = 1 << 16, 1 << 12, 1 << 28  # in older files


@dataclass(frozen=True)
class Sums:
    """Of the matrices in one tensor, several where they are experts': `squares` (matrices × columns), and `counts`
    (matrices), or a single one that holds for all."""

    squares: array[float]
    counts: array[float]

    def mean(self, matrix: int, matrices: int, columns: int) -> array[float] | None:
        """Of one matrix' columns; None if it was never used. ModelInvalid if the tensor is of another shape."""
        if len(self.squares) != matrices * columns or len(self.counts) not in (1, matrices):
            raise ModelInvalid(
                f"it has {len(self.squares)} columns and {len(self.counts)} counts, not {matrices} × {columns}"
            )
        count = self.counts[matrix if len(self.counts) > 1 else 0]
        if count <= 0:
            return None
        return array("f", (s / count for s in self.squares[matrix * columns : (matrix + 1) * columns]))


@dataclass(frozen=True)
class Importance:
    """What was found of a whole model: by the names of its matrices."""

    name: str  # of the file
    sums: Mapping[str, Sums]
    chunks: int = 0  # texts that were evaluated
    chunk_size: int = 0  # tokens in each
    datasets: Sequence[str] = field(default_factory=tuple)

    def of(self, tensor: str, matrix: int, matrices: int, columns: int) -> array[float] | None:
        """The importance of each column of one of the `matrices` in a tensor; None where nothing is known of it."""
        if tensor not in self.sums:
            return None
        try:
            return self.sums[tensor].mean(matrix, matrices, columns)
        except ModelInvalid as e:
            raise self.of_another_model(f"for {tensor} {e}") from None

    def of_another_model(self, why: str) -> ModelInvalid:
        return ModelInvalid(f"{self.name} is of another model: {why}.", remedy="pocketllama imatrix makes one.")


def read(path: Path | str) -> Importance:
    """The importance matrix in the file at `path`, its numbers checked. ModelNotFound, ModelInvalid, StorageError."""
    path = Path(path)
    try:
        with path.open("rb") as f:
            old = None if f.read(4) == b"GGUF" else _Old(path.name, f).read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
        raise ModelNotFound(f"There is no importance matrix at {path}.", remedy="pocketllama imatrix makes one.") from e
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    found = old or _read_gguf(path)
    if not found.sums:
        raise ModelInvalid(f"{path.name} is an importance matrix of nothing.", remedy="pocketllama imatrix makes one.")
    for name, sums in found.sums.items():
        for numbers in (sums.squares, sums.counts):
            # A sum of finite numbers is finite, and is none as soon as one of them is not.
            if not numbers or not math.isfinite(sum(numbers)) or min(numbers) < 0:
                raise ModelInvalid(f"{path.name} is damaged: what it says of {name!r:.80} are not means of squares.")
    return found


def _read_gguf(path: Path) -> Importance:
    with gguf.read(path) as file:
        if file.metadata.get("general.type") != "imatrix":
            raise ModelInvalid(
                f"{path.name} is a model, and no importance matrix.", remedy="pocketllama imatrix makes one."
            )
        tensors = {t.name: t for t in file.tensors}
        sums: dict[str, Sums] = {}
        for name in sorted({t.removesuffix(s) for t in tensors for s in _SUFFIXES if t.endswith(s)}):
            squares, counts = (tensors.get(name + suffix) for suffix in _SUFFIXES)
            if squares is None or counts is None or (squares.type, counts.type) != (GGMLType.F32, GGMLType.F32):
                raise ModelInvalid(f"{path.name} is damaged: {name!r:.80} lacks sums or counts of float32.")
            sums[name] = Sums(_floats(file.tensor_bytes(squares)), _floats(file.tensor_bytes(counts)))
        chunks, size = file.metadata.get("imatrix.chunk_count", 0), file.metadata.get("imatrix.chunk_size", 0)
        datasets = file.metadata.get("imatrix.datasets", [])
    return Importance(
        path.name,
        sums,
        chunks if isinstance(chunks, int) else 0,
        size if isinstance(size, int) else 0,
        tuple(d for d in datasets if isinstance(d, str)) if isinstance(datasets, list) else (),
    )


def _floats(data: memoryview | bytes) -> array[float]:
    out = array("f")
    out.frombytes(data)
    return out


class _Old:
    """n, then for each: length and bytes of its name, calls, number of values, float32 means times calls; then, in
    newer ones, the number of chunks and the dataset's name. All numbers are int32."""

    def __init__(self, name: str, file: BufferedReader) -> None:
        self._name, self._file = name, file
        self._left = os.fstat(file.fileno()).st_size
        file.seek(0)

    def _take(self, what: str, n: int) -> bytes:
        data = self._file.read(n) if n <= self._left else b""
        if len(data) != n:
            raise ModelInvalid(f"{self._name} is no importance matrix: it ends where {what} should be.")
        self._left -= n
        return data

    def _number(self, what: str, most: int = 2**31 - 1) -> int:
        value: int = struct.unpack("<i", self._take(what, 4))[0]
        if not 0 <= value <= most:
            raise ModelInvalid(f"{self._name} is no importance matrix: {what} is {value}.")
        return value

    def _text(self, what: str) -> str:
        return self._take(what, self._number(f"the length of {what}", _MOST_NAME)).decode(errors="replace")

    def read(self) -> Importance:
        sums: dict[str, Sums] = {}
        for _ in range(self._number("the number of entries", _MOST_ENTRIES)):
            name = self._text("a name")
            calls = self._number("the number of calls")
            values = self._number("the number of values", _MOST_VALUES)
            # Without a call the values are taken as they are.
            sums[name] = Sums(_floats(self._take("a value", 4 * values)), array("f", [float(calls or 1)]))
        chunks, dataset = 0, ""
        if self._left:
            chunks, dataset = self._number("the number of chunks"), self._text("the dataset's name")
        return Importance(self._name, sums, chunks, 0, (dataset,) if dataset else ())


def write(path: Path, importance: Importance) -> None:
    """The file at `path`, which appears when it is whole."""
    u32 = ValueType.UINT32
    metadata: dict[str, tuple[Any, Any]] = {
        "general.type": (ValueType.STRING, "imatrix"),
        "imatrix.datasets": (ArrayOf(ValueType.STRING), list(importance.datasets)),
        "imatrix.chunk_count": (u32, importance.chunks),
        "imatrix.chunk_size": (u32, importance.chunk_size),
    }
    specs: list[TensorSpec] = []
    data: list[bytes] = []
    for name, sums in sorted(importance.sums.items()):
        experts = len(sums.counts)
        columns = len(sums.squares) // experts
        specs.append(TensorSpec(f"{name}.in_sum2", (columns, experts), GGMLType.F32))
        specs.append(TensorSpec(f"{name}.counts", (1, experts), GGMLType.F32))
        data += [sums.squares.tobytes(), sums.counts.tobytes()]
    with gguf.Writer(path, metadata, specs) as out:
        for each in data:
            out.write(each)
