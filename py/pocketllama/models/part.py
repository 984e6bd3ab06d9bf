"""A partial download on disk: its bytes, their running hash, and the moment it becomes the file.

The caller holds a lock on the file to be; nothing here is visible under the final name before `commit`.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from pocketllama.errors import DownloadCorrupt, ModelInvalid, StorageError
from pocketllama.models import disk

_CHUNK = 1 << 20

# The first four bytes of what may be downloaded. The last three are GGML's files of 2023 (little-endian magics).
GGUF_MAGIC = b"GGUF"
GGML_MAGICS = (b"lmgg", b"fmgg", b"tjgg")


@dataclass(frozen=True)
class Digest:
    """What a file's content must hash to: sha256 in hex, or git's name of a blob (sha1 over a header and the bytes)."""

    kind: Literal["sha256", "git"]
    hex: str


class Hash:
    """sha256 over a growing file, and git's blob hash beside it where that is what was promised."""

    def __init__(self, digest: Digest | None, size: int | None) -> None:
        self._digest = digest
        self._sha256 = hashlib.sha256()
        self._git = None
        if digest is not None and digest.kind == "git":
            # Not for security: it is the only name that the hub has for a file outside its large-file store.
            self._git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)

    def update(self, data: bytes) -> None:
        self._sha256.update(data)
        if self._git is not None:
            self._git.update(data)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    def agrees(self) -> bool:
        """Whether the bytes are the promised ones; True where nothing was promised."""
        if self._digest is None:
            return True
        return (self._git.hexdigest() if self._git is not None else self.sha256) == self._digest.hex


class Part:
    """The `.incomplete` file, opened: `offset` bytes of it are here and hashed."""

    def __init__(self, path: Path, what: str, digest: Digest | None, size: int | None) -> None:
        self.path = path
        self._what = what
        self._digest, self._size = digest, size
        self.offset = 0
        self.hash = Hash(digest, size)
        self._head = b""
        with disk.guard("open", path):
            self._fd = disk.open_part(path)
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.close(self._fd)
                raise StorageError(f"{path} is no plain file", remedy="remove it and pull again")

    def __enter__(self) -> Part:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._fd < 0:
            return
        empty = os.fstat(self._fd).st_size == 0
        os.close(self._fd)
        self._fd = -1
        if empty:  # nothing to resume from
            with suppress(OSError):
                self.path.unlink()

    def there(self) -> int:
        """Bytes that an earlier try left, hashed or not."""
        with disk.guard("read", self.path):
            return os.fstat(self._fd).st_size

    def take(self) -> bool:
        """Hashes the next bytes that an earlier try left; False where there are no more."""
        with disk.guard("read", self.path):
            data = os.read(self._fd, _CHUNK)
        if data:
            self._count(data)
        return bool(data)

    def append(self, data: bytes) -> None:
        self._count(data)
        with disk.guard("write", self.path):
            disk.write(self._fd, data)

    def restart(self) -> None:
        """Throws the bytes away and begins at zero."""
        with disk.guard("shorten", self.path):
            os.ftruncate(self._fd, 0)
            os.lseek(self._fd, 0, os.SEEK_SET)
        self.offset, self._head, self.hash = 0, b"", Hash(self._digest, self._size)

    def commit(self, target: Path) -> None:
        """Makes the bytes last, and then visible as `target`."""
        with disk.guard("save", self.path):
            disk.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1
            disk.replace(self.path, target)

    def discard(self) -> None:
        with disk.guard("remove", self.path):
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self.path.unlink(missing_ok=True)

    def _count(self, data: bytes) -> None:
        if len(self._head) < 4:
            self._head += data[: 4 - len(self._head)]
            if len(self._head) == 4:
                check_magic(self._head, data, self._what)
        self.hash.update(data)
        self.offset += len(data)


def check_magic(head: bytes, data: bytes, what: str) -> None:
    """Refuses what is no model from its first four bytes (`data`: what followed, for a better message)."""
    if head == GGUF_MAGIC or (head in GGML_MAGICS and what.lower().endswith(".bin")):
        return
    if head[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise ModelInvalid(
            f"{what} is a PyTorch checkpoint (a pickle), which can run code when it is opened",
            remedy="look for a GGUF file of this model",
        )
    start = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = "an HTML page" if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")) else f"{head!r}"
    raise DownloadCorrupt(
        f"{what} does not begin as a GGUF file: it begins with {kind}",
        remedy="a network that asks for a login answers so; open the address in a browser to see",
        data={"first_bytes": head.hex()},
    )
