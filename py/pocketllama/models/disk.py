"""Every change that this package makes to the disk, in one place, with its failures as StorageError.

One seam: the tests put ENOSPC, EIO and EROFS into each of these functions.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from pocketllama.errors import StorageError
from pocketllama.units import human_size

TEMPORARY = ".pocketllama.tmp"  # ends the name of what only a crash leaves behind
MARGIN = 32 << 20  # bytes left free beside a download, for the file system's own needs

_WHY = {
    errno.ENOSPC: ("the disk is full", "free some space (pocketllama list, then rm) and pull again: it resumes"),
    errno.EROFS: ("the file system is read-only", "set HF_HOME and POCKETLLAMA_HOME to folders that can be written"),
    errno.EACCES: ("no permission", "set HF_HOME and POCKETLLAMA_HOME to folders that can be written"),
    errno.EIO: ("the disk reports an input/output error", "check the disk, then pull again: it resumes"),
    errno.ELOOP: ("a symbolic link stands where a file should be", "remove the link and pull again"),
}
_WHY[errno.EPERM] = _WHY[errno.EACCES]
if hasattr(errno, "EDQUOT"):
    _WHY[errno.EDQUOT] = ("the disk quota is used up", _WHY[errno.ENOSPC][1])


@contextmanager
def guard(doing: str, path: Path) -> Iterator[None]:
    """Turns an OSError inside into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        why, remedy = _WHY.get(error.errno or 0, (error.strerror or str(error), None))
        raise StorageError(
            f"cannot {doing} {path}: {why}", remedy=remedy, data={"path": str(path), "errno": error.errno}
        ) from error


def require_free(folder: Path, need: int, what: str) -> None:
    """StorageError unless `need` more bytes fit on the disk that holds `folder` (which may not exist yet)."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with guard("look at the disk of", folder):
        free = free_bytes(folder)
    if need > 0 and need + MARGIN > free:
        raise StorageError(
            f"{what} needs {human_size(need)} of disk, and {folder} has {human_size(max(0, free - MARGIN))} to spare",
            remedy="free some space, or set HF_HOME and POCKETLLAMA_HOME to folders on a larger disk",
            data={"needed": need, "free": free, "path": str(folder)},
        )


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def make_folder(folder: Path) -> None:
    with guard("make the folder", folder):
        folder.mkdir(parents=True, exist_ok=True)


def open_part(path: Path) -> int:
    """A file descriptor for a partial file: created if needed, never through a symbolic link."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    flags |= getattr(os, "O_CLOEXEC", 0)
    return os.open(path, flags, 0o666)


def write(fd: int, data: bytes) -> None:
    """All of `data`; one os.write may take less."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync(fd: int) -> None:
    os.fsync(fd)


def replace(source: Path, target: Path) -> None:
    """Renames over what may be there, and makes the folder's change last where a folder can be synced."""
    source.replace(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_small(path: Path, text: str, scratch: Path | None = None) -> None:
    """A small file as a whole or not at all: unique temporary file (in `scratch`, or beside it), fsync, rename."""
    temporary = (scratch or path.parent) / f"{path.name[:100]}.{uuid4().hex[:8]}{TEMPORARY}"
    with guard("write", path):
        try:
            fd = open_part(temporary)
            try:
                write(fd, text.encode())
                fsync(fd)
            finally:
                os.close(fd)
            replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
