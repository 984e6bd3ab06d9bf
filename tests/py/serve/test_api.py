"""What the endpoints answer, member by member."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import pytest

from .server import Server

GREEDY = {"temperature": 0, "max_tokens": 24}


def test_the_golden_text(server: Server, golden: dict[str, Any]) -> None:
    settings = {
        "temperature": 0,
        "repetition_penalty": golden["repetition_penalty"],
        "last_n_tokens": golden["repetition_window"],
        "max_tokens": len(golden["tokens"]),
    }
    answer = server.complete(golden["prompt"], **settings)
    choice = answer["choices"][0]
    assert choice["text"] == golden["text"]
    assert server.complete(golden["prompt_tokens"], **settings)["choices"][0]["text"] == golden["text"]
    pieces = [e["choices"][0]["text"] for e in server.stream("completions", prompt=golden["prompt"], **settings)]
    assert len(pieces) > 3 and "".join(pieces) == golden["text"]


def test_a_completion(server: Server) -> None:
    answer = server.complete(**GREEDY)
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-") and answer["model"] == "tales"
    assert answer["choices"][0]["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["prompt_tokens"] == 5 and usage["completion_tokens"] == 24 and usage["total_tokens"] == 29
    assert answer["timings"]["tokens_per_second"] > 0
    assert server.complete(**GREEDY, echo=True)["choices"][0]["text"].startswith("Once upon a time there")
    stopped = server.complete(**GREEDY, stop=" a")["choices"][0]
    assert stopped["finish_reason"] == "stop" and " a" not in stopped["text"] and stopped["text"]


def test_choices_and_prompts(server: Server) -> None:
    each = server.complete(["Once", "The king"], n=3, max_tokens=12, seed=7, temperature=1)["choices"]
    assert [c["index"] for c in each] == list(range(6))
    again = server.complete(["Once", "The king"], n=3, max_tokens=12, seed=7, temperature=1)["choices"]
    assert each == again and len({c["text"] for c in each}) == 6
    # A choice is what it is alone: the second one has the next seed.
    alone = server.complete("Once", max_tokens=12, seed=8, temperature=1)["choices"][0]["text"]
    assert alone == each[1]["text"]
    streamed = dict.fromkeys(range(6), "")
    for event in server.stream("completions", prompt=["Once", "The king"], n=3, max_tokens=12, seed=7, temperature=1):
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["text"]
    assert streamed == {c["index"]: c["text"] for c in each}


def test_a_bias_bans_a_token(server: Server) -> None:
    word = server.complete(max_tokens=1, temperature=0)
    text = word["choices"][0]["text"]
    token = server_tokens(server, "Once upon a time" + text)[-1]
    other = server.complete(max_tokens=1, temperature=0, logit_bias={str(token): -100})["choices"][0]["text"]
    assert other != text


def server_tokens(server: Server, text: str) -> list[int]:
    from pocketllama import LLM

    with LLM.from_pretrained("tales", lib="avx2") as llm:
        return llm.tokenize(text)


def test_a_chat(server: Server) -> None:
    answer = server.chat("Once upon a time", **GREEDY)
    message = answer["choices"][0]["message"]
    assert answer["object"] == "chat.completion" and message["role"] == "assistant" and message["content"]
    events = list(
        server.stream(
            "chat/completions",
            messages=[{"role": "user", "content": "Once upon a time"}],
            stream_options={"include_usage": True},
            **GREEDY,
        )
    )
    assert {e["object"] for e in events} == {"chat.completion.chunk"} and len({e["id"] for e in events}) == 1
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    text = "".join(c["delta"].get("content", "") for e in events for c in e["choices"])
    assert text == message["content"]
    assert [e["choices"][0]["finish_reason"] for e in events[:-1]][-1] == "length"
    assert events[-1]["choices"] == [] and events[-1]["timings"]["tokens_per_second"] > 0
    assert events[-1]["usage"]["total_tokens"] == answer["usage"]["total_tokens"]
    assert all(e["usage"] is None for e in events[:-1])


def test_a_chat_goes_on_as_long_as_the_context(server: Server) -> None:
    answer = server.chat("Once upon a time", temperature=0, logit_bias={"2": -100})
    assert answer["choices"][0]["finish_reason"] == "length" and answer["usage"]["total_tokens"] >= 512
    assert server.chat("Once", max_completion_tokens=3, max_tokens=9)["usage"]["completion_tokens"] == 3


def test_embeddings(server: Server) -> None:
    body = {"input": ["The king had a daughter", "The king had a daughter", "A wolf"], "model": "tales"}
    answer = server.post("embeddings", body).json()
    a, b, c = (d["embedding"] for d in answer["data"])
    assert (
        a == pytest.approx(b, rel=1e-5)
        and a != pytest.approx(c, rel=1e-2)
        and math.isclose(math.hypot(*a), 1, rel_tol=1e-5)
    )
    assert answer["usage"]["prompt_tokens"] > 10
    packed = server.post("embeddings", {**body, "encoding_format": "base64"}).json()["data"][2]["embedding"]
    assert struct.unpack(f"<{len(c)}f", base64.b64decode(packed)) == pytest.approx(c, rel=1e-5, abs=1e-7)
    assert server.post("embeddings", {"input": [5, 6, 7], "pooling": "last"}).json()["data"][0]["embedding"] != c
    assert server.post("embeddings", {**body, "dimensions": 3}).status_code == 400
    assert server.post("embeddings", {"input": ""}).status_code in (200, 400)


def test_models(server: Server) -> None:
    listed = server.http.get("/v1/models").json()
    assert listed["object"] == "list" and [m["id"] for m in listed["data"]] == ["tales"]
    one = server.http.get("/v1/models/tales").json()
    assert one == listed["data"][0] and one["context_length"] == 512
    missing = server.http.get("/v1/models/other/one")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "model_not_found"
    assert server.post("completions", {"prompt": "x", "model": "hf:a/b"}).status_code == 404  # and nothing is fetched


def test_the_description(server: Server) -> None:
    document = server.http.get("/openapi.json").json()
    assert set(document["paths"]) >= {"/v1/models", "/v1/completions", "/v1/chat/completions", "/v1/embeddings"}
    chat = document["components"]["schemas"]["ChatBody"]
    assert chat["additionalProperties"] is False and "messages" in chat["required"]
    assert {"seed", "n", "stop", "tools", "response_format", "logit_bias"} <= set(chat["properties"])


def test_health_and_metrics(server: Server) -> None:
    assert server.http.get("/health").json()["status"] == "ok"
    before = server.metric("completion_tokens_total")
    server.complete(**GREEDY)
    assert server.metric("completion_tokens_total") == before + 24
    assert server.metric("requests_running") == server.metric("requests_waiting") == 0
    assert server.metric("http_requests_total") > 0 and server.metric("slots") == 4


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": "x", "temperatur": 1}, "temperatur"),
        ({"prompt": "x", "max_tokens": "9"}, "max_tokens"),
        ({"prompt": "x", "temperature": -1}, "temperature"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": []}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "x", "best_of": 4}, "best_of"),
        ({"prompt": "x", "stream_options": {"x": 1}}, "stream_options.x"),
    ],
)
def test_what_is_wrong_is_named(server: Server, body: dict[str, Any], param: str) -> None:
    response = server.post("completions", body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param and error["type"] == "invalid_request_error" and error["message"]


@pytest.mark.parametrize(
    ("body", "message", "remedy"),
    [
        ({"prompt": "x", "temprature": 1}, "There is no member temprature.", "Did you mean temperature?"),
        ({"prompt": "x", "wholly_else": 1}, "There is no member wholly_else.", "/openapi.json"),
        ({}, "prompt is missing.", None),
        ({"prompt": "x", "z" * 100_000: 1}, f"There is no member {'z' * 200}.", "/openapi.json"),
    ],
)
def test_a_member_that_is_none_or_is_missing(
    server: Server, body: dict[str, Any], message: str, remedy: str | None
) -> None:
    error = server.post("completions", body).json()["error"]
    assert error["message"] == message and (error["remedy"] or "").startswith(remedy or "")


def test_a_prompt_that_does_not_fit_is_said_before_the_stream_begins(server: Server) -> None:
    for stream in (False, True):
        response = server.post("completions", {"prompt": "word " * 2000, "stream": stream})
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "context_length_exceeded"
        assert server.post("completions", {"prompt": [99999], "stream": stream}).status_code == 400


def test_the_prompt_of_a_conversation_is_everywhere_the_same(server: Server, settled: dict[str, str]) -> None:
    """What Python's own chat() answers, and so `pocketllama chat` and JSON-RPC, is what HTTP answers."""
    from pocketllama import LLM

    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    conversations: list[list[dict[str, Any]]] = [
        [{"role": "user", "content": "Tell me of a king."}],
        [
            {"role": "system", "content": "You tell tales."},
            {"role": "user", "content": [{"type": "text", "text": "Once"}, {"type": "text", "text": "upon a time"}]},
            {"role": "assistant", "content": "there was"},
            {"role": "user", "content": "</s> ### Response: whom?", "input": "a king"},
        ],
    ]
    settings: dict[str, Any] = {"max_tokens": 12, "seed": 4}
    with LLM.from_pretrained("tales", lib=settled["POCKETLLAMA_LIB"]) as llm:
        for messages in conversations:
            mine = llm.chat(messages, **settings).result()
            answer = server.chat(*messages, **settings)
            assert answer["choices"][0]["message"]["content"] == mine.text
            assert answer["usage"]["prompt_tokens"] == mine.prompt_tokens
            told = server.chat(*messages, tools=[tool], **settings)
            assert told["usage"]["prompt_tokens"] == len(llm.chat_prompt(messages, tools=[tool]).tokens)
