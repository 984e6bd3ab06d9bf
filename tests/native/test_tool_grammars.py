"""What an answer with tools may look like: the grammars of each style of calls, on the tokens of tales."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pocketllama import LLM
from pocketllama.chat.tools import CLOSE, OPEN, grammar
from pocketllama.engine.grammar import JSON_STYLE, Grammars

from .library import Library

pytest.importorskip("llguidance")

ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}
SAY = {"type": "function", "function": {"name": "say"}}
HERMES = f'{OPEN}\n{{"name": "add", "arguments": {{"a": 1}}}}\n{CLOSE}'


@pytest.fixture(scope="module")
def accepts(library: Library) -> Iterator[Callable[..., bool]]:
    """Whether a grammar lets a text through to its end."""
    with LLM.from_pretrained("tales", lib=str(library.path)) as llm:

        def accepts(text: str, *tools: Any, style: str = "hermes", **how: Any) -> bool:
            lark = grammar(tools, style, json_style=JSON_STYLE, **how)
            walk = Grammars(llm).lark(lark).constraint()
            for token in llm.encode("\x01" + text)[2:]:
                mask = walk.mask()
                if not mask[token // 8] >> token % 8 & 1:
                    return False
                walk.accept(token)
            end = min(llm.vocab.ends)
            return bool(walk.done or walk.mask()[end // 8] >> end % 8 & 1)

        yield accepts


def test_what_a_grammar_lets_through(accepts: Callable[..., bool]) -> None:
    both = (ADD, SAY)
    other = HERMES.replace("add", "subtract")
    assert accepts(HERMES, *both, demanded=True)
    assert accepts(f"{HERMES}\n{HERMES}", *both, demanded=True)
    assert not accepts(f"{HERMES}\n{HERMES}", *both, demanded=True, several=False)
    assert not accepts(f"Well. {HERMES}", *both, demanded=True)
    assert not accepts(other, *both, demanded=True)
    assert not accepts(HERMES.replace("1", '"1"'), *both, demanded=True)
    assert not accepts(HERMES.replace('{"a": 1}', "{}"), *both, demanded=True)
    more = HERMES.replace('{"a": 1}', '{"a": 1, "b": 2}')
    assert not accepts(more, *both, demanded=True)  # it has no such parameter
    parameters = {**ADD["function"]["parameters"], "additionalProperties": True}  # type: ignore[dict-item]
    assert accepts(more, {"function": {"name": "add", "parameters": parameters}}, demanded=True)
    # Free to speak; but what begins as a call is one.
    assert accepts("Well.", *both) and accepts("", *both) and accepts("a < b", *both)
    assert accepts(f"Well. {HERMES} So. {HERMES}", *both)
    assert not accepts(f"Well. {other}", *both) and not accepts(f"{OPEN} add", *both)
    # An answer without calls has a form of its own.
    form = {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"], "additionalProperties": False}
    assert accepts('{"x": 1}', *both, content=form) and accepts(HERMES, *both, content=form)
    assert not accepts("Well.", *both, content=form)


def test_the_grammars_of_other_styles(accepts: Callable[..., bool]) -> None:
    llama = '{"name": "add", "parameters": {"a": 1}}'
    assert accepts(llama, ADD, style="llama-3", demanded=True) and accepts(llama, ADD, style="llama-3")
    assert accepts("Well. {", ADD, style="llama-3") and not accepts('{"x": 1}', ADD, style="llama-3")
    assert not accepts("Well.", ADD, style="llama-3", demanded=True)
    mistral = '[{"name": "add", "arguments": {"a": 1}}, {"name": "add", "arguments": {"a": 2}}]'
    assert accepts(mistral, ADD, style="mistral", demanded=True) and accepts(mistral, ADD, style="mistral")
    assert not accepts(mistral, ADD, style="mistral", demanded=True, several=False)
    assert accepts("Well.", ADD, style="mistral")
    # With its control token, which no text can be, there is nothing else that begins a call.
    assert not accepts(mistral, ADD, style="mistral", demanded=True, control=1)
    assert accepts(mistral, ADD, style="mistral", control=1)
