"""What nobody means (R17): garbage, size, depth; the server answers with a 4xx and goes on, the same process."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest

from .server import Server

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def survives(server: Server) -> Iterator[None]:
    yield
    assert server.process.poll() is None
    assert server.complete(max_tokens=1)["choices"]


def raw(server: Server, data: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or has answered."""
    with server.connect() as connection:
        connection.sendall(data)
        connection.settimeout(20)
        return connection.recv(1 << 16)


@pytest.mark.parametrize("seed", range(20))
def test_garbage(server: Server, seed: int) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.randrange(1, 3000)) + b"\r\n\r\n"
    answer = raw(server, data)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_strange_requests(server: Server, data: bytes) -> None:
    status = raw(server, data)[9:12]
    assert status.startswith(b"4")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"prompt"',
        b'{"prompt":"x","n":1e999}',
        b'{"prompt":"x","temperature":NaN}',
        b'{"prompt":"x","max_tokens":' + b"9" * 5000 + b"}",
        b'{"prompt":"\\ud800","max_tokens":1}',
        b'{"prompt":"x\xff"}',
        b'{"prompt":"x","seed":1.5}',
        b'{"prompt":"x","logit_bias":{"a":1}}',
        b'{"prompt":"x","logit_bias":{"1":1e400}}',
        b'{"prompt":"x","stop":["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q"]}',
        b'{"prompt":"x","stop":""}',
        b'{"prompt":[1,"x"]}',
        b'{"prompt":' + b"[" * 1000 + b"]" * 1000 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"prompt":"x","user":{"a":' + b'{"a":' * 500 + b"1" + b"}" * 501 + b"}",
    ],
)
def test_strange_bodies(server: Server, body: bytes) -> None:
    response = server.http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400 and response.json()["error"]["message"]


def test_large_bodies(server: Server) -> None:
    body = json.dumps({"prompt": "x" * 10_000_000}).encode()
    response = server.http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 413
    # Told by nobody how long it is.
    chunks = (b"x" * 65536 for _ in range(200))
    with server.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        try:
            for chunk in chunks:
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        except ConnectionError:
            pass  # it has heard enough
        else:
            assert connection.recv(100).startswith(b"HTTP/1.1 413")
    # What is allowed may still be more than the context holds.
    assert server.post("completions", {"prompt": "x " * 1_000_000}).json()["error"]["code"] == "context_length_exceeded"


def test_a_request_that_does_not_come(server: Server) -> None:
    """Half of a request keeps nobody else waiting."""
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        assert server.complete(max_tokens=1)["choices"]
