"""The protocol over standard input and output, and the process around it."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from types import FrameType

from ..output import protocol_fd
from .connection import Connection
from .service import Service

# A native call that does not end within this is not worth waiting for: the process is going away.
_GRACE_S = 1.0
# After a signal the process ends within this, whatever hangs.
_LAST_RESORT_S = 3.0


class Terminated(Exception):
    """A signal asked the process to end."""


class Signals:
    """Notes the signals that end a process, and makes them readable as bytes on a pipe.

    A handler that raised could do so anywhere, also between taking a lock and entering its `with`; and a signal that
    arrives just before a blocking read begins would not be heard at all. So the handler only notes the number, and the
    reading thread waits for its input and for this pipe together.
    """

    NAMES = ("SIGTERM", "SIGINT", "SIGHUP")

    def __init__(self) -> None:
        self.received: int | None = None
        self.fd, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for name in self.NAMES:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = signum
            last_resort = threading.Timer(_LAST_RESORT_S, os._exit, (128 + signum,))
            last_resort.daemon = True
            last_resort.start()


class StdioTransport:
    """Reads fd 0; writes to what was fd 1 when the program began (fd 1 itself is standard error by now)."""

    def __init__(self, fd_in: int, fd_out: int, signals: Signals) -> None:
        self._in, self._out, self._signals = fd_in, fd_out, signals

    def read(self) -> bytes:
        """Some input, b"" at its end. Terminated when a signal comes."""
        try:
            if os.name == "posix":  # elsewhere pipes cannot be waited for together, and signals are rare
                select.select([self._in, self._signals.fd], [], [])
            if self._signals.received is not None:
                raise Terminated
            return os.read(self._in, 1 << 16)
        except (OSError, ValueError):  # standard input was closed before we began
            return b""

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._out, view) :]
            except BlockingIOError:  # a parent that shares the pipe has made it non-blocking
                select.select([], [self._out], [])

    def peer_gone(self) -> bool:
        if self._signals.received is not None:
            return True
        if not hasattr(select, "poll"):
            return False
        poll = select.poll()
        poll.register(self._out, 0)  # POLLERR and POLLHUP are always told: nobody holds the reading end any more
        return any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0))


def serve(service: Service) -> int:
    """Serve one peer on stdio until it goes; the exit code: 1 for `exit` without `shutdown`, 128 + n for a signal."""
    signals = Signals()
    transport = StdioTransport(0, protocol_fd(), signals)
    connection = Connection(transport, service.dispatch, service.limits.max_message_bytes)
    try:
        connection.run()
    except Terminated:
        pass
    connection.hang_up()
    code = 1 if connection.exit_requested and not connection.shutdown_requested else 0
    if signals.received is not None:
        code = 128 + signals.received
    if not service.close(_GRACE_S):
        # A thread is inside the library, which knows no way out; there is nothing left to save.
        sys.stderr.flush()
        os._exit(code)
    return code
