"""One quantization: decide everything first, then stream the tensors into the new file."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from .. import gguf
from ..engine import cpu
from ..engine.requantize import Requantizer
from ..errors import ModelInvalid, UsageError
from ..gguf import ArrayOf, GGMLType, TensorSpec, ValueType
from . import importance as importance_files
from .importance import Importance
from .mixes import Mix, find_mix
from .plan import Choice, Rule, is_matrix, plan

# Called after each piece with the tensor's name, and the bytes of the source that are done and all of them.
Progress = Callable[[str, int, int], None]

_PIECE = 16 << 20  # bytes of the source worked on at a time
_SAMPLE = (256, 512)  # rows and columns that an estimate is made from; every type's blocks divide them
_QUANTIZATION_VERSION = 2  # of the block layouts, fixed since May 2023
# What holds for the parts of a split file, and not for the one file that is written.
_OF_PARTS = ("split.no", "split.count", "split.tensors.count")
# Types that have lost what no other type can give back.
_COARSE = frozenset(GGMLType) - {GGMLType.F32, GGMLType.F16, GGMLType.BF16, GGMLType.Q8_0, GGMLType.F64}


@dataclass(frozen=True)
class Result:
    """What was made, or would be."""

    path: Path
    mix: Mix
    source_bytes: int
    bytes: int
    choices: Sequence[Choice]
    without_importance: Sequence[str]  # matrices of which the importance matrix knows nothing
    seconds: float

    @property
    def weights(self) -> int:
        return sum(choice.tensor.n_elements for choice in self.choices)

    def by_type(self) -> dict[str, int]:
        """Type → matrices that have it, the most frequent first."""
        counts: dict[str, int] = {}
        for choice in self.choices:
            if len(choice.tensor.shape) > 1:
                counts[choice.type.name] = counts.get(choice.type.name, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def as_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "type": self.mix.name,
            "source_bytes": self.source_bytes,
            "bytes": self.bytes,
            "bits_per_weight": 8 * self.bytes / self.weights,
            "tensors": {c.tensor.name: c.type.name for c in self.choices},
            "fallbacks": {c.tensor.name: [c.wanted.name, c.type.name] for c in self.choices if c.fell_back},
            "without_importance": list(self.without_importance),
            "seconds": self.seconds,
        }


def quantize(
    files: Sequence[Path | str] | Path | str,
    out: Path | str,
    type: str,
    *,
    importance: Path | str | None = None,
    rules: Sequence[Rule] = (),
    pure: bool = False,
    again: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> Result:
    """Make `out`, a GGUF file of the mix called `type`, of the GGUF in `files` (one, or the parts of a split one).

    `importance` is a file of `pocketllama imatrix`; `rules` go before the mix, `pure` makes all matrices its one type.
    What has been quantized to less than eight bits is quantized once more only with `again`: each time costs quality.
    With `dry_run` everything is decided and nothing is written.

    Raises UsageError, ModelNotFound, ModelInvalid, StorageError, EngineError (our own library is needed). Whatever
    stops it leaves nothing behind. The same source gives the same bytes on any machine, with any number of threads.
    """
    begin = time.monotonic()
    mix, out = find_mix(type), Path(out)
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    threads = cpu.default_threads() if threads is None else threads
    if not 1 <= threads <= 1024:
        raise UsageError(f"There may be 1 to 1024 threads, not {threads}.")
    known = importance_files.read(importance) if importance is not None else None
    gguf.check_target(out)
    if out.exists() and any(out.samefile(path) for path in paths if path.exists()):
        raise UsageError(f"{out} is the source itself.", remedy="Give the new file another name.")
    with ExitStack() as stack:
        parts = [stack.enter_context(gguf.read(path)) for path in paths]
        tensors = [(part, tensor) for part in parts for tensor in part.tensors]
        if not any(is_matrix(tensor) for _, tensor in tensors):
            raise ModelInvalid(f"{paths[0].name} has no matrices that could be quantized.")
        choices = plan(
            parts[0].metadata, [t for _, t in tensors], mix, pure=pure, rules=rules, important=known is not None
        )
        _check_source(paths[0], choices, again)
        specs = [TensorSpec(c.tensor.name, c.tensor.shape, c.type) for c in choices]
        writer = gguf.Writer(out, _metadata(parts[0].metadata, mix, known), specs)
        changed = [c.tensor.name for c in choices if _changes(c)]
        unknown = [name for name in changed if known and name not in known.sums]
        if known and changed and len(unknown) == len(changed):
            raise known.of_another_model(f"it knows {_quoted(known.sums)}, and none of {_quoted(changed)}")
        if not dry_run:
            gguf.check_space(out, writer.nbytes)
            work = _Work(Requantizer(threads), known, progress, sum(t.nbytes for _, t in tensors))
            with writer:
                for (part, _), choice in zip(tensors, choices, strict=True):
                    writer.write(work.pieces(part, choice))
        size = sum(part.file_size for part in parts)
    return Result(out, mix, size, writer.nbytes, choices, unknown, time.monotonic() - begin)


def estimate(choices: Iterable[Choice], threads: int | None = None) -> float:
    """About how many seconds the numbers of these tensors take, from a small sample of each type; the disk not counted.

    EngineError (our own library is needed)."""
    work: dict[GGMLType, int] = {}
    for choice in choices:
        if _changes(choice):
            work[choice.type] = work.get(choice.type, 0) + choice.tensor.n_elements
    requantize = Requantizer(cpu.default_threads() if threads is None else threads)
    random = Random(1)
    sample = array("f", (random.gauss(0.0, 1.0) for _ in range(_SAMPLE[0] * _SAMPLE[1]))).tobytes()
    seconds = 0.0
    for kind, n in work.items():
        begin = time.monotonic()
        requantize(sample, GGMLType.F32, kind, _SAMPLE[1])
        seconds += (time.monotonic() - begin) * n / (_SAMPLE[0] * _SAMPLE[1])
    return seconds


def _quoted(names: Iterable[str]) -> str:
    """The first of them, and that there are more."""
    first, *more = names
    return f"{first!r:.80}{', …' if more else ''}"


def _changes(choice: Choice) -> bool:
    return choice.type != choice.tensor.type


def _check_source(path: Path, choices: Sequence[Choice], again: bool) -> None:
    coarse = sorted({c.tensor.type.name for c in choices if _changes(c) and c.tensor.type in _COARSE})
    if coarse and not again:
        raise UsageError(
            f"{path.name} is quantized already (it has {', '.join(coarse)}); once more would lose more than it need.",
            remedy="Start from the F16, BF16, F32 or Q8_0 file of the model, or say --again.",
        )


def _metadata(source: gguf.Metadata, mix: Mix, known: Importance | None) -> dict[str, tuple[Any, Any]]:
    """The source's keys, in their order, with what has changed."""
    u32 = ValueType.UINT32
    changed: dict[str, tuple[Any, Any]] = {
        "general.file_type": (u32, mix.file_type),
        "general.quantization_version": (u32, _QUANTIZATION_VERSION),
    }
    if known is not None:
        changed |= {
            "quantize.imatrix.file": (ValueType.STRING, known.name),
            "quantize.imatrix.dataset": (ValueType.STRING, ", ".join(known.datasets)),
            "quantize.imatrix.entries_count": (u32, len(known.sums)),
            "quantize.imatrix.chunks_count": (u32, known.chunks),
        }
    kept: dict[str, tuple[Any, Any]] = {}
    for key in source:
        if key in _OF_PARTS or key.startswith("quantize.imatrix."):
            continue
        kept[key] = (_stored_type(source, key), source[key])
    return kept | changed


def _stored_type(source: gguf.Metadata, key: str) -> ValueType | ArrayOf:
    kind = source.type_of(key)
    if kind != ValueType.ARRAY:
        return kind
    if source.entry_type(key) == ValueType.ARRAY:
        raise ModelInvalid(f"The key {key!r:.80} is an array of arrays, which no model needs; it cannot be copied.")
    return ArrayOf(source.entry_type(key))


class _Work:
    """The tensors' new bytes, piece by piece."""

    def __init__(
        self, requantize: Requantizer, known: Importance | None, progress: Progress | None, total: int
    ) -> None:
        self._requantize, self._known = requantize, known
        self._progress, self._done, self._total = progress, 0, total

    def pieces(self, part: gguf.GGUF, choice: Choice) -> Iterator[memoryview]:
        tensor = choice.tensor
        data = part.tensor_bytes(tensor)
        cols, rows = tensor.shape[0], tensor.shape[1] if len(tensor.shape) > 1 else 1
        row = tensor.type.nbytes(cols)
        matrices = len(data) // (rows * row)
        for i in range(matrices):
            matrix = data[i * rows * row : (i + 1) * rows * row]
            weights = self._known.of(tensor.name, i, matrices, cols) if self._known and _changes(choice) else None
            step = max(1, _PIECE // row) * row
            for at in range(0, len(matrix), step):
                piece = matrix[at : at + step]
                yield self._one(piece, choice, cols, weights)
                self._done += len(piece)
                if self._progress:
                    self._progress(tensor.name, self._done, self._total)

    def _one(self, piece: memoryview, choice: Choice, cols: int, weights: Any) -> memoryview:
        if not _changes(choice):
            return piece
        try:
            return self._requantize(piece, choice.tensor.type, choice.type, cols, weights)
        except ModelInvalid as e:
            raise ModelInvalid(f"The tensor {choice.tensor.name} cannot become {choice.type.name}: {e}") from e
