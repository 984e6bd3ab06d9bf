"""The parent's side of serve.py: two engines, of which one is at work at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_QUIET = 0.05  # seconds between two engines' turns: threads spin for a while before they sleep


class Worker:
    """An engine in its environment: `python` is that environment's interpreter."""

    def __init__(self, side: str, python: str, isa: str | None = None) -> None:
        self.side = side
        self._command = [python, "-m", "tests.bench.serve", side]
        self._env = {**os.environ, "PYTHONPATH": "py", **({"POCKETLLAMA_ISA": isa} if isa else {})}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, cwd=ROOT, env=self._env, stdin=pipe, stdout=pipe, text=True)

    def ask(self, op: str, **arguments: Any) -> Any:
        """The answer to one request; RuntimeError if the worker is gone."""
        time.sleep(_QUIET)
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it had to say is on stderr
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the worker of {self.side} ended while it should {op}")
        return json.loads(line)

    def start(self, model: Path, threads: int) -> dict[str, Any]:
        """serve.start in a process of its own."""
        words = [*self._command, "start", str(model), str(threads), repr(time.monotonic())]
        done = subprocess.run(words, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, text=True, check=True)
        figures: dict[str, Any] = json.loads(done.stdout)
        return figures

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        with self._process:  # closes what it reads, and waits for its end
            pass


def ours(isa: str | None = None) -> Worker:
    return Worker("ours", sys.executable, isa)


def llama_cpp(python: str) -> Worker:
    return Worker("llama.cpp", python)
