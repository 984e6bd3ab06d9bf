"""One conversion: check everything that can be checked first, then stream tensor by tensor into the file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import ModelInvalid, StorageError, UsageError
from ..gguf import GGMLType, TensorSpec, ValueType, Writer
from ..units import human_size
from . import TYPES, Progress
from .architectures import ARCHITECTURES, Metadata, tokenizer_metadata
from .checkpoint import Checkpoint, Tensor, open_checkpoint
from .quantize import FORMATS, encode

_QUANTIZATION_VERSION = 2  # of the block layouts, fixed since May 2023


def run(source: Path, out: Path | None, type: str, progress: Progress | None, dry_run: bool) -> Path:
    """See `convert`."""
    if type not in FORMATS:
        raise UsageError(f"{type!r} is no type to convert to.", remedy=f"Choose one of {', '.join(TYPES)}.")
    with open_checkpoint(source) as checkpoint:
        path = _output(out, f"{checkpoint.name}-{type}.gguf")
        specs = _specs(checkpoint, FORMATS[type][0])
        writer = Writer(path, _metadata(checkpoint, type), specs)
        _check_space(path, writer.nbytes)
        if not dry_run:
            with writer:
                done = writer.nbytes - sum(s.nbytes for s in specs)
                for spec in specs:
                    writer.write(_encoded(spec, checkpoint.tensors[spec.name]))
                    done += spec.nbytes
                    if progress:
                        progress(spec.name, done, writer.nbytes)
    return path


def _output(out: Path | None, name: str) -> Path:
    path = Path(name) if out is None else out / name if out.is_dir() else out
    if not path.parent.is_dir():
        raise StorageError(f"There is no folder {path.parent} to write to.", remedy="Make it, or choose another.")
    if path.exists():
        # Only a model may be replaced: a mistyped argument must not cost a checkpoint, or a text.
        try:
            with path.open("rb") as f:
                magic = f.read(4)
        except OSError as e:
            raise StorageError(f"{path} cannot be replaced: {e.strerror or e}.") from e
        if magic not in (b"GGUF", b""):
            raise UsageError(
                f"{path} is there and is no GGUF file; it is not overwritten.", remedy="Choose another name."
            )
    return path


def _check_space(path: Path, need: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise StorageError(
            f"{path.name} needs {human_size(need)}, and {human_size(free)} are free in {path.parent}.",
            remedy=f"Free {human_size(need - free)}, or choose another folder.",
            data={"need_bytes": need, "free_bytes": free},
        )


def _metadata(checkpoint: Checkpoint, type: str) -> Metadata:
    metadata: Metadata = {
        "general.architecture": (ValueType.STRING, checkpoint.architecture),
        "general.name": (ValueType.STRING, checkpoint.name),
        "general.file_type": (ValueType.UINT32, FORMATS[type][1]),
        "general.quantization_version": (ValueType.UINT32, _QUANTIZATION_VERSION),
    }
    h = checkpoint.hyperparameters
    metadata |= ARCHITECTURES[checkpoint.architecture].metadata(h)
    return metadata | tokenizer_metadata(checkpoint.vocabulary, h.n_vocab)


def _specs(checkpoint: Checkpoint, kind: GGMLType) -> list[TensorSpec]:
    """The tensors to write. ModelInvalid where the checkpoint's are not those of its architecture."""
    expected = ARCHITECTURES[checkpoint.architecture].tensors(checkpoint.hyperparameters)
    found = checkpoint.tensors
    for name, shape in expected.items():
        if name not in found:
            raise ModelInvalid(f"The checkpoint has no tensor for {name}; {len(expected)} are needed.")
        if found[name].shape != shape:
            raise ModelInvalid(f"The tensor for {name} should have the shape {shape}, found {found[name].shape}.")
    if extra := sorted(set(found) - set(expected)):
        raise ModelInvalid(f"The checkpoint has a tensor for {extra[0]}, which its architecture has not.")
    return [TensorSpec(name, shape[::-1], _stored(kind, shape)) for name, shape in expected.items()]


def _stored(kind: GGMLType, shape: tuple[int, ...]) -> GGMLType:
    """Vectors (norms) are small and decide much: they stay float32. Rows that no block divides become float16."""
    if len(shape) == 1:
        return GGMLType.F32
    return kind if shape[-1] % kind.block_size == 0 else GGMLType.F16


def _encoded(spec: TensorSpec, tensor: Tensor) -> Iterator[memoryview]:
    for rows in tensor.rows():
        try:
            yield np.ascontiguousarray(encode(spec.type, rows)).data
        except ValueError:
            raise ModelInvalid(
                f"The tensor for {spec.name} holds NaN or infinity; the checkpoint is damaged."
            ) from None
        except OverflowError:
            raise ModelInvalid(
                f"The tensor for {spec.name} holds numbers too large for {spec.type.name}.",
                remedy="Convert with type f32.",
            ) from None
