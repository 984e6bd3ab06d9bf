"""The process in which templates from outside run: lines of JSON in and out. `sandbox` starts it and stops it.

What is asked for is rendered; nothing else can be done here. Before the first template comes, the process gives up what
it could do harm with, where the system has a way to: files, processes, memory without end.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from jinja2 import TemplateSyntaxError

from . import jinja
from .sandbox import CPU_LIMIT_S, WALL_LIMIT_S

_MEMORY = 1 << 30  # bytes of address space
_WORDS = 2000  # characters of an error's message


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """{text, spans}, or {error, message}: "refused" by the template itself, "syntax", "memory" or "failed"."""
    try:
        text, spans = jinja.render(request["source"], request["variables"], request["own"])
        return {"text": text, "spans": spans}
    except jinja.Refused as e:
        return _error("refused", e)
    except TemplateSyntaxError as e:
        return _error("syntax", f"line {e.lineno}: {e.message}")
    except (MemoryError, OverflowError, RecursionError) as e:
        return _error("memory", e)
    except Exception as e:
        return _error("failed", f"{type(e).__name__}: {e}")


def _error(kind: str, words: object) -> dict[str, Any]:
    return {"error": kind, "message": str(words)[:_WORDS]}


def _give_up() -> None:
    """No files, no processes, and so much memory. Where the system cannot do that, the time limit is left."""
    try:
        import resource
    except ImportError:
        return
    for name, limit in (("AS", _MEMORY), ("NOFILE", 3), ("NPROC", 0), ("FSIZE", 0), ("CORE", 0)):
        if hasattr(resource, f"RLIMIT_{name}"):
            try:
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
            except (ValueError, OSError):
                pass


def main() -> None:
    """Serve until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program whose process this is
    # What is imported when it is first needed must be there before files are out of reach: so an error is made.
    answer({"source": "{{ [1] | tojson }}{{ strftime_now('%B') }}{{ nothing.at.all }}", "variables": {}, "own": {}})
    _give_up()
    _say(b"ready\n")
    for line in sys.stdin.buffer:
        _limit(CPU_LIMIT_S, 2 * WALL_LIMIT_S)
        reply = json.dumps(answer(json.loads(line))).encode() + b"\n"
        _limit(0, 0)
        _say(reply)


def _limit(cpu_s: float, wall_s: float) -> None:
    """End this process after so many seconds, of computing and in all; 0 for no limit. `sandbox` has a limit of its
    own, but it may have been killed meanwhile."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        signal.setitimer(signal.ITIMER_REAL, wall_s)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
