"""Runs templates that nobody vouches for: in a process of their own, for so long, and no longer.

Jinja's sandbox keeps a template from Python's insides, but not from a list of lists that is doubled forty times and
then shown, which takes all memory inside one call of C. What runs in another process can be stopped there, whatever it
does. That process is started with the first template (a fifth of a second), kept for the next ones, and ends with this.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any

from ..errors import EngineError, ModelInvalid, UsageError
from ..paths import PACKAGE
from .marked import MAX_TEXT, Spans

# A second of computing, where the system can count that, and in all not so much more: real templates take milliseconds,
# so that a busy machine does not stop them, and nobody waits much longer than this for one that does not end.
CPU_LIMIT_S = 1.0
WALL_LIMIT_S = 1.8
_START_LIMIT_S = 30.0
_MOST_BYTES = 16 * MAX_TEXT  # a character takes up to 12 bytes of ASCII JSON
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from pocketllama.chat.worker import main; main()"
# Nothing else of our environment is a template's business.
_VARIABLES = ("TZ", "LANG", "LC_ALL", "LC_TIME", "SYSTEMROOT", "PATH")


def render(source: str, variables: Mapping[str, Any], own: Mapping[str, str], name: str) -> tuple[str, Spans]:
    """The text of a template and what of it the template wrote; see `jinja.render`. `name` is whose template it is.

    UsageError where the template does not take such a conversation, or fails on it; ModelInvalid where it is none,
    or takes more time or memory than one may.
    """
    reply = _worker.ask({"source": source, "variables": variables, "own": own})
    if reply is None:
        raise ModelInvalid(
            f"The chat template of {name} was stopped: it took more than {CPU_LIMIT_S:g} s of computing, or "
            f"{WALL_LIMIT_S:g} s in all, or too much memory.",
            remedy=_OTHER,
        )
    if "text" in reply:
        return reply["text"], tuple((start, end) for start, end in reply["spans"])
    words = str(reply.get("message", ""))
    if reply["error"] == "refused":
        raise UsageError(f"The chat template of {name} does not take this conversation: {words}")
    if reply["error"] == "syntax":
        raise ModelInvalid(f"The chat template of {name} is not valid Jinja: {words}", remedy=_OTHER)
    if reply["error"] == "memory":
        raise ModelInvalid(f"The chat template of {name} wants too much: {words or 'out of memory'}.", remedy=_OTHER)
    raise UsageError(f"The chat template of {name} failed on this conversation: {words}", remedy=_OTHER)


_OTHER = "Choose another template with --template NAME|FILE (template= in Python)."


class _Worker:
    """The process, one request at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process id that started it: a fork of it must start its own

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer; None if the process had to be stopped, or ended itself, over it."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            process = self._running()
            assert process.stdin and process.stdout
            timer = threading.Timer(WALL_LIMIT_S, process.kill)
            timer.daemon = True
            timer.start()
            try:
                process.stdin.write(line)
                process.stdin.flush()
                reply = process.stdout.readline(_MOST_BYTES)
                if reply.endswith(b"\n"):
                    return dict(json.loads(reply))
            except (OSError, ValueError):
                pass  # it is dead, or not itself
            except BaseException:  # Ctrl-C: its answer would be taken for the next one's
                self._stop()
                raise
            finally:
                timer.cancel()
            self._stop()
            return None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process and self._owner == os.getpid() and self._process.poll() is None:
            return self._process
        self._stop()
        path = [str(PACKAGE.parent), *filter(None, sys.path)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, *path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
            )
        except OSError as e:
            raise EngineError(f"The process for chat templates could not be started: {e.strerror}.") from e
        self._process, self._owner = process, os.getpid()
        timer = threading.Timer(_START_LIMIT_S, process.kill)
        timer.daemon = True
        timer.start()
        assert process.stdout
        ready = process.stdout.readline()
        timer.cancel()
        if ready != b"ready\n":
            self._stop()
            raise EngineError(
                "The process for chat templates did not start.",
                remedy=f"Look at what this says: {sys.executable} -c 'import pocketllama.chat.worker'",
            )
        return process

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin and process.stdout
        if self._owner == os.getpid():
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            try:
                stream.close()
            except OSError:
                pass

    def close(self) -> None:
        with self._lock:
            self._stop()


_worker = _Worker()
atexit.register(_worker.close)
