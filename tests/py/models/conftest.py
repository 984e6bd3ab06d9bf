"""A hub of our own and folders of our own, for every test here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lying_hub import LyingHub, Repo, gguf_bytes

from pocketllama.models import patience

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches in tmp, no token, no proxy, no offline mode; short pauses between tries."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "POCKETLLAMA_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("POCKETLLAMA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(patience, "_BACKOFF", 0.01)
    # Read once when huggingface_hub is imported, so that the variable alone would come too late.
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hf" / "token"))
    return tmp_path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LyingHub]:
    """A hub with owner/tiny-GGUF: one model in two quantizations, and companions that are none."""
    server = LyingHub()
    server.repos["owner/tiny-GGUF"] = Repo(
        {
            "README.md": b"# tiny",
            "tiny-Q4_K_M.gguf": gguf_bytes(50_000, seed=1),
            "tiny-Q8_0.gguf": gguf_bytes(60_000, seed=2),
            "mmproj-tiny-Q4_K_M.gguf": gguf_bytes(10, seed=3),
        }
    )
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    yield server
    server.close()


@pytest.fixture
def cache(home: Path) -> Path:
    return home / "hf" / "hub"


class Puller:
    """Forks processes that pull: one Python start for all of them."""

    def __init__(self) -> None:
        self._alive: set[int] = set()
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "py")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("puller.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def start(self, name: str, die_at: int = 0) -> int:
        """The pid of a process that pulls `name`, and kills itself at the disk's `die_at`-th change (0: never)."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"start {die_at} {name}\n")
        self._process.stdin.flush()
        self._alive.add(pid := int(self._process.stdout.readline()))
        return pid

    def wait(self, pid: int) -> int:
        """The exit status: 0, 3 for an error of pocketllama, 130 for a Ctrl-C, or minus a signal."""
        assert self._process.stdin and self._process.stdout
        self._alive.discard(pid)
        self._process.stdin.write(f"wait {pid}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        for pid in self._alive:  # of a test that failed
            os.kill(pid, signal.SIGKILL)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


@pytest.fixture
def puller(hub: LyingHub) -> Iterator[Puller]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    process = Puller()
    yield process
    process.close()
