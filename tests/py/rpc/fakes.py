"""A peer and an engine without processes and weights."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

from pocketllama.engine.options import Completion, Sampling, Timings
from pocketllama.engine.pool import Pool
from pocketllama.errors import ModelNotFound
from pocketllama.rpc.connection import Connection
from pocketllama.rpc.service import Limits, Service

PATIENCE = 20.0  # seconds until a test gives up on an answer


class FakeGeneration:
    """Says the prompt's words back, one at a time, as fast as the test lets it."""

    def __init__(self, engine: FakeEngine, prompt: str, options: Sampling, cancel: Callable[[], bool]) -> None:
        self.engine, self.words, self.options, self.cancel = engine, prompt.split(), options, cancel
        self.said: list[str] = []
        self.reason = ""
        self.forgotten = 0
        self.call_style: str | None = None

    def __iter__(self) -> Iterator[str]:
        self.engine.begun.release()
        for word in self.words[: self.options.max_tokens]:
            self.engine.flag = getattr(self.cancel, "flag", None)
            while not self.engine.go.wait(0.01) and not self.cancel():
                pass
            if self.cancel():
                self.reason = "cancelled"
                return
            self.said.append(word)
            yield word
        self.reason = "stop" if len(self.said) == len(self.words) else "length"

    def result(self) -> Completion:
        if not self.reason:
            for _ in self:
                pass
        return Completion("".join(self.said), self.reason, len(self.words), len(self.said), Timings())


class FakeEngine:
    """An engine that does what it is told: it waits while `go` is unset."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Semaphore(0)  # released by each generation that begins
        self.closed = False
        self.chatted: dict[str, Any] = {}  # what the last chat was told beside its messages
        self.flag: Any = None  # of the last generation's `cancel`

    def complete(
        self, prompt: str, options: Sampling | None = None, *, cancel: Callable[[], bool] = lambda: False
    ) -> Any:
        if prompt == "crash":
            raise RuntimeError("a bug")
        return FakeGeneration(self, prompt, options or Sampling(), cancel)

    def chat(self, messages: Any, *, cancel: Callable[[], bool] = lambda: False, **more: Any) -> Any:
        known = {f.name for f in fields(Sampling)}
        self.chatted = {k: v for k, v in more.items() if k not in known}
        options = Sampling.of(**{k: v for k, v in more.items() if k in known})
        return self.complete(messages[-1]["content"], options, cancel=cancel)

    def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]:
        return [1] * bos + list(text.replace("<s>", "\1" if special else "<s>").encode())

    def tokenize(self, text: str, add_bos_token: bool | None = None) -> list[int]:
        return [1, *text.encode()]

    def decode(self, tokens: list[int]) -> str:
        return bytes(tokens).decode()

    def embed(
        self, input: str | list[int], *, pooling: str = "last", normalize: bool = False, cancel: Any = None
    ) -> list[float]:
        return [1.0 if normalize else float(len(input)), *[0.5] * (pooling == "mean")]

    def describe(self) -> dict[str, Any]:
        return {"fake": True}

    def close(self) -> None:
        self.closed = True


class Peer:
    """The other end: what it sends arrives at a real Connection and Service, what comes back waits in a queue."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.engine = FakeEngine()
        self.incoming: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.gone = False
        self.service = Service(Pool(self._load), "fake", limits)
        limits = self.service.limits
        self.connection = Connection(self, self.service.dispatch, limits.max_message_bytes)
        self.thread = threading.Thread(target=self.connection.run, daemon=True)
        self.thread.start()

    def _load(self, name: str) -> FakeEngine:
        if name != "fake":
            raise ModelNotFound(f"There is no model {name!r}.", remedy=f"pocketllama pull {name}")
        return self.engine

    # The transport that the connection reads and writes.

    def read(self) -> bytes:
        return self.incoming.get()

    def write(self, data: bytes) -> None:
        if self.gone:
            raise BrokenPipeError
        body = data.partition(b"\r\n\r\n")[2] if data.startswith(b"Content-Length") else data
        self.outgoing.put(json.loads(body))

    def peer_gone(self) -> bool:
        return self.gone

    # What a test says and hears.

    def send(self, *values: Any) -> None:
        for value in values:
            self.incoming.put((value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n")

    def request(self, msg_id: Any, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "id": msg_id, "method": method, "params": params})

    def notify(self, method: str, **params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def hear(self) -> Any:
        return self.outgoing.get(timeout=PATIENCE)

    def call(self, method: str, **params: Any) -> Any:
        self.request("call", method, **params)
        answer = self.hear()
        assert answer["id"] == "call", answer
        return answer.get("result", answer.get("error"))

    def begun(self) -> None:
        """Wait until one more generation has begun."""
        assert self.engine.begun.acquire(timeout=PATIENCE)

    def hang_up(self) -> None:
        self.incoming.put(b"")

    def joined(self) -> bool:
        self.thread.join(PATIENCE)
        return not self.thread.is_alive()

    def close(self) -> None:
        self.engine.go.set()
        self.hang_up()
        self.joined()
        assert self.service.close(PATIENCE)
