"""Real processes of ours, spoken to as a stranger would."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from types import TracebackType
from typing import Any

CLI = [sys.executable, "-m", "pocketllama"]
PATIENCE = 60.0  # seconds; a busy machine is slow, a hang is longer


def cli(*args: str, stdin: str | bytes = b"", **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run([*CLI, *args], input=data, capture_output=True, timeout=PATIENCE, env={**os.environ, **env})
    out, err = (s.decode(errors="replace") for s in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


class Runner:
    """`pocketllama rpc` as a child, with every line it writes in a queue."""

    def __init__(self, *args: str, command: list[str] | None = None, **env: str) -> None:
        self.process = subprocess.Popen(
            command or [*CLI, "rpc", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
        )
        self.lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.stderr = b""
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._read, self._read_stderr)]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.put(json.loads(line))  # anything else on standard output is a failure
        self.lines.put(None)

    def _read_stderr(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.stderr += line

    def send(self, msg_id: Any, method: str, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if msg_id is not None:
            message["id"] = msg_id
        assert self.process.stdin
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> Any:
        """The next message; None at the end of the output."""
        return self.lines.get(timeout=PATIENCE)

    def call(self, method: str, **params: Any) -> Any:
        self.send("call", method, **params)
        while (message := self.hear()).get("id") != "call":
            assert message["method"] == "$/progress"
        return message.get("result", message.get("error"))

    def end_of_input(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe
            try:
                pipe.close()
            except BrokenPipeError:
                pass
