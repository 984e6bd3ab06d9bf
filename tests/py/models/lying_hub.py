"""A hub on loopback that tells the truth until it is told to lie.

Two servers, so that the hub and the CDN that it redirects to are two origins. Each request is written down. A lie is
a function that answers one request in place of the honest code; lies of one place are used up in order.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MAIN = "a" * 40


def gguf_bytes(floats: int = 1000, seed: int = 0, licence: str | None = None) -> bytes:
    """A small valid GGUF: one F32 tensor of random bits, so that every size and seed has its own hash."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    pairs = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    pairs.append(text("llama.context_length") + struct.pack("<II", 4, 256))
    if licence:
        pairs.append(text("general.license") + struct.pack("<I", 8) + text(licence))
    tensor = text("token_embd.weight") + struct.pack("<IQIQ", 1, floats, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", 3, 1, len(pairs)) + b"".join(pairs) + tensor
    return header + bytes(-len(header) % 32) + random.Random(seed).randbytes(4 * floats)


@dataclass
class Repo:
    files: dict[str, bytes]
    commit: str = MAIN
    revisions: tuple[str, ...] = ("main",)
    licence: str = "apache-2.0"
    gated: bool = False
    lfs: bool = True  # False: files outside the large-file store, named by git's hash
    blobs: bool = True  # False: a mirror whose listing has names only


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]


Lie = Callable[["Handler", bytes], None]


@dataclass
class LyingHub:
    repos: dict[str, Repo] = field(default_factory=dict)
    web: dict[str, bytes] = field(default_factory=dict)  # files of a plain web server, at /web/<name>
    web_headers: dict[str, str] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    siblings: Callable[[list[dict]], list[dict]] = lambda entries: entries  # a last look at the API's listing
    sent: threading.Event = field(default_factory=threading.Event)  # set by lies that pause
    release: threading.Event = field(default_factory=threading.Event)  # what they wait for

    tls: ssl.SSLContext | None = None  # both servers speak https with it

    def __post_init__(self) -> None:
        self._lies: dict[str, list[Lie]] = {}
        self._always: dict[str, Lie] = {}
        self._servers = [_Server(("127.0.0.1", 0), Handler) for _ in range(2)]
        for server in self._servers:
            server.hub = self
            if self.tls is not None:
                server.socket = self.tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True).start()
        scheme = "https" if self.tls else "http"
        self.endpoint, self.cdn = (f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def close(self) -> None:
        self.release.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def lie(self, where: str, *lies: Lie, always: Lie | None = None) -> None:
        """The next requests to `where` ("api", "resolve", "cdn", "web") get these answers, one each."""
        self._lies.setdefault(where, []).extend(lies)
        if always is not None:
            self._always[where] = always

    def honest(self) -> None:
        self._lies.clear()
        self._always.clear()

    def next_lie(self, where: str) -> Lie | None:
        queue = self._lies.get(where)
        return queue.pop(0) if queue else self._always.get(where)

    def asked(self, where: str) -> list[Seen]:
        return [each for each in self.seen if place_of(each.path) == where]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    hub: LyingHub

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients hang up in these tests


def place_of(path: str) -> str:
    if path.startswith("/api/"):
        return "api"
    first = path.split("/")[1]
    return first if first in ("cdn", "web") else "resolve"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: _Server

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server.hub
        # A proxy is asked for a whole address.
        path = self.path if self.path.startswith("/") else self.path.split("/", 3)[-1].join(("/", ""))
        hub.seen.append(Seen(self.command, path, {key.lower(): value for key, value in self.headers.items()}))
        self.where, self.steps = place_of(path), [unquote(step) for step in urlsplit(path).path.strip("/").split("/")]
        with contextlib.suppress(ConnectionError):
            lie = hub.next_lie(self.where)
            if lie is not None:
                lie(self, self.content())
            else:
                getattr(self, "_" + self.where)()

    def content(self) -> bytes:
        """The bytes of the file that is asked for; b"" where the request is about something else."""
        hub = self.server.hub
        if self.where == "web":
            return hub.web.get("/".join(self.steps[1:]), b"")
        if self.where == "cdn":
            for repo in hub.repos.values():
                for data in repo.files.values():
                    if hashlib.sha256(data).hexdigest() == self.steps[1]:
                        return data
        return b""

    # Honest answers

    def _api(self) -> None:
        name, revision = "/".join(self.steps[2:4]), self.steps[5]
        repo = self.server.hub.repos.get(name)
        if repo is None:
            return self.say(401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."})
        if revision not in (*repo.revisions, repo.commit):
            return self.say(404, {"X-Error-Code": "RevisionNotFound"})
        entries = []
        for file, data in repo.files.items():
            entry: dict = {"rfilename": file}
            if repo.blobs:
                entry |= {"size": len(data), "blobId": git_hash(data)}
                if repo.lfs:
                    digest = hashlib.sha256(data).hexdigest()
                    entry["lfs"] = {"sha256": digest, "size": len(data), "pointerSize": 134}
            entries.append(entry)
        entries = self.server.hub.siblings(entries)
        answer = {"id": name, "sha": repo.commit, "siblings": entries, "cardData": {"license": repo.licence}}
        self.say(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _resolve(self) -> None:
        repo = self.server.hub.repos.get("/".join(self.steps[:2]))
        file = "/".join(self.steps[4:])
        if repo is None or file not in repo.files:
            return self.say(404, {"X-Error-Code": "RepoNotFound" if repo is None else "EntryNotFound"})
        if repo.gated and "authorization" not in self.headers:
            return self.say(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted."})
        data = repo.files[file]
        headers = {"X-Repo-Commit": repo.commit}
        if not repo.lfs:
            return self.file(data, {**headers, "ETag": f'"{git_hash(data)}"'})
        digest = hashlib.sha256(data).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(data)), "ETag": '"elsewhere"'}
        self.say(302, {**headers, "Location": f"{self.server.hub.cdn}/cdn/{digest}?signature=x"})

    def _cdn(self) -> None:
        self.file(self.content(), {"ETag": '"of-the-cdn"'})

    def _web(self) -> None:
        data = self.content()
        if not data:
            return self.say(404)
        headers = {"ETag": f'"{git_hash(data)}"', **self.server.hub.web_headers}
        self.file(data, {key: value for key, value in headers.items() if value})

    # Means to answer, for the honest and the lying

    def say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if not headers or "Transfer-Encoding" not in headers:
            self.send_header("Content-Length", str((headers or {}).get("X-Length", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def start(self) -> int:
        """The first byte asked for, 0 without a (valid, current) Range."""
        wanted = self.headers.get("range", "")
        return int(wanted[6:-1]) if wanted.startswith("bytes=") and wanted.endswith("-") else 0

    def file(self, data: bytes, headers: dict[str, str]) -> None:
        start, condition = self.start(), self.headers.get("if-range")
        if start and condition not in (None, headers.get("ETag"), headers.get("Last-Modified")):
            start = 0
        if start >= len(data) > 0:
            return self.say(416, {"Content-Range": f"bytes */{len(data)}"})
        if start:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self.say(206 if start else 200, headers, data[start:])

    def begin(self, data: bytes) -> bytes:
        """The honest head of an answer to a request for (the rest of) `data`; returns what would have to follow."""
        start = self.start()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        return data[start:]

    def hang_up(self, *, reset: bool = False) -> None:
        self.close_connection = True
        self.wfile.flush()
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def git_hash(data: bytes) -> str:
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


# Lies


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"") -> Lie:
    return lambda handler, data: handler.say(code, headers, body)


def html(content_type: str) -> Lie:
    page = b"<!DOCTYPE html><html><body>Please log in to this network.</body></html>"
    return lambda handler, data: handler.say(200, {"Content-Type": content_type}, page)


def short(count: int, *, reset: bool = False) -> Lie:
    """Promises everything, sends `count` bytes, hangs up."""

    def lie(handler: Handler, data: bytes) -> None:
        handler.wfile.write(handler.begin(data)[:count])
        handler.hang_up(reset=reset)

    return lie


def pause_after(count: int) -> Lie:
    """Sends `count` bytes and then nothing until the hub's `release` is set; sets `sent`. Then hangs up."""

    def lie(handler: Handler, data: bytes) -> None:
        handler.wfile.write(handler.begin(data)[:count])
        handler.wfile.flush()
        handler.server.hub.sent.set()
        handler.server.hub.release.wait(30)
        handler.hang_up()

    return lie


def never_answer(handler: Handler, data: bytes) -> None:
    handler.server.hub.sent.set()
    handler.server.hub.release.wait(30)
    handler.hang_up()


def drip(handler: Handler, data: bytes) -> None:
    """A byte now and then, each soon enough to look alive."""
    for byte in handler.begin(data):
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        if handler.server.hub.release.wait(0.05):
            return


def whole_in_spite_of_range(handler: Handler, data: bytes) -> None:
    handler.say(200, {}, data)


def other_range(handler: Handler, data: bytes) -> None:
    handler.say(206, {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"}, data[5:])


def altered(handler: Handler, data: bytes) -> None:
    """All bytes, the last one another."""
    start = handler.start()
    handler.begin(data)
    handler.wfile.write((data[:-1] + bytes([data[-1] ^ 1]))[start:])


def chunked(data_of: Callable[[bytes], bytes]) -> Lie:
    def lie(handler: Handler, data: bytes) -> None:
        body = data_of(data)
        handler.say(200, {"Transfer-Encoding": "chunked"})
        for at in range(0, len(body), 5000):
            piece = body[at : at + 5000]
            handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return lie


def until_closed(data_of: Callable[[bytes], bytes]) -> Lie:
    """No length at all: the body ends where the connection does."""

    def lie(handler: Handler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(data_of(data))
        handler.hang_up()

    return lie


def redirect(target: Callable[[Handler], str]) -> Lie:
    return lambda handler, data: handler.say(302, {"Location": target(handler)})


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """For what has no event to wait on (another process's file)."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
