"""Where a model's file is to be written, looked at before hours of work go into it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import StorageError, UsageError
from ..units import human_size
from .types import MAGIC


def check_target(path: Path) -> None:
    """StorageError if there is no folder for it; UsageError if something else than a model is there already.

    Only a model may be replaced: a mistyped argument must not cost a checkpoint, or a text.
    """
    if not path.parent.is_dir():
        raise StorageError(f"There is no folder {path.parent} to write to.", remedy="Make it, or choose another.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", remedy=f"Name the file too, such as {path / 'model.gguf'}.")
    if not path.exists():
        return
    try:
        with path.open("rb") as f:
            magic = f.read(4)
    except OSError as e:
        raise StorageError(f"{path} cannot be replaced: {e.strerror or e}.") from e
    if magic not in (MAGIC, b""):
        raise UsageError(f"{path} is there and is no GGUF file; it is not overwritten.", remedy="Choose another name.")


def check_space(path: Path, need: int) -> None:
    """StorageError if the disk that is to hold `path` has no `need` bytes left."""
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise StorageError(
            f"{path.name} needs {human_size(need)}, and {human_size(free)} are free in {path.parent}.",
            remedy=f"Free {human_size(need - free)}, or choose another folder.",
            data={"need_bytes": need, "free_bytes": free},
        )
