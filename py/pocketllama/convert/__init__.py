"""Checkpoints into GGUF: Hugging Face's layout, Meta's, and the GGML files of 2023.

Nothing here runs when a model runs; it needs NumPy, the extra `convert`. From the ground up: `tensor` (rows to be
read), `safetensors`, `pth` and `ggml_file` (where they lie), `families` (what each architecture calls its tensors and
keys), `tokenizer` and its neighbours, `meta`, `hf` and `ggml` (a layout each), `job` (the writing).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EngineError, StorageError
from ..gguf import TensorSpec

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
# What a checkpoint can be converted to.
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")

# Called after each tensor with its name, and the bytes written so far and in all.
Progress = Callable[[str, int, int], None]
# Called with a sentence, before the work begins: what the file cannot say, or says otherwise than the checkpoint.
Note = Callable[[str], None]


@dataclass
class Plan:
    """What a conversion makes: `types` has the number of tensors and their bytes for each type of GGUF."""

    path: Path
    architecture: str
    parameters: int
    types: dict[str, tuple[int, int]]
    nbytes: int  # of the whole file
    stored_type: str  # the smallest of f16, bf16 and f32 that holds the checkpoint's numbers
    packed_type: str | None = None  # the name of the blocks that the matrices are in already, and stay in
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tensors: Sequence[TensorSpec] = ()
    notes: list[str] = field(default_factory=list)
    seconds: float | None = None  # it took, or would take by a measurement of its largest tensor


def convert(
    source: Path | str,
    out: Path | str | None = None,
    *,
    type: str | None = None,
    lora: Sequence[Path | str] = (),
    progress: Progress | None = None,
    note: Note | None = None,
    dry_run: bool = False,
) -> Path:
    """Make a GGUF file of the checkpoint at `source`, and return its path.

    `source` is a folder in Hugging Face's or Meta's layout, a file in one, or a GGML file of 2023. `out` is the file,
    or a folder for it; the default is NAME-TYPE.gguf in the current folder, NAME being the source folder's. `type` is
    one of TYPES (q8_0; what is in blocks already stays so); vectors, and matrices whose rows do not fit its blocks,
    keep F32 and F16. All matrices get the same type here: the command's `--type q4_0` is `quantize`'s mixture of that
    name. `lora` are folders of PEFT's adapters, whose products are added to the weights. `note` is called with each
    sentence that the user should know. The same checkpoint gives the same bytes. With `dry_run` all is
    checked but the numbers, and nothing is written.

    Raises ModelNotFound, ModelInvalid or UnsafeFile about the checkpoint, UsageError about the arguments, StorageError
    about the disk, EngineError without NumPy. Whatever stops it leaves nothing behind.
    """
    return _run(source, out, type, lora, progress, note, dry_run).path


def plan(
    source: Path | str,
    out: Path | str | None = None,
    *,
    type: str | None = None,
    lora: Sequence[Path | str] = (),
) -> Plan:
    """What `convert` with these arguments would write, how large it would be, and about how long it would take."""
    return _run(source, out, type, lora, None, None, True)


def _run(
    source: Path | str,
    out: Path | str | None,
    type: str | None,
    lora: Sequence[Path | str],
    progress: Progress | None,
    note: Note | None,
    dry_run: bool,
) -> Plan:
    try:
        import numpy as np  # noqa: F401
    except ImportError as e:
        raise EngineError(
            "Converting a checkpoint needs NumPy, which is not installed.",
            remedy="pip install 'pocketllama[convert]'",
        ) from e
    from .job import run

    if out is not None and str(out).endswith(_SEPARATORS) and not Path(out).is_dir():
        raise StorageError(f"There is no folder {out} to write to.", remedy="Make it, or choose another.")
    adapters = [Path(path) for path in lora]
    return run(Path(source), None if out is None else Path(out), type, adapters, progress, note, dry_run)


__all__ = ["TYPES", "Note", "Plan", "Progress", "convert", "plan"]
