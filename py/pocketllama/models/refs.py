"""What a model's name means. Pure: no file is touched, no network, no environment.

    tales                                the model that ships with the package
    qwen3-0.6b                           an alias of registry.json
    hf:owner/repo                        a repository of the hub; the best file of it is chosen
    hf:owner/repo:Q4_K_M                 ... in this quantization
    hf:owner/repo:sub/name.gguf          ... this very file
    hf:owner/repo@revision[:...]         ... at a branch, a tag or a commit
    https://host/name.gguf               any web server (a file page of the hub becomes the hf: form)
    ./name.gguf, dir/name.gguf           a file of this machine

Everything that reaches a path or a URL later passes the checks here, whether a person typed it or a server sent it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pocketllama.errors import UsageError
from pocketllama.models import registry

EMBEDDED = ("tales",)  # data/NAME.gguf in the package
HUB_ORIGINS = ("https://huggingface.co", "https://hf.co")
MODEL_SUFFIXES = (".gguf", ".bin")
MAX_NAME = 2048  # characters; longer than any URL a browser takes
COMMIT = re.compile(r"[0-9a-f]{40}")

_REPO_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9._+-]{1,100}(?:/[A-Za-z0-9._+-]{1,100}){0,4}")
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class EmbeddedRef:
    name: str


@dataclass(frozen=True)
class HubRef:
    """A file (or the parts of one) in a repository of the hub; at most one of `file` and `quant` is set."""

    repo: str  # owner/name
    revision: str | None = None  # None: main
    file: str | None = None
    quant: str | None = None
    alias: str | None = None  # the registry name it was asked by

    @property
    def rev(self) -> str:
        return self.revision or "main"


@dataclass(frozen=True)
class UrlRef:
    url: str


@dataclass(frozen=True)
class PathRef:
    path: Path
    looks_like_path: bool  # False: a bare word that is no known name; a file may still be called so


Ref = EmbeddedRef | HubRef | UrlRef | PathRef


def parse(name: str, *, hub_origins: tuple[str, ...] = HUB_ORIGINS) -> Ref:
    """The meaning of `name`; UsageError where it can have none. `hub_origins` are scheme://host of the hub."""
    if not isinstance(name, str) or not name.strip():
        raise UsageError("a model's name is empty", remedy="pocketllama list shows the models of this machine")
    if len(name) > MAX_NAME:
        raise UsageError(f"a model's name of {len(name)} characters is too long (at most {MAX_NAME})")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise UsageError(f"control characters in the model name {name!r}")
    if name in EMBEDDED:
        return EmbeddedRef(name)
    if alias := registry.aliases().get(name):
        return HubRef(alias.repo, file=alias.file, quant=alias.quant, alias=name)
    if name.startswith("hf://"):
        name = "hf:" + name[5:]
    if name.startswith("hf:"):
        return _hub(name)
    if name.lower().startswith(("https://", "http://")):
        return _url(name, hub_origins)
    if _SCHEME.match(name):
        raise UsageError(f"cannot fetch {name!r}: only https, hf:owner/repo and files are known")
    looks = name.lower().endswith(MODEL_SUFFIXES) or any(mark in name for mark in "/\\")
    return PathRef(Path(name), looks)


def _hub(name: str) -> HubRef:
    place, colon, choice = name[3:].partition(":")
    repo, at, revision = place.partition("@")
    check_repo(repo)
    if at and not safe_revision(revision):
        raise UsageError(f"bad revision {revision!r} in {name!r}", remedy="give a branch, a tag or a commit")
    if colon and not choice:
        raise UsageError(f"nothing after the last ':' in {name!r}", remedy=f"hf:{repo}:Q4_K_M, or hf:{repo}")
    file = quant = None
    if choice.lower().endswith(MODEL_SUFFIXES):
        file = choice
        if not safe_file(file):
            raise UsageError(f"bad file name {file!r} in {name!r}: a relative path inside the repository is needed")
    elif choice:
        quant = choice
        if not _QUANT.fullmatch(quant) or ".." in quant:
            raise UsageError(f"{quant!r} is neither a quantization nor a .gguf file", remedy=f"hf:{repo}:Q4_K_M")
    return HubRef(repo, revision if at else None, file, quant)


def _url(name: str, hub_origins: tuple[str, ...]) -> HubRef | UrlRef:
    url = name.partition("#")[0]
    check_url_form(url)
    parts = urlsplit(url)
    if f"{parts.scheme.lower()}://{parts.netloc.lower()}" in hub_origins:
        steps = [unquote(step) for step in parts.path.strip("/").split("/")]
        if len(steps) == 2 and not steps[1].lower().endswith(MODEL_SUFFIXES):
            return _hub(f"hf:{steps[0]}/{steps[1]}")
        if len(steps) >= 5 and steps[2] in ("resolve", "blob"):
            file = "/".join(steps[4:])
            if not file.lower().endswith(MODEL_SUFFIXES):
                raise UsageError(f"{file!r} is no model file", remedy="a .gguf file of the repository")
            return _hub(f"hf:{steps[0]}/{steps[1]}@{steps[3]}:{file}")
    return UrlRef(url)


def check_repo(repo: str) -> None:
    """UsageError unless `repo` is owner/name as the hub writes them (96 characters each, no '--', no '..')."""
    parts = repo.split("/")
    good = len(parts) == 2 and all(_REPO_PART.fullmatch(part) for part in parts)
    # '--' separates owner and name in the cache's folder names, so that it must not occur inside them.
    if not good or "--" in repo or ".." in repo or repo.endswith(".git"):
        raise UsageError(f"{repo!r} is no repository of the hub", remedy="hf:owner/name, as in its address")


def like_repo(name: str) -> bool:
    """Whether a name that is no file looks like owner/name of the hub, without its hf: in front."""
    try:
        check_repo(name.partition(":")[0])
    except UsageError:
        return False
    return True


def safe_revision(revision: str) -> bool:
    """Whether `revision` may be a file name below refs/ and a part of a URL."""
    return bool(_REVISION.fullmatch(revision)) and not any(
        part.startswith(".") or ".." in part or part.endswith(".lock") for part in revision.split("/")
    )


def safe_file(file: str) -> bool:
    """Whether `file` names a file inside a repository, and inside its folder of the cache on every platform."""
    if not file or len(file) > 512 or any(char in '\\<>:"|?*' for char in file):
        return False
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in file):
        return False
    return all(
        part not in ("", ".", "..") and len(part.encode()) <= 240 and part[-1] not in ". " for part in file.split("/")
    )


def check_url_form(url: str) -> None:
    """UsageError unless `url` is an absolute http(s) address without credentials in it."""
    bad = len(url) > MAX_NAME or any(char.isspace() or char in '\\<>"' or ord(char) < 33 for char in url)
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts, bad = urlsplit(""), True
    if bad or parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UsageError(f"not a web address: {url[:200]!r}")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"the address of {parts.hostname} carries a user name or a password, which would be stored with the model",
            remedy="download it with your browser and pass the file's path",
        )


def is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or re.fullmatch(r"127\.\d{1,3}\.\d{1,3}\.\d{1,3}", host) is not None
