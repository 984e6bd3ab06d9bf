"""Answers of a form: JSON, schemas, tools; kept to by the tokens, whatever a teller of tales would rather say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .server import Server

SCHEMA = {
    "type": "object",
    "properties": {"who": {"enum": ["king", "wolf"]}, "age": {"type": "integer", "minimum": 1, "maximum": 99}},
    "required": ["who", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "figure", "strict": True, "schema": SCHEMA}}


def tool(name: str, **properties: Any) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": f"Do {name}.", "parameters": parameters}}


TOOLS = [
    tool("weather", city={"enum": ["Rome", "Ulm"]}),
    tool("add", a={"type": "integer", "minimum": 0, "maximum": 9}, b={"type": "integer", "minimum": 0, "maximum": 9}),
]


@pytest.mark.parametrize("seed", range(4))
def test_a_schema(server: Server, seed: int) -> None:
    answer = server.chat("Once upon a time", response_format=FORMAT, seed=seed, temperature=1.5, n=3)
    for choice in answer["choices"]:
        assert choice["finish_reason"] == "stop"
        value = json.loads(choice["message"]["content"])
        assert value["who"] in ("king", "wolf") and 1 <= value["age"] <= 99 and len(value) == 2
    events = server.stream(
        "chat/completions",
        messages=[{"role": "user", "content": "Once upon a time"}],
        response_format=FORMAT,
        seed=seed,
        temperature=1.5,
    )
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
    assert text == answer["choices"][0]["message"]["content"]


def test_any_object(server: Server) -> None:
    answer = server.chat("Once", response_format={"type": "json_object"}, seed=3, max_tokens=40)
    choice = answer["choices"][0]
    text = choice["message"]["content"]
    assert text.startswith("{")
    if choice["finish_reason"] == "stop":
        assert isinstance(json.loads(text), dict)
    free = server.chat("Once", response_format={"type": "text"}, seed=3, max_tokens=4)
    assert not free["choices"][0]["message"]["content"].startswith("{")


def test_neighbours_do_not_notice(server: Server) -> None:
    """A text beside a constrained one in the same batch is what it is alone."""
    from concurrent.futures import ThreadPoolExecutor

    alone = server.complete(max_tokens=60, seed=5)["choices"][0]["text"]
    with ThreadPoolExecutor(4) as threads:
        shaped = [threads.submit(server.chat, "x", response_format=FORMAT, seed=i) for i in range(6)]
        beside = [threads.submit(server.complete, max_tokens=60, seed=5) for _ in range(4)]
        assert {f.result()["choices"][0]["text"] for f in beside} == {alone}
        assert all(json.loads(f.result()["choices"][0]["message"]["content"]) for f in shaped)


@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"weather", "add"}), ({"type": "function", "function": {"name": "add"}}, {"add"})],
)
def test_a_call_that_is_demanded(server: Server, choice: Any, names: set[str]) -> None:
    for seed in range(4):
        settings: dict[str, Any] = {"tools": TOOLS, "tool_choice": choice, "seed": seed, "temperature": 2}
        answer = server.chat("Is it raining?", **settings, parallel_tool_calls=False)["choices"][0]
        assert answer["finish_reason"] == "tool_calls" and answer["message"]["content"] is None
        (call,) = answer["message"]["tool_calls"]
        check_call(call, names)
        events = list(
            server.stream(
                "chat/completions",
                messages=[{"role": "user", "content": "Is it raining?"}],
                **settings,
                parallel_tool_calls=False,
            )
        )
        deltas = [c["delta"] for e in events for c in e["choices"]]
        streamed = [call for delta in deltas for call in delta.get("tool_calls", [])]
        assert [c["function"] for c in streamed] == [call["function"]] and streamed[0]["index"] == 0
        assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert not any(delta.get("content") for delta in deltas)


def check_call(call: dict[str, Any], names: set[str]) -> None:
    assert call["type"] == "function" and len(call["id"]) == 9
    name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
    assert name in names
    if name == "add":
        assert set(arguments) == {"a", "b"} and all(0 <= v <= 9 for v in arguments.values())
    else:
        assert arguments["city"] in ("Rome", "Ulm")


def test_several_calls(server: Server) -> None:
    answers = server.chat("x", tools=TOOLS, tool_choice="required", seed=1, temperature=2, n=8, top_k=0, top_p=1)
    counts = set()
    for choice in answers["choices"]:
        *before, last = choice["message"]["tool_calls"]
        for call in before if choice["finish_reason"] == "length" else [*before, last]:
            check_call(call, {"weather", "add"})
        counts.add(len(before) + 1)
    assert max(counts) > 1


def test_a_call_that_the_limit_cuts_off(server: Server) -> None:
    asked: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "seed": 1, "max_tokens": 30}
    nothing = server.chat("x", **{**asked, "max_tokens": 8})["choices"][0]
    assert nothing["message"]["content"] == "" and "tool_calls" not in nothing["message"]
    whole = server.chat("x", **asked)["choices"][0]
    assert whole["finish_reason"] == "length" and whole["message"]["content"] is None
    (call,) = whole["message"]["tool_calls"]
    assert call["function"]["name"] in ("weather", "add") and call["function"]["arguments"].startswith("{")
    messages = [{"role": "user", "content": "x"}]
    choices = [c for e in server.stream("chat/completions", messages=messages, **asked) for c in e["choices"]]
    assert choices[-1]["finish_reason"] == "length" and not any(c["delta"].get("content") for c in choices)
    (streamed,) = (call for c in choices for call in c["delta"].get("tool_calls", []))
    assert streamed["function"] == call["function"]


def test_a_call_that_is_allowed(server: Server) -> None:
    """Left to itself the model tells a tale; a bias makes it begin a call, which then is one of ours."""
    free = server.chat("Once", tools=TOOLS, seed=1, max_tokens=12)["choices"][0]
    assert free["message"]["content"] and "tool_calls" not in free["message"] and free["finish_reason"] == "length"
    none = server.chat("Once", tools=TOOLS, tool_choice="none", seed=1, max_tokens=12)["choices"][0]
    assert none["message"]["content"]


def test_a_conversation_with_calls(server: Server) -> None:
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
    answer = server.chat(
        {"role": "developer", "content": "Be kind."},
        "Is it raining?",
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "no"},
        {"role": "user", "content": [{"type": "text", "text": "And "}, {"type": "text", "text": "there?"}]},
        tools=TOOLS,
        max_tokens=3,
    )
    assert answer["usage"]["prompt_tokens"] > 60


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "nothing"}}}, "tool_choice"),
        ({"tools": [TOOLS[0], TOOLS[0]]}, "tools"),
        ({"tools": [tool("a b")]}, "tools.0.function.name"),
        ({"tools": [tool("x", y={"description": "z" * 300_000})]}, "tools"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"top_logprobs": 3}, "top_logprobs"),
    ],
)
def test_contradictions(server: Server, body: dict[str, Any], param: str) -> None:
    response = server.post("chat/completions", {"messages": [{"role": "user", "content": "x"}], **body})
    assert response.status_code == 400 and response.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "schema", [{"type": "nothing"}, {"$ref": "http://localhost/x"}, {"pattern": "(", "type": "string"}]
)
def test_a_schema_that_cannot_be_kept_to(server: Server, schema: Any) -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    for stream in (False, True):
        response = server.post(
            "chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": stream, **body}
        )
        assert response.status_code == 400 and "cannot be kept" in response.json()["error"]["message"]


def test_logprobs(server: Server) -> None:
    settings = {"temperature": 0, "repetition_penalty": 1, "max_tokens": 6}
    answer = server.chat("Once", logprobs=True, top_logprobs=3, **settings)["choices"][0]
    content = answer["logprobs"]["content"]
    assert "".join(bytes(t["bytes"]).decode() for t in content) == answer["message"]["content"] and len(content) == 6
    for token in content:
        assert token["logprob"] <= 0 and len(token["top_logprobs"]) == 3
        assert token["top_logprobs"][0]["token"] == token["token"]  # greedy: the likeliest
    message = [{"role": "user", "content": "Once"}]
    events = server.stream("chat/completions", messages=message, logprobs=True, top_logprobs=3, **settings)
    streamed = [t for e in events for c in e["choices"] if c["logprobs"] for t in c["logprobs"]["content"]]
    assert streamed == content
    legacy = server.complete("Once", logprobs=2, **settings)["choices"][0]
    noted = legacy["logprobs"]
    assert "".join(noted["tokens"]) == legacy["text"] and len(noted["token_logprobs"]) == 6
    assert [legacy["text"][a:][: len(t)] for a, t in zip(noted["text_offset"], noted["tokens"], strict=True)] == noted[
        "tokens"
    ]
    assert all(len(top) == 2 for top in noted["top_logprobs"])
    assert server.complete("Once", logprobs=0, **settings)["choices"][0]["logprobs"]["tokens"] == noted["tokens"]


def test_a_second_turn_evaluates_only_what_is_new(server: Server) -> None:
    first = server.chat("Tell me of a king and his daughters", max_tokens=20, seed=1)
    said = first["choices"][0]["message"]["content"]
    again = server.chat(
        "Tell me of a king and his daughters",
        {"role": "assistant", "content": said},
        "And then?",
        max_tokens=5,
        seed=1,
    )
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"]
    evaluated = again["timings"]["prompt_tokens_evaluated"]
    assert evaluated == again["usage"]["prompt_tokens"] - again["usage"]["prompt_tokens_details"]["cached_tokens"]
