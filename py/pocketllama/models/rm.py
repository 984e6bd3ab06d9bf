"""Deleting models: only what belongs to the model, and never outside the cache."""

from __future__ import annotations

import os
import shlex
import shutil
from contextlib import suppress
from pathlib import Path

from pocketllama.errors import Busy, ModelNotFound, UsageError
from pocketllama.models import cache, disk, env, refs, urls
from pocketllama.models.store import find, not_here, parse


def remove(name: str) -> list[Path]:
    """Deletes a model of the cache and what only it used; returns what was deleted.

    A blob that another snapshot links to stays. Without a complete model, what an interrupted download left goes.
    Raises ModelNotFound, UsageError for the embedded model and for plain files, Busy while it is being downloaded.
    """
    ref = parse(name)
    if isinstance(ref, refs.EmbeddedRef):
        raise UsageError(f"{name} is part of pocketllama and stays", remedy="uninstall pocketllama to remove it")
    if isinstance(ref, refs.PathRef):
        find(name)  # a mistyped name gets the better error
        raise UsageError(f"{name} is your own file, which rm leaves alone", remedy=f"rm {shlex.quote(name)}")
    if isinstance(ref, refs.HubRef):
        return _remove_hub(name, ref)
    return _remove_url(name, ref)


def _remove_hub(name: str, ref: refs.HubRef) -> list[Path]:
    repo = cache.Repo(ref.repo)
    _inside(repo.folder, env.hub_cache())
    try:
        model = find(name)
    except ModelNotFound:
        if gone := [_unlock_and_unlink(repo.lock(_blob_of(part)), part) for part in repo.partial()]:
            return gone
        raise
    assert model.revision is not None
    blobs = [_linked(file) for file in model.files if file.is_symlink()]
    gone = [_unlink(file, repo.folder) for file in model.files]
    used = {
        _linked(path) for commit in repo.commits() for path in repo.snapshot(commit).rglob("*") if path.is_symlink()
    }
    for blob in blobs:
        # Only what lies in this repository's own blobs: a link may have been made to lead anywhere.
        if blob.parent == repo.blob("") and blob not in used and os.path.lexists(blob):
            gone.append(_unlock_and_unlink(repo.lock(blob.name), blob))
    _sweep(repo, model.revision)
    return gone


def _sweep(repo: cache.Repo, commit: str) -> None:
    """Removes folders that became empty, what a crash left in them, and what referred to a snapshot that is gone."""
    for folder in sorted(repo.snapshot(commit).rglob("*"), reverse=True):
        with suppress(OSError):
            folder.unlink() if folder.name.endswith(disk.TEMPORARY) else folder.rmdir()
    with suppress(OSError):
        repo.snapshot(commit).rmdir()
    if repo.snapshot(commit).exists():
        return
    for ref in sorted((repo.folder / "refs").rglob("*")):
        with suppress(OSError, UnicodeDecodeError):
            if ref.is_file() and not ref.is_symlink() and ref.read_text().strip() == commit:
                ref.unlink()
    for left in repo.blob("").glob(f"*{disk.TEMPORARY}") if not repo.commits() else ():
        with suppress(OSError):
            left.unlink()
    for name in ("snapshots", "blobs", "refs", ""):
        folder = repo.folder / name
        for below in sorted(folder.rglob("*"), reverse=True) if name == "refs" else ():
            with suppress(OSError):
                below.rmdir()
        with suppress(OSError):
            folder.rmdir()  # fails, as it should, where something is left
    if not (repo.folder / "snapshots").exists() and not (repo.folder / "blobs").exists():
        for notes in (".no_exist", "trees"):  # huggingface_hub's own notes on snapshots that are gone
            shutil.rmtree(repo.folder / notes, ignore_errors=True)
        with suppress(OSError):
            repo.folder.rmdir()


def _remove_url(name: str, ref: refs.UrlRef) -> list[Path]:
    gone = []
    for url in urls.addresses(ref.url):
        file = urls.place(url)
        _inside(file.parent, urls.root())
        lock = urls.lock_path(file)
        left = [path for path in sorted(file.parent.glob(f"{file.name}*")) if path != lock]
        gone += [_unlock_and_unlink(lock, path) for path in left]
        with suppress(OSError):
            lock.unlink(missing_ok=True)
    for folder in (urls.place(ref.url).parent, urls.place(ref.url).parent.parent):
        with suppress(OSError):
            folder.rmdir()
    if not gone:
        raise not_here(name)
    return gone


def _inside(folder: Path, root: Path) -> None:
    """UsageError where a symbolic link leads out of the cache: nothing is deleted there."""
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise UsageError(f"{folder} leads out of the cache over a symbolic link: nothing was deleted")


def _unlink(path: Path, root: Path) -> Path:
    _inside(path.parent, root)
    with disk.guard("remove", path):
        path.unlink(missing_ok=True)
    return path


def _unlock_and_unlink(lock: Path, path: Path) -> Path:
    """Deletes a file that a download may be writing; Busy if one is."""

    def busy() -> None:
        raise Busy(f"{path.name} is being downloaded by another process", remedy="stop that, or wait for its end")

    _inside(lock.parent, env.hub_cache() if path.parent.name == "blobs" else urls.root())
    disk.make_folder(lock.parent)
    with cache.locked(lock, busy):
        return _unlink(path, path.parent)


def _linked(link: Path) -> Path:
    """Where a link leads in one step; a blob may itself be a link, into huggingface_hub's store of shared blobs."""
    return Path(os.path.normpath(link.parent / link.readlink()))


def _blob_of(part: Path) -> str:
    return part.name.removesuffix(cache.PART_SUFFIX)
