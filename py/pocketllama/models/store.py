"""What is on this machine: find a model by its name, list them all. No network, nothing is written."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from pocketllama import paths
from pocketllama.errors import ModelInvalid, ModelNotFound, PocketllamaError
from pocketllama.models import cache, choose, env, refs, registry, urls
from pocketllama.models.model import Model

_CHUNK = 1 << 20


def parse(name: str) -> refs.Ref:
    """refs.parse, with the hub of HF_ENDPOINT known as one."""
    return refs.parse(name, hub_origins=(*refs.HUB_ORIGINS, env.endpoint().lower()))


def find(name: str) -> Model:
    """The model called `name` on this machine; nothing is fetched.

    Raises ModelNotFound (its remedy is the command that brings the model, or the name that was probably meant),
    UsageError for a name that can mean nothing, ModelInvalid for a path to something that is no file.
    """
    ref = parse(name)
    if isinstance(ref, refs.EmbeddedRef):
        return _whole(name, (paths.EMBEDDED / f"{ref.name}.gguf",), "embedded", licence="mit")
    if isinstance(ref, refs.HubRef):
        return _find_hub(name, ref)
    if isinstance(ref, refs.UrlRef):
        if files := urls.there(ref.url):
            return _whole(name, files, "url")
        raise not_here(name)
    return _find_path(name, ref)


def list_models() -> list[Model]:
    """Every complete model on this machine: embedded, of the hub's cache (whoever put it there), of other addresses."""
    found = []
    for name in refs.EMBEDDED:
        with suppress(ModelNotFound):
            found.append(find(name))
    for repo in cache.repos():
        found += _list_repo(repo)
    return found + [find(url) for url in urls.stored()]


def recorded(file: Path, model: Model) -> str | None:
    """The hash that a file of a model arrived with (sha256, or git's for a small file of the hub); None if unknown."""
    if model.source == "hub":
        return cache.recorded_digest(file)
    if model.source == "url":
        record = urls.read_record(file)
        return record.sha256 if record is not None else None
    return None


def not_here(name: str, why: str = "is not on this machine") -> ModelNotFound:
    return ModelNotFound(f"{name} {why}", remedy=f"pocketllama pull {shlex.quote(name)}", data={"name": name})


def _whole(name: str, files: tuple[Path, ...], source: str, **facts: str | None) -> Model:
    missing = [file for file in files if not file.exists()]
    if missing and source == "embedded":
        raise ModelNotFound(f"the embedded model {missing[0]} is missing", remedy="install pocketllama again")
    if missing:
        raise ModelNotFound(
            f"a split model is incomplete: {missing[0].name} is missing from {missing[0].parent}"
            if len(files) > 1
            else f"there is no file {missing[0]}",
            data={"missing": [str(file) for file in missing[:50]]},
        )
    for file in files:
        if not file.is_file():
            raise ModelInvalid(f"{file} is no file", remedy="give the path of a .gguf file")
    size = sum(file.stat().st_size for file in files)
    return Model(name, files[0], files, size, source, **facts)  # type: ignore[arg-type]


def _find_path(name: str, ref: refs.PathRef) -> Model:
    path = ref.path.expanduser().absolute()
    if not path.exists() and not ref.looks_like_path:
        close = registry.did_you_mean(name, refs.EMBEDDED)
        hint = f"did you mean {' or '.join(close)}?" if close else "pocketllama list shows what there is"
        raise ModelNotFound(f"no model is called {name!r}", remedy=hint, data={"name": name, "close": close})
    if not path.exists() and refs.like_repo(name):
        raise ModelNotFound(f"there is no file {path}", remedy=f"for the repository of the hub: hf:{name}")
    parts = choose.split_parts(path.name)
    return _whole(name, tuple(path.with_name(part) for part in parts) if parts else (path,), "file")


def _find_hub(name: str, ref: refs.HubRef) -> Model:
    repo = cache.Repo(ref.repo)
    first = repo.commit(ref.rev)
    commits = [first] if first else []
    if ref.revision is None:  # main has moved on since, or another tool pinned a commit: what is here still serves
        commits += [commit for commit in repo.commits() if commit != first]
    for commit in commits:
        try:
            names = choose.choose(repo.files(commit), file=ref.file, quant=ref.quant, where=name)
        except ModelNotFound:
            continue
        files = tuple(repo.snapshot(commit) / each for each in names)
        licence = registry.aliases()[ref.alias].licence if ref.alias else _known_licence(ref.repo)
        return _whole(name, files, "hub", licence=licence, revision=commit)
    if repo.partial():
        raise not_here(name, "is not completely on this machine: a download was interrupted")
    raise not_here(name)


def _known_licence(repo: str) -> str | None:
    return next((alias.licence for alias in registry.aliases().values() if alias.repo == repo), None)


def _list_repo(repo: cache.Repo) -> list[Model]:
    """Each model file of a repository once, by the shortest name that finds it."""
    found: list[Model] = []
    seen: set[tuple[str, ...]] = set()
    main = repo.commit("main")
    for commit in sorted(repo.commits(), key=lambda each: each != main):
        there = repo.files(commit)
        for file in there:
            if not choose.is_model(file):
                continue
            try:
                names = choose.choose(there, file=file, quant=None, where=repo.repo)
            except PocketllamaError:
                continue
            # The same bytes in two snapshots are one model.
            content = tuple(os.path.realpath(repo.snapshot(commit) / each) for each in names)
            if content in seen:
                continue
            seen.add(content)
            at = "" if commit == main else f"@{commit}"
            with suppress(PocketllamaError):
                found.append(find(_alias_of(repo, names, commit) or f"hf:{repo.repo}{at}:{names[0]}"))
    return found


def _alias_of(repo: cache.Repo, names: tuple[str, ...], commit: str) -> str | None:
    for alias in registry.aliases().values():
        if alias.repo == repo.repo:
            with suppress(PocketllamaError):
                model = find(alias.name)
                if model.revision == commit and model.path == repo.snapshot(commit) / names[0]:
                    return alias.name
    return None
