"""What a model of the hub is, before it is downloaded: from the beginnings of its files, which hold their headers.

A GGUF's header says where it ends only when all of it is read. So the beginning is asked for by HTTP ranges, more of it
until the header is whole, and laid into an empty file of the announced size, which the same reader as ever takes for
the model. Some megabytes come for a model of gigabytes: most of a header is the vocabulary.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

from pocketllama import gguf
from pocketllama.errors import DownloadCorrupt, ModelInvalid, OfflineError, StorageError
from pocketllama.models import choose, env, hub, refs, transport
from pocketllama.models.patience import Cancel, Limits, Patience, Transient
from pocketllama.models.progress import Progress, notes
from pocketllama.models.transport import Flow, Request

_FIRST = 1 << 20  # bytes; then four times as many, and so on
_MOST = 256 << 20  # no header is longer; see gguf.cursor


def peek(
    name: str,
    ref: refs.HubRef,
    stack: ExitStack,
    cancel: Cancel | None = None,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[gguf.GGUF]]:
    """Facts of the model as Model.as_json() has them (it has neither `path` nor `files` yet), and its files' headers.

    The headers are open until `stack` closes. Raises what pull() raises; ModelInvalid where a file is no GGUF.
    """
    if variable := env.offline():
        raise OfflineError(
            f"{name} is not on this machine, and {variable} forbids the network", remedy=f"unset {variable}"
        )
    limits = Limits.from_environment()
    listing = hub.listing(ref, cancel, limits, notes(progress, name))
    names = choose.choose(listing.entries, file=ref.file, quant=ref.quant, where=f"hf:{ref.repo}")
    files = [hub.describe(listing, each, ref, cancel, limits) for each in names]
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pocketllama-header-")))
    headers = []
    for i, file in enumerate(files):
        path = folder / f"{i}-{Path(file.name).name}"
        headers.append(stack.enter_context(_header(path, listing, file, ref, cancel, limits)))
    facts = {
        "name": name,
        "path": None,
        "files": [],
        "size": sum(file.size for file in files),
        "source": "hub",
        "licence": listing.licence,
        "revision": listing.commit,
        "sha256": [file.digest.hex if file.digest.kind == "sha256" else None for file in files],
        "downloaded": False,
    }
    return facts, headers


def _header(
    path: Path, listing: hub.Listing, file: hub.HubFile, ref: refs.HubRef, cancel: Cancel | None, limits: Limits
) -> gguf.GGUF:
    have, want = 0, min(_FIRST, file.size)
    with path.open("wb") as out:
        try:
            out.truncate(file.size)  # takes no room where nothing is written
        except OSError as e:
            raise StorageError(f"The header of {file.name} cannot be kept: {e.strerror or e}.") from e
    while True:
        with path.open("r+b") as out:
            out.seek(have)
            _bring(out, have, want, listing, file, ref, cancel, limits)
        have = want
        try:
            found = gguf.read(path)
        except ModelInvalid:
            # Zeros where the rest should be: whatever the reader made of them, more has to come first.
            if have >= min(file.size, _MOST):
                raise
        else:
            if found.data_offset <= have:
                return found
            found.close()
            if have >= min(file.size, _MOST):
                raise DownloadCorrupt(f"{file.name}: its header does not end")
        want = min(have * 4, file.size, _MOST)


def _bring(
    out: BinaryIO,
    have: int,
    want: int,
    listing: hub.Listing,
    file: hub.HubFile,
    ref: refs.HubRef,
    cancel: Cancel | None,
    limits: Limits,
) -> None:
    """The bytes [have, want) of a file, appended to `out`."""
    patience = Patience(file.name, limits, cancel)
    while have < want:
        asked = hub.file_request(listing.repo, listing.commit, file.name)
        request = Request(asked.url, {**asked.headers, "range": f"bytes={have}-{want - 1}"}, asked.token, asked.hub)
        try:
            with Flow(request, patience) as flow:
                transport.check_status(flow)
                if flow.status not in (200, 206):
                    raise hub.refused(flow, ref, file.name)
                skip = have if flow.status == 200 else 0  # a server that knows no ranges begins at the beginning
                for chunk in flow:
                    piece = chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    piece = piece[: want - have]
                    out.write(piece)
                    have += len(piece)
                    patience.progressed(len(chunk))
                    if have == want:
                        break
            if have < want:
                raise Transient("the connection ended early")
        except Transient as failure:
            patience.pause(failure)
