"""The shape of an answer as OpenAI's API asks for it: `response_format`, `tools` and `tool_choice`."""

from __future__ import annotations

from typing import Any

from ..engine.shape import Shape, shape_of, size_of
from .requests import ChatBody, NamedTool, invalid
from .worker import Worker


def shape_asked(worker: Worker, body: ChatBody, max_schema: int) -> Shape:
    """What a request asks for. UsageError for a contradiction, and for a schema that cannot be kept to."""
    schema = _content_schema(body)
    tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
    if size_of(schema, tools) > max_schema:
        raise invalid("tools" if tools else "response_format", f"Schemas may have {max_schema} bytes together.")
    choice = body.tool_choice
    return shape_of(
        worker.llm,
        worker.llm.template(),
        schema=schema,
        tools=tools,
        tool_choice=choice.model_dump() if isinstance(choice, NamedTool) else choice,
        parallel_tool_calls=body.parallel_tool_calls,
    )


def _content_schema(body: ChatBody) -> dict[str, Any] | None:
    wanted = body.response_format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"type": "object"}
    if wanted.json_schema is None:
        raise invalid("response_format.json_schema", "response_format has no json_schema.")
    return wanted.json_schema.schema_
