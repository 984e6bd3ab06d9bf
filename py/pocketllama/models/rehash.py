"""Hashing what is on this machine again: a disk may forget."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pocketllama.errors import Cancelled, DownloadCorrupt
from pocketllama.models import disk
from pocketllama.models.store import find, recorded

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Verified:
    """A file that was hashed anew. `recorded`: it was compared with the hash it arrived with, and is the same."""

    path: Path
    size: int
    sha256: str
    recorded: bool


def verify(name: str, cancel: Callable[[], bool] | None = None) -> list[Verified]:
    """Hashes a model's files again; DownloadCorrupt names the first one that is not what it was."""
    model = find(name)
    checked = []
    for file in model.files:
        record = recorded(file, model)
        sha256, git = _hashes(file, cancel)
        if record is not None and record not in (sha256, git):
            again = f"pocketllama rm {shlex.quote(name)} && pocketllama pull {shlex.quote(name)}"
            raise DownloadCorrupt(
                f"{file} is damaged: its hash is {sha256}, and it was stored as {record}",
                remedy=again,
                data={"path": str(file), "recorded": record, "sha256": sha256},
            )
        checked.append(Verified(file, file.stat().st_size, sha256, record is not None))
    return checked


def _hashes(file: Path, cancel: Callable[[], bool] | None) -> tuple[str, str]:
    """sha256 of a file, and git's name for it."""
    with disk.guard("read", file), file.open("rb") as stream:
        sha256 = hashlib.sha256()
        git = hashlib.sha1(f"blob {os.fstat(stream.fileno()).st_size}\0".encode(), usedforsecurity=False)
        while data := stream.read(_CHUNK):
            if cancel is not None and cancel():
                raise Cancelled("the check was cancelled")
            sha256.update(data)
            git.update(data)
    return sha256.hexdigest(), git.hexdigest()
