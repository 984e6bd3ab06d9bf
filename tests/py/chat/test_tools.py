"""Tools: how a model is told of them, and how its calls are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pocketllama.chat import builtin
from pocketllama.chat.calls import Call, Reader, message_of
from pocketllama.chat.templates import Template
from pocketllama.chat.tools import CLOSE, OPEN, style_of, told

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
SAY = {"type": "function", "function": {"name": "say"}}
HERMES = f'{OPEN}\n{{"name": "add", "arguments": {{"a": 1}}}}\n{CLOSE}'


def read(style: str, text: str, size: int) -> list[str | Call]:
    """What a reader makes of a text that comes in pieces; neighbouring texts joined."""
    reader = Reader(style)
    out: list[str | Call] = []
    for piece in [text[i : i + size] for i in range(0, len(text), size)]:
        out += reader.feed(piece)
    out += reader.finish()
    joined: list[str | Call] = []
    for item in out:
        if isinstance(item, str) and joined and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_calls_are_found_however_the_text_is_cut(size: int) -> None:
    one = Call("add", '{"a": 1}')
    assert read("hermes", f"Well. {HERMES}\n{HERMES} So.", size) == ["Well. ", one, one, " So."]
    assert read("hermes", "a < b and <tool and <tool_cal", size) == ["a < b and <tool and <tool_cal"]
    wrong = f"{OPEN}\nadd(1)\n{CLOSE} x"
    assert read("hermes", wrong, size) == [wrong]
    assert read("llama-3", '{"name": "add", "parameters": {"a": 1}}', size) == [one]
    assert read("llama-3", '{"a": "name"}', size) == ['{"a": "name"}']
    assert read("llama-3", "No.", size) == ["No."]
    two = '[{"name": "add", "arguments": {"a": 1}}, {"name": "say", "arguments": {}}]'
    assert read("mistral", two, size) == [one, Call("say", "{}")]
    assert read("mistral", "[1, 2]", size) == ["[1, 2]"]
    unnamed = f'{OPEN}\n{{"name": "a\\q", '
    assert read("hermes", unnamed, size) == [unnamed], "a name that is no JSON"
    assert read("mistral", '[{"name": 1}]', size) == ['[{"name": 1}]']


MISTRAL = '[{"name": "say", "arguments": {}}, {"name": "add", "arguments": {"a": 1}}]'


@pytest.mark.parametrize("size", [1, 1000])
@pytest.mark.parametrize(
    ("style", "whole", "before"),
    [
        ("hermes", f"Well.\n{HERMES}", ["Well."]),
        ("llama-3", '{"name": "add", "parameters": {"a": 1}}', []),
        ("mistral", MISTRAL, [Call("say", "{}")]),
    ],
)
def test_a_call_cut_off_anywhere_is_no_text(style: str, whole: str, before: list[str | Call], size: int) -> None:
    """Cut where its name is not whole, nothing of it is left; later, its arguments as far as they came."""
    begin = whole.rindex('{"name"')
    for end in range(begin + (1 if style == "hermes" else 9), len(whole)):
        found = read(style, whole[:end], size)
        came = whole[begin:end]
        if came.count('"') < 4:
            assert found == before, came
        else:
            arguments = came.partition('s": ')[2]
            arguments = arguments if len(arguments) < 8 else '{"a": 1}'
            assert found == [*before, Call("add", arguments)], came


def test_an_answer_becomes_the_next_message() -> None:
    text = 'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert message_of(text, None) == {"role": "assistant", "content": text}
    message = message_of(text, "hermes")
    (call,) = message["tool_calls"]
    assert message["content"] == "Let me see." and len(call["id"]) == 9 and call["id"].isalnum()
    assert (call["type"], call["function"]) == ("function", {"name": "add", "arguments": '{"a": 1}'})
    assert message_of(" no call \n", "hermes") == {"role": "assistant", "content": " no call \n"}
    assert message_of("Well.\n<tool_call>\n{", "hermes") == {"role": "assistant", "content": "Well."}
    whole = message_of('{"name": "add", "parameters": {}}', "llama-3")
    assert whole["content"] == "" and whole["tool_calls"][0]["function"]["arguments"] == "{}"


def test_styles() -> None:
    assert style_of("{% if tools %}<tool_call>") == "hermes"
    assert style_of("[TOOL_CALLS] [{") == "mistral"
    assert style_of('{"name": function name, "parameters": dict') == "llama-3"
    assert style_of("### Instruction:") == "hermes"


def test_a_template_without_tools_is_given_them() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "What is 1 + 2?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"function": {"name": "add", "arguments": '{"a": 1}'}}, {"function": {"name": "say"}}],
        },
        {"role": "tool", "content": "3"},
        {"role": "tool", "content": "done"},
        {"role": "user", "content": "Thanks."},
    ]
    text = builtin("chatml").render(messages, [ADD, SAY]).text
    assert text.startswith("<|im_start|>system\nYou may call these functions:\n<tools>\n" + json.dumps(ADD["function"]))
    assert HERMES in text and text.count("<tool_response>") == 2
    assert (
        "<|im_start|>user\n<tool_response>\n3\n</tool_response>\n<tool_response>\ndone\n</tool_response><|im_end|>"
        in text
    )
    with_system = told([{"role": "system", "content": "Be brief."}, *messages], [ADD])
    assert with_system[0]["content"].startswith("Be brief.\n\nYou may call") and len(with_system) == 6
    assert told(messages[:1], None) == messages[:1]


def test_a_template_that_knows_tools_tells_of_them_itself() -> None:
    source = (
        "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}{% for m in messages %}{{ m.role }};{% endfor %}"
    )
    template = Template("x", source, "built-in")
    messages = [{"role": "user", "content": "x"}, {"role": "tool", "content": "y"}]
    assert template.render(messages, [ADD]).text == "[add]user;tool;"
