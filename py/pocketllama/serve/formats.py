"""What an answer must look like: `response_format`, `tools` and `tool_choice`, as a grammar for its tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..chat.tools import grammar, style_of
from ..engine.choices import Constraint
from ..engine.grammar import JSON_STYLE, Grammar
from .requests import ChatBody, NamedTool, invalid
from .worker import Worker


@dataclass(frozen=True)
class Shape:
    """`tools` are those that the model is told of, `style` how it writes calls of them."""

    tools: list[dict[str, Any]] | None = None
    style: str = ""
    grammar: Grammar | None = None

    @property
    def constrained(self) -> bool:
        return self.grammar is not None

    def constraint(self) -> Constraint | None:
        """For one text."""
        return self.grammar.constraint() if self.grammar else None


def shape_of(worker: Worker, body: ChatBody, max_schema: int) -> Shape:
    """What a request asks for. HttpError for a contradiction, UsageError for a schema that cannot be kept to."""
    content = _content_schema(body)
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
    if len(json.dumps([content, tools])) > max_schema:
        raise invalid("tools" if tools else "response_format", f"Schemas may have {max_schema} bytes together.")
    names = [tool["function"]["name"] for tool in tools]
    if len(set(names)) < len(names):
        raise invalid("tools", "Two tools have one name.")
    choice = body.tool_choice or ("auto" if tools else "none")
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        raise invalid("tool_choice", f"tool_choice names {choice.function.name[:80]!r}, which is not one of tools.")
    if choice == "required" and not tools:
        raise invalid("tool_choice", "tool_choice demands a call, and there are no tools.")
    if not tools or choice == "none":
        return Shape(grammar=None if content is None else worker.llm.grammars.json_schema(content))
    template = worker.llm.template()
    style = style_of(template.tool_source or template.source)
    callable_ = tools
    if isinstance(choice, NamedTool):
        callable_ = [tool for tool in tools if tool["function"]["name"] == choice.function.name]
    text = grammar(
        callable_,
        style,
        demanded=choice != "auto",
        several=body.parallel_tool_calls is not False and not isinstance(choice, NamedTool),
        content=content,
        control=worker.llm.file.chat.specials.get("[TOOL_CALLS]"),
        json_style=JSON_STYLE,
    )
    return Shape(tools, style, worker.llm.grammars.lark(text))


def _content_schema(body: ChatBody) -> dict[str, Any] | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise invalid("response_format.json_schema", "response_format has no json_schema.")
    return wanted.json_schema.schema_
