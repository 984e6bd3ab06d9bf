"""Clients that leave (R20), that are slow, and that are many (R21)."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from .server import PATIENCE, Server

ENDLESS: dict[str, Any] = {"logit_bias": {"2": -100}, "max_tokens": 500}


def until(condition: Callable[[], bool]) -> None:
    """Waits for something that must come."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def asking(server: Server, receive_buffer: int = 0, **body: Any) -> socket.socket:
    """A connection on which a completion has been asked for."""
    connection = socket.socket()
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", server.port))
    raw = json.dumps({"prompt": "Once upon a time", **body}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
    return connection


@pytest.fixture
def narrow(start: Callable[..., Server]) -> Server:
    return start("--parallel", "1", "--queue", "3")


def test_who_leaves_frees_the_place(narrow: Server) -> None:
    expected = narrow.complete(max_tokens=30, seed=1)["choices"][0]["text"]
    # While it streams, and where one answer is waited for: n choices take much longer than this test.
    for stream in (True, False):
        before = narrow.metric("completion_tokens_total")
        with asking(narrow, stream=stream, n=100, **ENDLESS) as connection:
            if stream:
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
            until(lambda: narrow.metric("requests_running") == 1)
        until(lambda: narrow.metric("requests_running") == 0)
        assert narrow.metric("completion_tokens_total") - before < 100 * 500
        assert narrow.complete(max_tokens=30, seed=1)["choices"][0]["text"] == expected
    with asking(narrow, n=100, **ENDLESS):
        until(lambda: narrow.metric("requests_running") == 1)
        with asking(narrow, stream=True, **ENDLESS) as waiting:
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        assert narrow.logged("tales left by the client")  # without counts: it had none yet
    narrow.stop()
    assert not any("running task" in line for line in narrow.lines)  # nothing of them is left


def test_who_leaves_the_queue_is_forgotten(narrow: Server) -> None:
    with asking(narrow, stream=True, n=100, **ENDLESS) as first:
        assert first.recv(100).startswith(b"HTTP/1.1 200")
        with asking(narrow, **ENDLESS):
            until(lambda: narrow.metric("requests_waiting") == 1)
        until(lambda: narrow.metric("requests_waiting") == 0)
        assert narrow.metric("requests_running") == 1  # the other goes on
        # One that asks for a hundred texts keeps nobody waiting for all of them.
        assert narrow.complete(max_tokens=3)["choices"]
        assert narrow.metric("requests_running") == 1


def test_too_many_are_refused_at_once(start: Callable[..., Server]) -> None:
    server = start("--parallel", "2", "--queue", "16")

    def ask(i: int) -> Any:
        return server.post("completions", {"prompt": "Once", "seed": i, **ENDLESS, "max_tokens": 100})

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(ask, range(64)))
    assert {a.status_code for a in answers} == {200, 429}
    assert sum(a.status_code == 200 for a in answers) >= 18
    for answer in answers:
        if answer.status_code == 429:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            error = answer.json()["error"]
            assert error["code"] == "queue_full" and error["type"] == "rate_limit_error"
        else:
            assert answer.json()["usage"]["completion_tokens"] == 100
    assert server.metric("requests_running") == server.metric("requests_waiting") == 0


IMPATIENT = """
from pocketllama.serve import process, settings
process.main(["tales"], settings.Settings(port=0, parallel=1, stall_seconds=0.5, max_backlog=1 << 40))
"""


def test_who_does_not_read_is_left(settled: dict[str, str]) -> None:
    """After half a second here, in place of a minute: the connection stays, and nothing is taken from it."""
    with Server(command=[sys.executable, "-c", IMPATIENT], **settled) as server:
        before = server.metric("completion_tokens_total")
        body = {"stream": True, "n": 100, "logprobs": 20, **ENDLESS}
        with asking(server, receive_buffer=2048, **body) as connection:
            assert connection.recv(12) == b"HTTP/1.1 200"
            until(lambda: server.metric("requests_running") + server.metric("requests_waiting") == 0)
            assert server.logged("left by the client")
            assert server.metric("completion_tokens_total") - before < 100 * 500
            assert server.complete(max_tokens=5)["choices"]  # the place is free
            # Who reads, however slowly, is not left: that is the next one.
        with asking(server, stream=True, max_tokens=300, **{"logit_bias": {"2": -100}}) as connection:
            data = b""
            while piece := connection.recv(1000):
                data += piece
                if b"[DONE]" in data:
                    break
            assert b"data: [DONE]" in data


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_slow_reader_costs_nobody_anything(start: Callable[..., Server]) -> None:
    server = start("--parallel", "4")

    def resident() -> int:
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) << 10

    server.complete(max_tokens=100, n=4, logprobs=9)
    before = resident()
    slow = [asking(server, receive_buffer=2048, stream=True, n=4, logprobs=9, **ENDLESS) for _ in range(3)]
    for connection in slow:
        assert connection.recv(1)
    # All that was asked for has been written, and waits for who does not read it.
    until(lambda: server.metric("requests_running") + server.metric("requests_waiting") == 0)
    assert server.complete(max_tokens=5)["choices"]
    assert resident() - before < 50 << 20
    for connection in slow:
        connection.close()
