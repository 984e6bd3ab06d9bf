"""Several texts in one batch: each is what it is alone, whatever goes on beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Sampling

from .library import Library

PROMPTS = [
    "Once upon a time", "The king", "", "There was a poor woodcutter who had a wife and two children", "x",
    "The wolf said", "In olden times, when wishing still helped, there lived a king whose daughters were all beautiful",
]  # fmt: skip
ENDLESS = {2: -100.0}


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


@pytest.fixture
def llm(own_library: None) -> Iterator[LLM]:
    with LLM.from_pretrained("tales", context_length=64, n_seqs=3) as llm:
        yield llm


def options() -> list[Sampling]:
    each: list[dict[str, Any]] = [
        {"max_tokens": 20, "temperature": 0},
        {"max_tokens": 200, "seed": 3, "logit_bias": ENDLESS},  # the context ends it
        {"max_tokens": 9, "seed": 4, "temperature": 1.5},
        {"max_tokens": 40, "seed": 5, "stop": [" the"]},
        {"max_tokens": 0},
        {"max_tokens": 90, "seed": 6, "context_shift": True, "logit_bias": ENDLESS},
        {"max_tokens": 30, "seed": 7, "mirostat": 2},
    ]
    return [Sampling.of(**values) for values in each]


def alone(llm: LLM) -> list[tuple[str, str, tuple[int, ...]]]:
    return [facts(llm.complete(p, o).result()) for p, o in zip(PROMPTS, options(), strict=True)]


def facts(result: Any) -> tuple[str, str, tuple[int, ...]]:
    return result.text, result.finish_reason, result.tokens


@pytest.mark.parametrize("chunk", [1, 5, 32])
def test_a_text_in_company_is_the_text_alone(llm: LLM, chunk: int) -> None:
    expected = alone(llm)
    assert {reason for _, reason, _ in expected} == {"length", "stop"}
    llm._chunks.size = llm._chunks.LARGEST = chunk
    pieces: dict[int, str] = {}
    results = llm.complete_batch(
        PROMPTS, options(), on_piece=lambda i, piece: pieces.update({i: pieces.get(i, "") + piece})
    )
    assert [facts(r) for r in results] == expected
    assert [pieces.get(i, "") for i in range(len(PROMPTS))] == [text for text, _, _ in expected]
    assert results[0].prompt_tokens == 5 and results[0].timings.prompt_tokens_evaluated == 5
    assert [facts(r) for r in llm.complete_batch(PROMPTS[::-1], options()[::-1])] == expected[::-1]
    assert sorted(llm._free_seqs) == [1, 2, 3]


def test_errors_of_one_are_not_those_of_the_others(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(llm)
    bad = ["y" * 500, [5, 99999], []]
    results = llm.complete_batch([*bad, *PROMPTS], [Sampling()] * 3 + options(), return_errors=True)
    assert [type(r) for r in results[:3]] == [errors.ContextOverflow, errors.UsageError, errors.UsageError]
    assert [facts(r) for r in results[3:]] == expected
    with pytest.raises(errors.ContextOverflow):
        llm.complete_batch(["x", "y" * 500], max_tokens=2)
    # One that fails on its way.
    choose, poor = llm._backend.choose, llm.encode("Once upon a time", bos=True)

    def failing(sampler: Any, context: list[int], row: int = -1) -> int:
        if context[:5] == poor and len(context) > 8:
            raise errors.EngineError("no such luck")
        return int(choose(sampler, context, row))

    monkeypatch.setattr(llm._backend, "choose", failing)
    results = llm.complete_batch(PROMPTS, options(), return_errors=True)
    assert isinstance(results[0], errors.EngineError) and [facts(r) for r in results[1:]] == expected[1:]
    assert sorted(llm._free_seqs) == [1, 2, 3]


def test_a_failed_evaluation_can_be_tried_again(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(llm)
    evaluate, calls = llm._backend.evaluate_batch, 0

    def failing(parts: Any, threads: int) -> None:
        nonlocal calls
        calls += 1
        if calls % 11 == 5:
            evaluate([(seq, n_past, [7] * len(tokens)) for seq, n_past, tokens in parts], threads)  # something else
            raise errors.OutOfMemory("for a moment")
        evaluate(parts, threads)

    monkeypatch.setattr(llm._backend, "evaluate_batch", failing)
    with llm.batch() as batch:
        requests = [batch.add(p, o) for p, o in zip(PROMPTS, options(), strict=True)]
        while batch.busy:
            try:
                batch.step()
            except errors.OutOfMemory:
                pass
    assert [facts(r.result()) for r in requests] == expected and calls > 20


def test_requests_come_and_go(llm: LLM, golden: dict[str, Any]) -> None:
    expected = alone(llm)
    with llm.batch() as batch:
        gone = False
        leaver = batch.add("The bear", max_tokens=200, logit_bias=ENDLESS, temperature=1.0, cancel=lambda: gone)
        thrown = batch.add("The fox", max_tokens=200, logit_bias=ENDLESS)
        requests = [batch.add(p, o) for p, o in zip(PROMPTS[:4], options()[:4], strict=True)]
        for _ in range(6):
            batch.step()
        assert not leaver.done and leaver.result().finish_reason == "cancelled"
        gone = True
        batch.step()
        batch.remove(thrown)
        batch.remove(thrown)  # once more is fine
        assert leaver.done and thrown.done and leaver.result().completion_tokens > 0
        requests += [batch.add(p, o) for p, o in zip(PROMPTS[4:], options()[4:], strict=True)]
        stream = llm.complete(golden["prompt"], max_tokens=32, temperature=0)
        pieces = []
        while batch.busy:
            batch.step()
            pieces.append(next(stream, ""))  # a single generation beside it
        assert [facts(r.result()) for r in requests] == expected
        assert "".join([*pieces, *stream]) == golden["text"]
        waiting = [batch.add("x", max_tokens=5) for _ in range(5)]
        batch.step()
    assert all(r.done for r in waiting) and sorted(llm._free_seqs) == [1, 2, 3]


def test_what_was_evaluated_before_a_batch_can_be_sampled_from_after_it(llm: LLM) -> None:
    llm.eval(llm.tokenize("Once upon a time"))
    expected, logits = llm.sample(temperature=0), list(llm.logits)
    for _ in range(2):
        llm.complete_batch(["The wolf and the seven kids", "x"], max_tokens=3)
        assert list(llm.logits) == logits and llm.sample(temperature=0) == expected
        llm.complete_batch(["The wolf and the seven kids"], max_tokens=3)
        assert llm.sample(temperature=0) == expected and list(llm.logits) == logits


def test_a_model_without_sequences(own_library: None) -> None:
    with LLM.from_pretrained("tales") as llm, pytest.raises(errors.UsageError) as refused:
        llm.complete_batch(["x"])
    assert refused.value.remedy and "n_seqs" in refused.value.remedy
    for wrong in (-1, 1025, 1.5):
        with pytest.raises(errors.UsageError, match="n_seqs"):
            LLM.from_pretrained("tales", n_seqs=wrong)
    with pytest.raises(errors.UsageError, match="n_seqs"):
        LLM.from_pretrained("tales", n_seqs=2, lib="avx2")


def test_options_for_each(llm: LLM) -> None:
    with pytest.raises(errors.UsageError, match="options for 1 prompts"):
        llm.complete_batch(["x", "y"], [Sampling()])
    assert llm.complete_batch([]) == []
    with pytest.raises(errors.UsageError, match="context_shift"), llm.batch() as batch:
        batch.add("x", context_shift="yes")


def test_a_free_sequence_that_holds_the_beginning_goes_on(llm: LLM) -> None:
    def run(prompt: Any, **values: Any) -> Any:
        with llm.batch() as batch:
            request = batch.add(prompt, **values)
            while batch.busy:
                batch.step()
            return request.result()

    tokens = llm.tokenize("There was a poor woodcutter who had a wife")
    first = run(tokens, max_tokens=8, seed=1)
    other = run("The king", max_tokens=8, seed=1)
    assert first.timings.prompt_tokens_evaluated == len(tokens) and other.timings.prompt_tokens_evaluated > 0
    longer = [*tokens, *first.tokens, *llm.encode(" and then")]
    expected = facts(llm.complete(longer, max_tokens=12, seed=2).result())
    again = run(longer, max_tokens=12, seed=2)
    # The last token that was generated has never been evaluated.
    assert again.timings.prompt_tokens_evaluated == len(longer) - len(tokens) - len(first.tokens) + 1
    assert facts(again) == expected
    # The very same prompt: its last token's logits are wanted.
    assert run(longer, max_tokens=12, seed=2).timings.prompt_tokens_evaluated == 1
    # What was shifted is not what these tokens give.
    shifted = run(tokens, max_tokens=120, seed=3, context_shift=True, logit_bias=ENDLESS)
    assert shifted.completion_tokens == 120
    assert facts(run(tokens, max_tokens=12, seed=2)) == facts(llm.complete(tokens, max_tokens=12, seed=2).result())
    assert sorted(llm._free_seqs) == [1, 2, 3]
