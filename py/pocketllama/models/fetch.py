"""One file from the network to the disk: resumed, checked over all of its bytes, complete or not there.

    partial file -> hash what is there -> ask for the rest -> append and hash -> compare -> fsync -> rename

A server is taken at none of its words: length, range, type, first bytes and hash are each checked.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pocketllama.errors import DownloadCorrupt, DownloadError, ModelError
from pocketllama.models import disk, transport
from pocketllama.models.part import Digest, Part
from pocketllama.models.patience import Cancel, Limits, Patience, Transient, stop_if
from pocketllama.models.progress import Progress, ProgressEvent
from pocketllama.models.transport import Flow, Request

_REPORT_EVERY = 0.1  # seconds between two progress events


@dataclass
class Job:
    """A file to be. `size` and `digest` are what the hub promised; None where no one did (other web servers)."""

    what: str  # its name, for messages and progress
    request: Request
    part: Path  # the caller holds the lock that guards it
    target: Path
    size: int | None = None
    digest: Digest | None = None
    refused: Callable[[Flow], Exception] | None = None  # explains an answer like 404 better than this module can
    accept: Callable[[Path], object] | None = None  # a last look at the file; a ModelError of it means it is damaged
    settled: Callable[[str, int], None] | None = None  # told sha256 and size just before the file becomes visible
    progress: Progress | None = None
    cancel: Cancel | None = None
    limits: Limits = field(default_factory=Limits.from_environment)


def fetch(job: Job) -> None:
    """Makes `job.target`. Raises DownloadError and its kinds, StorageError, Cancelled; what came stays for a resume,
    unless it was wrong."""
    with Part(job.part, job.what, job.digest, job.size) as part:
        run = _Run(job, part)
        run.reuse()
        resumed = part.offset > 0
        while True:
            run.transfer()
            if part.hash.agrees() and (run.digest is None or run.digest.hex == part.hash.sha256):
                break
            if not resumed:
                part.discard()
                raise DownloadCorrupt(
                    f"{job.what}: the sha256 of what came is not what was promised",
                    remedy="pull it again; if it stays so, the server or a proxy on the way damages it",
                    data={"promised": (job.digest or run.digest or Digest("sha256", "")).hex, "got": part.hash.sha256},
                )
            # The bytes of an earlier try may be the wrong ones (a crash of the machine): once more from the start.
            run.begin_again()
            resumed = False
        run.report(last=True)
        if job.accept is not None:
            try:
                job.accept(job.part)
            except ModelError as error:
                part.discard()
                raise DownloadCorrupt(f"{job.what} is no usable model as it came: {error}") from error
        if job.settled is not None:
            job.settled(part.hash.sha256, part.offset)
        part.commit(job.target)
        with suppress(OSError):  # the model is there; its notes are only for a resume
            run.notes.unlink(missing_ok=True)


class _Run:
    """The tries for one file."""

    def __init__(self, job: Job, part: Part) -> None:
        self.job = job
        self.part = part
        self.size = job.size
        self.digest: Digest | None = None  # what the server's own headers promise
        self.validator: str | None = None  # for If-Range, where no digest guards a resume
        self.notes = job.part.with_name(job.part.name + ".json")
        self._high = 0
        self._reported = 0.0

    def reuse(self) -> None:
        """Takes over the bytes of an earlier try, where they can be trusted to belong to this file."""
        job, part = self.job, self.part
        there = part.there()
        if there and job.digest is None:
            self.validator, self.size = self._read_notes()
        if there and ((job.digest is None and self.validator is None) or (self.size is not None and there > self.size)):
            part.restart()
            self.size = job.size
            return
        try:
            while part.take():
                stop_if(job.cancel)
        except (DownloadCorrupt, ModelError):  # what is there is no model: what comes may be one
            part.restart()

    def transfer(self) -> None:
        """Everything up to the last byte, with as many tries as that takes and Patience allows."""
        patience = Patience(self.job.what, self.job.limits, self.job.cancel, self._say)
        self._high = self.part.offset
        self.report()
        while self.size is None or self.part.offset < self.size:
            try:
                self._try(patience)
                return
            except Transient as failure:
                patience.pause(failure)

    def begin_again(self) -> None:
        self.part.restart()
        self.size = self.job.size
        self.validator = None

    def report(self, *, last: bool = False) -> None:
        if self.job.progress is not None and (last or time.monotonic() - self._reported >= _REPORT_EVERY):
            self._reported = time.monotonic()
            self.job.progress(ProgressEvent(self.job.what, self.part.offset, self.size))

    def _say(self, note: str) -> None:
        if self.job.progress is not None:
            self.job.progress(ProgressEvent(self.job.what, self.part.offset, self.size, note))

    def _try(self, patience: Patience) -> None:
        """One request, from where the partial file ends. Transient where it broke before the end."""
        job, part = self.job, self.part
        headers = dict(job.request.headers)
        if part.offset and job.digest is None and self.validator is None:
            self.begin_again()  # nothing would tell whether the file changed meanwhile
        if part.offset:
            headers["range"] = f"bytes={part.offset}-"
            if self.validator is not None:
                headers["if-range"] = self.validator
        request = Request(job.request.url, headers, job.request.token, job.request.hub)
        with Flow(request, patience) as flow:
            self._check_answer(flow)
            for data in flow:
                if self.size is not None and part.offset + len(data) > self.size:
                    part.discard()
                    raise DownloadCorrupt(f"{job.what}: the server sends more than the {self.size} bytes of the file")
                try:
                    part.append(data)
                except (DownloadCorrupt, ModelError):
                    part.discard()
                    raise
                patience.progressed(max(0, part.offset - self._high))
                self._high = max(self._high, part.offset)
                self.report()
        if self.size is None:
            self.size = part.offset  # a complete chunked answer without a length
        if part.offset < self.size:
            raise Transient(f"the connection ended {self.size - part.offset} bytes early")

    def _check_answer(self, flow: Flow) -> None:
        """Refuses what cannot be the (rest of the) file; leaves `part` where the body continues."""
        job, part = self.job, self.part
        transport.check_status(flow)
        if flow.status == 416:
            self.begin_again()
            raise Transient("the server refuses to resume (HTTP 416)")
        if flow.status not in (200, 206):
            if job.refused is not None:
                raise job.refused(flow)
            raise DownloadError(f"{job.what}: the server answers HTTP {flow.status}")
        if flow.headers.get("content-encoding", "identity").lower() != "identity":
            raise DownloadError(f"{job.what}: the server compresses what it was asked to send as it is")
        if flow.headers.get("content-type", "").lower().startswith("text/html"):
            raise DownloadCorrupt(
                f"{job.what}: the server sends an HTML page instead of the file",
                remedy="a network that asks for a login answers so; open the address in a browser to see",
            )
        if flow.status == 206:
            start, total = _content_range(flow.headers)
            if start != part.offset or (self.size is not None and total not in (None, self.size)):
                self.begin_again()
                raise Transient("the server answered with another part of the file than was asked for")
        elif part.offset:
            self.begin_again()  # Range ignored: the whole file comes
        self._learn(flow)

    def _learn(self, flow: Flow) -> None:
        """Size, digest and validator from the headers of a good answer."""
        job, part = self.job, self.part
        length = flow.headers.get("content-length", "")
        if length.isascii() and length.isdigit():
            total = part.offset + int(length[:20])
            if self.size is not None and total != self.size:
                raise DownloadCorrupt(
                    f"{job.what}: the server sends {total} bytes where {self.size} were promised",
                    remedy="pull it again later; the file may be changing on the server",
                )
            self.size = total
        if job.digest is None:
            self.digest = _promised(flow.headers)
            self.validator = _validator(flow.headers)
            disk.write_small(self.notes, json.dumps({"validator": self.validator, "size": self.size}))
        if self.size is not None:
            disk.require_free(job.part.parent, self.size - part.offset, job.what)

    def _read_notes(self) -> tuple[str | None, int | None]:
        """Validator and size that an earlier try wrote down; none where the notes cannot be read."""
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
            validator, size = notes["validator"], notes["size"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None, None
        good = isinstance(validator, str) and validator.isprintable() and isinstance(size, int) and size > 0
        return (validator, size) if good else (None, None)


def _content_range(headers: Mapping[str, str]) -> tuple[int, int | None]:
    """First byte and whole length from Content-Range; (-1, None) where it makes no sense."""
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", headers.get("content-range", "").strip())
    if match is None:
        return -1, None
    return int(match[1]), None if match[3] == "*" else int(match[3])


def _validator(headers: Mapping[str, str]) -> str | None:
    """What If-Range may carry: a strong ETag, or the date of the last change."""
    etag = headers.get("etag", "")
    if re.fullmatch(r'"[\x21\x23-\x7e]{1,200}"', etag):
        return etag
    return headers.get("last-modified", "")[:64] or None


def _promised(headers: Mapping[str, str]) -> Digest | None:
    """A sha256 of the whole file that a server sends along (Repr-Digest, Digest, S3's checksum)."""
    for name, pattern in (
        ("repr-digest", r"(?:^|[,\s])sha-256=:([A-Za-z0-9+/=]+):"),
        ("digest", r"(?i:(?:^|[,\s])sha-256)=([A-Za-z0-9+/=]+)"),
        ("x-amz-checksum-sha256", r"^([A-Za-z0-9+/=]+)$"),  # "...-N" is over parts, and no digest of the file
    ):
        if found := re.search(pattern, headers.get(name, "")):
            try:
                raw = base64.b64decode(found[1], validate=True)
            except binascii.Error:
                continue
            if len(raw) == 32:
                return Digest("sha256", raw.hex())
    return None
