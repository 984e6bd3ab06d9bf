"""What the hub says of a repository: its commit, its files with size and digest, its licence, and why it refuses."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import huggingface_hub
from huggingface_hub import constants

from pocketllama._version import __version__
from pocketllama.errors import DownloadCorrupt, DownloadError, ModelNotFound, PocketllamaError
from pocketllama.models import refs, transport
from pocketllama.models.env import endpoint
from pocketllama.models.part import Digest
from pocketllama.models.patience import Cancel, Limits, Patience, Say, Transient
from pocketllama.models.transport import Flow, Request

_MAX_LISTING = 32 << 20  # bytes; a repository of 100,000 files stays below
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class HubFile:
    name: str
    size: int
    digest: Digest


@dataclass(frozen=True)
class Listing:
    """A repository at one commit. `entries` maps safe file names to what the hub said of each."""

    repo: str
    commit: str
    licence: str | None
    entries: dict[str, dict[str, Any]]


def listing(ref: refs.HubRef, cancel: Cancel | None, limits: Limits, say: Say | None = None) -> Listing:
    """Asks the hub for `ref`'s repository. Raises ModelNotFound, DownloadError and its kinds, Cancelled."""
    url = f"{endpoint()}/api/models/{ref.repo}/revision/{quote(ref.rev, safe='')}?blobs=true"
    if say is not None:
        say(f"asking {urlsplit(endpoint()).hostname}")
    answer = _json(_request(url), ref, Patience(f"hf:{ref.repo}", limits, cancel, say))
    commit, siblings = answer.get("sha"), answer.get("siblings")
    if not isinstance(commit, str) or not refs.COMMIT.fullmatch(commit) or not isinstance(siblings, list):
        raise DownloadCorrupt(f"{endpoint()} answers for {ref.repo} with something that is no repository")
    entries = {}
    for sibling in siblings:
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        if isinstance(name, str) and refs.safe_file(name):  # a name that leaves its folder is as good as absent
            entries[name] = sibling
    return Listing(ref.repo, commit, _licence(answer), entries)


def describe(listing: Listing, name: str, ref: refs.HubRef, cancel: Cancel | None, limits: Limits) -> HubFile:
    """Size and digest of one file: from the listing, or from the headers of the file itself (mirrors, old servers)."""
    entry = listing.entries[name]
    lfs = entry.get("lfs")
    if isinstance(lfs, dict):
        return _described(name, lfs.get("size", entry.get("size")), lfs.get("sha256") or lfs.get("oid"))
    if entry.get("size") is not None and entry.get("blobId") is not None:
        return _described(name, entry["size"], entry["blobId"])
    request = file_request(listing.repo, listing.commit, name)
    request.head = True
    patience = Patience(name, limits, cancel)
    while True:
        try:
            with Flow(request, patience) as flow:
                transport.check_status(flow)
                if flow.status >= 400:
                    raise refused(flow, ref, name)
                headers = flow.hub_headers
                size = headers.get("x-linked-size") or headers.get("content-length", "")
                etag = headers.get("x-linked-etag") or headers.get("etag", "")
            break
        except Transient as failure:
            patience.pause(failure)
    return _described(name, int(size[:18]) if size.isascii() and size.isdigit() else None, etag.strip('"'))


def file_request(repo: str, commit: str, name: str) -> Request:
    return _request(f"{endpoint()}/{repo}/resolve/{commit}/{quote(name)}")


def refused(flow: Flow, ref: refs.HubRef, what: str) -> PocketllamaError:
    """The error for an answer of 4xx, from its code and the hub's own words."""
    code = flow.hub_headers.get("x-error-code", "")
    words = re.sub(r"[^\x20-\x7e]", " ", flow.hub_headers.get("x-error-message", ""))[:200].strip()
    said = f" ({words})" if words else ""
    page = f"{endpoint()}/{ref.repo}"
    facts = {"status": flow.status, "repo": ref.repo}
    if code == "GatedRepo" or (flow.status == 403 and code != "RepoNotFound"):
        return DownloadError(
            f"{ref.repo} is given only to people who accepted its licence{said}",
            remedy=f"accept it at {page}, then set HF_TOKEN to a token of yours ({endpoint()}/settings/tokens)",
            data={**facts, "gated": True},
        )
    if code == "RevisionNotFound":
        return ModelNotFound(f"{ref.repo} has no branch, tag or commit {ref.rev!r}", data=facts)
    if code == "EntryNotFound":
        return ModelNotFound(f"{ref.repo} has no file {what!r} any more", data=facts)
    if flow.status == 401 and code != "RepoNotFound" and "authorization" in words.lower() + code.lower():
        return DownloadError(f"the hub does not accept the token{said}", remedy="set HF_TOKEN anew", data=facts)
    if flow.status in (401, 404, 410):
        return ModelNotFound(
            f"{ref.repo} is not on the hub, or it is private{said}",
            remedy="check its address; for a private one set HF_TOKEN to a token that may read it",
            data=facts,
        )
    return DownloadError(f"{what}: the hub answers HTTP {flow.status}{said}", data=facts)


def _described(name: str, size: object, digest: object) -> HubFile:
    """The one gate through which a server's digest becomes a file name of the cache."""
    text = digest if isinstance(digest, str) else ""
    good_size = isinstance(size, int) and not isinstance(size, bool) and 0 < size < 1 << 50
    kind: Digest | None = None
    if _SHA256.fullmatch(text):
        kind = Digest("sha256", text)
    elif refs.COMMIT.fullmatch(text):
        kind = Digest("git", text)
    if not good_size or kind is None:
        raise DownloadCorrupt(
            f"{name}: the hub states no usable size and sha256 for it (size {str(size)[:40]!r}, digest {text[:80]!r})",
            remedy="nothing was downloaded; if HF_ENDPOINT is a mirror, try without it",
        )
    assert isinstance(size, int)
    return HubFile(name, size, kind)


def _request(url: str) -> Request:
    # Not huggingface_hub's build_hf_headers: it asks the hub a question of its own first, without a bound on the wait.
    agent = f"pocketllama/{__version__}; hf_hub/{huggingface_hub.__version__}"
    return Request(url, {"user-agent": agent}, _token(), transport.origin(endpoint()))


def _token() -> str | None:
    """HF_TOKEN, or what `hf auth login` stored; None where it is not to be sent unasked."""
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        return huggingface_hub.get_token()
    except Exception as error:  # an expired login that cannot be renewed, a keyring that fails
        raise DownloadError(f"the hub's token cannot be had: {error}", remedy="set HF_TOKEN") from error


def _json(request: Request, ref: refs.HubRef, patience: Patience) -> dict[str, Any]:
    what = patience.what
    while True:
        try:
            body = bytearray()
            with Flow(request, patience) as flow:
                transport.check_status(flow)
                if flow.status != 200:
                    raise refused(flow, ref, what)
                for chunk in flow:
                    body += chunk
                    patience.progressed(len(chunk))
                    if len(body) > _MAX_LISTING:
                        raise DownloadCorrupt(f"{what}: the hub's listing is longer than {_MAX_LISTING >> 20} MiB")
            break
        except Transient as failure:
            patience.pause(failure)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        page = " but with an HTML page" if bytes(body[:256]).lstrip()[:1] == b"<" else ""
        raise DownloadCorrupt(
            f"{what}: {endpoint()} answers not with JSON{page}",
            remedy="a network that asks for a login answers so; open the address in a browser to see",
        )
    return answer


def _licence(answer: dict[str, Any]) -> str | None:
    card = answer.get("cardData")
    said = card.get("license_name") or card.get("license") if isinstance(card, dict) else None
    if isinstance(said, list) and said:
        said = said[0]
    if said is None:
        tags = answer.get("tags")
        tags = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        said = next((tag[8:] for tag in tags if tag.startswith("license:")), None)
    return said[:100] if isinstance(said, str) and said.isprintable() else None
