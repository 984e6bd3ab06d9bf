"""Tools: telling a model of them, and the grammar of its calls. `calls` reads them out of what it writes.

Models write calls as they were trained to. Which way that is shows in their template; a template that knows no tools is
given a description of them in the system message, in the most common way ("hermes").

    hermes    <tool_call>⏎{"name": "f", "arguments": {…}}⏎</tool_call>     anywhere in the text, any number of them
    llama-3   {"name": "f", "parameters": {…}}                            the whole text
    mistral   [TOOL_CALLS][{"name": "f", "arguments": {…}}, …]            the whole text; it begins with a control token
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Tool = Mapping[str, Any]

OPEN, CLOSE = "<tool_call>", "</tool_call>"
_MISTRAL = "[TOOL_CALLS]"
MOST_CALLS = 8  # in one answer, where a call is demanded: a small model might never stop calling


def style_of(source: str) -> str:
    """How the model of this template writes calls: "hermes", "llama-3" or "mistral"."""
    if _MISTRAL in source:
        return "mistral"
    if OPEN in source:
        return "hermes"
    return "llama-3" if "<|python_tag|>" in source or '"parameters": ' in source else "hermes"


# ---- telling ---------------------------------------------------------------------------------------------------------


def told(messages: Sequence[Mapping[str, Any]], tools: Sequence[Tool] | None) -> list[dict[str, Any]]:
    """The conversation with its tools described to the model in the system message."""
    made = list(map(dict, messages))
    if tools:
        description = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools)
        text = (
            "You may call these functions:\n"
            f"<tools>\n{description}\n</tools>\n"
            "To call one, write its name and its arguments in this form:\n"
            f'{OPEN}\n{{"name": "NAME", "arguments": {{}}}}\n{CLOSE}'
        )
        if made and made[0]["role"] == "system":
            made[0]["content"] = f"{made[0]['content']}\n\n{text}"
        else:
            made.insert(0, {"role": "system", "content": text})
    return made


def written(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The conversation with its calls and their results as texts."""
    made: list[dict[str, Any]] = []
    answering = False  # the last one holds results of calls
    for message in messages:
        if message["role"] == "tool":
            result = f"<tool_response>\n{message['content']}\n</tool_response>"
            if answering:
                made[-1]["content"] += f"\n{result}"
            else:
                made.append({"role": "user", "content": result})
        elif calls := message.get("tool_calls"):
            parts = [message["content"], *(_written(call.get("function", call)) for call in calls)]
            made.append({"role": "assistant", "content": "\n".join(filter(None, parts))})
        else:
            made.append(dict(message))
        answering = message["role"] == "tool"
    return made


def _written(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            pass  # the model wrote something else; it sees what it wrote
    call = {"name": function.get("name", ""), "arguments": arguments}
    return f"{OPEN}\n{json.dumps(call, ensure_ascii=False)}\n{CLOSE}"


# ---- the grammar of an answer ----------------------------------------------------------------------------------------


def grammar(
    tools: Sequence[Tool],
    style: str,
    *,
    demanded: bool = False,
    several: bool = True,
    content: Mapping[str, Any] | None = None,
    control: int | None = None,
    json_style: Mapping[str, Any] | None = None,
) -> str:
    """In llguidance's Lark: text with calls of these tools in it, each with arguments as its schema has them.

    `demanded`: nothing but calls; `several`: more than one is allowed; `content`: the schema that an answer without
    calls must have; `control`: the token that begins Mistral's calls.
    """
    middle = "parameters" if style == "llama-3" else "arguments"
    rules = []
    for i, tool in enumerate(tools):
        function = tool["function"]
        name = json.dumps(function["name"], ensure_ascii=False)
        before = _literal(f'{{"name": {name}, "{middle}": ')
        # What a schema says beyond what can be kept to is a hint to the model, unless it is said to be strict.
        guidance = {**(json_style or {}), "lenient": not function.get("strict")}
        parameters = function.get("parameters") or {}
        parameters = parameters if '"allOf"' in json.dumps(parameters) else _closed(parameters)
        schema = {"type": "object", **parameters, "x-guidance": guidance}
        rules += [f'object_{i}: {before} args_{i} "}}"', f"args_{i}: %json {json.dumps(schema)}"]
    rules.append("object: " + " | ".join(f"object_{i}" for i in range(len(tools))))
    more = f"{{0,{MOST_CALLS - 1}}}"
    if style == "hermes":
        rules.append(f"call: {_literal(OPEN + chr(10))} object {_literal(chr(10) + CLOSE)}")
        calls = f'call ("\\n" call){more}' if several else "call"
    elif style == "mistral":
        begin = f"<[{control}]> " if control is not None else ""
        calls = f'{begin}"[" object (", " object){more} "]"' if several else f'{begin}"[" object "]"'
    else:
        calls = "object"
    if demanded:
        start = f"start: {calls}"
    elif content is not None:
        rules.append(f"content: %json {json.dumps({**content, 'x-guidance': dict(json_style or {})})}")
        start = f"start: {calls} | content"
    elif style == "hermes":
        rules += [
            f"opening[lazy]: TEXT {_literal(OPEN)}",
            f"inside: {_literal(chr(10))} object {_literal(chr(10) + CLOSE)}",
            "TEXT: /(.|\\n)*/",
            "tail: TEXT",
        ]
        start = "start: (opening inside)* tail"
    else:
        first = "{" if style == "llama-3" else "[" if control is None else ""
        rules.append(f"TEXT: /([^{_escaped(first)}](.|\\n)*)?/" if first else "TEXT: /(.|\\n)*/")
        rules.append("text: TEXT")
        start = f"start: {calls} | text"
    return "\n".join(["%llguidance {}", start, *rules, ""])


def _closed(schema: Any) -> Any:
    """A function has the parameters that it has: objects that do not say whether they may have more properties than
    they name have no more. Where schemas are joined (allOf), that would contradict the others."""
    if isinstance(schema, list):
        return [_closed(value) for value in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), Mapping):
        closed.setdefault("additionalProperties", False)
    return closed


def _escaped(character: str) -> str:
    return f"\\{character}"


def _literal(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
