"""The runner as a process: what it answers, how it ends, and that its standard output is the protocol alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ..conftest import REPO
from .processes import CLI, PATIENCE, Runner

GREEDY = {"temperature": 0, "repetition_penalty": 1.1}
ENDLESS = {"prompt": "Once upon a time", "max_tokens": 400, "temperature": 1.0, "seed": 3}


def test_one_request_by_shell(golden: dict[str, Any]) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "complete",
               "params": {"prompt": golden["prompt"], "max_tokens": golden["max_tokens"], **GREEDY}}  # fmt: skip
    script = 'printf "%s\\n" "$1" | "$2" -m pocketllama rpc -m tales'
    out = subprocess.run(
        ["sh", "-c", script, "sh", json.dumps(request), sys.executable], capture_output=True, check=True
    )
    (line,) = out.stdout.splitlines()
    assert json.loads(line)["result"]["text"] == golden["text"]


def test_headers_are_answered_in_headers() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"initialize"}'
    done = subprocess.run([*CLI, "rpc"], input=b"Content-Length: %d\r\n\r\n%b" % (len(body), body), capture_output=True)
    head, _, answer = done.stdout.partition(b"\r\n\r\n")
    assert head == b"Content-Length: %d" % len(answer) and json.loads(answer)["id"] == 1


def test_a_stream_and_its_result_are_the_same_text(golden: dict[str, Any]) -> None:
    with Runner() as runner:
        runner.send(1, "complete", prompt=golden["prompt"], max_tokens=golden["max_tokens"], stream=True, **GREEDY)
        pieces = []
        while (message := runner.hear()).get("id") != 1:
            assert message["params"]["token"] == 1
            pieces.append(message["params"]["value"]["text"])
        assert "".join(pieces) == message["result"]["text"] == golden["text"]
        assert len(pieces) > 5


def test_tokens_and_embeddings() -> None:
    with Runner() as runner:
        tokens = runner.call("tokenize", text="Once upon a 🎉")["tokens"]
        assert runner.call("detokenize", tokens=tokens)["text"] == "Once upon a 🎉"
        one, other = (runner.call("embed", input=text)["embedding"] for text in ("a king", "a king"))
        assert len(one) == 256 and one == other
        assert runner.call("embed", input="a fish")["embedding"] != one
        assert runner.call("detokenize", tokens=[99999])["code"] == -32602
        assert runner.call("complete", prompt="x " * 2000)["data"]["context_length"] == 512
        # ctransformers' library cannot take a NUL; ours can. Neither loses what stands behind it.
        answer = runner.call("tokenize", text="a</s>", special=True)  # the bundled library cannot
        assert answer.get("code") == -32602 or answer["tokens"][-1] == 2
        answer = runner.call("tokenize", text="a\0b")
        assert answer.get("code") == -32602 or runner.call("detokenize", tokens=answer["tokens"])["text"] == "a\0b"


@pytest.mark.parametrize("how", ["$/cancelRequest", "notifications/cancelled"])
def test_cancel_while_decoding(how: str) -> None:
    with Runner() as runner:
        runner.send(7, "complete", stream=True, **ENDLESS)
        first = runner.hear()["params"]["value"]["text"]
        silent = how == "notifications/cancelled"
        runner.send(None, how, **{"requestId" if silent else "id": 7})
        runner.send(8, "tokenize", text="x")
        texts = [first]
        while "id" not in (message := runner.hear()):
            texts.append(message["params"]["value"]["text"])
        if not silent:
            result = message["result"]
            assert message["id"] == 7 and result["finish_reason"] == "cancelled" and result["text"] == "".join(texts)
            assert 0 < result["usage"]["completion_tokens"] < ENDLESS["max_tokens"]  # type: ignore[operator]
            message = runner.hear()
        assert message["id"] == 8


def test_one_seed_one_text_also_after_a_cancel() -> None:
    with Runner() as runner:
        wanted = {"prompt": "The king", "max_tokens": 24, "seed": 11}
        alone = runner.call("complete", **wanted)["text"]
        runner.send(1, "complete", stream=True, **ENDLESS)
        runner.hear()
        runner.send(None, "notifications/cancelled", requestId=1)
        assert runner.call("complete", **wanted)["text"] == alone
        assert runner.call("complete", **{**wanted, "seed": 12})["text"] != alone


def test_nobody_can_spoil_standard_output(tmp_path: Path) -> None:
    # What a noisy library does when it is loaded: print from Python, printf from C, a megabyte of complaints.
    (tmp_path / "sitecustomize.py").write_text("")
    (tmp_path / "noise.py").write_text(
        "import ctypes, sys\n"
        "print('from python')\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.printf(b'from C\\n'); libc.fflush(None)\n"
        "sys.stderr.write('x' * 1_000_000 + '\\n')\n"
    )
    program = (
        "import sys; from pocketllama import output; output.claim(); import noise; "
        "from pocketllama.__main__ import main; sys.exit(main(['rpc']))"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    with Runner(command=[sys.executable, "-c", program], PYTHONPATH=path) as runner:
        assert runner.call("status")["version"]  # each line that was read is JSON, or Runner fails
        runner.end_of_input()
        assert runner.wait() == 0 and runner.hear() is None
    assert b"from python" in runner.stderr and b"from C" in runner.stderr and len(runner.stderr) > 1_000_000


def test_the_order_of_imports_keeps_standard_output(tmp_path: Path) -> None:
    # The same, where the noise comes from a package that the program itself imports.
    (tmp_path / "sentencepiece").mkdir()
    (tmp_path / "fire.py").write_text("print('noise from an import')\nraise SystemExit(5)\n")
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = subprocess.run([*CLI, "rpc"], input=b"", capture_output=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 5 and done.stdout == b"" and b"noise from an import" in done.stderr


# ---- the end ---------------------------------------------------------------------------------------------------------


def test_end_of_input_ends_it() -> None:
    with Runner() as runner:
        runner.call("status")
        runner.end_of_input()
        assert runner.wait() == 0


@pytest.mark.parametrize(("shut_down", "code"), [(True, 0), (False, 1)])
def test_exit(shut_down: bool, code: int) -> None:
    with Runner() as runner:
        if shut_down:
            assert runner.call("shutdown") is None
        runner.send(None, "exit")
        assert runner.wait() == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_it_in_the_middle_of_a_stream(name: str) -> None:
    with Runner() as runner:
        runner.send(1, "complete", stream=True, **ENDLESS)
        runner.hear()
        runner.process.send_signal(getattr(signal, name))
        assert runner.wait() == 128 + getattr(signal, name)


def test_a_killed_runner_leaves_whole_lines() -> None:
    with Runner() as runner:
        runner.send(1, "complete", stream=True, **ENDLESS)
        runner.hear()
        runner.process.kill()
        assert runner.wait() == -signal.SIGKILL
        while runner.hear() is not None:  # each is JSON, or Runner's reader fails
            pass


def test_a_dead_parent_is_not_outlived() -> None:
    # The parent starts a runner on pipes of its own, begins an endless stream, and is killed.
    parent = (
        "import json, sys, time\n"
        "from subprocess import PIPE, Popen\n"
        "p = Popen([sys.executable, '-m', 'pocketllama', 'rpc'], stdin=PIPE, stdout=PIPE)\n"
        f"request = {{'jsonrpc': '2.0', 'method': 'complete', 'params': {ENDLESS!r}}}\n"
        "for i in range(50):\n"
        "    p.stdin.write(json.dumps({**request, 'id': i}).encode() + b'\\n')\n"
        "p.stdin.flush()\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()
    deadline = time.monotonic() + PATIENCE
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie is its new parent's business


def test_a_reader_that_goes_away_ends_it() -> None:
    read, write = os.pipe()
    process = subprocess.Popen([*CLI, "rpc"], stdin=subprocess.PIPE, stdout=write, stderr=subprocess.DEVNULL)
    os.close(write)
    assert process.stdin
    for i in range(50):
        message = {"jsonrpc": "2.0", "id": i, "method": "complete", "params": ENDLESS}
        process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    os.close(read)
    process.stdin.close()
    assert process.wait(PATIENCE) == 0


def test_the_session_in_the_docs(tmp_path: Path) -> None:
    """What docs/protocol.md shows is what happens; "…" there stands for anything."""
    text = (REPO / "docs" / "protocol.md").read_text()
    block = text[text.index("```sh\n$ ") + len("```sh\n$ ") :].partition("```")[0]
    split = block.index('{"jsonrpc"', block.index("rpc -m tales"))
    command, shown = block[:split], block[split:].splitlines()
    program = tmp_path / "pocketllama"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pocketllama "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=env, timeout=PATIENCE, check=True)
    said = done.stdout.splitlines()
    assert len(said) == len(shown)
    for line, expected in zip(said, shown, strict=True):
        at = 0
        for part in expected.split("…"):
            at = line.index(part, at) + len(part)
