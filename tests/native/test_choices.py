"""Constraints and probabilities of choices, through the Python package: alone, in a batch, with speculation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Sampling
from pocketllama.engine.choices import Choices

from .library import Library

PROMPT = "Once upon a time"


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


@pytest.fixture
def llm(own_library: None) -> Iterator[LLM]:
    with LLM.from_pretrained("tales", context_length=128, n_seqs=2) as llm:
        yield llm


class Words:
    """One of some texts, by the tokens that they have."""

    def __init__(self, llm: LLM, *texts: str) -> None:
        self.left = [llm.encode(text) for text in texts]
        self.size = (llm.vocab_size + 31) // 32 * 4
        self.asked = 0

    @property
    def done(self) -> bool:
        return not any(self.left)

    def mask(self) -> bytes:
        self.asked += 1
        mask = bytearray(self.size)
        for tokens in filter(None, self.left):
            mask[tokens[0] // 8] |= 1 << tokens[0] % 8
        return bytes(mask)

    def accept(self, token: int) -> None:
        self.left = [tokens[1:] for tokens in self.left if tokens[:1] == [token]]


def test_nothing_but_what_is_allowed(llm: LLM) -> None:
    texts = ("a king", "the miller's daughter", "a kingdom by the sea")
    found = set()
    for seed in range(30):
        options = Sampling(seed=seed, temperature=3.0, top_k=0, top_p=1.0)
        result = llm.complete(PROMPT, options, choices=Choices(Words(llm, *texts))).result()
        assert result.finish_reason == "stop"
        found.add(result.text)
    assert found and found <= {" " + text for text in texts} and len(found) > 1


@pytest.mark.parametrize("speculate", ["off", "ngram"])
def test_in_a_batch_and_with_guesses_it_is_the_same(llm: LLM, speculate: str) -> None:
    texts = ("a king and a king and a king and a queen", "a king and a king and a king and a king")
    options = Sampling(seed=1, speculate=speculate)
    alone = Choices(Words(llm, *texts), logprobs=3)
    result = llm.complete(PROMPT, options, choices=alone).result()
    free = llm.complete(PROMPT, max_tokens=20, seed=4).result()
    with llm.batch() as batch:
        beside = batch.add(PROMPT, max_tokens=20, seed=4)
        choices = Choices(Words(llm, *texts), logprobs=3)
        request = batch.add(PROMPT, Sampling(seed=1), choices=choices)
        while batch.busy:
            batch.step()
    assert request.result().text == result.text and request.result().finish_reason == "stop"
    assert beside.result().text == free.text
    assert choices.logprobs == alone.logprobs and len(alone.logprobs) == result.completion_tokens
    assert alone.constraint.asked == result.completion_tokens  # type: ignore[union-attr]


def test_how_likely_tokens_were(llm: LLM) -> None:
    choices = Choices(logprobs=5)
    result = llm.complete(PROMPT, temperature=0, repetition_penalty=1, max_tokens=12, choices=choices).result()
    rows = llm.score(llm.tokenize(PROMPT) + list(result.tokens))
    n = len(llm.tokenize(PROMPT))
    for i, (token, noted) in enumerate(zip(result.tokens, choices.logprobs, strict=True)):
        row = [float(x) for x in rows[n - 1 + i]]
        log_sum = math.log(math.fsum(math.exp(x) for x in row))
        assert noted.token == token == noted.top[0][0]  # greedy: the likeliest
        assert noted.logprob == pytest.approx(row[token] - log_sum, abs=1e-5)
        order = sorted(range(len(row)), key=lambda t: (-row[t], t))[:5]
        assert [t for t, _ in noted.top] == order
        assert [p for _, p in noted.top] == pytest.approx([row[t] - log_sum for t in order], abs=1e-5)
    seen = Choices(logprobs=0)
    assert llm.complete(PROMPT, temperature=0, max_tokens=12, choices=seen).result().text
    assert all(noted.top == () for noted in seen.logprobs) and len(seen.logprobs) == 12


def test_a_constraint_that_fails_ends_its_own_text_alone(llm: LLM) -> None:
    class Nothing(Words):
        def mask(self) -> bytes:
            return bytes(self.size)

    class Short(Words):
        def mask(self) -> bytes:
            return b"\xff"

    with pytest.raises(errors.UsageError, match="allows no token"):
        llm.complete(PROMPT, choices=Choices(Nothing(llm, "x"))).result()
    with pytest.raises(errors.EngineError, match="mask of 1 bytes"):
        llm.complete(PROMPT, choices=Choices(Short(llm, "x"))).result()
    expected = llm.complete(PROMPT, max_tokens=9, seed=2).result().text
    with llm.batch() as batch:
        bad = batch.add(PROMPT, choices=Choices(Nothing(llm, "x")))
        good = batch.add(PROMPT, max_tokens=9, seed=2)
        while batch.busy:
            batch.step()
    assert isinstance(bad.error, errors.UsageError) and good.result().text == expected


def test_ctransformers_library_says_that_it_cannot() -> None:
    with LLM.from_pretrained("tales", lib="avx2") as llm, pytest.raises(errors.UsageError, match="constrain"):
        llm.complete(PROMPT, choices=Choices(logprobs=1)).result()


# ---- schemas


def grammars(llm: LLM) -> Any:
    pytest.importorskip("llguidance")
    from pocketllama.engine.grammar import Grammars

    return Grammars(llm)


def test_json_of_a_schema(llm: LLM) -> None:
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 12},
            "age": {"type": "integer", "minimum": 0, "maximum": 130},
            "kind": {"enum": ["king", "wolf", "größte"]},
        },
        "required": ["name", "age", "kind"],
        "additionalProperties": False,
    }
    grammar = grammars(llm).json_schema(schema)
    for seed in range(10):
        options = Sampling(seed=seed, temperature=1.5, max_tokens=100)
        result = llm.complete(PROMPT, options, choices=Choices(grammar.constraint())).result()
        assert result.finish_reason == "stop"
        value = json.loads(result.text)
        assert set(value) == {"name", "age", "kind"} and 0 <= value["age"] <= 130 and len(value["name"]) <= 12
        assert value["kind"] in ("king", "wolf", "größte")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "https://example.org/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"type": "string", "pattern": "("},
        {"type": "array", "items": {"type": "string"}, "uniqueItems": True},  # cannot be kept to: said, not ignored
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        False,
    ],
)
def test_schemas_that_cannot_be_kept_to(llm: LLM, schema: Any) -> None:
    with pytest.raises(errors.UsageError):
        grammars(llm).json_schema(schema)


def test_hostile_schemas_end(llm: LLM) -> None:
    deep: Any = {"type": "string"}
    for _ in range(60):
        deep = {"type": "array", "items": deep, "minItems": 1}
    wide = {
        "type": "object",
        "properties": {f"p{i}": {"type": "string", "pattern": "(a|b)*c{1,500}"} for i in range(300)},
    }
    bomb = {"type": "string", "pattern": "((((a{0,60}){0,60}){0,60}){0,60}){0,60}"}
    for schema in (deep, wide, bomb):
        try:
            grammar = grammars(llm).json_schema(schema)
            result = llm.complete(PROMPT, max_tokens=20, seed=1, choices=Choices(grammar.constraint())).result()
        except errors.UsageError:
            continue
        assert result.completion_tokens
