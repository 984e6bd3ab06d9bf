"""pull: a name to a complete, verified model on this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pocketllama.errors import ModelNotFound, OfflineError
from pocketllama.models import cache, choose, disk, env, fetch, hub, refs, store, transport, urls
from pocketllama.models.model import Model
from pocketllama.models.part import GGUF_MAGIC
from pocketllama.models.patience import Cancel, Limits, stop_if
from pocketllama.models.progress import Progress, ProgressEvent, notes
from pocketllama.models.transport import Request


def pull(name: str, progress: Progress | None, cancel: Cancel | None) -> Model:
    """See pocketllama.models.pull."""
    try:
        return store.find(name)
    except ModelNotFound:
        ref = store.parse(name)
        if isinstance(ref, (refs.EmbeddedRef, refs.PathRef)):
            raise
    if variable := env.offline():
        raise OfflineError(
            f"{name} is not on this machine, and {variable} forbids the network", remedy=f"unset {variable}, then pull"
        )
    limits = Limits.from_environment()
    if isinstance(ref, refs.HubRef):
        return _pull_hub(name, ref, progress, cancel, limits)
    return _pull_url(name, ref, progress, cancel, limits)


def _pull_hub(name: str, ref: refs.HubRef, progress: Progress | None, cancel: Cancel | None, limits: Limits) -> Model:
    listing = hub.listing(ref, cancel, limits, notes(progress, name))
    names = choose.choose(listing.entries, file=ref.file, quant=ref.quant, where=f"hf:{ref.repo}")
    files = [hub.describe(listing, each, ref, cancel, limits) for each in names]
    repo = cache.Repo(ref.repo)
    disk.require_free(repo.folder, sum(_still_to_come(repo, file) for file in files), name)
    for file in files:
        _hub_file(repo, listing.commit, file, ref, progress, cancel, limits)
    repo.write_ref(ref.rev, listing.commit)
    model = store.find(name)
    return Model(name, model.path, model.files, model.size, "hub", listing.licence or model.licence, listing.commit)


def _still_to_come(repo: cache.Repo, file: hub.HubFile) -> int:
    """Bytes of a file that neither the cache nor a partial download has."""
    blob = repo.blob(file.digest.hex)
    if _has_size(blob, file.size):
        return 0
    part = blob.with_name(blob.name + cache.PART_SUFFIX)
    return file.size - (min(part.stat().st_size, file.size) if part.is_file() else 0)


def _hub_file(
    repo: cache.Repo,
    commit: str,
    file: hub.HubFile,
    ref: refs.HubRef,
    progress: Progress | None,
    cancel: Cancel | None,
    limits: Limits,
) -> None:
    blob, lock = repo.blob(file.digest.hex), repo.lock(file.digest.hex)
    part = blob.with_name(blob.name + cache.PART_SUFFIX)
    cache.prepare(blob.parent)
    cache.prepare(lock.parent)
    cache.tag_cache()
    with cache.locked(lock, _waiting(part, file.name, file.size, progress, cancel)):
        pointer = repo.snapshot(commit) / file.name
        if pointer.is_file() and not pointer.is_symlink() and _has_size(pointer, file.size):
            return  # where there are no links, the snapshot holds the file itself
        if not _has_size(blob, file.size):
            fetch.fetch(
                fetch.Job(
                    what=file.name,
                    request=hub.file_request(repo.repo, commit, file.name),
                    part=part,
                    target=blob,
                    size=file.size,
                    digest=file.digest,
                    refused=lambda flow: hub.refused(flow, ref, file.name),
                    progress=progress,
                    cancel=cancel,
                    limits=limits,
                )
            )
        repo.link(commit, file.name, blob)


def _pull_url(name: str, ref: refs.UrlRef, progress: Progress | None, cancel: Cancel | None, limits: Limits) -> Model:
    addresses = urls.addresses(ref.url)
    for url in addresses:
        transport.check_url(url)
    for url in addresses:
        _url_file(url, ref.url, len(addresses), progress, cancel, limits)
    return store.find(name)


def _url_file(
    url: str, name: str, parts: int, progress: Progress | None, cancel: Cancel | None, limits: Limits
) -> None:
    file = urls.place(url)
    part = file.with_name(file.name + cache.PART_SUFFIX)
    cache.prepare(file.parent, root=urls.root())
    with cache.locked(urls.lock_path(file), _waiting(part, file.name, None, progress, cancel)):
        record = urls.read_record(file)
        if record is not None and not file.is_symlink() and _has_size(file, record.size):
            return
        fetch.fetch(
            fetch.Job(
                what=file.name,
                request=Request(url, {"user-agent": "pocketllama"}),
                part=part,
                target=file,
                accept=_readable,
                settled=lambda sha256, size: urls.write_record(file, urls.Record(url, size, sha256, name, parts)),
                progress=progress,
                cancel=cancel,
                limits=limits,
            )
        )


def _readable(file: Path) -> None:
    """No one promised a hash: at least every tensor that the header announces must be there."""
    from pocketllama import gguf

    with file.open("rb") as stream:
        if stream.read(4) != GGUF_MAGIC:
            return  # a GGML file of 2023, which only the engine can read
    gguf.read(file).close()


def _waiting(
    part: Path, what: str, size: int | None, progress: Progress | None, cancel: Cancel | None
) -> Callable[[], None]:
    """What to do while another process downloads the same file: show its progress."""

    def wait() -> None:
        stop_if(cancel)
        if progress is not None and part.is_file():
            try:
                progress(ProgressEvent(what, part.stat().st_size, size))
            except FileNotFoundError:  # it has just been finished
                pass

    return wait


def _has_size(file: Path, size: int) -> bool:
    try:
        return file.is_file() and file.stat().st_size == size
    except OSError:
        return False
