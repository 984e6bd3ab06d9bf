"""What is said to a chat: lines from a terminal, with editing and a history, or from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import output
from ..errors import UsageError
from ..paths import data_dir


def from_pipe() -> Iterator[str]:
    """Every line of standard input. UsageError where it is not UTF-8."""
    for line in sys.stdin.buffer:
        try:
            yield line.decode("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError as e:
            raise UsageError(f"Standard input is not UTF-8: {e.reason} in {line[:40]!r}.") from e


class Editor:
    """Asks for messages in a terminal. Enter sends one; Alt-Enter, or a paste, makes more lines than one.

    Ctrl-C forgets what was typed, Ctrl-D on an empty line ends. What was said before comes back with the arrow keys,
    also of earlier chats: it is kept in the user's data directory, readable by nobody else.
    """

    def __init__(self, commands: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory, InMemoryHistory
        from prompt_toolkit.input import create_input
        from prompt_toolkit.output import create_output

        file = _history_file()
        self._session: PromptSession[str] = PromptSession(
            history=FileHistory(str(file)) if file else InMemoryHistory(),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=lambda width, line, wrapped: "· ".rjust(width),
            input=create_input(sys.stdin),
            output=create_output(stdout=output.stream()),
            enable_suspend=True,
        )

    def ask(self) -> str | None:
        """The next message; None at the end."""
        while True:
            try:
                return self._session.prompt("> ")
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None


def _history_file() -> Path | None:
    file = data_dir() / "chats" / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    except OSError:
        return None  # a chat does without
    return file


def _keys() -> Any:
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

    keys = KeyBindings()

    @keys.add("enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-d")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        else:
            event.app.exit(exception=EOFError)

    return keys


@contextmanager
def unechoed() -> Iterator[None]:
    """While an answer is written, keys that are typed do not show up in it; they wait for the next message."""
    try:
        import termios
    except ImportError:
        yield
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    without = termios.tcgetattr(fd)
    without[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSANOW, without)
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSANOW, before)


def yes(question: str) -> bool:
    """What the user says to a question in a terminal; Enter means yes. Ctrl-C is KeyboardInterrupt."""
    sys.stderr.write(f"{question} [Y/n] ")
    sys.stderr.flush()
    while True:
        answer = sys.stdin.readline()
        if not answer:
            sys.stderr.write("\n")
            return False
        if answer.strip().lower() in ("", "y", "yes"):
            return True
        if answer.strip().lower() in ("n", "no"):
            return False
        sys.stderr.write("Please answer y or n: ")
        sys.stderr.flush()
