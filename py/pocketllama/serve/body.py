"""The JSON of a request: no larger, no deeper and no slower than is allowed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from .answers import HttpError
from .settings import Settings


async def read_json(request: Request, settings: Settings) -> dict[str, Any]:
    """The object in the request's body. HttpError 400, 408, 413 or 415; ClientDisconnect."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Forms and text/plain are what a foreign page may send without asking first.
        raise HttpError(
            415, "unsupported_media_type", f"The content type must be application/json, not {kind[:80] or 'absent'}."
        )
    try:
        raw = await asyncio.wait_for(_read(request, settings.max_body), settings.body_seconds)
    except asyncio.TimeoutError:
        raise HttpError(
            408, "request_timeout", "The request did not arrive in time.", headers={"Connection": "close"}
        ) from None
    return parse(raw, settings.max_depth)


async def _read(request: Request, limit: int) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> HttpError:
    # What is still under way is not read: the connection ends.
    return HttpError(413, "request_too_large", f"A request may have {limit} bytes.", headers={"Connection": "close"})


def parse(raw: bytes, max_depth: int) -> dict[str, Any]:
    """The JSON object in `raw`. HttpError 400 for anything else."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    try:
        value = json.loads(raw.decode(), parse_constant=refuse)
    except RecursionError:
        raise _too_deep(max_depth) from None
    except ValueError as e:  # what json.loads and decode raise, also for numbers of more digits than Python reads
        raise HttpError(400, "invalid_json", f"The body is not JSON: {str(e)[:200]}.") from None
    if not isinstance(value, dict):
        raise HttpError(400, "invalid_json", f"The body must be a JSON object, not {_KINDS.get(type(value), 'null')}.")
    layer: list[Any] = [value]
    for _ in range(max_depth):
        layer = [x for v in layer for x in (v.values() if isinstance(v, dict) else v) if isinstance(x, dict | list)]
        if not layer:
            return value
    raise _too_deep(max_depth)


_KINDS: dict[type, str] = {list: "an array", str: "a string", int: "a number", float: "a number", bool: "a boolean"}


def _too_deep(limit: int) -> HttpError:
    return HttpError(400, "too_deep", f"The JSON is nested more than {limit} deep.")


__all__ = ["ClientDisconnect", "parse", "read_json"]
