"""The seam between where weights come from and what becomes of them.

A layout (`meta`, `hf`, `ggml`) opens a folder or a file as a `Checkpoint`: the metadata and the tensors as GGUF's
architecture has them, checked against each other. The writing (`job`) does not know the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from ..errors import ModelNotFound, UsageError
from ..gguf import ArrayOf, GGMLType, ValueType
from .tensor import Tensor

Metadata = dict[str, tuple[ValueType | ArrayOf, Any]]


@runtime_checkable
class Packed(Protocol):
    """A tensor whose numbers are in blocks already. `shape` is torch's."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def type(self) -> GGMLType: ...

    def read_packed(self, start: int, stop: int) -> bytes:
        """The rows from `start` up to `stop` in the blocks of `type`."""


class Checkpoint(Protocol):
    """An open checkpoint. A `with` closes it."""

    @property
    def name(self) -> str:
        """What to call the model."""

    @property
    def architecture(self) -> str:
        """GGUF's name of it: general.architecture."""

    @property
    def metadata(self) -> Metadata:
        """The architecture's and the tokenizer's keys, in the file's order."""

    @property
    def tensors(self) -> Mapping[str, Tensor | Packed]:
        """Under GGUF's names, in the file's order and in the layout that GGUF's architecture expects."""

    @property
    def default_type(self) -> str:
        """One of TYPES, where the user names none."""

    @property
    def stored_type(self) -> str:
        """Which of f32, f16 and bf16 holds all of its numbers."""

    @property
    def packed_type(self) -> str | None:
        """The name of the FileType where all matrices are in blocks already, and stay so."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know: a sentence for each thing that the file cannot say, or says otherwise."""

    def __enter__(self) -> Checkpoint: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


_KNOWN = (
    "Name a folder with config.json and safetensors (Hugging Face), one with params.json and consolidated.00.pth "
    "(Meta), or a GGML file of 2023."
)


def open_checkpoint(source: Path, lora: Sequence[Path] = ()) -> Checkpoint:
    """Open the checkpoint at `source`: a folder, a file in it, or a GGML file. The adapters at `lora` are added.

    ModelNotFound where there is none, UsageError where its layout cannot be converted.
    """
    from .ggml import GgmlCheckpoint, is_ggml
    from .hf import HfCheckpoint
    from .meta import MetaCheckpoint

    if not source.exists():
        raise ModelNotFound(f"There is no checkpoint at {source}.", remedy=_KNOWN)
    if source.is_file() and is_ggml(source):
        if lora:
            raise UsageError(
                "An adapter cannot be added to a GGML file, whose weights are rounded already.",
                remedy="Convert the original checkpoint with --lora.",
            )
        return GgmlCheckpoint(source)
    folder = source if source.is_dir() else source.parent
    # Meta's own folder may lie inside Hugging Face's (as original/), with some of its files beside config.json.
    if (folder / "config.json").exists() and not (folder / "consolidated.00.pth").exists():
        return HfCheckpoint(folder, lora)
    if (folder / "params.json").exists() or any(folder.glob("consolidated.*.pth")):
        return MetaCheckpoint(folder, lora)
    ggml = [p for p in sorted(folder.glob("*.bin")) if is_ggml(p)] if source.is_dir() else []
    if len(ggml) == 1 and not lora:
        return GgmlCheckpoint(ggml[0])
    if len(ggml) > 1:
        names = ", ".join(p.name for p in ggml[:5]) + (f" and {len(ggml) - 5} more" if len(ggml) > 5 else "")
        raise UsageError(f"{folder} holds several GGML files ({names}).", remedy="Name one of them.")
    if source.is_file() and _is_gguf(source):
        raise UsageError(f"{source} is a GGUF file already.", remedy="pocketllama quantize makes a smaller one of it.")
    if (folder / "adapter_config.json").is_file():
        raise UsageError(
            f"{folder} holds an adapter, not a model.",
            remedy=f"Name the model that it was trained on, and the adapter as --lora {folder}.",
        )
    what = f"{source} is" if source.is_file() else f"{folder} holds"
    raise ModelNotFound(f"{what} no checkpoint of a known layout.", remedy=_KNOWN)


def model_name(folder: Path) -> str:
    """What to call the model in a folder: the folder's name, or in huggingface_hub's cache the repository's."""
    path = folder.resolve()
    repository = path.parent.parent.name
    name = path.name
    if path.parent.name == "snapshots" and repository.startswith("models--"):
        name = repository.split("--")[-1]
    return name.encode(errors="replace").decode() or "model"


def stored_type(dtypes: Iterable[str]) -> str:
    """The smallest of f16, bf16 and f32 in which numbers of these types lose nothing."""
    found = {d for d in dtypes if d in ("f32", "f64", "f16", "bf16")}
    return found.pop() if len(found) == 1 and found <= {"f16", "bf16"} else "f32"


def _is_gguf(path: Path) -> bool:
    try:
        with path.open("rb") as f:
            return f.read(4) == b"GGUF"
    except OSError:
        return False
