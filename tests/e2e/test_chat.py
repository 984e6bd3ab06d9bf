"""`pocketllama chat` as people meet it: through a pipe, and in a terminal (of our own, that answers no questions)."""

from __future__ import annotations

import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import pytest

from .processes import CLI, PATIENCE, cli

PROMPT = r"\x1b\[\?2004h"  # from now on a paste is told from typing
CHAT = ("chat", "-m", "tales", "--temp", "0", "-n", "8")


def test_a_pipe(golden: dict[str, str]) -> None:
    done = cli("chat", "-m", "tales", "--temp", "0", "-n", str(golden["max_tokens"]), stdin=f"{golden['prompt']}\n")
    assert done.stdout == golden["text"].strip() + "\n" and (done.returncode, done.stderr) == (0, "")


def test_alpaca_as_in_2023() -> None:
    done = cli(*CHAT, "--template", "alpaca", stdin="Name a colour.\n/input Hund\nTranslate.\n/save talk\n")
    assert done.returncode == 0 and done.stdout.count("\n") >= 2
    # The same by way of the prompt that Stanford's authors published.
    ask = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    prompt = f"{ask}\n\n### Instruction:\nName a colour.\n\n### Response:"
    expected = cli("run", prompt, "--temp", "0", "-n", "8", "--stop", "\n### Instruction:").stdout
    assert done.stdout.startswith(expected.strip())


def test_kept_and_gone_on_with_in_another_process() -> None:
    options = (*CHAT, "--template", "vicuna")
    whole = cli(*options, stdin="Tell me of a king.\n/save king\nAnd of a queen.\n")
    second = cli(*options, "--load", "king", stdin="And of a queen.\n")
    assert second.stdout.strip() and whole.stdout.endswith(second.stdout)
    assert "2 messages" in second.stderr
    assert cli(*options, stdin="And of a queen.\n").stdout != second.stdout  # it is the conversation that makes it
    # What nobody asks for otherwise is as it was: the model, and how it is talked to.
    third = cli("chat", "--temp", "0", "-n", "8", "--load", "king", stdin="And of a queen.\n")
    assert third.stdout == second.stdout and "no model to chat with" not in third.stderr


def test_no_model_and_nobody_to_ask() -> None:
    done = cli("chat", "--temp", "0", "-n", "3", stdin="Once\n", POCKETLLAMA_OFFLINE="1")
    assert done.returncode == 0 and done.stdout.strip()
    assert "no model to chat with" in done.stderr and "tales" in done.stderr


def test_errors_are_told_and_the_code_is_the_first_ones() -> None:
    done = cli(*CHAT, stdin="/nonsense\nOnce\n")
    assert done.returncode == 2 and "no command /nonsense" in done.stderr and done.stdout.strip()
    assert cli("chat", "-m", "tales", "--template", "nonsuch").returncode == 2
    assert cli("chat", "-m", "/nowhere.gguf", stdin="x\n").returncode == 3
    assert cli(*CHAT, stdin=b"\xff\xfe\n").returncode == 2
    assert cli(*CHAT, "--load", "nonsuch").returncode == 5


pty = pytest.importorskip("pty", reason="no pseudo-terminals here")


class Terminal:
    """A program in a terminal of its own; `see` waits until something is on it."""

    def __init__(self, *args: str, columns: int = 80, **env: str) -> None:
        self.fd, theirs = pty.openpty()
        import fcntl
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [*CLI, *args],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # The terminal becomes that session's own, so that its Ctrl-C is a signal to the program.
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env={**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **env},
        )
        os.close(theirs)
        self.text = ""
        self._seen = 0

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def say(self, keys: str) -> None:
        """Type at the next prompt."""
        self.see(PROMPT)
        self.type(keys)

    def see(self, pattern: str) -> str:
        """Everything up to `pattern`, which came after what was seen before."""
        end = time.monotonic() + PATIENCE
        while not (found := re.compile(pattern).search(self.text, self._seen)):
            if time.monotonic() > end or not self._read(end):
                pytest.fail(f"{pattern!r} did not come; there was {self.text[self._seen :]!r}")
        before, self._seen = self._seen, found.end()
        return self.text[before : self._seen]

    def _read(self, end: float) -> bool:
        if not select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the program has ended
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def ends(self) -> int:
        while self._read(time.monotonic() + PATIENCE):
            pass
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals here")
class TestTerminal:
    def test_a_chat(self, own_home: Path) -> None:
        with Terminal(*CHAT) as terminal:
            terminal.see("/help lists the commands")
            terminal.say("Once upon a time\r")
            terminal.see("there lived a king")
            terminal.see("Cut off after 8 tokens")
            terminal.say("/stats\r")
            terminal.see("context: ")
            terminal.say("/exit\r")
            assert terminal.ends() == 0
        history = own_home / "pocketllama" / "chats" / "history"
        assert "Once upon a time" in history.read_text() and history.stat().st_mode & 0o077 == 0

    def test_control_c_stops_the_answer_and_not_the_program(self) -> None:
        with Terminal("chat", "-m", "tales", "--temp", "1", "--seed", "3", "-n", "490") as terminal:
            terminal.say("Once upon a time\r")
            terminal.see(r"time[^>]*\w+ \w+ \w+")
            terminal.type("\x03")
            terminal.see(r"\(stopped\)")
            terminal.say("not sent\x03")  # at the prompt it forgets what was typed
            terminal.say("The king\r")
            terminal.see(r"king[^>]*\w+ \w+")
            terminal.type("\x03")
            terminal.see(r"\(stopped\)")
            assert "not sent" not in terminal.text.rsplit("The king", 1)[1]
            terminal.say("\x04")
            assert terminal.ends() == 0

    def test_a_paste_of_several_lines_is_one_message(self, own_home: Path) -> None:
        with Terminal(*CHAT) as terminal:
            terminal.say("\x1b[200~Once upon a time\nthere was\n\x1b[201~a llama\r")
            terminal.see("Cut off")
            terminal.say("/save pasted\r")
            terminal.see("Kept in")
            terminal.say("\x04")
            assert terminal.ends() == 0
        kept = (own_home / "pocketllama" / "chats" / "pasted.json").read_text()
        assert r"Once upon a time\nthere was\na llama" in kept

    def test_a_model_is_offered(self) -> None:
        with Terminal("chat", "-n", "3", columns=40) as terminal:
            offer = terminal.see(r"\[Y/n\] ")
            assert re.search(r"\d GB", offer) and "licence" in offer
            assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 40 for line in offer.splitlines())
            terminal.type("n\r")
            terminal.see("tales")
            terminal.say("\x04")
            assert terminal.ends() == 0

    def test_offline_it_says_so(self) -> None:
        with Terminal("chat", "-n", "3", POCKETLLAMA_OFFLINE="1") as terminal:
            terminal.see("POCKETLLAMA_OFFLINE")
            terminal.say("\x04")
            assert terminal.ends() == 0

    def test_it_is_told_to_end(self) -> None:
        with Terminal(*CHAT) as terminal:
            terminal.see(PROMPT)
            terminal.process.send_signal(signal.SIGTERM)
            assert terminal.ends() in (-signal.SIGTERM, 128 + signal.SIGTERM)
