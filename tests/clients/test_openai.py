"""OpenAI's own client for Python against the server. CI installs it (.ci/clients.txt); `npm test` leaves it out."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.py.serve.server import Server

openai = pytest.importorskip("openai", reason="the clients are installed in CI only: .ci/clients.txt")

MESSAGES = [{"role": "user", "content": "Once upon a time"}]
SCHEMA = {
    "type": "object",
    "properties": {"who": {"enum": ["king", "wolf"]}},
    "required": ["who"],
    "additionalProperties": False,
}


@pytest.fixture
def client(server: Server) -> Any:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_models(client: Any) -> None:
    assert [m.id for m in client.models.list()] == ["tales"]
    assert client.models.retrieve("tales").owned_by == "pocketllama"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_completions(client: Any, golden: dict[str, Any]) -> None:
    more = {"repetition_penalty": golden["repetition_penalty"], "last_n_tokens": golden["repetition_window"]}
    settings = {"model": "tales", "prompt": golden["prompt"], "temperature": 0, "max_tokens": len(golden["tokens"])}
    whole = client.completions.create(**settings, extra_body=more)
    assert whole.choices[0].text == golden["text"] and whole.usage.completion_tokens == len(golden["tokens"])
    streamed = client.completions.create(**settings, extra_body=more, stream=True)
    assert "".join(event.choices[0].text for event in streamed) == golden["text"]
    noted = client.completions.create(**settings, logprobs=2, n=2)
    assert len(noted.choices) == 2 and noted.choices[1].logprobs.tokens


def test_chat(client: Any) -> None:
    settings = {"model": "tales", "messages": MESSAGES, "seed": 3, "max_tokens": 16}
    whole = client.chat.completions.create(**settings, n=2, logprobs=True, top_logprobs=2)
    assert len(whole.choices) == 2 and whole.choices[0].message.content and whole.usage.total_tokens
    assert whole.choices[0].logprobs.content[0].top_logprobs[0].bytes
    stream = client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True})
    events = list(stream)
    text = "".join(c.delta.content or "" for e in events for c in e.choices)
    assert text == whole.choices[0].message.content and events[-1].usage.completion_tokens == 16


def test_leaving_a_stream(client: Any, server: Server) -> None:
    stream = client.chat.completions.create(
        model="tales", messages=MESSAGES, n=64, stream=True, logit_bias={"2": -100}, max_tokens=400
    )
    next(iter(stream))
    stream.close()
    assert server.logged("left by the client")


def test_schemas(client: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "figure", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(model="tales", messages=MESSAGES, response_format=form, seed=1)
    assert json.loads(answer.choices[0].message.content)["who"] in ("king", "wolf")


def test_parsed_into_a_model(client: Any) -> None:
    """The client makes the schema of a class, and an object of the answer."""
    from enum import Enum

    from pydantic import BaseModel

    class Who(str, Enum):
        king = "king"
        wolf = "wolf"

    class Figure(BaseModel):
        who: Who
        good: bool

    answer = client.chat.completions.parse(model="tales", messages=MESSAGES, response_format=Figure, seed=2)
    assert isinstance(answer.choices[0].message.parsed, Figure)


def test_tools(client: Any) -> None:
    tool = {"type": "function", "function": {"name": "tell", "parameters": SCHEMA}}
    settings = {"model": "tales", "messages": MESSAGES, "tools": [tool], "tool_choice": "required"}
    answer = client.chat.completions.create(**settings, parallel_tool_calls=False, seed=1)
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "tell" and json.loads(call.function.arguments)["who"] in ("king", "wolf")
    back = [*MESSAGES, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "done"}]
    again = client.chat.completions.create(model="tales", messages=back, tools=[tool], max_tokens=5)
    assert again.usage.prompt_tokens > answer.usage.prompt_tokens
    with client.chat.completions.stream(**settings, parallel_tool_calls=False, seed=1) as helper:
        (streamed,) = helper.get_final_completion().choices[0].message.tool_calls
    assert streamed.function.name == "tell"


def test_embeddings(client: Any) -> None:
    both = client.embeddings.create(model="tales", input=["a king", "a queen"])  # asks for base64
    plain = client.embeddings.create(model="tales", input="a king", encoding_format="float")
    assert both.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert math.isclose(math.hypot(*both.data[1].embedding), 1, rel_tol=1e-5)


def test_errors_have_the_clients_types(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="context"):
        client.completions.create(model="tales", prompt="word " * 2000)
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="gpt-4", prompt="x")
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="tales", messages=MESSAGES, temperature=9)
    assert wrong.value.param == "temperature" and wrong.value.code == "invalid_value"
