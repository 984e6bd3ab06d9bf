"""What a JSON-RPC 2.0 message is: parsed, checked, and written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import InvalidRequest, ParseError, PocketllamaError

Id = str | int | float | None
_NO_ID = object()


@dataclass(frozen=True)
class Message:
    """A request or, without an id, a notification."""

    method: str
    params: dict[str, Any]
    id: Id
    wants_answer: bool


def parse(body: bytes) -> Any:
    """The JSON value of a message; ParseError for anything else, however deep or long."""

    def reject(token: str) -> NoReturn:
        raise ValueError(f"{token} is not JSON")

    try:
        return json.loads(body.decode("utf-8"), parse_constant=reject)
    except UnicodeDecodeError as e:
        raise ParseError(f"The message is not UTF-8: {e.reason} at byte {e.start}.") from e
    except RecursionError as e:
        raise ParseError("The message is not usable: it is nested too deeply.") from e
    except ValueError as e:
        raise ParseError(f"The message is not JSON: {e}.") from e


def message(value: Any) -> Message | None:
    """The message that a JSON value is, None for a response (this server asks nothing), else InvalidRequest."""
    if not isinstance(value, dict):
        raise InvalidRequest(f"A request is a JSON object, not {_kind(value)}.")
    if "method" not in value and ("result" in value or "error" in value):
        return None
    if value.get("jsonrpc") != "2.0":
        raise InvalidRequest('A request carries "jsonrpc": "2.0".')
    method = value.get("method")
    if not isinstance(method, str):
        raise InvalidRequest(f"method must be a string, not {_kind(method)}.")
    msg_id = value.get("id", _NO_ID)
    if msg_id is not _NO_ID and not is_id(msg_id):
        raise InvalidRequest(f"id must be a string, a number or null, not {_kind(msg_id)}.")
    params = value.get("params", {})
    if params is None or params == []:
        params = {}
    if not isinstance(params, dict):
        raise InvalidRequest("params must be an object: every method here takes its parameters by name.")
    return Message(method, params, None if msg_id is _NO_ID else msg_id, msg_id is not _NO_ID)


def is_id(value: Any) -> bool:
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def id_of(value: Any) -> Id:
    """The id of something that is no valid request, if it has a usable one: an answer can then be matched to it."""
    found = value.get("id") if isinstance(value, dict) else None
    return found if is_id(found) else None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def result(msg_id: Id, value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": msg_id, "result": value}


def error(msg_id: Id, e: PocketllamaError) -> dict[str, Any]:
    """An error response: the code of the exception's class, what happened, and the remedy as data."""
    data = {"kind": type(e).__name__, **({"remedy": e.remedy} if e.remedy else {}), **e.data}
    return {"jsonrpc": "2.0", "id": msg_id, "error": {"code": e.rpc_code, "message": str(e), "data": data}}


def notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": params}


def dump(value: Any) -> bytes:
    """Compact JSON in UTF-8, on one line."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:  # a lone surrogate, quoted from what a peer sent
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
