"""What a failure becomes in HTTP: a status, OpenAI's error object, and when to come again."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from ..errors import (
    Busy,
    Cancelled,
    ContextOverflow,
    DownloadError,
    EngineClosed,
    ModelNotFound,
    OutOfMemory,
    PocketllamaError,
    PromptTooLarge,
    UsageError,
)


class HttpError(PocketllamaError):
    """A failure that HTTP has a status for and the library has not."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        remedy: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}


class ShuttingDown(HttpError):
    def __init__(self) -> None:
        super().__init__(503, "shutting_down", "The server is shutting down.", headers={"Retry-After": "5"})


# The first class that an error is one of decides; docs/server.md has this table.
STATUS: tuple[tuple[type[PocketllamaError], int, str], ...] = (
    (ContextOverflow, 400, "context_length_exceeded"),
    (PromptTooLarge, 413, "prompt_too_large"),
    (UsageError, 400, "invalid_value"),
    (ModelNotFound, 404, "model_not_found"),
    (Busy, 429, "queue_full"),
    (EngineClosed, 503, "shutting_down"),
    (OutOfMemory, 503, "out_of_memory"),
    (Cancelled, 503, "cancelled"),
    (DownloadError, 500, "internal_error"),
    (PocketllamaError, 500, "internal_error"),
)
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def status_of(error: BaseException) -> tuple[int, str]:
    """The HTTP status of an error and its code."""
    if isinstance(error, HttpError):
        return error.status, error.code
    return next(((status, code) for kind, status, code in STATUS if isinstance(error, kind)), (500, "internal_error"))


def error_object(error: BaseException) -> dict[str, Any]:
    """OpenAI's `{"error": …}`. What was not raised on purpose says nothing of itself: its words may hold anything."""
    status, code = status_of(error)
    message = "The server failed; its log says how."
    if isinstance(error, PocketllamaError):
        message = str(error)
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    known = error if isinstance(error, PocketllamaError) else PocketllamaError("")
    param = getattr(error, "param", None) or known.data.get("param")
    return {"error": {"message": message, "type": kind, "param": param, "code": code, "remedy": known.remedy}}


def error_response(error: BaseException) -> Response:
    status, _ = status_of(error)
    headers = dict(getattr(error, "headers", {}))
    if status in (429, 503):
        data = error.data if isinstance(error, PocketllamaError) else {}
        headers.setdefault("Retry-After", str(data.get("retry_after", 1)))
    return json_response(error_object(error), status, headers)


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, "application/json")


def encode(value: Any) -> bytes:
    """JSON of any text: a lone surrogate in a client's own words is escaped, not an error."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
