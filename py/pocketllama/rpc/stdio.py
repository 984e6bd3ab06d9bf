"""The protocol over standard input and output, and the process around it."""

from __future__ import annotations

import os
import select
import signal
import sys
from types import FrameType

from ..output import protocol_fd
from .connection import Connection
from .service import Service

# A native call that does not end within this is not worth waiting for: the process is going away.
_GRACE_S = 1.0


class StdioTransport:
    """Reads fd 0; writes to what was fd 1 when the program began (fd 1 itself is standard error by now)."""

    def __init__(self, fd_in: int, fd_out: int) -> None:
        self._in, self._out = fd_in, fd_out

    def read(self) -> bytes:
        try:
            return os.read(self._in, 1 << 16)
        except OSError:  # standard input was closed before we began
            return b""

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._out, view) :]
            except BlockingIOError:  # a parent that shares the pipe has made it non-blocking
                select.select([], [self._out], [])

    def peer_gone(self) -> bool:
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(self._out, 0)  # POLLERR and POLLHUP are always told: nobody holds the reading end any more
        return any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0))


class _Terminated(BaseException):
    """A signal asked the process to end."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise _Terminated(signum)


def serve(service: Service) -> int:
    """Serve one peer on stdio until it goes; the exit code: 1 for `exit` without `shutdown`, 128 + n for a signal."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _terminate)
    connection = Connection(StdioTransport(0, protocol_fd()), service.dispatch, service.limits.max_message_bytes)
    try:
        connection.run()
        code = 1 if connection.exit_requested and not connection.shutdown_requested else 0
    except _Terminated as e:
        code = 128 + e.signum
    connection.hang_up()
    if not service.close(_GRACE_S):
        # A thread is inside the library, which knows no way out; there is nothing left to save.
        sys.stderr.flush()
        os._exit(code)
    return code
