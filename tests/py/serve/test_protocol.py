"""Connections on which nothing comes, or half of something, are closed; those that are waited on are not."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from pocketllama.serve import protocol

from .server import PATIENCE

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def slow_app(scope: Any, receive: Any, send: Any) -> None:
    await asyncio.sleep(4 * protocol.HEAD_SECONDS)  # an answer may take as long as it takes
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(slow_app, http=protocol.Protocol, lifespan="off", log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(PATIENCE)


@pytest.mark.parametrize("begun", [b"", b"G", REQUEST[:-2]])
def test_a_head_that_does_not_come(address: tuple[str, int], begun: bytes) -> None:
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(begun)
        assert connection.recv(100) == b""


def test_a_second_head_that_does_not_come(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"ok"):
            answer += connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HT")
        assert connection.recv(100) == b""
