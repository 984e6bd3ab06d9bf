"""One peer: its messages in, its answers out, and the requests of it that are under way.

A connection knows neither what carries its bytes nor what its methods do. One thread reads (`run`); answers are written
by whichever thread has them, whole messages one at a time.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from ..errors import Cancelled, InvalidRequest, PocketllamaError, ProtocolError
from . import codec
from . import message as msg


class Transport(Protocol):
    """Carries bytes to and from one peer."""

    def read(self) -> bytes:
        """Some bytes, b"" at the end of the input; blocks."""

    def write(self, data: bytes) -> None:
        """Write all of `data`; OSError when the peer is gone."""

    def peer_gone(self) -> bool:
        """Whether it is certain that nobody reads what is written."""


class Call:
    """One request under way, as a method sees it."""

    def __init__(self, connection: Connection, message: msg.Message, answer: Callable[[Any], None]) -> None:
        self.message = message
        self.params = message.params
        self.connection = connection
        self._answer = answer
        self._lock = threading.Lock()
        self._done = False
        self._cancelled = False
        self._silent = not message.wants_answer
        # Set by the service while the call waits in a queue: takes it out and ends it.
        self.abort_waiting: Callable[[], None] = lambda: None
        # What its method wants to be told at once; `cancelled` is for asking.
        self.on_cancel: Callable[[], None] = lambda: None

    @property
    def cancelled(self) -> bool:
        return self._cancelled or self.connection.closed

    def cancel(self, silent: bool = False) -> None:
        """Ask the call to end soon; `silent`: without an answer, as a peer that has forgotten it wants."""
        self._cancelled = True
        self._silent = self._silent or silent
        self.on_cancel()
        self.abort_waiting()

    def progress(self, value: dict[str, Any]) -> None:
        """Tell the peer how far the call is. Blocks while the peer does not read; raises Cancelled if it is gone."""
        if not self._silent:
            self.connection.notify("$/progress", {"token": self.message.id, "value": value})
            if self.connection.closed:
                raise Cancelled("The peer is gone.")

    def finish(self, value: Any) -> None:
        self._end(lambda: msg.result(self.message.id, value))

    def fail(self, e: BaseException) -> None:
        """Answer with an error; one that is not ours is told as an internal error, its traceback on stderr."""
        if not isinstance(e, PocketllamaError):
            traceback.print_exception(e, file=sys.stderr)
            self._end(lambda: _internal(self.message.id, e))
            return
        known: PocketllamaError = e
        self._end(lambda: msg.error(self.message.id, known))

    def _end(self, response: Callable[[], dict[str, Any]]) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        # The id is free before the answer is out, so that the peer may use it again at once; the connection stays open
        # until it is.
        self.connection.release_id(self)
        try:
            self._answer(None if self._silent else response())
        finally:
            self.connection.call_ended()


def _internal(msg_id: msg.Id, e: BaseException) -> dict[str, Any]:
    text = f"Internal error: {type(e).__name__}: {e}"
    return {"jsonrpc": "2.0", "id": msg_id, "error": {"code": -32603, "message": text[:2000]}}


class Connection:
    """Reads from `transport` and hands each request to `dispatch`, which must not block and must not raise."""

    def __init__(self, transport: Transport, dispatch: Callable[[Call], None], max_message_bytes: int) -> None:
        self._transport, self._dispatch = transport, dispatch
        self._decoder = codec.Decoder(max_message_bytes)
        self._write_lock = threading.Lock()
        self._calls: dict[msg.Id, Call] = {}  # by id, from the request to its answer
        self._open = 0  # calls begun and not ended
        self._changed = threading.Condition()
        self.closed = False  # nobody reads our answers, or nobody wants to
        self.exit_requested = False
        self.shutdown_requested = False

    # ---- in ------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the input ends or the peer says `exit`; then wait for the calls under way, unless unread."""
        while not self.exit_requested and not self._decoder.broken:
            data = self._transport.read()
            for item in self._decoder.feed(data) if data else self._decoder.end():
                self._receive(item)
                if self.exit_requested:
                    break
            if not data:
                break
        if self.exit_requested:
            self.hang_up()
        self._drain()

    def _drain(self) -> None:
        """A peer that closed its end may still be reading (`printf … | pocketllama rpc`); one that died is not."""
        while True:
            with self._changed:
                if not self._open:
                    return
                self._changed.wait(0.05)
            if not self.closed and self._transport.peer_gone():
                self.hang_up()

    def hang_up(self) -> None:
        """End every call under way without an answer."""
        self.closed = True
        with self._changed:
            calls = list(self._calls.values())
        for call in calls:
            call.cancel(silent=True)

    def _receive(self, item: bytes | ProtocolError) -> None:
        try:
            if isinstance(item, ProtocolError):
                raise item
            value = msg.parse(item)
        except ProtocolError as e:
            self.send(msg.error(None, e))
            return
        if isinstance(value, list):
            self._receive_batch(value)
        else:
            self._receive_one(value, self._send_response)

    def _receive_batch(self, values: list[Any]) -> None:
        if not values:
            self.send(msg.error(None, InvalidRequest("A batch holds at least one request.")))
            return
        batch = _Batch(len(values), self.send)
        for value in values:
            self._receive_one(value, batch.answer)

    def _send_response(self, response: Any) -> None:
        if response is not None:
            self.send(response)

    def _receive_one(self, value: Any, answer: Callable[[Any], None]) -> None:
        """Start one call. `answer` is called exactly once, with a response or with None for "no answer"."""
        try:
            message = msg.message(value)
        except InvalidRequest as e:
            answer(msg.error(msg.id_of(value), e))
            return
        if message is None:
            answer(None)
            return
        call = Call(self, message, answer)
        with self._changed:
            taken = message.wants_answer and message.id in self._calls
            if not taken:
                self._open += 1
                if message.wants_answer:
                    self._calls[message.id] = call
        if taken:
            twice = InvalidRequest(f"The id {message.id!r:.80} belongs to a request that is still under way.")
            answer(msg.error(message.id, twice))
            return
        self._dispatch(call)

    def find(self, msg_id: Any) -> Call | None:
        """The call under way with this id."""
        with self._changed:
            return self._calls.get(msg_id) if msg.is_id(msg_id) else None

    def release_id(self, call: Call) -> None:
        with self._changed:
            if self._calls.get(call.message.id) is call:
                del self._calls[call.message.id]

    def call_ended(self) -> None:
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    # ---- out -----------------------------------------------------------------------------------------------------

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self.send(msg.notification(method, params))

    def send(self, value: Any) -> None:
        """Write one message; after the peer is gone, do nothing."""
        data = codec.encode(msg.dump(value), bool(self._decoder.headers))
        with self._write_lock:
            if self.closed:
                return
            try:
                self._transport.write(data)
                return
            except OSError:
                self.closed = True
        self.hang_up()


class _Batch:
    """Collects the answers of a batch; sends them as one array when the last is there, nothing if there are none."""

    def __init__(self, size: int, send: Callable[[Any], None]) -> None:
        self._left, self._send = size, send
        self._responses: list[Any] = []
        self._lock = threading.Lock()

    def answer(self, response: Any) -> None:
        with self._lock:
            self._left -= 1
            if response is not None:
                self._responses.append(response)
            last = self._left == 0
        if last and self._responses:
            self._send(self._responses)
