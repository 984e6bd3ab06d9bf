"""Conversations on the embedded model: what is evaluated, what does not fit, and going on elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketllama import Session
from pocketllama.chat import Template, builtin
from pocketllama.chat.session import read
from pocketllama.engine import LLM, Sampling
from pocketllama.errors import ContextOverflow, StorageError, UsageError

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 6}
ASK = {"role": "user", "content": "Tell me of a king."}
# The shortest that there is, with a control token behind each message.
PLAIN = Template("plain", "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}", "model")


@pytest.fixture(scope="module")
def llm(tales: Path) -> Iterator[LLM]:
    with LLM(str(tales), lib=os.environ.get("TEST_LIBRARY")) as llm:
        yield llm


def test_a_chat_is_the_completion_of_its_prompt(llm: LLM) -> None:
    prompt = llm.chat_prompt([ASK])
    assert prompt.text.endswith("### Instruction:\nTell me of a king.\n\n### Response:")
    assert prompt.template.origin == "fallback"
    assert prompt.tokens == llm.tokenize(prompt.text) and prompt.tokens[0] == llm.vocab.bos
    chatted = llm.chat([ASK], **GREEDY)
    assert "".join(chatted) == llm.complete(prompt.text, **GREEDY).text()


def test_a_second_turn_evaluates_only_what_is_new(llm: LLM) -> None:
    llm.reset()
    session = Session(llm, system="Be brief.", template=PLAIN, **GREEDY)
    first = session.say("Tell me of a king.").result()
    assert first.timings.prompt_tokens_evaluated == first.prompt_tokens
    second = session.say("And of a queen.").result()
    new = len(llm.encode("And of a queen."))
    # The last token of the answer was never evaluated; then come the end of it, the question and its end.
    assert second.timings.prompt_tokens_evaluated == 1 + 1 + new + 1
    assert second.prompt_tokens == first.prompt_tokens + first.completion_tokens + 1 + new + 1
    assert [m["role"] for m in session.messages] == ["system", "user", "assistant", "user", "assistant"]


def test_what_the_model_said_keeps_the_tokens_that_it_was_said_in(llm: LLM) -> None:
    session = Session(llm, template=PLAIN, max_tokens=24, temperature=2.0, top_k=0, seed=5)
    first = session.say("Tell me of a king.").result()
    # At such a temperature a model spells words as no tokenizer would.
    assert llm.encode(first.text) != list(first.tokens)
    second = session.say("And of a queen.").result()
    assert second.timings.prompt_tokens_evaluated < second.prompt_tokens - first.prompt_tokens
    prompt = llm.chat_prompt(session.messages[:3], template=PLAIN).tokens
    assert prompt[: first.prompt_tokens + first.completion_tokens][first.prompt_tokens :] == list(first.tokens)


def test_another_conversation_gets_nothing_of_it(llm: LLM) -> None:
    alone = llm.chat([ASK], **GREEDY).text()
    Session(llm, template=PLAIN, **GREEDY).say("The answer is 42.").text()
    assert llm.chat([ASK], **GREEDY).text() == alone


def test_one_may_stop_and_say_it_again(llm: LLM) -> None:
    session = Session(llm, template=PLAIN, temperature=0, max_tokens=40)
    for piece in session.say("Tell me of a king."):
        if piece:
            break
    assert session.messages[1]["content"].startswith(piece) and len(session.messages) == 2
    whole = session.retry().text()
    assert len(session.messages) == 2 and session.messages[1]["content"] == whole and len(whole) > len(piece)
    answer = session.say("More.")
    next(iter(answer))
    answer.cancel()
    assert answer.result().finish_reason == "cancelled" and len(session.messages) == 4
    before = list(session.messages)
    assert session.say("Nothing.", cancel=lambda: True).text() == "" and session.messages == before
    assert session.retry(cancel=lambda: True).text() == "" and session.messages == before
    session.reset()
    assert session.messages == []
    with pytest.raises(UsageError, match="no answer yet"):
        session.retry()


def test_the_system_can_be_changed(llm: LLM) -> None:
    session = Session(llm, system="A", **GREEDY)
    session.say("x").text()
    session.system = "B"
    assert session.messages[0] == {"role": "system", "content": "B"} and len(session.messages) == 3
    session.reset()
    assert session.messages == [{"role": "system", "content": "B"}]
    session.system = None
    assert session.messages == [] and session.system is None


def test_a_turn_that_fails_is_forgotten(llm: LLM) -> None:
    session = Session(llm, **GREEDY)
    with pytest.raises(UsageError):
        session.say({"role": "user"})
    with pytest.raises(ContextOverflow):
        session.say("x " * 3000)
    assert session.messages == []


def test_a_session_of_a_sampling(llm: LLM) -> None:
    session = Session(llm, options=Sampling(temperature=0, max_tokens=3))
    assert session.say("x").result().completion_tokens == 3


def test_calls_of_tools_are_told_from_text(llm: LLM) -> None:
    """The model is told by its grammar what to say, so that it calls: tales has never heard of tools."""
    pytest.importorskip("llguidance", reason="the extra 'serve' is not installed")
    if llm.library.kind != "native":
        pytest.skip("ctransformers' library cannot constrain a text")
    parameters = {"type": "object", "properties": {"zone": {"const": "UTC"}}, "required": ["zone"]}
    tool = {"type": "function", "function": {"name": "clock", "parameters": parameters}}
    demand: dict[str, Any] = {"tool_choice": "required", "parallel_tool_calls": False}
    call = '{"name": "clock", "arguments": {"zone": "UTC"}}'
    session = Session(llm, tools=[tool], temperature=0, max_tokens=200)
    said = session.say("What time is it?", **demand).result()
    assert said.text == f"<tool_call>\n{call}\n</tool_call>" and said.finish_reason == "stop"
    (asked,) = session.messages[-1]["tool_calls"]
    assert asked["function"] == {"name": "clock", "arguments": '{"zone": "UTC"}'}
    session.options["template"] = Template("like", "{{ messages[-1].content }}<|python_tag|> {{ tools }}", "model")
    assert session.retry(**demand).text() == call.replace("arguments", "parameters")
    (asked,) = session.messages[-1]["tool_calls"]
    session.say({"role": "tool", "content": "noon", "tool_call_id": asked["id"]}, tool_choice="none").text()
    assert [m["role"] for m in session.messages] == ["user", "assistant", "tool", "assistant"]


def test_an_answer_by_a_schema(llm: LLM) -> None:
    pytest.importorskip("llguidance", reason="the extra 'serve' is not installed")
    if llm.library.kind != "native":
        with pytest.raises(UsageError, match="cannot constrain"):
            llm.chat([ASK], schema={"type": "boolean"})
        return
    schema = {"type": "object", "properties": {"king": {"enum": ["old", "young"]}}, "required": ["king"],
              "additionalProperties": False}  # fmt: skip
    for seed in range(3):
        answer = llm.chat([ASK], schema=schema, temperature=1.0, seed=seed).result()
        assert json.loads(answer.text)["king"] in ("old", "young") and answer.finish_reason == "stop"
    with pytest.raises(UsageError, match="schema"):
        llm.chat([ASK], schema={"type": "nonsense"})


# ---- the context ---------------------------------------------------------------------------------------------------


def long_conversation(llm: LLM) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": "Be brief."}]
    while len(llm.chat_prompt(messages, template=PLAIN).tokens) <= llm.context_length:
        n = len(messages)
        messages += [{"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": "word " * 20}]
    return [*messages, {"role": "user", "content": "The last question?"}]


def test_too_much_is_said_with_figures(llm: LLM) -> None:
    messages = long_conversation(llm)
    n = len(llm.chat_prompt(messages, template=PLAIN).tokens)
    with pytest.raises(ContextOverflow, match=f"{n - 512} more than the context of 512") as e:
        llm.chat(messages, template=PLAIN)
    assert e.value.data == {"prompt_tokens": n, "context_length": 512, "headroom": 512 - n}


def test_forgetting_what_is_oldest(llm: LLM) -> None:
    messages = long_conversation(llm)
    generation = llm.chat(messages, template=PLAIN, overflow="forget", **GREEDY)
    result = generation.result()
    assert result.prompt_tokens + 6 <= 512 and result.finish_reason == "length" and result.completion_tokens == 6
    # The system stays, exchanges go as wholes, and no more of them than must.
    n = generation.forgotten
    assert n > 0 and n % 2 == 0
    kept = [messages[0], *messages[1 + n :]]
    assert result.prompt_tokens == len(llm.chat_prompt(kept, template=PLAIN).tokens)
    fuller = [messages[0], *messages[1 + n - 2 :]]
    assert len(llm.chat_prompt(fuller, template=PLAIN).tokens) + 6 > 512


def test_what_cannot_be_forgotten_is_an_error(llm: LLM) -> None:
    with pytest.raises(ContextOverflow):
        llm.chat([{"role": "user", "content": "x " * 600}], overflow="forget")
    with pytest.raises(UsageError, match="overflow"):
        llm.chat([ASK], overflow="shrug")
    assert llm.chat([ASK], overflow="forget", **GREEDY).forgotten == 0


# ---- files ---------------------------------------------------------------------------------------------------------


def test_saved_and_continued(llm: LLM, tmp_path: Path) -> None:
    session = Session(llm, system="Bé brief. 🦙", template="vicuna", cancel=lambda: False, **GREEDY)
    session.say("Tell me of a king.").text()
    file = tmp_path / "talk.json"
    session.save(file, mood="merry")
    expected = session.say("And a queen.").text()

    llm.reset()
    again = Session.load(file, llm)
    assert again.system == "Bé brief. 🦙" and again.options == {"template": "vicuna", **GREEDY}
    assert again.say("And a queen.").text() == expected
    assert Session.load(file, llm, max_tokens=2).say("And a queen.").result().completion_tokens == 2
    assert read(file)["mood"] == "merry" and read(file)["model"] is None, "a model without a name"
    assert [f.name for f in tmp_path.iterdir()] == ["talk.json"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "no saved conversation"),
        (b"\xff", "no saved conversation"),
        (b"[" * 100_000, "no saved conversation"),
        (b"[]", "no saved conversation"),
        (json.dumps({"format": "pocketllama-session", "version": 9}).encode(), "version 9"),
        (json.dumps({"format": "pocketllama-session", "version": 1}).encode(), "no messages"),
        (
            json.dumps({"format": "pocketllama-session", "version": 1, "options": {}, "messages": [{}]}).encode(),
            "role must be",
        ),
    ],
)
def test_what_is_no_conversation(llm: LLM, tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(UsageError, match=what):
        Session.load(tmp_path / "x.json", llm)


def test_places_where_nothing_can_be_kept(llm: LLM, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        Session.load(tmp_path / "none.json", llm)
    with pytest.raises(StorageError, match="could not be saved"):
        Session(llm).save(tmp_path / "none" / "x.json")


def test_stops_of_a_template_are_stops(llm: LLM) -> None:
    generation = llm.chat([ASK], Sampling(stop=("x",)), template="vicuna")
    assert generation._options.stop == ("x", *builtin("vicuna").stops)
    full = tuple(map(str, range(16)))
    assert llm.chat([ASK], Sampling(stop=full), template="vicuna")._options.stop == full
