"""pull against a hub that lies: each lie ends in the right file or in a typed error, with nothing wrong left behind."""

from __future__ import annotations

import email.utils
import gzip
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from lying_hub import (
    Lie,
    LyingHub,
    Repo,
    altered,
    chunked,
    drip,
    gguf_bytes,
    html,
    never_answer,
    other_range,
    pause_after,
    redirect,
    short,
    status,
    until_closed,
    whole_in_spite_of_range,
)

from pocketllama import models
from pocketllama.errors import DownloadCorrupt, DownloadError, ModelInvalid, ModelNotFound, OfflineError, UsageError
from pocketllama.models import transport
from pocketllama.models.patience import Limits, Patience, Transient

TINY = "hf:owner/tiny-GGUF"
FILE = "tiny-Q4_K_M.gguf"


def data(hub: LyingHub) -> bytes:
    return hub.repos["owner/tiny-GGUF"].files[FILE]


def assert_clean(cache: Path) -> None:
    """No model, no link, no finished blob: at most a partial file for a resume."""
    with pytest.raises(ModelNotFound):
        models.find(TINY)
    left = [path.name for path in cache.rglob("*") if not path.is_dir()]
    assert all(name.endswith((".lock", ".incomplete", "CACHEDIR.TAG")) for name in left), left


def partial(cache: Path) -> list[Path]:
    return list(cache.rglob("*.incomplete"))


def short_stalls(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Only where one is meant: a busy machine stalls for half a second by itself."""
    if "stall" in lie or "now and then" in lie:
        monkeypatch.setenv("POCKETLLAMA_STALL", "0.5")


RECOVERS: dict[str, tuple[str, list[Lie]]] = {
    "short body": ("cdn", [short(70_000)]),
    "short body, again and again": ("cdn", [short(60_000), short(1), short(0), short(60_000)]),
    "reset in the body": ("cdn", [short(70_000, reset=True)]),
    "hung up before a byte": ("cdn", [short(0)]),
    "ignored Range": ("cdn", [short(70_000), whole_in_spite_of_range]),
    "another range than was asked for": ("cdn", [short(70_000), other_range]),
    "416": ("cdn", [short(70_000), status(416)]),
    "416 to the first request": ("cdn", [status(416)]),
    "503 of the CDN": ("cdn", [status(503)]),
    "503 of the hub": ("resolve", [status(503), status(502)]),
    "503 of the API": ("api", [status(503), status(504), status(500)]),
    "429 with Retry-After": ("api", [status(429, {"Retry-After": "0"})]),
    "429 until a date that is past": ("cdn", [status(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})]),
    "429 with nonsense": ("cdn", [status(429, {"Retry-After": "soon"})]),
    "a link to the CDN that has run out": ("cdn", [status(403, body=b"<Error>expired</Error>")]),
    "a stall in the body": ("cdn", [pause_after(70_000)]),
    "a stall before the answer": ("cdn", [never_answer]),
    "an API that stalls": ("api", [never_answer]),
    "no length, chunked": ("cdn", [chunked(lambda data: data)]),
    "no length at all": ("cdn", [until_closed(lambda data: data)]),
    "no length at all, and cut": ("cdn", [until_closed(lambda data: data[:70_000])]),
}


@pytest.mark.parametrize("lie", RECOVERS)
def test_it_recovers_from(hub: LyingHub, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, lies = RECOVERS[lie]
    short_stalls(monkeypatch, lie)
    hub.lie(where, *lies)
    assert models.pull(TINY).path.read_bytes() == data(hub)
    assert not hub.next_lie(where), "every lie was told"
    assert models.verify(TINY)[0].recorded


REFUSES: dict[str, tuple[str, Lie, type[Exception], str]] = {
    "a wrong byte": ("cdn", altered, DownloadCorrupt, "sha256"),
    "short bodies for ever": ("cdn", short(0), DownloadError, "gave up"),
    "a stall for ever": ("cdn", never_answer, DownloadError, "sent nothing for too long"),
    "a stall of the API for ever": ("api", never_answer, DownloadError, "sent nothing for too long"),
    "a byte now and then": ("cdn", drip, DownloadError, "less than 1024 bytes came"),
    "416 for ever": ("cdn", status(416), DownloadError, "416"),
    "503 for ever": ("api", status(503), DownloadError, "503"),
    "429 for an hour": ("api", status(429, {"Retry-After": "3600"}), DownloadError, "asks to wait 3600 s"),
    "a file page with type": ("cdn", html("text/html; charset=utf-8"), DownloadCorrupt, "HTML page"),
    "a file page of the right length": ("cdn", html("application/octet-stream"), DownloadCorrupt, "71 bytes where"),
    "an API page": ("api", html("text/html"), DownloadCorrupt, "HTML page"),
    "an API without sense": ("api", status(200, {}, b"{}"), DownloadCorrupt, "no repository"),
    "an API with deep JSON": ("api", status(200, {}, b"[" * 100_000), DownloadCorrupt, "not with JSON"),
    "a commit that is a path": ("api", status(200, {}, b'{"sha": "../x", "siblings": []}'), DownloadCorrupt, "no repo"),
    "too many bytes": ("cdn", chunked(lambda data: data + b"more"), DownloadCorrupt, "more than"),
    "another length": ("cdn", status(200, {}, gguf_bytes(10)), DownloadCorrupt, "were promised"),
    "a compressed body": (
        "cdn",
        status(200, {"Content-Encoding": "gzip"}, gzip.compress(b"GGUF" * 100)),
        DownloadError,
        "compresses",
    ),
    "a redirect to itself": ("resolve", redirect(lambda handler: handler.path), DownloadError, "in a circle"),
    "redirects without end": ("resolve", redirect(lambda handler: handler.path + "/more"), DownloadError, "10 times"),
    "a redirect to plain http elsewhere": (
        "resolve",
        redirect(lambda handler: "http://192.0.2.1/model.gguf"),
        DownloadError,
        "plain http",
    ),
    "a redirect to a file": ("resolve", redirect(lambda handler: "file:///etc/passwd"), DownloadError, "refused"),
    "a redirect with a password": ("cdn", redirect(lambda handler: "http://u:p@127.0.0.1/"), DownloadError, "refused"),
}


@pytest.mark.parametrize("lie", REFUSES)
def test_it_refuses(hub: LyingHub, cache: Path, lie: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, told, error, message = REFUSES[lie]
    short_stalls(monkeypatch, lie)
    hub.lie(where, always=told)
    with pytest.raises(error, match=message) as refusal:
        models.pull(TINY)
    assert type(refusal.value) is error
    assert_clean(cache)
    if error is DownloadCorrupt:
        assert not partial(cache), "what is wrong is not kept"
    hub.release.set()
    hub.honest()
    monkeypatch.delenv("POCKETLLAMA_STALL", raising=False)
    assert models.pull(TINY).path.read_bytes() == data(hub), "the cache stays usable"


def test_only_the_missing_bytes_are_asked_for_again(hub: LyingHub) -> None:
    hub.lie("cdn", short(70_000))
    models.pull(TINY)
    assert [each.headers.get("range") for each in hub.asked("cdn")] == [None, "bytes=70000-"]


def test_a_later_pull_resumes(hub: LyingHub, cache: Path) -> None:
    hub.lie("cdn", short(70_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    assert partial(cache)[0].read_bytes() == data(hub)[:70_000]
    with pytest.raises(ModelNotFound, match="a download was interrupted"):
        models.find(TINY)
    hub.honest()
    hub.seen.clear()
    models.pull(TINY)
    assert [each.headers.get("range") for each in hub.asked("cdn")] == ["bytes=70000-"]
    assert not partial(cache)


def test_the_first_bytes_are_looked_at_before_the_rest_comes(hub: LyingHub, cache: Path) -> None:
    """A page of exactly the promised length: refused with its first bytes, the rest still unsent."""
    page = b"<html>" + bytes(len(data(hub)) - 6)

    def lie(handler, _):  # type: ignore[no-untyped-def]
        pause_after(1000)(handler, page)

    hub.lie("cdn", lie)
    with pytest.raises(DownloadCorrupt, match="begins with an HTML page"):
        models.pull(TINY)
    assert not hub.release.is_set()
    assert_clean(cache)


@pytest.mark.parametrize("damage", [b"", b"GGUF and then nonsense", b"<html>", bytes(300_000)])
def test_a_spoilt_partial_file_is_replaced(hub: LyingHub, cache: Path, damage: bytes) -> None:
    """A machine that lost power may leave anything under the partial's name."""
    hub.lie("cdn", short(70_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    partial(cache)[0].write_bytes(damage)
    hub.honest()
    assert models.pull(TINY).path.read_bytes() == data(hub)


@pytest.mark.parametrize(
    "digest",
    ["", "../../../../evil", "A" * 64, "a" * 63, "a" * 64 + "\n", "a" * 40 + "/../x", 7, None, ["a" * 64]],
)
def test_a_hostile_digest_is_no_file_name(hub: LyingHub, cache: Path, digest: object) -> None:
    hub.siblings = lambda entries: [{**each, "lfs": {"sha256": digest, "size": 100}} for each in entries]
    with pytest.raises(DownloadCorrupt, match="no usable size and sha256"):
        models.pull(TINY)
    assert not cache.exists()


@pytest.mark.parametrize("size", [-1, 0, 1 << 60, "100", None, True, 1.5])
def test_a_hostile_size(hub: LyingHub, cache: Path, size: object) -> None:
    hub.siblings = lambda entries: [{**each, "lfs": {"sha256": "a" * 64, "size": size}} for each in entries]
    with pytest.raises(DownloadCorrupt, match="no usable size"):
        models.pull(TINY)
    assert not cache.exists()


@pytest.mark.parametrize("name", ["../x-Q4_K_M.gguf", "/x.gguf", "a\\b.gguf", "a//b.gguf", "C:x.gguf", "\x1b[2Jx.gguf"])
def test_a_hostile_file_name_in_the_listing_is_as_good_as_absent(hub: LyingHub, home: Path, name: str) -> None:
    hub.repos["owner/evil-GGUF"] = Repo({name: gguf_bytes(10)})
    with pytest.raises(ModelNotFound, match="no GGUF model"):
        models.pull("hf:owner/evil-GGUF")
    assert not (home / "hf").exists()


@pytest.mark.parametrize("siblings", [None, 7, [None, 7, {"rfilename": 7}, {}]])
def test_a_listing_of_anything(hub: LyingHub, siblings: object) -> None:
    hub.siblings = lambda entries: siblings  # type: ignore[assignment,return-value]
    with pytest.raises((DownloadCorrupt, ModelNotFound)):
        models.pull(TINY)


def test_a_pickle_is_refused_by_its_first_bytes(hub: LyingHub, cache: Path) -> None:
    hub.repos["owner/old"] = Repo({"pytorch_model.bin": b"PK\x03\x04" + bytes(1000), "ggml.bin": b"tjgg" + bytes(1000)})
    with pytest.raises(ModelInvalid, match="pickle"):
        models.pull("hf:owner/old:pytorch_model.bin")
    assert not partial(cache)
    with pytest.raises(ModelNotFound):
        models.pull("hf:owner/old")
    old = models.pull("hf:owner/old:ggml.bin")
    shown = models.show("hf:owner/old:ggml.bin")
    assert (shown["format"], shown["architecture"], shown["size"]) == ("ggml", None, old.size)


@pytest.fixture
def https(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[httpx2.Request], httpx2.Response]], None]:
    """Answers of a hub at https://hub.test, without TLS and without a socket."""

    def serve(answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        huggingface_hub.set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(answer)))

    monkeypatch.setenv("HF_ENDPOINT", "https://hub.test")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield serve
    from huggingface_hub.utils._http import default_client_factory

    huggingface_hub.set_client_factory(default_client_factory)


def test_https_is_never_left_for_http(https) -> None:  # type: ignore[no-untyped-def]
    https(lambda request: httpx2.Response(302, headers={"location": "http://127.0.0.1:1/x"}))
    with pytest.raises(DownloadError, match="from https to something less safe"):
        models.pull(TINY)


def test_a_hub_on_another_port_gets_no_token(https) -> None:  # type: ignore[no-untyped-def]
    seen: list[tuple[str, str | None]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append((str(request.url), request.headers.get("authorization")))
        if request.url.port == 8443:
            return httpx2.Response(404)
        return httpx2.Response(307, headers={"location": "https://hub.test:8443/x"})

    https(answer)
    with pytest.raises(DownloadError):
        models.pull(TINY)
    assert seen[0][1] == "Bearer hf_secret"
    assert {token for url, token in seen if ":8443" in url} == {None}


def test_an_offline_hub_client_is_an_offline_error(https) -> None:  # type: ignore[no-untyped-def]
    def answer(request: httpx2.Request) -> httpx2.Response:
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline")

    https(answer)
    with pytest.raises(OfflineError):
        models.pull(TINY)


def test_nobody_listens_and_each_try_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    events: list[models.ProgressEvent] = []
    with pytest.raises(DownloadError, match=r"the connection to 127\.0\.0\.1 failed"):
        models.pull(TINY, progress=events.append)
    assert {(event.file, event.done, event.total) for event in events} == {(TINY, 0, None)}
    asking, *tries = (event.note for event in events)
    assert asking == "asking 127.0.0.1"
    said = [note.partition(": ") for note in tries]
    assert [first for first, _, _ in said] == [f"trying again ({n} of 6)" for n in range(2, 7)]
    assert all(why.startswith("the connection to 127.0.0.1 failed") for _, _, why in said)


def test_a_look_at_a_header_tells_its_tries_too(hub: LyingHub) -> None:
    events: list[models.ProgressEvent] = []
    hub.lie("api", status(503))
    models.show(TINY, remote=True, progress=events.append)
    assert [event.note for event in events] == [
        "asking 127.0.0.1",
        "trying again (2 of 6): the server reports trouble (HTTP 503)",
    ]


def test_a_broken_download_tells_where_it_goes_on(hub: LyingHub) -> None:
    events: list[models.ProgressEvent] = []
    hub.lie("cdn", short(70_000))
    models.pull(TINY, progress=events.append)
    told = [event for event in events if event.note]
    assert [event.file for event in told] == [TINY, "tiny-Q4_K_M.gguf"]
    assert told[1].done > 0 and told[1].total == len(data(hub)) and "trying again (2 of 6)" in told[1].note


class Clock:
    """time for patience.py: it passes only where someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    time = monotonic


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pocketllama.models.patience.time", clock)
    return clock


def test_a_stall_ends_within_thirty_seconds(clock: Clock) -> None:
    patience, began = Patience("x", Limits(), None), clock.now
    with pytest.raises(DownloadError, match="gave up"):
        while True:
            clock.now = patience.deadline()  # not one byte came
            patience.pause(Transient("nothing came"))
    assert 20 < clock.now - began <= 30


def test_bytes_renew_patience_but_a_trickle_does_not(clock: Clock) -> None:
    patience = Patience("x", Limits(), None)
    first = patience.deadline()
    clock.now += 15
    patience.progressed(1023)
    assert patience.deadline() <= first + 10
    patience.progressed(1)
    assert patience.deadline() == clock.now + 20
    clock.now += 31  # a process that was stopped for a while; then a whole packet comes
    patience.progressed(1460)
    clock.now += 31
    with pytest.raises(Transient, match="less than 1024 bytes"):
        patience.progressed(1023)


def test_a_connection_that_brings_megabytes_may_break_for_ever(clock: Clock) -> None:
    patience = Patience("x", Limits(), None)
    for _ in range(100):
        patience.progressed(1 << 20)
        patience.pause(Transient("broke"))


def test_retry_after_is_obeyed_and_bounded(clock: Clock) -> None:
    patience, began = Patience("x", Limits(), None), clock.now
    patience.pause(Transient("busy", retry_after=45.0))
    assert clock.now - began == pytest.approx(45)
    assert patience.deadline() == clock.now + 20, "waiting as told is no stall"
    with pytest.raises(DownloadError, match="asks to wait 61 s"):
        patience.pause(Transient("busy", retry_after=61.0))


def test_retry_after_may_be_a_date() -> None:
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    seconds = transport._retry_after({"retry-after": later})
    assert seconds is not None and 0 < seconds <= 100
    assert transport._retry_after({"retry-after": "-5"}) is None
    assert transport._retry_after({}) is None


@pytest.mark.parametrize("value", ["x", "0", "-1", "nan", "inf"])
def test_a_stall_limit_that_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("POCKETLLAMA_STALL", value)
    with pytest.raises(UsageError, match="POCKETLLAMA_STALL"):
        Limits.from_environment()
