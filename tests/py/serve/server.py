"""`pocketllama serve` as a process of its own, spoken to over HTTP as strangers do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import httpx2 as httpx

COMMAND = (sys.executable, "-m", "pocketllama", "serve", "--port", "0")
PATIENCE = 60.0  # seconds; a busy machine is slow, a hang is longer


class Server:
    """Started on a free port; stopped by SIGTERM at the end of a `with`."""

    def __init__(self, *args: str, command: Sequence[str] = COMMAND, **env: str) -> None:
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._listening = threading.Event()
        self.port = 0
        self.process = subprocess.Popen(
            [*command, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(PATIENCE), "it did not start"
        if not self.port:
            self.stop()
            raise AssertionError("\n".join(self.lines))
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)

    def _read(self) -> None:
        assert self.process.stderr
        for raw in self.process.stderr:
            with self._said:
                self.lines.append(raw.decode(errors="replace").rstrip("\n"))
                self._said.notify_all()
            if found := re.search(r"listening on http://.*:(\d+)", self.lines[-1]):
                self.port = int(found[1])
                self._listening.set()
        self._listening.set()

    def logged(self, text: str) -> bool:
        """Whether a line with `text` comes on standard error."""
        with self._said:
            return self._said.wait_for(lambda: any(text in line for line in self.lines), PATIENCE)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return self.http.post(f"/v1/{path}", json=body, **options)

    def complete(self, prompt: Any = "Once upon a time", **body: Any) -> dict[str, Any]:
        """The answer to a completion that succeeds."""
        response = self.post("completions", {"prompt": prompt, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def chat(self, *messages: Any, **body: Any) -> dict[str, Any]:
        """The answer to a conversation; a message that is a string is a user's."""
        full = [{"role": "user", "content": m} if isinstance(m, str) else m for m in messages]
        response = self.post("chat/completions", {"messages": full, **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def stream(self, path: str, **body: Any) -> Iterator[Any]:
        """The events of an answer, without the end mark, which must be there."""
        with self.http.stream("POST", f"/v1/{path}", json={**body, "stream": True}) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in response.iter_lines() if line and not line.startswith(":")]
        assert lines[-1] == "data: [DONE]"
        for line in lines[:-1]:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        found = re.findall(rf"^pocketllama_{name}(?:{{.*?}})? (\S+)$", self.http.get("/metrics").text, re.MULTILINE)
        return sum(map(float, found))

    def stop(self, signum: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signum)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.http.close()
        self.stop()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe
            pipe.close()
