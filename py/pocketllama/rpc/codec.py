"""Bytes to messages and back: one JSON a line, or the headers that the Language Server Protocol uses.

The first bytes of a connection decide which: a peer that begins with `Content-Length:` (or another header) is answered
in headers. Nothing is kept beyond one message of the greatest length; what is longer is skipped and reported.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import MessageTooLarge, ParseError, ProtocolError

_MAX_HEADER = 4096
_HEADERS = (b"content-length:", b"content-type:")


class Decoder:
    """Feed it bytes cut anywhere; it gives message bodies, and errors in their place."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._buffer = bytearray()
        self._scanned = 0  # bytes of the buffer known to hold no newline
        self._skip_line = False
        self._skip_bytes = 0
        self.headers: bool | None = None  # None: not decided yet
        self.broken = False  # the framing is lost; nothing further can be read

    def feed(self, data: bytes) -> Iterator[bytes | ProtocolError]:
        """Messages that `data` completes."""
        self._buffer += data
        if self.headers is None and not self._decide():
            return
        yield from self._header_messages() if self.headers else self._line_messages()

    def end(self) -> Iterator[bytes | ProtocolError]:
        """What is left when the input ends: a last line needs no newline."""
        if self.headers:
            if self._buffer and not self.broken:
                yield ParseError("The input ended inside a message.")
        elif self._buffer.strip() and not self._skip_line:
            yield bytes(self._buffer)
        self._buffer.clear()

    def _decide(self) -> bool:
        # Blank lines say nothing about the framing.
        start = bytes(self._buffer[:_MAX_HEADER]).lstrip()[:15].lower()
        if not start:
            return False
        if any(h.startswith(start) for h in _HEADERS) and start not in _HEADERS:
            return False  # could still become a header: wait for more
        self.headers = start.startswith(_HEADERS)
        return True

    def _line_messages(self) -> Iterator[bytes | ProtocolError]:
        while True:
            end = self._buffer.find(b"\n", self._scanned)
            if end < 0:
                self._scanned = len(self._buffer)
                if self._scanned > self._max:
                    if not self._skip_line:
                        yield self._too_large(f"more than {self._scanned}")
                    self._skip_line, self._scanned = True, 0
                    self._buffer.clear()
                return
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._scanned = 0
            if self._skip_line:
                self._skip_line = False
            elif len(line) > self._max:
                yield self._too_large(str(len(line)))
            elif line.strip():
                yield line

    def _header_messages(self) -> Iterator[bytes | ProtocolError]:
        while not self.broken:
            if self._skip_bytes:
                skipped = min(self._skip_bytes, len(self._buffer))
                del self._buffer[:skipped]
                self._skip_bytes -= skipped
                if self._skip_bytes:
                    return
            head = self._buffer.find(b"\r\n\r\n")
            if head < 0 or head > _MAX_HEADER:
                if len(self._buffer) > _MAX_HEADER:
                    yield self._break(f"A header longer than {_MAX_HEADER} bytes.")
                return
            length = self._content_length(bytes(self._buffer[:head]))
            if length is None:
                yield self._break("A header without a usable Content-Length.")
                return
            if length > self._max:
                del self._buffer[: head + 4]
                self._skip_bytes = length
                yield self._too_large(str(length))
                continue
            if len(self._buffer) < head + 4 + length:
                return
            body = bytes(self._buffer[head + 4 : head + 4 + length])
            del self._buffer[: head + 4 + length]
            yield body

    @staticmethod
    def _content_length(head: bytes) -> int | None:
        found = None
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon and name.strip().lower() == b"content-length":
                digits = value.strip()
                if found is not None or not digits.isdigit() or len(digits) > 15:
                    return None
                found = int(digits)
        return found

    def _break(self, why: str) -> ProtocolError:
        # Where the next message begins cannot be known any more.
        self.broken = True
        self._buffer.clear()
        return ParseError(why + " The connection ends here.")

    def _too_large(self, length: str) -> ProtocolError:
        return MessageTooLarge(
            f"A message of {length} bytes; the limit is {self._max}.", data={"limit_bytes": self._max}
        )


def encode(body: bytes, headers: bool) -> bytes:
    """One message as it goes out, in the framing that the peer chose."""
    if headers:
        return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    return body + b"\n"
