"""Answers as server-sent events, and what is done when the client is slow or gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ..errors import PocketllamaError
from .answers import encode, error_object
from .settings import Settings
from .ticket import Ticket

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def gone(receive: Receive) -> None:
    """Returns when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, ticket: Ticket, answer: Awaitable[T]) -> T:
    """The answer; ClientGone, and the ticket cancelled, if the client leaves before."""
    work, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise ClientGone
    finally:
        if not work.done():
            ticket.cancel.set()
        for task in (work, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


class EventStream(Response):
    """`events` as they come, then [DONE]; an error is one more event. Comments say that the server is alive while there
    is nothing to tell. A client that does not take what it is sent within the limit is left."""

    media_type = "text/event-stream"

    def __init__(self, ticket: Ticket, events: AsyncIterator[Any], settings: Settings) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._ticket, self._events, self._settings = ticket, events, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(receive, self._ticket, self._send_all(send))
        except (ClientGone, asyncio.TimeoutError):
            scope["note"] = f"{scope.get('note', '')} left by the client".strip()
        finally:
            self._ticket.cancel.set()  # whatever ended this, nobody reads the rest

    async def _send_all(self, send: Send) -> None:
        headers = self.raw_headers
        await self._send(send, {"type": "http.response.start", "status": 200, "headers": headers})
        coming = asyncio.ensure_future(anext_of(self._events))
        try:
            while True:
                await asyncio.wait({coming}, timeout=self._settings.ping_seconds)
                if not coming.done():
                    await self._write(send, b": the answer is being worked on\n\n")
                    continue
                event = coming.result()
                if event is None:
                    break
                await self._write(send, b"data: " + encode(event) + b"\n\n")
                coming = asyncio.ensure_future(anext_of(self._events))
        except PocketllamaError as e:
            await self._write(send, b"data: " + encode(error_object(e)) + b"\n\n")
        finally:
            coming.cancel()
        await self._write(send, b"data: [DONE]\n\n", more=False)

    async def _write(self, send: Send, data: bytes, more: bool = True) -> None:
        await self._send(send, {"type": "http.response.body", "body": data, "more_body": more})

    async def _send(self, send: Callable[[Message], Awaitable[None]], message: Message) -> None:
        # Returns at once as long as the connection's buffer has room, else when the client has read some of it. Not by
        # wait_for, which before Python 3.12 forgets a cancellation that comes as the sending ends.
        sending = asyncio.ensure_future(send(message))
        try:
            await asyncio.wait({sending}, timeout=self._settings.stall_seconds)
            if not sending.done():
                raise asyncio.TimeoutError
            sending.result()
        finally:
            sending.cancel()


async def anext_of(events: AsyncIterator[T]) -> T | None:
    """The next of them, or None."""
    try:
        return await events.__anext__()
    except StopAsyncIteration:
        return None
