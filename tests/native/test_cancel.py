"""A cancellation that comes while our own library computes is heard in there, and not only behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Cancel

from .library import Library

PROMPT = [1] + [300] * 500


@pytest.fixture
def llm(library: Library, own_home: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLM]:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))
    with LLM.from_pretrained("tales") as llm:
        llm._chunks.size = llm._chunks.LARGEST  # the whole prompt is one chunk: no function is asked within it
        yield llm


def while_it_evaluates(llm: LLM, monkeypatch: pytest.MonkeyPatch, name: str, then: Callable[[], None]) -> None:
    """`then` runs in another thread, from the moment at which the library is called."""
    call = llm._backend.call

    def calling(function: str, *arguments: Any) -> int:
        if function == name:
            threading.Thread(target=then).start()
        return int(call(function, *arguments))

    monkeypatch.setattr(llm._backend, "call", calling)


def test_a_completion(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = llm.complete(PROMPT, max_tokens=4, temperature=0).text()
    llm.reset()
    cancel = Cancel()
    with monkeypatch.context() as patch:
        while_it_evaluates(llm, patch, "eval", cancel.set)
        result = llm.complete(PROMPT, cancel=cancel).result()
    assert (result.finish_reason, result.completion_tokens) == ("cancelled", 0)
    assert llm._context == []  # the chunk was not finished
    assert llm.complete(PROMPT, max_tokens=4, temperature=0).text() == expected


@pytest.mark.parametrize(("pooling", "function"), [("last", "eval"), ("mean", "embed")])
def test_an_embedding(llm: LLM, monkeypatch: pytest.MonkeyPatch, pooling: str, function: str) -> None:
    expected = llm.embed(PROMPT, pooling=pooling)
    cancel = Cancel()
    with monkeypatch.context() as patch:
        while_it_evaluates(llm, patch, function, cancel.set)
        with pytest.raises(errors.Cancelled):
            llm.embed(PROMPT, pooling=pooling, cancel=cancel)
    assert llm.embed(PROMPT, pooling=pooling) == expected


def test_other_functions_are_asked_too() -> None:
    answers = [False, True]
    cancel = Cancel(lambda: answers.pop(0))
    assert not cancel() and cancel()
    cancel.set()
    assert cancel()
