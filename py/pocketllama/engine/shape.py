"""What an answer must look like: JSON of a schema, calls of tools, or either; as a grammar for its tokens.

Every way into the project (`LLM.chat`, JSON-RPC, HTTP) asks here, so that they mean the same by the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..chat import check_tools
from ..chat.tools import grammar, style_of
from ..errors import UsageError
from .choices import Constraint
from .grammar import JSON_STYLE, Grammar

if TYPE_CHECKING:
    from ..chat import Template
    from .conversation import Conversations

CHOICES = ("none", "auto", "required")


@dataclass(frozen=True)
class Shape:
    """`tools` are those that the model is told of, `style` how it writes calls of them ("" if it may call none)."""

    tools: list[dict[str, Any]] | None = None
    style: str = ""
    grammar: Grammar | None = None

    @property
    def constrained(self) -> bool:
        return self.grammar is not None

    @property
    def defaults(self) -> dict[str, Any]:
        """Sampling in place of the ordinary defaults: a grammar repeats itself, and is not punished for it."""
        return {"repetition_penalty": 1.0} if self.constrained else {}

    def constraint(self) -> Constraint | None:
        """For one text."""
        return self.grammar.constraint() if self.grammar else None


def shape_of(
    llm: Conversations,
    template: Template,
    *,
    schema: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    tool_choice: str | Mapping[str, Any] | None = None,
    parallel_tool_calls: bool | None = None,
) -> Shape:
    """The shape of an answer to a conversation that `template` renders.

    `schema` is that of an answer which calls nothing. `tool_choice` and `parallel_tool_calls` are OpenAI's: "none",
    "auto" (the default), "required", or {"type": "function", "function": {"name": …}}; and whether several calls may
    come in one answer. UsageError, whose data names the `param`, for a contradiction, and for a schema that cannot be
    kept to; EngineError where the package for grammars is not installed.
    """
    known = check_tools(tools) or []
    names = [tool["function"]["name"] for tool in known]
    if len(set(names)) < len(names):
        raise wrong("tools", "Two tools have one name.")
    name = _named(tool_choice)
    choice = "named" if name is not None else tool_choice or ("auto" if known else "none")
    if name is not None and name not in names:
        raise wrong("tool_choice", f"tool_choice names {name[:80]!r}, which is not one of tools.")
    if choice == "required" and not known:
        raise wrong("tool_choice", "tool_choice demands a call, and there are no tools.")
    if not known or choice == "none":
        return Shape(grammar=None if schema is None else llm.grammars.json_schema(schema))
    style = style_of(template.tool_source or template.source)
    text = grammar(
        known if name is None else [tool for tool in known if tool["function"]["name"] == name],
        style,
        demanded=choice != "auto",
        several=parallel_tool_calls is not False and name is None,
        content=None if schema is None else _an_object(schema),
        control=llm.file.chat.specials.get("[TOOL_CALLS]"),
        json_style=JSON_STYLE,
    )
    return Shape(known, style, llm.grammars.lark(text))


def size_of(*parts: Any) -> int:
    """The characters of schemas and tools as JSON."""
    return len(json.dumps(parts, ensure_ascii=False))


def wrong(param: str, message: str) -> UsageError:
    return UsageError(message, data={"param": param})


def _named(choice: str | Mapping[str, Any] | None) -> str | None:
    """The function that `tool_choice` demands, if it names one."""
    if choice is None or choice in CHOICES:
        return None
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        known = ", ".join(f'"{name}"' for name in CHOICES)
        raise wrong(
            "tool_choice",
            f'tool_choice is one of {known}, or {{"type": "function", "function": {{"name": …}}}}, not {choice!r:.80}.',
        )
    return name


def _an_object(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        raise wrong("schema", f"A JSON schema must be an object, not {schema!r:.80}.")
    return schema
