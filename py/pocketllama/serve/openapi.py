"""The API's description in OpenAPI 3.1, at /openapi.json: made of the very models that requests are read with."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .._version import __version__
from .requests import ChatBody, CompletionBody, EmbeddingBody

_BODIES: dict[str, tuple[type[BaseModel], str]] = {
    "/v1/completions": (CompletionBody, "Texts that go on as a prompt begins."),
    "/v1/chat/completions": (ChatBody, "The next message of a conversation."),
    "/v1/embeddings": (EmbeddingBody, "The final hidden states of texts."),
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
                "remedy": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_OBJECT = {"type": "object"}
# One server-sent event; its data is the JSON of a chunk, or [DONE].
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}


@cache
def document() -> dict[str, Any]:
    """The whole description; plain JSON values."""
    kinds = [(kind, "validation") for kind, _ in _BODIES.values()]
    _, definitions = models_json_schema(kinds, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    paths: dict[str, Any] = {
        path: {"post": _operation(summary, kind.__name__)} for path, (kind, summary) in _BODIES.items()
    }
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    paths["/v1/models"] = {"get": _operation("The models that are served.")}
    paths["/v1/models/{model}"] = {"get": {**_operation("One of them."), "parameters": [name]}}
    paths["/health"] = {"get": _operation("Whether the server lives and takes requests.")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pocketllama", "version": __version__, "license": {"name": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": {**definitions["$defs"], "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(summary: str, body: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = {"application/json": {"schema": _OBJECT}}
    error = {"description": "What is wrong.", "content": {"application/json": {"schema": _reference("Error")}}}
    made: dict[str, Any] = {
        "summary": summary,
        "responses": {"200": {"description": "The answer.", "content": answer}, "4XX": error, "503": error},
    }
    if body:
        if body != "EmbeddingBody":
            answer["text/event-stream"] = {"schema": _EVENT}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _reference(body)}}}
    return made


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
