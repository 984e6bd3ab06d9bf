"""Speculation changes when tokens come, and never which: right guesses, wrong ones, and whatever happens meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Cancel, Completion, Sampling, speculate
from pocketllama.engine.choices import Choices
from pocketllama.engine.pace import Pace

from ..bench import speculation as bench
from .cases import CASES
from .library import Library

PROMPT = "Once upon a time there was a king"
ENDLESS = {2: -100.0}
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 0, "repetition_penalty": 1.0, "max_tokens": 1},
    {"seed": 3, "temperature": 1.5, "top_k": 0, "top_p": 1.0},
    {"seed": 4, "mirostat": 2},
    {"seed": 5, "xtc_probability": 0.5, "xtc_threshold": 0.05, "temperature": 1.0},
    {"seed": 6, "dry_multiplier": 0.8, "frequency_penalty": 0.3, "presence_penalty": 0.3, "last_n_tokens": -1},
    {"seed": 7, "stop": [" the", "."]},
    {"seed": 8, "logit_bias": ENDLESS, "max_tokens": 1000},  # the context ends it
    {"seed": 9, "logit_bias": ENDLESS, "max_tokens": 200, "context_shift": True},
    {"temperature": 0, "logit_bias": {2: 4.0}, "max_tokens": 60},  # it likes to end
]


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


@pytest.fixture
def llm(own_library: None) -> Iterator[LLM]:
    with LLM.from_pretrained("tales", context_length=64) as llm:
        yield llm


class Prophet:
    """Knows the text that will come, and is wrong about each token with this probability."""

    seconds = took = 0.0

    def __init__(self, text: Sequence[int], at: int, wrong: float) -> None:
        self._text, self._at, self._wrong, self._random = text, at, wrong, random.Random(at)

    def feed(self, tokens: Iterable[int]) -> None:
        self._at += len(list(tokens))

    def chances(self, n: int) -> list[float]:
        return [1.0 - self._wrong] * n

    def guess(self, n: int) -> list[int]:
        ahead = [*self._text, *[7] * n][self._at : self._at + n]
        return [7 if self._random.random() < self._wrong else token for token in ahead]


def prophesy(monkeypatch: pytest.MonkeyPatch, text: Sequence[int], wrong: float = 0.3) -> None:
    """Guesses are such from now on, and of any length, whatever the clock says."""
    any_length = random.Random(1)

    def choose(self: Pace, chances: Iterable[float], each: float = 0.0) -> int:
        return any_length.randint(0, len(list(chances)))

    monkeypatch.setattr(Pace, "choose", choose)
    monkeypatch.setattr(speculate, "Ngrams", lambda history: Prophet(text, len(history), wrong))


def facts(result: Completion) -> tuple[Any, ...]:
    return result.text, result.finish_reason, result.tokens, result.prompt_tokens, result.completion_tokens


@pytest.mark.parametrize("wrong", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_text_is_the_same(llm: LLM, options: dict[str, Any], wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"max_tokens": 40, **options}
    prompt = llm.tokenize(PROMPT)
    plain = llm.complete(prompt, **options).result()
    context = list(llm._context)
    # The end that the model chooses is in no text, and may be guessed as any other token.
    prophesy(monkeypatch, [*prompt, *plain.tokens, 2], wrong)
    guessed = llm.complete(prompt, **options, speculate="ngram").result()
    assert facts(guessed) == facts(plain)
    assert llm._context == context
    timings = guessed.timings
    assert 0 <= timings.accepted_tokens <= min(timings.drafted_tokens, plain.completion_tokens)
    if plain.completion_tokens > 10:
        assert (timings.accepted_tokens == 0) == (wrong == 1.0)
        assert timings.drafted_tokens > 0
    assert plain.timings.drafted_tokens == plain.timings.accepted_tokens == 0


def test_pieces_and_what_other_generations_do_meanwhile(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    for shifts in (False, True):
        options: dict[str, Any] = {"seed": 5, "logit_bias": ENDLESS, "max_tokens": 150, "context_shift": shifts}
        plain = llm.complete(PROMPT, **options).result()
        prophesy(monkeypatch, [*llm.tokenize(PROMPT), *plain.tokens], 0.1)
        stream = llm.complete(PROMPT, **options, speculate="ngram")
        pieces = []
        for i, piece in enumerate(stream):
            pieces.append(piece)
            if i % 16 == 3:
                llm.complete("The wolf", max_tokens=3).text()
            if i % 16 == 7:
                llm.eval([5])  # behind what the generation has in the cache
            if i % 16 == 11:
                llm.score([1, 400, 500])
            if i % 32 == 15:
                llm.reset()
        assert "".join(pieces) == plain.text and facts(stream.result()) == facts(plain)
        assert stream.result().timings.accepted_tokens > 10


@pytest.mark.parametrize("kv_type", ["f32", "q8_0"])
def test_other_types_of_the_cache(kv_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLM.from_pretrained("tales", context_length=64, kv_type=kv_type) as llm:
        options: dict[str, Any] = {"seed": 5, "logit_bias": ENDLESS, "max_tokens": 90, "context_shift": True}
        plain = llm.complete(PROMPT, **options).result()
        prophesy(monkeypatch, [*llm.tokenize(PROMPT), *plain.tokens])
        assert llm.complete(PROMPT, **options, speculate="ngram").result().tokens == plain.tokens


@pytest.mark.parametrize("taken", range(1, 12))
def test_a_generation_that_is_given_up_leaves_the_context_of_one_without_guesses(
    llm: LLM, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = llm.tokenize(PROMPT)
    plain = llm.complete(prompt, temperature=0, max_tokens=30).result().tokens
    prophesy(monkeypatch, [*prompt, *plain], 0.1)
    tokens = llm.complete(prompt, temperature=0, max_tokens=30, speculate="ngram").tokens()
    assert [next(tokens) for _ in range(taken)] == list(plain[:taken])
    tokens.close()
    assert llm._context == [*prompt, *plain[: taken - 1]]
    # The logits are those behind it, as ctransformers' own methods expect.
    assert llm.sample(temperature=0, repetition_penalty=1.1) == plain[taken - 1]
    # … and a text goes on from there, also where the next prompt continues the context.
    again = llm.complete([*prompt, *plain[:taken]], temperature=0, max_tokens=4).result()
    assert again.tokens == plain[taken : taken + 4] and again.timings.prompt_tokens_evaluated == 1


def test_cancelled_in_the_middle_of_a_guess(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = llm.tokenize(PROMPT)
    plain = llm.complete(prompt, temperature=0, max_tokens=40).result().tokens
    prophesy(monkeypatch, [*prompt, *plain], 0.3)
    evaluate = llm._backend.evaluate_items
    for last in range(2, 9):
        cancel, count = Cancel(), iter(range(100))

        def evaluating(items: Any, threads: int, abort: Any = None, *, last: int = last, count: Any = count) -> None:
            if next(count) == last:
                abort.value = 1  # another thread sets it while this one computes
            evaluate(items, threads, abort)

        with monkeypatch.context() as patch:
            patch.setattr(llm._backend, "evaluate_items", evaluating)
            result = llm.complete(prompt, temperature=0, max_tokens=40, speculate="ngram", cancel=cancel).result()
        assert result.finish_reason == "cancelled" and 0 < result.completion_tokens < 40
        assert result.tokens == plain[: result.completion_tokens]
        assert llm._context == [*prompt, *plain][: len(llm._context)]
        assert llm.complete(prompt, temperature=0, max_tokens=40, speculate="ngram").result().tokens == plain


def test_a_failed_evaluation_is_raised_and_changes_nothing(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = llm.complete(PROMPT, temperature=0, max_tokens=20).result()
    prophesy(monkeypatch, [*llm.tokenize(PROMPT), *plain.tokens])

    def fail(*arguments: Any) -> None:
        raise errors.OutOfMemory("none is left")

    stream = llm.complete(PROMPT, temperature=0, max_tokens=20, speculate="ngram")
    next(stream)
    with monkeypatch.context() as patch:
        patch.setattr(llm._backend, "evaluate_items", fail)
        with pytest.raises(errors.OutOfMemory):
            stream.text()
    assert llm.complete(PROMPT, temperature=0, max_tokens=20, speculate="ngram").text() == plain.text


def test_every_architecture_forgets_the_guesses_that_were_wrong(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [5, 9, 40, 3, 17]
    for name in CASES:
        with LLM(str(files[name])) as llm:
            options: dict[str, Any] = {
                "max_tokens": 40,
                "seed": 2,
                "logit_bias": dict.fromkeys(llm.vocab.ends, -1000.0),
            }
            plain = llm.complete(prompt, **options).result()
            with monkeypatch.context() as patch:
                prophesy(patch, [*prompt, *plain.tokens])
                guessed = llm.complete(prompt, **options, speculate="ngram").result()
        assert guessed.tokens == plain.tokens, name
        assert guessed.timings.accepted_tokens > 0, name


def test_a_text_that_repeats_itself_is_guessed(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real guesses; only the clock is not asked."""
    monkeypatch.setattr(Pace, "choose", lambda self, chances, each=0.0: min(4, len(list(chances))))
    # Of two tokens, the likelier one that was not used lately: they take turns.
    options: dict[str, Any] = {"temperature": 0, "max_tokens": 40, "logit_bias": {300: 1e4, 400: 1e4}}
    options |= {"last_n_tokens": 1, "presence_penalty": 50.0}
    plain = llm.complete(PROMPT, **options).result()
    guessed = llm.complete(PROMPT, **options, speculate="ngram").result()
    assert facts(guessed) == facts(plain) and set(plain.tokens) == {300, 400}
    assert guessed.timings.accepted_tokens >= 25


def test_a_text_that_is_alone_in_a_batch_is_guessed(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLM.from_pretrained("tales", context_length=64, n_seqs=2) as batched:
        for options in OPTIONS:
            options = {"max_tokens": 40, **options}
            prompt = batched.tokenize(PROMPT)
            plain = llm.complete(prompt, **options).result()
            with monkeypatch.context() as patch:
                prophesy(patch, [*prompt, *plain.tokens, 2], 0.2)
                with batched.batch() as batch:
                    request = batch.add(prompt, **options, speculate="ngram")
                    late: Any = None
                    pieces = []
                    for i in range(1000):
                        pieces += [text for r, text in batch.step() if r is request]
                        if i == 5:  # for a while there is another one
                            late = batch.add("The wolf", max_tokens=4, temperature=0, speculate="ngram")
                        if not batch.busy:
                            break
            result = request.result()
            assert facts(result) == facts(plain) and "".join(pieces) == plain.text
            if plain.completion_tokens > 10:
                assert result.timings.drafted_tokens > result.timings.accepted_tokens > 3
            if late:
                assert facts(late.result()) == facts(llm.complete("The wolf", max_tokens=4, temperature=0).result())


class Alternating:
    """Only even tokens, then only odd ones, and so on; complete behind the eleventh."""

    def __init__(self) -> None:
        self.tokens: list[int] = []

    @property
    def done(self) -> bool:
        return len(self.tokens) == 11

    def mask(self) -> bytes:
        assert not self.done
        return bytes([0xAA if len(self.tokens) % 2 else 0x55]) * 512

    def accept(self, token: int) -> None:
        assert token % 2 == len(self.tokens) % 2
        self.tokens.append(token)


def test_a_constraint_sees_each_choice_once_and_in_order(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"temperature": 0.7, "seed": 2, "logit_bias": ENDLESS, "max_tokens": 30}
    plain_choices = Choices(Alternating(), logprobs=2)
    plain = llm.complete(PROMPT, **options, choices=plain_choices).result()
    assert plain.completion_tokens == 11 and plain.finish_reason == "stop"
    prompt = llm.tokenize(PROMPT)
    prophesy(monkeypatch, [*prompt, *plain.tokens], 0.2)
    for stop in ((), str(llm.detokenize(plain.tokens[4]))):
        choices = Choices(Alternating(), logprobs=2)
        guessed = llm.complete(PROMPT, **options, stop=stop, speculate="ngram", choices=choices).result()
        n = guessed.completion_tokens
        assert guessed.tokens == plain.tokens[:n] and guessed.finish_reason == "stop"
        assert n == 11 or stop
        assert choices.logprobs == plain_choices.logprobs[:n]
        assert guessed.timings.accepted_tokens > 0


def test_generate_takes_it_and_a_second_thread_too(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = llm.tokenize(PROMPT)
    plain = list(llm.generate(prompt, temperature=0, seed=1, threads=2))
    prophesy(monkeypatch, [*prompt, *plain])
    assert list(llm.generate(prompt, temperature=0, seed=1, threads=2, speculate="ngram")) == plain
    assert len(plain) > 30


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(errors.UsageError, match="speculate is one of auto, off, ngram"):
        Sampling(speculate="yes")
    with LLM.from_pretrained("tales", lib="avx2") as bundled:
        with pytest.raises(errors.UsageError, match="cannot speculate"):
            bundled.complete(PROMPT, speculate="ngram")
        assert bundled.complete(PROMPT, speculate="off", max_tokens=2, temperature=0).result().completion_tokens == 2


def test_the_benchmark_measures_the_texts_that_it_says(tales: Path) -> None:
    with LLM(str(tales)) as llm:
        prompt, cases = bench.texts(llm, 40)
        # The same story, so edited that less and less of it is left.
        told = llm.detokenize(cases["copy"])
        assert told in llm.detokenize(prompt) and "said" not in str(llm.detokenize(cases["names"]))
        report = bench.compare(llm, prompt, {name: cases[name] for name in ("words", "noise")}, "ngram", 1)
        assert report["words"]["tokens"] == len(cases["words"]) > 20
        costs = bench.costs(llm, prompt * 6, 1)
        table = bench.markdown(
            {"model": "tales", "threads": 1, "one_ms": 1.0, "costs": {n: costs[n] for n in costs if n}, "texts": report}
        )
        assert "| words |" in table and bench.index_seconds(prompt, 1000) > 0
