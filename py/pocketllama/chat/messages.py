"""Conversations as they come from outside, made sure of: lists of {role, content, …}, plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UsageError

Message = Mapping[str, Any]

MAX_MESSAGES = 10_000
_DEEPEST = 64


def check_messages(messages: object) -> list[dict[str, Any]]:
    """A copy of `messages` in the form that templates expect; UsageError names what is wrong.

    `content` is a string, or OpenAI's list of text parts, which are joined by newlines; it may be missing beside
    `tool_calls`. Other members are passed on.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages:
        raise UsageError("messages must be a list with at least one message: {role, content}.")
    if len(messages) > MAX_MESSAGES:
        raise UsageError(f"A conversation has up to {MAX_MESSAGES} messages, not {len(messages)}.")
    return [_message(f"messages[{i}]", message) for i, message in enumerate(messages)]


def _message(where: str, message: object) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise UsageError(f"{where} must be an object with role and content, not {message!r:.80}.")
    made: dict[str, Any] = _plain(where, dict(message))
    role = made.get("role")
    if not isinstance(role, str) or not role:
        raise UsageError(f"{where}.role must be a string such as user, assistant or system, not {role!r:.80}.")
    content = made.get("content")
    calls = made.get("tool_calls")
    if content is None and not calls:
        raise UsageError(f"{where} has no content.")
    if isinstance(content, list):
        made["content"] = "\n".join(_part(f"{where}.content[{i}]", part) for i, part in enumerate(content))
    elif content is not None and not isinstance(content, str):
        raise UsageError(f"{where}.content must be a string or a list of text parts, not {content!r:.80}.")
    elif content is None:
        made["content"] = ""
    if calls is not None and (not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls)):
        raise UsageError(f"{where}.tool_calls must be a list of calls.")
    return made


def _part(where: str, part: object) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    kind = part.get("type") if isinstance(part, dict) else part
    raise UsageError(f"{where} is {kind!r:.80}; only text can be read here.")


def check_tools(tools: object) -> list[dict[str, Any]] | None:
    """OpenAI's list of tools, {type: "function", function: {name, description?, parameters?}}; None for none."""
    if tools is None or tools == [] or tools == ():
        return None
    if not isinstance(tools, Sequence) or isinstance(tools, str | bytes):
        raise UsageError(f"tools must be a list of functions, not {tools!r:.80}.")
    made = [_plain(f"tools[{i}]", dict(tool)) for i, tool in enumerate(tools) if isinstance(tool, Mapping)]
    for i, tool in enumerate(made):
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if tool.get("type") != "function" or not isinstance(name, str) or not name:
            raise UsageError(f'tools[{i}] must be {{"type": "function", "function": {{"name": …}}}}.')
        if not isinstance(function.get("parameters") or {}, dict):
            raise UsageError(f"tools[{i}].function.parameters must be a JSON schema, an object.")
    if len(made) != len(tools):
        raise UsageError("tools must be a list of objects.")
    return made


def _plain(where: str, value: Any, depth: int = 0) -> Any:
    """A copy of JSON values, and of nothing else; strings must be what UTF-8 can carry."""
    if depth > _DEEPEST:
        raise UsageError(f"{where} is nested more than {_DEEPEST} deep.")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise UsageError(f"{where} is not valid Unicode: a lone surrogate at character {e.start}.") from e
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise UsageError(f"{where} has a key that is no string.")
        return {_plain(where, k, depth): _plain(f"{where}.{k:.40}", v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(where, v, depth + 1) for v in value]
    raise UsageError(f"{where} holds a value of type {type(value).__name__}; only JSON values can be shown to a model.")
