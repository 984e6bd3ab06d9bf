"""One conversion: check everything that can be checked first, then stream tensor by tensor into the file."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelInvalid, UsageError
from ..gguf import FileType, GGMLType, TensorSpec, ValueType, Writer, check_space, check_target
from . import TYPES, Note, Plan, Progress
from .checkpoint import Checkpoint, Metadata, Packed, open_checkpoint
from .quantize import FORMATS, encode
from .tensor import CHUNK, F32, Tensor, n_rows, row_width

_QUANTIZATION_VERSION = 2  # of the block layouts, fixed since May 2023
_THREADS = min(8, os.cpu_count() or 1)
_AHEAD = 2 * _THREADS  # pieces of CHUNK elements that are under way at a time
# Small, and they decide much: which experts, where a token stands.
_STAYS_FLOAT = ("ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "norm.weight", "position_embd.weight", ".bias")


def run(
    source: Path,
    out: Path | None,
    type: str | None,
    lora: Sequence[Path],
    progress: Progress | None,
    note: Note | None,
    dry_run: bool,
) -> Plan:
    """See `convert` and `plan`."""
    if type is not None and type not in FORMATS:
        raise UsageError(f"{type!r} is no type to convert to.", remedy=f"Choose one of {', '.join(TYPES)}.")
    with open_checkpoint(source, lora) as checkpoint:
        kind, file_type = _types(checkpoint, type)
        path = _output(out, _file_name(checkpoint.name, file_type.name.lower()))
        specs = [
            TensorSpec(name, tensor.shape[::-1], _stored(kind, name, tensor))
            for name, tensor in checkpoint.tensors.items()
        ]
        writer = Writer(path, _metadata(checkpoint, file_type), specs)
        check_space(path, writer.nbytes)
        plan = _plan(checkpoint, path, specs, writer.nbytes)
        if dry_run:
            plan.seconds = _estimate(checkpoint, specs)
            return plan
        if note:
            for sentence in plan.notes:
                note(sentence)
        started = time.monotonic()
        with writer, ThreadPoolExecutor(_THREADS) as pool:
            done = writer.nbytes - sum(s.nbytes for s in specs)
            for spec in specs:
                tensor = checkpoint.tensors[spec.name]
                writer.write(_encoded(spec, tensor, pool, n_rows(tensor.shape)))
                done += spec.nbytes
                if progress:
                    progress(spec.name, done, writer.nbytes)
        plan.seconds = time.monotonic() - started
    return plan


def _types(checkpoint: Checkpoint, type: str | None) -> tuple[GGMLType | None, FileType]:
    """What matrices become (None: they stay as they are), and the file's number for it."""
    if packed := checkpoint.packed_type:
        if type is not None and FORMATS[type][1].name != packed:
            raise UsageError(f"The weights are in blocks of {packed} already, and stay so.", remedy="Leave --type out.")
        return None, FileType[packed]
    return FORMATS[type or checkpoint.default_type]


def _plan(checkpoint: Checkpoint, path: Path, specs: list[TensorSpec], nbytes: int) -> Plan:
    types: dict[str, tuple[int, int]] = {}
    parameters = 0
    for spec in specs:
        n, size = types.get(spec.type.name, (0, 0))
        types[spec.type.name] = n + 1, size + spec.nbytes
        parameters += int(np.prod(spec.shape, dtype=object))
    return Plan(
        path,
        checkpoint.architecture,
        parameters,
        types,
        nbytes,
        checkpoint.stored_type,
        checkpoint.packed_type,
        {key: value for key, (_, value) in checkpoint.metadata.items()}
        | {"general.architecture": checkpoint.architecture},
        specs,
        list(checkpoint.notes),
    )


def _estimate(checkpoint: Checkpoint, specs: list[TensorSpec]) -> float:
    """Seconds that the conversion would take, from one piece of the largest tensor; the disk may be slower."""
    largest = max(specs, key=lambda s: s.nbytes)
    tensor = checkpoint.tensors[largest.name]
    started = time.monotonic()
    with ThreadPoolExecutor(_THREADS) as pool:
        step = _step(tensor.shape)
        rows = min(n_rows(tensor.shape), step * _AHEAD)
        for piece in _encoded(largest, tensor, pool, rows):
            np.frombuffer(piece, np.uint8).sum()  # about what handing it to the system costs
    elements = sum(int(np.prod(s.shape, dtype=object)) for s in specs)
    return (time.monotonic() - started) * elements / max(1, rows * row_width(tensor.shape))


def _file_name(name: str, type: str) -> str:
    """NAME-TYPE.gguf; a file of 2023 often has its type in its name."""
    return f"{name if name.lower().endswith(f'-{type}') else f'{name}-{type}'}.gguf"


def _output(out: Path | None, name: str) -> Path:
    path = Path(name) if out is None else out / name if out.is_dir() else out
    check_target(path)
    return path


def _metadata(checkpoint: Checkpoint, file_type: FileType) -> Metadata:
    return {
        "general.architecture": (ValueType.STRING, checkpoint.architecture),
        "general.name": (ValueType.STRING, checkpoint.name),
        "general.file_type": (ValueType.UINT32, file_type),
        "general.quantization_version": (ValueType.UINT32, _QUANTIZATION_VERSION),
        **checkpoint.metadata,
    }


def _stored(kind: GGMLType | None, name: str, tensor: Tensor | Packed) -> GGMLType:
    """Vectors are small and decide much: they stay float32. Rows that no block divides become float16."""
    if isinstance(tensor, Packed):
        return tensor.type
    shape = tensor.shape
    if len(shape) == 1 or name.endswith(_STAYS_FLOAT):
        return GGMLType.F32
    if kind is None:
        return GGMLType.F16 if getattr(tensor, "dtype", "") == "f16" else GGMLType.F32
    return kind if shape[-1] % kind.block_size == 0 else GGMLType.F16


def _step(shape: tuple[int, ...]) -> int:
    return max(1, CHUNK // max(1, row_width(shape)))


def _encoded(spec: TensorSpec, tensor: Tensor | Packed, pool: ThreadPoolExecutor, rows: int) -> Iterator[Any]:
    try:
        yield from _pieces(spec, tensor, pool, rows)
    except ValueError:
        raise ModelInvalid(f"The tensor for {spec.name} holds NaN or infinity; the checkpoint is damaged.") from None
    except OverflowError:
        raise ModelInvalid(
            f"The tensor for {spec.name} holds numbers too large for {spec.type.name}.",
            remedy="Convert with type f32.",
        ) from None


def _pieces(spec: TensorSpec, tensor: Tensor | Packed, pool: ThreadPoolExecutor, rows: int) -> Iterator[Any]:
    """The first `rows` rows in the tensor's type: read one after the other, encoded by the pool, given in order."""
    step = _step(tensor.shape)
    waiting: deque[Future[Any]] = deque()
    for start in range(0, rows, step):
        stop = min(rows, start + step)
        if isinstance(tensor, Packed):
            yield tensor.read_packed(start, stop)
            continue
        waiting.append(pool.submit(_encode, spec.type, tensor.read(start, stop)))
        if len(waiting) >= _AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _encode(kind: GGMLType, rows: F32) -> memoryview[Any]:
    return np.ascontiguousarray(encode(kind, rows)).data
