"""One HTTP request for a file or an answer of the hub: redirects, the token's reach, stalls, what may be retried.

It runs on huggingface_hub's own HTTP client, so that proxies, certificates and a client factory that the user set
there hold here too. The request runs in a thread that hands its bytes over through a bounded queue: whoever reads
can then stop at once on a cancel or a Ctrl-C, and bounds every wait itself, a name server that hangs included.
"""

from __future__ import annotations

import email.utils
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from pocketllama.errors import DownloadError, OfflineError, PocketllamaError, UsageError
from pocketllama.models import refs
from pocketllama.models.env import flag
from pocketllama.models.patience import Patience, Transient, stop_if

MAX_REDIRECTS = 10
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_POLL = 0.1  # seconds between two looks at the cancel callback


def origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, (parts.hostname or "").lower(), parts.port or (443 if scheme == "https" else 80)


def check_url(url: str) -> None:
    """UsageError for an address that may not be asked: https, or http on this machine or where it was allowed."""
    refs.check_url_form(url)
    scheme, host, _ = origin(url)
    if scheme == "http" and not refs.is_loopback(host) and not flag("POCKETLLAMA_ALLOW_HTTP"):
        raise UsageError(
            f"refusing plain http to {host}: whoever is on the way could replace the file",
            remedy="use its https address, or set POCKETLLAMA_ALLOW_HTTP=1 if you trust the network",
        )


@dataclass
class Request:
    """What to ask. `token` goes to `hub` (an origin) and to no other host; `head` asks for the hub's headers only."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    hub: tuple[str, str, int] | None = None
    head: bool = False


class Flow:
    """A running request: the final answer's `status` and `headers`, then its bytes by iterating. Close it."""

    status: int
    headers: Mapping[str, str]
    hub_headers: Mapping[str, str]  # of the last answer that came from the hub itself, a redirect included

    def __init__(self, request: Request, patience: Patience) -> None:
        check_url(request.url)
        self.url = request.url
        self._request = request
        self._patience = patience
        self._queue: queue.Queue[httpx2.Response | bytes | BaseException | None] = queue.Queue(maxsize=64)
        self._abandoned = threading.Event()
        self._socket: socket.socket | None = None
        self.hub_headers = httpx2.Headers()
        threading.Thread(target=self._run, daemon=True, name="pocketllama-fetch").start()
        try:
            answer = self._next()
        except BaseException:
            self.close()
            raise
        assert isinstance(answer, httpx2.Response)
        self.status, self.headers = answer.status_code, answer.headers

    def __enter__(self) -> Flow:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        """The body as it comes. Raises Transient, DownloadError or Cancelled."""
        while (chunk := self._next()) is not None:
            assert isinstance(chunk, bytes)
            yield chunk

    @property
    def off_hub(self) -> bool:
        """Whether the hub sent the request on to another host (its CDN)."""
        return self._request.hub is not None and origin(self.url) != self._request.hub

    def close(self) -> None:
        """Ends the request; its thread goes soon, at the latest when its own timeout strikes."""
        self._abandoned.set()
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits for bytes
            except OSError:
                pass

    def _next(self) -> httpx2.Response | bytes | None:
        deadline = self._patience.deadline()
        while True:
            stop_if(self._patience.cancel)
            try:
                item = self._queue.get(timeout=_POLL)
            except queue.Empty:
                if time.monotonic() >= deadline:
                    raise Transient(f"{urlsplit(self.url).hostname} sent nothing for too long") from None
                continue
            if isinstance(item, BaseException):
                raise _explained(item, self.url) from item
            return item

    # In the thread:

    def _run(self) -> None:
        try:
            answer = self._follow()
            try:
                stream = answer.extensions.get("network_stream")
                self._socket = stream.get_extra_info("socket") if stream is not None else None
                if not self._hand_over(answer):
                    return
                for chunk in answer.iter_raw() if not self._request.head else ():
                    if not self._hand_over(chunk):
                        return
                self._hand_over(None)
            finally:
                self._socket = None
                answer.close()
        except BaseException as error:
            self._hand_over(error)

    def _hand_over(self, item: httpx2.Response | bytes | BaseException | None) -> bool:
        while not self._abandoned.is_set():
            try:
                self._queue.put(item, timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def _follow(self) -> httpx2.Response:
        client, asked, seen = get_session(), self._request, set[str]()
        limits = self._patience.limits
        for _ in range(MAX_REDIRECTS + 1):
            headers = {**asked.headers, "accept-encoding": "identity"}
            at_hub = origin(self.url) == asked.hub
            if at_hub and asked.token:
                headers["authorization"] = f"Bearer {asked.token}"
            request = client.build_request(
                "HEAD" if asked.head else "GET", self.url, headers=headers, timeout=httpx2.Timeout(limits.stall)
            )
            answer = client.send(request, stream=True, auth=None, follow_redirects=False)
            if at_hub:
                self.hub_headers = answer.headers
            if not answer.has_redirect_location:
                return answer
            target = urljoin(self.url, answer.headers["location"])
            if asked.head and origin(target) != asked.hub:
                return answer  # what was wanted is on the hub's own answer; the CDN has nothing to add
            answer.close()
            seen.add(self.url)
            self._check_redirect(target, seen)
            self.url = target
        raise DownloadError(f"{self._request.url} redirects more than {MAX_REDIRECTS} times")

    def _check_redirect(self, target: str, seen: set[str]) -> None:
        if target in seen:
            raise DownloadError(f"{self._request.url} redirects in a circle")
        if origin(self.url)[0] == "https" and origin(target)[0] != "https":
            raise DownloadError(f"{self.url.partition('?')[0]} redirects from https to something less safe: refused")
        try:
            check_url(target)
        except UsageError as error:
            raise DownloadError(f"{self._request.url} redirects to an address that is refused: {error}") from error


def check_status(flow: Flow) -> None:
    """Transient for an answer that asks for patience: 429, 5xx, or a storage link of the hub that has run out."""
    if flow.status in _RETRIED:
        what = "too many requests" if flow.status == 429 else "trouble"
        raise Transient(f"the server reports {what} (HTTP {flow.status})", _retry_after(flow.headers))
    if flow.off_hub and flow.status in (400, 401, 403, 404, 410):
        raise Transient(f"the hub's storage refuses the hub's own link (HTTP {flow.status})")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from the header Retry-After, which holds a number or a date; None where it holds neither."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _explained(error: BaseException, url: str) -> Exception:
    """What a failure in the thread means to the reader of a Flow."""
    host = urlsplit(url).hostname
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DownloadError(
                f"the certificate of {host} cannot be trusted: {cause.verify_message}",
                remedy="behind a company's proxy, set SSL_CERT_FILE to its certificates (a .pem file)",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, PocketllamaError):
        return error
    if isinstance(error, OfflineModeIsEnabled):
        return OfflineError(str(error), remedy="unset HF_HUB_OFFLINE")
    if isinstance(error, (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)):
        return DownloadError(f"cannot ask {host}: {error}")
    if isinstance(error, httpx2.TimeoutException):
        return Transient(f"{host} sent nothing for too long")
    if isinstance(error, (httpx2.TransportError, OSError)):
        return Transient(f"the connection to {host} failed: {error or type(error).__name__}")
    return error if isinstance(error, Exception) else RuntimeError(repr(error))
