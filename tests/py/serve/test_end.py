"""How the server begins and ends: ports, signals (R24), models that are not there."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pocketllama import errors
from pocketllama.serve import process

from .server import Server
from .test_leaving import ENDLESS, asking, until


def test_ctrl_c_ends_it(start: Callable[..., Server]) -> None:
    server = start()
    assert server.complete(max_tokens=1)
    assert server.stop(signal.SIGINT) in (130, -signal.SIGINT)


def test_what_is_under_way_is_told(start: Callable[..., Server]) -> None:
    server = start("--parallel", "1")
    with (
        asking(server, stream=True, n=128, **ENDLESS) as streaming,
        asking(server, stream=True, **ENDLESS) as queued,
        asking(server, **ENDLESS) as waiting,
    ):
        assert streaming.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: server.metric("requests_running") + server.metric("requests_waiting") == 3)
        assert server.stop() in (143, -signal.SIGTERM)
        end = rest(streaming)
        assert b'"code":"shutting_down"' in end and b"data: [DONE]" in end
        assert b'"code":"shutting_down"' in rest(queued)
        refused = rest(waiting)
        assert refused.startswith(b"HTTP/1.1 503") and b"retry-after" in refused.lower()


def rest(connection: socket.socket) -> bytes:
    data = b""
    while chunk := connection.recv(1 << 16):
        data += chunk
    return data


def test_a_port_in_use(server: Server) -> None:
    with pytest.raises(errors.UsageError, match="Cannot serve") as told:
        process._listen("127.0.0.1", server.port)
    assert "--port 0" in str(told.value.remedy)


def test_an_address_of_another_machine() -> None:
    with pytest.raises(errors.UsageError, match="Cannot serve") as told:
        process._listen("192.0.2.1", 0)  # of a net that is for examples
    assert "--host" in str(told.value.remedy) and "--port" not in str(told.value.remedy)


def test_what_cannot_be_served(settled: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", settled["POCKETLLAMA_LIB"])
    with pytest.raises(errors.ModelNotFound, match=r"nothing\.gguf"):
        process._load(["./nothing.gguf"], None, {})
    with pytest.raises(errors.UsageError, match="both be called"):
        process._load(["tales", "tales"], None, {})
    monkeypatch.setenv("POCKETLLAMA_LIB", "avx2")
    with pytest.raises(errors.UsageError, match="one text at a time"):
        process._load(["tales"], 2, {})


def test_fewer_places_where_memory_is_short(monkeypatch: pytest.MonkeyPatch, settled: dict[str, str]) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", settled["POCKETLLAMA_LIB"])
    asked: list[int] = []

    def load(name: str, n_seqs: int, **loading: Any) -> Any:
        asked.append(n_seqs)
        if n_seqs > 1:
            raise errors.OutOfMemory("too much")
        return name

    monkeypatch.setattr(process.LLM, "from_pretrained", load)
    assert process._load_one("tales", None, {}) == "tales" and asked == [4, 2, 1]
    with pytest.raises(errors.OutOfMemory):
        process._load_one("tales", 3, {})  # what was asked for is not made less


def test_several_models(start: Callable[..., Server], tales: Any, tmp_path: Any) -> None:
    copy = tmp_path / "other.gguf"
    copy.write_bytes(tales.read_bytes())
    server = start("-m", "tales", "-m", str(copy), "--ctx", "64")
    assert [m["id"] for m in server.http.get("/v1/models").json()["data"]] == ["tales", "other"]
    texts = {
        server.complete(model=name, temperature=0, max_tokens=9)["choices"][0]["text"] for name in ("tales", "other")
    }
    assert len(texts) == 1
    assert server.complete(model="other", max_tokens=1)["model"] == "other"


def test_without_our_library_there_is_a_queue(start: Callable[..., Server]) -> None:
    """On ctransformers' own library texts are written one after the other, each as if it were alone."""
    from concurrent.futures import ThreadPoolExecutor

    server = start(POCKETLLAMA_LIB="avx2")
    alone = [server.complete(seed=i, max_tokens=16)["choices"][0]["text"] for i in range(3)]
    with ThreadPoolExecutor(6) as threads:
        jobs = [threads.submit(server.complete, seed=i % 3, max_tokens=16) for i in range(6)]
        embedded = threads.submit(server.post, "embeddings", {"input": "a king"})
        assert [job.result()["choices"][0]["text"] for job in jobs] == alone * 2
        assert embedded.result().status_code == 200
    assert server.metric("slots") == 1
    for wish in ({"logprobs": True}, {"response_format": {"type": "json_object"}}):
        refused = server.post("chat/completions", {"messages": [{"role": "user", "content": "x"}], **wish})
        assert refused.status_code == 400 and refused.json()["error"]["remedy"] == "pocketllama build"
    with asking(server, stream=True, n=100, **ENDLESS) as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    until(lambda: server.metric("requests_running") == 0)
