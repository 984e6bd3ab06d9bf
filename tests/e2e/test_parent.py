"""Whoever started a command through npx and was killed (R24) leaves nothing behind; who started it otherwise may go."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from pocketllama import node

from .processes import CLI, PATIENCE

REPO = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at in /proc")

# What the npx entry does once it has found its environment: here, this Python's.
ENTRY = f"""
import {{ handOver }} from {json.dumps(str(REPO / "js" / "cli.js"))};
const environment = {{ python: {json.dumps(sys.executable)}, record: {{ version: "3.10.0" }} }};
process.exitCode = await handOver(environment, "pocketllama", process.argv.slice(2));
"""
SERVE = ("serve", "--port", "0")
ENDLESS = ("run", "Once upon a time", "-n", "1000000", "--context-shift")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)
    return found


def descendants(pid: int) -> list[int]:
    """Those below a process, itself first."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


class Started:
    """A process with all that it starts; whatever is left at the end is killed."""

    def __init__(self, command: list[str], **env: str) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
        )
        self.said = b""
        self.pids: list[int] = []

    def hear(self, words: bytes) -> None:
        """Wait until it says this; then `pids` are those that there are."""
        assert self.process.stdout
        while words not in self.said:
            assert select.select([self.process.stdout], [], [], PATIENCE)[0], self.said
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, self.said
            self.said += data
        self.pids = descendants(self.process.pid)

    def kill(self, signum: int = signal.SIGKILL) -> None:
        self.process.send_signal(signum)
        self.process.wait(PATIENCE)

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *what: object) -> None:
        for pid in {*self.pids, *descendants(self.process.pid)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def entry(tmp_path: Path) -> list[str]:
    found = node.find()
    if found is None:
        pytest.skip("no Node")
    (tmp_path / "entry.mjs").write_text(ENTRY)
    return [str(found), str(tmp_path / "entry.mjs")]


@pytest.mark.parametrize(("args", "words"), [(SERVE, b"listening"), (ENDLESS, b" ")])
def test_a_command_ends_with_its_entry(entry: list[str], args: tuple[str, ...], words: bytes) -> None:
    if args == SERVE:
        pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    with Started([*entry, *args]) as started:
        started.hear(words)
        assert len(started.pids) == 2
        started.kill()
        until(lambda: not any(map(alive, started.pids)))


def test_it_may_be_killed_at_any_moment(entry: list[str]) -> None:
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    with Started([*entry, *SERVE]) as started:
        started.pids = until(lambda: len(found := descendants(started.process.pid)) == 2 and found)
        started.kill()
        until(lambda: not any(map(alive, started.pids)))


def test_a_chat_gives_its_terminal_back(entry: list[str]) -> None:
    pty = pytest.importorskip("pty", reason="no pseudo-terminals here")
    import termios

    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(
        [*entry, "chat", "-m", "tales"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
    )
    try:
        text = b""
        while b">" not in text:
            text += os.read(ours, 1 << 16)
        until(lambda: not termios.tcgetattr(theirs)[3] & termios.ICANON)  # it is being typed in
        pids = descendants(child.pid)
        assert len(pids) == 2
        child.kill()
        child.wait(PATIENCE)
        until(lambda: not any(map(alive, pids)))
        assert termios.tcgetattr(theirs) == before
    finally:
        child.kill()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["KILL", "TERM"])
def test_npx_itself_may_be_killed(entry: list[str], tmp_path: Path, signum: int) -> None:
    """npm runs a shell, which runs us, and passes nothing on."""
    npx = shutil.which("npx")
    if npx is None:
        pytest.skip("no npx")
    package = {"name": "pocketllama", "version": "0.0.1", "bin": {"pocketllama": "entry.mjs"}}
    (tmp_path / "package.json").write_text(json.dumps(package))
    program = tmp_path / "entry.mjs"
    program.write_text(f"#!/usr/bin/env node\n{program.read_text()}")
    program.chmod(0o755)
    quiet = {"npm_config_update_notifier": "false", "npm_config_audit": "false", "npm_config_offline": "true"}
    npm = {"npm_config_cache": str(tmp_path / "cache"), **quiet}
    with Started([npx, "--yes", str(tmp_path), *ENDLESS], **npm) as started:
        started.hear(b" ")
        assert len(started.pids) >= 3
        started.kill(signum)
        until(lambda: not any(map(alive, started.pids)))


def test_who_starts_it_directly_may_go() -> None:
    """As a shell, nohup or a service's script: nothing but the npx entry is waited for."""
    pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")
    program = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:], start_new_session=True);"
        " print('pid', p.pid, flush=True); p.wait()"
    )
    env = {"POCKETLLAMA_LAUNCHER": "npx", "POCKETLLAMA_PARENT_FD": "3", "npm_lifecycle_event": "npx"}
    with Started([sys.executable, "-c", program, *CLI, *SERVE], **env) as started:
        started.hear(b"listening on http://127.0.0.1:")
        started.hear(b"\n")
        server = started.pids[-1]
        started.kill()
        url = started.said.decode().partition("listening on ")[2].split()[0]
        body = json.dumps({"prompt": "Once", "max_tokens": 50}).encode()
        asked = urllib.request.Request(f"{url}/v1/completions", body, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=PATIENCE) as answer:
            assert json.load(answer)["choices"][0]["text"]
        assert alive(server)
