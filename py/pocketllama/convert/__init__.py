"""Checkpoints into GGUF: Meta's layout of LLaMA with a sentencepiece tokenizer.

Nothing here runs when a model runs; it needs NumPy, the extra `convert`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import EngineError

# What a checkpoint can be converted to.
TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0")

# Called after each tensor with its name, and the bytes written so far and in all.
Progress = Callable[[str, int, int], None]


def convert(
    source: Path | str,
    out: Path | str | None = None,
    *,
    type: str = "q8_0",
    progress: Progress | None = None,
    dry_run: bool = False,
) -> Path:
    """Make a GGUF file of the checkpoint in the folder `source`, and return its path.

    `out` is the file, or a folder for it; the default is NAME-TYPE.gguf in the current folder, NAME being the source
    folder's. `type` is one of TYPES; vectors, and matrices whose rows do not fit its blocks, keep F32 and F16. The same
    checkpoint gives the same bytes. With `dry_run` all is checked but the numbers, and nothing is written.

    Raises ModelNotFound, ModelInvalid or UnsafeFile about the checkpoint, UsageError about the arguments, StorageError
    about the disk, EngineError without NumPy. Whatever stops it leaves nothing behind.
    """
    try:
        import numpy as np  # noqa: F401
    except ImportError as e:
        raise EngineError(
            "Converting a checkpoint needs NumPy, which is not installed.",
            remedy="pip install 'pocketllama[convert]'",
        ) from e
    from .job import run

    return run(Path(source), None if out is None else Path(out), type, progress, dry_run)


__all__ = ["TYPES", "Progress", "convert"]
