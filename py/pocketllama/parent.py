"""Ends this process with the npx entry that started it, however that ends.

Node holds one end of a pipe for as long as it lives, and says in a variable which descriptor the other end is. Whoever
starts the command line in another way (a shell, nohup, systemd) passes no such pipe and is not waited for.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
import time

VARIABLE = "POCKETLLAMA_PARENT_FD"
_GRACE_S = 5.0  # for the end that SIGTERM asks for


def watch() -> None:
    """Begin to listen, if there is such a pipe. Processes that this one starts do not inherit it."""
    try:
        fd = int(os.environ.pop(VARIABLE))
        mode = os.fstat(fd).st_mode
        if fd <= 2 or not (stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)):
            return
        os.set_inheritable(fd, False)
    except (KeyError, ValueError, OSError):
        return
    threading.Thread(target=_end_with, args=(fd,), name="pocketllama-parent", daemon=True).start()


def _end_with(fd: int) -> None:
    try:
        while os.read(fd, 1):
            pass  # nothing is ever written to it
    except OSError:
        return  # it was another kind of pipe, and tells nothing
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os._exit(128 + signal.SIGTERM)
