"""The methods of the protocol: a name, its parameters, and what it does. docs/protocol.md describes them."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from .. import chat, models
from .._version import __version__
from ..chat.calls import message_of
from ..engine.cancel import Cancel
from ..engine.options import Completion, Sampling, Timings
from ..errors import PromptTooLarge
from . import params as p
from .connection import Call
from .params import Param
from .service import PROTOCOL_VERSION, Method, Service

_SAMPLING = [f.name for f in fields(Sampling)]
_CHATTING = ["tools", "tool_choice", "parallel_tool_calls", "schema", "template_variables", "overflow"]


def _initialize(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {
        "protocolVersion": PROTOCOL_VERSION,
        "serverInfo": {"name": "pocketllama", "version": __version__},
        "capabilities": {
            "complete": {"stream": True},
            "chat": {"stream": True, "tools": True, "templates": list(chat.NAMES)},
            "tokenize": True,
            "detokenize": True,
            "embed": True,
            "models": {"list": True, "show": True, "pull": True},
            "cancel": True,
            "framing": ["line", "header"],
        },
        "limits": service.limits.as_json(),
    }


def _shutdown(service: Service, call: Call, params: dict[str, Any]) -> None:
    call.connection.shutdown_requested = True


def _exit(service: Service, call: Call, params: dict[str, Any]) -> None:
    call.connection.exit_requested = True


def _cancel_request(service: Service, call: Call, params: dict[str, Any]) -> None:
    if target := call.connection.find(params["id"]):
        target.cancel()


def _cancelled(service: Service, call: Call, params: dict[str, Any]) -> None:
    if target := call.connection.find(params["requestId"]):
        target.cancel(silent=True)


def _model(service: Service, params: dict[str, Any]) -> str:
    return str(params.get("model") or service.default_model)


def _check_size(service: Service, name: str, text: Any) -> None:
    limit = service.limits.max_prompt_bytes
    if isinstance(text, str) and len(text.encode()) > limit:
        raise PromptTooLarge(
            f"{name} has {len(text.encode())} bytes; the limit is {limit}.", data={"limit_bytes": limit}
        )


def _cancel_of(call: Call) -> Cancel:
    """Hears the call's cancellation, whichever thread it comes from."""
    cancel = Cancel(lambda: call.cancelled)  # also what came before the next line
    call.on_cancel = cancel.set
    return cancel


def _complete(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    _check_size(service, "prompt", params["prompt"])
    options = Sampling.of(**{k: v for k, v in params.items() if k in _SAMPLING})
    name = _model(service, params)
    engine = service.pool.get(name)
    generation = engine.complete(params["prompt"], options, cancel=_cancel_of(call))
    if params.get("stream"):
        for i, piece in enumerate(generation):
            call.progress({"index": i, "text": piece})
    return {**generation.result().as_json(), "model": name}


def _complete_cancelled(service: Service, params: dict[str, Any]) -> dict[str, Any]:
    """The answer to a completion that never began."""
    return {**Completion("", "cancelled", 0, 0, Timings()).as_json(), "model": _model(service, params)}


def _chat(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    for part in ("messages", "tools", "schema"):
        _check_size(service, part, json.dumps(params.get(part), ensure_ascii=False))
    sampling = {k: v for k, v in params.items() if k in _SAMPLING}
    Sampling.of(**sampling)  # what is wrong with it is said before a model is loaded
    more: dict[str, Any] = {k: params[k] for k in _CHATTING if k in params}
    if "template" in params:
        more["template"] = chat.builtin(params["template"])  # files are for who starts the runner to name
    name = _model(service, params)
    engine = service.pool.get(name)
    generation = engine.chat(params["messages"], cancel=_cancel_of(call), **sampling, **more)
    if params.get("stream"):
        for i, piece in enumerate(generation):
            call.progress({"index": i, "text": piece})
    message = message_of(generation.result().text, generation.call_style)
    return {**_answer(generation.result(), message), "forgotten": generation.forgotten, "model": name}


def _answer(result: Completion, message: dict[str, Any]) -> dict[str, Any]:
    return {"message": message, **result.as_json()}


def _chat_cancelled(service: Service, params: dict[str, Any]) -> dict[str, Any]:
    """The answer to a chat that never began."""
    nothing = Completion("", "cancelled", 0, 0, Timings())
    return {**_answer(nothing, message_of("", None)), "forgotten": 0, "model": _model(service, params)}


def _tokenize(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    _check_size(service, "text", params["text"])
    name = _model(service, params)
    engine = service.pool.get(name)
    return {
        "tokens": engine.encode(params["text"], params.get("bos", False), params.get("special", False)),
        "model": name,
    }


def _detokenize(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    name = _model(service, params)
    return {"text": service.pool.get(name).decode(params["tokens"]), "model": name}


def _embed(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    _check_size(service, "input", params["input"])
    name = _model(service, params)
    engine = service.pool.get(name)
    source = params["input"]
    tokens = engine.tokenize(source) if isinstance(source, str) else source
    options = {k: params[k] for k in ("pooling", "normalize") if k in params}
    embedding = engine.embed(tokens, cancel=_cancel_of(call), **options)
    return {"embedding": embedding, "usage": {"prompt_tokens": len(tokens)}, "model": name}


def _models_list(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return {"models": [model.as_json() for model in models.list_models()]}


def _models_show(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return models.show(_model(service, params))


def _models_pull(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    def progress(event: models.ProgressEvent) -> None:
        note = {"note": event.note} if event.note else {}
        call.progress({"file": event.file, "done": event.done, "total": event.total, **note})

    return models.pull(params["model"], progress=progress, cancel=lambda: call.cancelled).as_json()


def _status(service: Service, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    return service.describe()


_MODEL = {"model": Param(p.text)}
METHODS: dict[str, Method] = {
    "initialize": Method(_initialize, lenient=True),
    "initialized": Method(lambda service, call, params: None, lenient=True),
    "shutdown": Method(_shutdown),
    "exit": Method(_exit),
    "$/cancelRequest": Method(_cancel_request, {"id": Param(p.anything, required=True)}),
    "notifications/cancelled": Method(
        _cancelled, {"requestId": Param(p.anything, required=True), "reason": Param(p.anything)}
    ),
    "complete": Method(
        _complete,
        {
            "prompt": Param(p.text, required=True),
            "stream": Param(p.boolean),
            **{name: Param(p.anything) for name in _SAMPLING},
            **_MODEL,
        },
        lane="engine",
        when_cancelled=_complete_cancelled,
    ),
    "chat": Method(
        _chat,
        {
            "messages": Param(p.objects, required=True),
            "tools": Param(p.objects),
            "tool_choice": Param(p.anything),
            "parallel_tool_calls": Param(p.boolean),
            "template": Param(p.text),
            "template_variables": Param(p.an_object),
            "schema": Param(p.an_object),
            "overflow": Param(p.text),
            "stream": Param(p.boolean),
            **{name: Param(p.anything) for name in _SAMPLING},
            **_MODEL,
        },
        lane="engine",
        when_cancelled=_chat_cancelled,
    ),
    "tokenize": Method(
        _tokenize,
        {"text": Param(p.text, required=True), "bos": Param(p.boolean), "special": Param(p.boolean), **_MODEL},
        lane="engine",
    ),
    "detokenize": Method(_detokenize, {"tokens": Param(p.integers, required=True), **_MODEL}, lane="engine"),
    "embed": Method(
        _embed,
        {
            "input": Param(p.text_or_integers, required=True),
            "pooling": Param(p.anything),
            "normalize": Param(p.boolean),
            **_MODEL,
        },
        lane="engine",
    ),
    "models/list": Method(_models_list),
    "models/show": Method(_models_show, dict(_MODEL)),
    "models/pull": Method(_models_pull, {"model": Param(p.text, required=True)}, lane="pull"),
    "status": Method(_status),
}
