"""Importance matrices: for each matrix of a model, the mean square of what its columns are multiplied by.

    the error of a product Σ (w[i] - w'[i]) * x[i] has the expected square Σ (w[i] - w'[i])² * mean(x[i]²)

so a column whose activations are large deserves the finer rounding. The files are GGUFs of the kind that
llama.cpp's `llama-imatrix` writes and reads: general.type "imatrix", and for each matrix NAME the tensors
NAME.in_sum2 (sums of squares, (columns, experts)) and NAME.counts (of tokens, (1, experts)). Its older files (.dat) are
read as well.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import gguf
from ..errors import ModelInvalid, ModelNotFound, StorageError
from ..gguf import ArrayOf, GGMLType, TensorSpec, ValueType

_MOST_ENTRIES, _MOST_NAME, _MOST_VALUES = 1 << 16, 1 << 12, 1 << 28


@dataclass(frozen=True)
class Sums:
    """Of one matrix, or of all experts' that lie in one tensor: `squares` (experts × columns), `counts` (experts)."""

    squares: array[float]
    counts: array[float]

    def mean(self, expert: int, columns: int) -> array[float] | None:
        """Of one expert's columns; None if it was never used. ModelInvalid if that does not fit."""
        experts = len(self.counts)
        if len(self.squares) != experts * columns or not 0 <= expert < experts:
            raise ModelInvalid(
                f"it has {len(self.squares)} columns of {experts} matrices, not {columns} of at least {expert + 1}"
            )
        count = self.counts[expert]
        if count <= 0:
            return None
        return array("f", (s / count for s in self.squares[expert * columns : (expert + 1) * columns]))


@dataclass(frozen=True)
class Importance:
    """What was found of a whole model: by the names of its matrices."""

    name: str  # of the file
    sums: Mapping[str, Sums]
    chunks: int = 0  # texts that were evaluated
    chunk_size: int = 0  # tokens in each
    datasets: Sequence[str] = field(default_factory=tuple)

    def of(self, tensor: str, expert: int, columns: int) -> array[float] | None:
        """The importance of each column; None where nothing is known of it."""
        if tensor not in self.sums:
            return None
        try:
            return self.sums[tensor].mean(expert, columns)
        except ModelInvalid as e:
            raise ModelInvalid(
                f"{self.name} is of another model: for {tensor} {e}.", remedy="pocketllama imatrix makes one."
            ) from None


def read(path: Path | str) -> Importance:
    """The importance matrix in the file at `path`. ModelNotFound, ModelInvalid, StorageError."""
    path = Path(path)
    try:
        with path.open("rb") as f:
            magic = f.read(4)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
        raise ModelNotFound(f"There is no importance matrix at {path}.", remedy="pocketllama imatrix makes one.") from e
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    return _read_gguf(path) if magic == b"GGUF" else _read_old(path)


def _read_gguf(path: Path) -> Importance:
    with gguf.read(path) as file:
        if file.metadata.get("general.type") != "imatrix":
            raise ModelInvalid(
                f"{path.name} is a model, and no importance matrix.", remedy="pocketllama imatrix makes one."
            )
        tensors = {t.name: t for t in file.tensors}
        sums: dict[str, Sums] = {}
        for name, tensor in tensors.items():
            matrix = name.removesuffix(".in_sum2")
            counts = tensors.get(f"{matrix}.counts")
            if matrix == name or counts is None:
                continue
            if tensor.type != GGMLType.F32 or counts.type != GGMLType.F32:
                raise ModelInvalid(f"{path.name} is damaged: {name} is not of float32.")
            sums[matrix] = Sums(_floats(file.tensor_bytes(tensor)), _floats(file.tensor_bytes(counts)))
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


def _read_old(path: Path) -> Importance:
    """n, then for each: length and bytes of its name, calls, number of values, float32 means times calls; then, in
    newer ones, the number of chunks and the dataset's name."""
    data = path.read_bytes()
    at = 0

    def number(what: str, most: int) -> int:
        nonlocal at
        if len(data) - at < 4:
            raise ModelInvalid(f"{path.name} is no importance matrix: it ends where {what} should be, at byte {at}.")
        value: int = struct.unpack_from("<i", data, at)[0]
        if not 0 <= value <= most:
            raise ModelInvalid(f"{path.name} is no importance matrix: {what} at byte {at} is {value}.")
        at += 4
        return value

    def take(what: str, n: int) -> bytes:
        nonlocal at
        if len(data) - at < n:
            raise ModelInvalid(f"{path.name} is damaged: {what} at byte {at} should have {n} bytes.")
        at += n
        return data[at - n : at]

    sums: dict[str, Sums] = {}
    for _ in range(number("the number of entries", _MOST_ENTRIES)):
        name = take("a name", number("a name's length", _MOST_NAME)).decode(errors="replace")
        calls = number("the number of calls", 2**31 - 1)
        values = number("the number of values", _MOST_VALUES)
        sums[name] = Sums(_floats(take(f"what is known of {name}", 4 * values)), array("f", [float(calls)]))
    chunks, dataset = 0, ""
    if len(data) - at >= 8:
        chunks = number("the number of chunks", 2**31 - 1)
        dataset = take("the dataset's name", number("its length", _MOST_NAME)).decode(errors="replace")
    return Importance(path.name, sums, chunks, 0, (dataset,) if dataset else ())


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
