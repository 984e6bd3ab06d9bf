"""Who may ask at all, before anything is read: Host, Origin, API key; and what every answer carries."""

from __future__ import annotations

import hmac
import logging
import re
import secrets
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .answers import HttpError, ShuttingDown, error_response
from .settings import Settings

log = logging.getLogger("pocketllama.serve")

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What needs no key: the page itself, which asks for one, and whether the server lives.
_OPEN = ("/health", "/openapi.json")
_KEYED = ("/v1/", "/metrics")
# The page's own files and nothing else; no script that is not a file of ours, and no frame round it.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
CORS_HEADERS = "authorization, content-type, x-request-id"


class Guard:
    """ASGI middleware round the whole application."""

    def __init__(self, app: ASGIApp, settings: Settings, draining: Callable[[], bool]) -> None:
        self._app, self._settings, self._draining = app, settings, draining
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        scope["request_id"] = request_id = given if _ID.fullmatch(given) else f"req-{secrets.token_hex(8)}"
        started, status = time.monotonic(), 499  # 499: the client went away before there was an answer
        origin = headers.get("origin", "").lower()

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), scope, request_id, origin)
            await send(message)

        self._active += 1
        try:
            await self._admit(scope, headers, origin, receive, answer)
        except HttpError as e:
            await error_response(e)(scope, receive, answer)
        finally:
            self._active -= 1
            note = scope.get("note", "")
            ms = (time.monotonic() - started) * 1e3
            line = f"{status} {scope['method']} {printable(scope['path'])[:200]} {ms:.0f} ms {request_id} {note}"
            # The page's files, and who looks whether the server lives, would be most of the log.
            wanted = status >= 400 or scope["path"].startswith("/v1/")
            log.log(logging.INFO if wanted else logging.DEBUG, "%s", line.rstrip())

    async def _admit(self, scope: Scope, headers: Headers, origin: str, receive: Receive, send: Send) -> None:
        settings, path = self._settings, scope["path"]
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not settings.knows_host(hosts[0]):
            raise HttpError(
                403,
                "host_not_allowed",
                f"This server is not called {printable(', '.join(hosts))[:100] or 'without a Host header'}.",
                remedy="Call it by its address, or start it with --allow-host NAME.",
            )
        self._check_origin(headers, origin, hosts[0])
        if scope["method"] == "OPTIONS" and origin and "access-control-request-method" in headers:
            await send({"type": "http.response.start", "status": HTTPStatus.NO_CONTENT, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        if settings.api_key and path.startswith(_KEYED):
            self._check_key(headers, settings.api_key)
        if path not in _OPEN and self._draining():
            raise ShuttingDown
        if self._active > settings.max_connections:
            raise HttpError(503, "too_many_requests", "Too many requests are under way.", headers={"Retry-After": "1"})
        await self._app(scope, receive, send)

    def _check_origin(self, headers: Headers, origin: str, host: str) -> None:
        """A page in a browser says where it comes from: ours may ask, and those that were named at the start."""
        if not origin:
            if headers.get("sec-fetch-site", "none").lower() in ("none", "same-origin"):
                return
            if headers.get("sec-fetch-mode", "").lower() == "navigate" and headers.get("sec-fetch-dest") == "document":
                return  # a link to the page, followed by a person
        elif origin.partition("://")[2] == host.lower() or origin in self._settings.cors:
            return
        raise HttpError(
            403,
            "origin_not_allowed",
            "Pages of other origins may not use this server.",
            remedy="Start it with --cors ORIGIN to let one of them.",
        )

    def _check_key(self, headers: Headers, key: str) -> None:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), key.encode()):
            return
        raise HttpError(
            401,
            "invalid_api_key",
            "The API key is missing or wrong.",
            remedy="Send it as: Authorization: Bearer KEY",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _add_headers(self, headers: MutableHeaders, scope: Scope, request_id: str, origin: str) -> None:
        headers["X-Request-Id"] = request_id
        headers["X-Content-Type-Options"] = "nosniff"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Content-Security-Policy"] = PAGE_POLICY
        # The page's files have an ETag, and a new version of the server is a new page.
        headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith(_KEYED) else "no-cache")
        if origin in self._settings.cors:
            headers["Access-Control-Allow-Origin"] = origin
            headers["Cross-Origin-Resource-Policy"] = "cross-origin"
            headers["Access-Control-Expose-Headers"] = "x-request-id, retry-after"
            headers.add_vary_header("Origin")
            if scope["method"] == "OPTIONS":
                headers["Access-Control-Allow-Methods"] = "GET, POST"
                headers["Access-Control-Allow-Headers"] = CORS_HEADERS
                headers["Access-Control-Max-Age"] = "600"


def printable(text: str) -> str:
    """`text` for a log or an error: nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)
