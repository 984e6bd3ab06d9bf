"""The application: which path leads where."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from .._version import __version__
from ..errors import PocketllamaError
from .answers import HttpError, error_response, json_response
from .chat import chat
from .completions import completions
from .embeddings import embeddings
from .guard import Guard
from .openapi import document
from .state import State, state_of

log = logging.getLogger("pocketllama.serve")

STATIC = Path(__file__).parent / "static"
Handler = Callable[[Request], Awaitable[Response]]


async def models(request: Request) -> Response:
    state = state_of(request)
    return json_response({"object": "list", "data": [state.describe(name) for name in state.workers]})


async def model(request: Request) -> Response:
    state = state_of(request)
    return json_response(state.describe(state.worker(request.path_params["model"]).name))


async def health(request: Request) -> Response:
    state = state_of(request)
    if state.draining:
        return json_response({"status": "shutting down", "version": __version__}, 503, {"Retry-After": "5"})
    return json_response({"status": "ok", "version": __version__})


async def metrics(request: Request) -> Response:
    return Response(state_of(request).metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    return json_response(document())


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/v1/models", models),
    ("GET", "/v1/models/{model:path}", model),
    ("POST", "/v1/completions", completions),
    ("POST", "/v1/chat/completions", chat),
    ("POST", "/v1/embeddings", embeddings),
    ("GET", "/health", health),
    ("GET", "/openapi.json", openapi),
    ("GET", "/metrics", metrics),
)


def create_app(state: State) -> ASGIApp:
    """The whole server as an ASGI application."""
    routes: list[Route | Mount] = [Route(path, _Endpoint(verb, path, handler)) for verb, path, handler in ROUTES]
    if STATIC.is_dir():
        routes.append(Mount("/", StaticFiles(directory=STATIC, html=True)))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _http_exception, Exception: _failed})
    app.state.server = state
    app.router.redirect_slashes = False
    return Guard(app, state.settings, lambda: state.draining)


class _Endpoint:
    """One path: its handler, with errors as answers, counted and timed."""

    def __init__(self, verb: str, path: str, handler: Handler) -> None:
        # An application to the router, not a function, so that it sees other methods too: the page's files are
        # behind all paths, and would answer them with "not found".
        self._verbs = (verb, "HEAD") if verb == "GET" else (verb,)
        self._path, self._handler = path, handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        state, started, status = state_of(request), time.monotonic(), 499
        try:
            response = await self._answer(request)
            status = response.status_code
            await response(scope, receive, send)
        except ClientDisconnect:
            pass  # while the request came; there is nobody to answer
        finally:
            state.metrics.requests.labels(self._path, str(status)).inc()
            state.metrics.seconds.labels(self._path).observe(time.monotonic() - started)

    async def _answer(self, request: Request) -> Response:
        try:
            if request.method not in self._verbs:
                allow = ", ".join(self._verbs)
                message = f"{self._path} answers to {allow}, not to {request.method}."
                raise HttpError(405, "method_not_allowed", message, headers={"Allow": allow})
            return await self._handler(request)
        except ClientDisconnect:
            raise
        except Exception as e:
            if not isinstance(e, PocketllamaError):
                log.exception("a fault of the server")
            return error_response(e)


async def _http_exception(request: Request, error: Exception) -> Response:
    """What the router has to say, in OpenAI's form."""
    assert isinstance(error, HTTPException)
    known = {404: ("not_found", f"There is nothing at {request.url.path[:200]!r}.")}
    code, message = known.get(error.status_code, ("http_error", str(error.detail)))
    return error_response(HttpError(error.status_code, code, message, headers=dict(error.headers or {})))


async def _failed(request: Request, error: Exception) -> Response:
    return error_response(error)
