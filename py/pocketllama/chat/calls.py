"""Calls of tools, read out of what a model writes, in the ways that `tools` names."""

from __future__ import annotations

import json
import re
import string
from dataclasses import dataclass
from typing import Any

from .tools import CLOSE, OPEN

_ALPHABET = string.ascii_letters + string.digits
_NAMED = '{"name": "'  # how a call begins, as the grammar has it
_BEGUN = re.compile(r'\{"name": ("(?:[^"\\]|\\.)*")(?:, "(?:arguments|parameters)": (.*))?', re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A function that the model wants called; `arguments` is the text of a JSON object, or its beginning where the
    answer was cut off in the middle of it."""

    name: str
    arguments: str


class Reader:
    """Separates calls from other text, as the text comes. A call that is cut off has the arguments that came; what is
    cut off before it has a name is left out."""

    def __init__(self, style: str) -> None:
        self._style = style
        self._whole = {"llama-3": '{"name": ', "mistral": '[{"name": '}.get(style)
        self._held = ""
        self._behind = False  # a call: the line break that follows belongs to it
        self._passing = False  # the whole text is no call

    def feed(self, text: str) -> list[str | Call]:
        """What is certain now: pieces of text, and calls."""
        self._held += text
        out: list[str | Call] = []
        if self._whole:
            start = self._held.lstrip()
            if self._passing or not (self._whole.startswith(start) or start.startswith(self._whole)):
                self._passing = True
                out.append(self._held)
                self._held = ""
            return [piece for piece in out if piece]
        while True:
            if self._behind and self._held:
                self._held, self._behind = self._held.removeprefix("\n"), False
            at = self._held.find(OPEN)
            if at < 0:
                # An end that might become the mark, or the line break before it, waits for more.
                mark = f"\n{OPEN}"
                keep = max((k for m in (mark, OPEN) for k in range(1, len(m)) if self._held.endswith(m[:k])), default=0)
                out.append(self._held[: len(self._held) - keep])
                self._held = self._held[len(self._held) - keep :]
                break
            end = self._held.find(CLOSE, at)
            if end < 0:
                begin = at - 1 if self._held[at - 1 : at] == "\n" else at
                out.append(self._held[:begin])
                self._held = self._held[begin:]
                break
            call = _call(self._held[at + len(OPEN) : end])
            end += len(CLOSE)
            out += [self._held[:at].removesuffix("\n"), call] if call else [self._held[:end]]
            self._held, self._behind = self._held[end:], call is not None
        return [piece for piece in out if piece]

    def finish(self) -> list[str | Call]:
        """What is left when the text has ended."""
        held, self._held = self._held, ""
        if not held or self._passing:
            return [held] if held else []
        if not self._whole:
            text, mark, begun = held.partition(OPEN)
            left = _cut_off(begun) if mark else None
            return [held] if left is None else [*filter(None, [text.removesuffix("\n")]), *left]
        if self._style == "llama-3":
            call = _call(held)
            left = [call] if call else _cut_off(held)
        else:
            left = _listed(held)
        return [held] if left is None else [*left]


def message_of(text: str, style: str | None) -> dict[str, Any]:
    """What a model wrote as the next message of its conversation: {role, content}, and with a `style` in which it may
    call tools, OpenAI's tool_calls, apart from the content."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if style is None:
        return message
    reader = Reader(style)
    pieces = [*reader.feed(text), *reader.finish()]
    calls = [piece for piece in pieces if isinstance(piece, Call)]
    said = "".join(piece for piece in pieces if isinstance(piece, str))
    if calls or said != text:
        message["content"] = said.strip()
    if calls:
        message["tool_calls"] = list(map(call_object, calls))
    return message


def call_object(call: Call) -> dict[str, Any]:
    """A call as OpenAI has it. Its id has nine letters and digits: Mistral's templates take no other."""
    import secrets  # hashes and OpenSSL come with it

    made_up = "".join(secrets.choice(_ALPHABET) for _ in range(9))
    return {"id": made_up, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _listed(text: str) -> list[Call] | None:
    """Mistral's list of calls, the last of which may be cut off. None if it is no such list."""
    calls: list[Call] = []
    rest = text.lstrip().removeprefix("[")
    while True:
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except (ValueError, RecursionError):
            left = _cut_off(rest)
            return None if left is None else calls + left
        call = _call_of(value)
        if call is None:
            return None
        calls.append(call)
        rest = rest[end:]
        if not rest or rest.strip() in ("]", ","):
            return calls
        if not rest.startswith(", "):
            return None
        rest = rest[2:]


def _cut_off(text: str) -> list[Call] | None:
    """What came of a call before it was cut off: [] without its name. None if this is no beginning of a call."""
    text = text.lstrip()
    if begun := _BEGUN.match(text):
        name, arguments = begun.groups(default="")
        try:
            name = json.loads(name)
        except ValueError:
            return None
        try:
            _, end = json.JSONDecoder().raw_decode(arguments)
            arguments = arguments[:end]  # whole: only what closes the call is missing
        except (ValueError, RecursionError):
            pass
        return [Call(name, arguments)]
    nameless = _NAMED.startswith(text) or (text.startswith(_NAMED) and '"' not in text[len(_NAMED) :])
    return [] if nameless else None


def _call(text: str) -> Call | None:
    try:
        return _call_of(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _call_of(value: Any) -> Call | None:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    return Call(value["name"], json.dumps(arguments, ensure_ascii=False))
