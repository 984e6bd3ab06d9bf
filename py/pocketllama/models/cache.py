"""huggingface_hub's cache on disk, read and written so that other tools and this one share every file.

    HF_HUB_CACHE/models--owner--name/
        blobs/<sha256>                         the bytes (a git hash names a file outside the large-file store)
        snapshots/<commit>/<file>              a symbolic link to ../../blobs/<sha256>; a plain file without symlinks
        refs/<branch or tag>                   holds a commit
    HF_HUB_CACHE/.locks/models--owner--name/<sha256>.lock

Nothing is imported from huggingface_hub here: finding a model must not cost its start-up time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pocketllama.errors import StorageError
from pocketllama.models import disk, refs
from pocketllama.models.env import flag, hub_cache

PART_SUFFIX = ".pocketllama.incomplete"
_MAX_DEPTH = 4  # folders below a snapshot that are looked into
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of models: backups may skip it (bford.info/cachedir).\n"


class Repo:
    """One repository's folder in the cache (which may not exist)."""

    def __init__(self, repo: str) -> None:
        refs.check_repo(repo)
        self.repo = repo
        self.folder = hub_cache() / ("models--" + repo.replace("/", "--"))

    def blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def lock(self, digest: str) -> Path:
        return self.folder.parent / ".locks" / self.folder.name / f"{digest}.lock"

    def commit(self, revision: str) -> str | None:
        """The commit that a revision stood for when it was last asked; None where that is not known."""
        if refs.COMMIT.fullmatch(revision):
            return revision
        if not refs.safe_revision(revision):
            return None
        with suppress(OSError, UnicodeDecodeError):
            text = (self.folder / "refs" / revision).read_text().strip()
            return text if refs.COMMIT.fullmatch(text) else None
        return None

    def commits(self) -> list[str]:
        """Every commit with a snapshot, the latest first."""
        with suppress(OSError):
            folders = [folder for folder in self.snapshot("").iterdir() if refs.COMMIT.fullmatch(folder.name)]
            return [folder.name for folder in sorted(folders, key=lambda each: -each.lstat().st_mtime)]
        return []

    def files(self, commit: str) -> list[str]:
        """The complete files of a snapshot, as the repository names them."""
        root = self.snapshot(commit)
        found = []
        for folder, folders, files in os.walk(root):  # does not enter linked folders
            below = Path(folder).relative_to(root)
            if len(below.parts) >= _MAX_DEPTH:
                folders.clear()
            for name in files:
                inside = (below / name).as_posix()
                if refs.safe_file(inside) and Path(folder, name).is_file():  # a link to nothing is no file
                    found.append(inside)
        return sorted(found)

    def partial(self) -> list[Path]:
        """What interrupted downloads of ours left."""
        return sorted(self.blob("").glob(f"*{PART_SUFFIX}"))

    def write_ref(self, revision: str, commit: str) -> None:
        if revision != commit and self.commit(revision) != commit:
            path = self.folder / "refs" / revision
            prepare(path.parent)
            # Not beside it: huggingface_hub would take what a crash leaves there for a branch.
            disk.write_small(path, commit, scratch=self.blob(""))

    def link(self, commit: str, name: str, blob: Path) -> None:
        """Makes a complete blob visible in a snapshot, replacing what stood there."""
        pointer = self.snapshot(commit) / name
        prepare(pointer.parent)
        # The caller's lock on the blob guards this name too.
        temporary = pointer.with_name(f".{blob.name[:32]}{disk.TEMPORARY}")
        with disk.guard("link", pointer):
            temporary.unlink(missing_ok=True)
            try:
                if flag("HF_HUB_DISABLE_SYMLINKS"):
                    raise NotImplementedError
                temporary.symlink_to(os.path.relpath(blob, pointer.parent))
            except (OSError, NotImplementedError) as error:
                # Windows without the right to make links, or told not to: the snapshot holds the file itself.
                if os.name != "nt" and isinstance(error, OSError):
                    raise
                disk.replace(blob, pointer)
                return
            try:
                disk.replace(temporary, pointer)
            finally:
                temporary.unlink(missing_ok=True)


def repos() -> list[Repo]:
    """Every model repository in the cache."""
    found = []
    with suppress(OSError):
        for folder in sorted(hub_cache().glob("models--*--*")):
            with suppress(Exception):  # a folder whose name is none of ours is not a model
                found.append(Repo(folder.name[8:].replace("--", "/", 1)))
    return found


def recorded_digest(file: Path) -> str | None:
    """The hash that a snapshot's file was stored under: the name of the blob that it links to."""
    with suppress(OSError):
        target = file.readlink()
        if target.parent.name == "blobs":
            return target.name
    return None


def prepare(folder: Path, root: Path | None = None) -> None:
    """Makes a folder to write in; StorageError where a symbolic link would lead out of the cache (`root`)."""
    base = os.path.realpath(root or hub_cache())
    real = os.path.realpath(folder)
    if real != base and not real.startswith(base.rstrip(os.sep) + os.sep):
        raise StorageError(
            f"{folder} leads out of the cache (to {real}) over a symbolic link: nothing was written",
            remedy=f"remove the link, or set HF_HUB_CACHE to {Path(real).parent}",
            data={"path": str(folder), "leads_to": real},
        )
    disk.make_folder(folder)


def tag_cache() -> None:
    """Marks the cache as one, as huggingface_hub does, so that backups leave it out."""
    tag = hub_cache() / "CACHEDIR.TAG"
    with suppress(OSError, StorageError):
        if not tag.exists():
            disk.write_small(tag, _TAG)


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Holds a lock file, the one that huggingface_hub takes for the same blob.

    `waiting` is called about ten times a second while another process has it; it may raise.
    """
    import filelock

    with disk.guard("lock", path):
        lock: filelock.BaseFileLock = filelock.FileLock(path, mode=0o664)
        while True:
            try:
                lock.acquire(timeout=0.1)
                break
            except filelock.Timeout:
                waiting()
            except NotImplementedError:  # a file system without locks
                lock = filelock.SoftFileLock(path)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.release()
