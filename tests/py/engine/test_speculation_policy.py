"""What is guessed, and how much: against texts that are known beforehand, on a clock that is computed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketllama.engine.ngram import Ngrams
from pocketllama.engine.pace import MOST, Costs, Pace

TOKENS = st.lists(st.integers(0, 3), max_size=60)


@given(TOKENS, TOKENS)
def test_a_guess_is_what_followed_the_same_tokens_before(prompt: list[int], answer: list[int]) -> None:
    index = Ngrams(prompt)
    text = list(prompt)
    for token in [*answer, 9]:
        at, matched = index._source, index._matched
        assert not at or text[at - matched : at] == text[len(text) - matched :]
        guess = index.guess(5)
        assert len(guess) == len(list(index.chances(5))) == (5 if at else 0)
        for i, guessed in enumerate(guess):
            assert guessed == [*text, *guess][at + i]
        index.feed([token])
        text.append(token)


@given(TOKENS, st.lists(st.integers(0, 3), min_size=2, max_size=6))
def test_a_repetition_is_guessed_whatever_came_before_it(prompt: list[int], period: list[int]) -> None:
    index = Ngrams(prompt)
    index.feed(period * 3)
    assert len(index.guess(20)) == 20
    # Of several places that agree, the longest: here all of 3 × period but its first round.
    unseen = [4 + i for i in range(len(period))]
    index = Ngrams(prompt)
    index.feed(unseen * 3)
    assert index.guess(len(period) * 3) == unseen * 3


def test_where_one_token_differs_the_copy_goes_on_behind_it() -> None:
    source = list(range(40))
    index = Ngrams(source)
    index.feed(source[:20])
    assert index.guess(3) == [20, 21, 22]
    index.feed([99])
    assert index.guess(3) == [21, 22, 23]
    index.feed([98, 97])
    assert index.guess(3) == [23, 24, 25]
    index.feed([96])
    assert index.guess(3) == []  # that is no detour any more
    index.feed([30, 31])
    assert index.guess(3) == [32, 33, 34]


# ---- how much pays


def decode(prompt: Sequence[int], answer: list[int], cost: Callable[[int], float]) -> float:
    """How many times as fast `answer` comes with guesses, where n tokens take cost(n) times as long as one."""
    text = [*prompt, answer[0]]
    guesser, pace = Ngrams(text), Pace()
    at, seconds = 1, 0.0
    while at < len(answer):
        room = min(MOST, len(answer) - at - 1)
        guess = guesser.guess(pace.choose(guesser.chances(room)))
        right = 0
        while right < len(guess) and guess[right] == answer[at + right]:
            right += 1
        took = cost(1 + len(guess))
        pace.learn(1 + len(guess), right + 1, took)
        guesser.feed(answer[at : at + right + 1])
        seconds, at = seconds + took, at + right + 1
    return (len(answer) - 1) / seconds


def stairs(n: int) -> float:
    """Of Q4_0 with AVX2, about: three tokens go another way than two."""
    known = {1: 1.0, 2: 1.3, 3: 2.6, 4: 3.0, 8: 4.1, 12: 5.1, 16: 6.6, 24: 9.0, 32: 10.5}
    below, above = max(k for k in known if k <= n), min(k for k in known if k >= n)
    share = (n - below) / (above - below) if above > below else 0.0
    return known[below] + share * (known[above] - known[below])


def linear(slope: float) -> Callable[[int], float]:
    return lambda n: 1.0 + slope * (n - 1)


def noise(n: int, letters: int) -> list[int]:
    generator = random.Random(n + letters)
    return [generator.randrange(letters) for _ in range(n)]


SOURCE = noise(600, 3000)


def edited(every: int) -> list[int]:
    """The source with about one change in `every` tokens: replaced, left out, put in."""
    generator = random.Random(every)
    text: list[int] = []
    for token in SOURCE:
        kind = generator.randrange(3) if generator.random() * every < 1 else None
        new = 3000 + generator.randrange(900)
        text += {None: [token], 0: [new], 1: [], 2: [token, new]}[kind]
    return text


def snippets(length: int) -> list[int]:
    """Pieces of the source in any order: a match is always about to end."""
    generator = random.Random(length)
    text: list[int] = []
    while len(text) < 600:
        at = generator.randrange(len(SOURCE) - length)
        text += [*SOURCE[at : at + length], 3000 + generator.randrange(900)]
    return text


@pytest.mark.parametrize(("slope", "times"), [(0.02, 3.5), (0.1, 2.4), (0.25, 1.8)])
def test_an_edited_text_comes_faster(slope: float, times: float) -> None:
    assert decode(SOURCE, edited(20), linear(slope)) > times
    assert decode(SOURCE, SOURCE, linear(slope)) > times


def test_costs_that_rise_in_steps_are_climbed() -> None:
    assert decode(SOURCE, SOURCE, stairs) > 2.4
    assert decode(SOURCE, edited(30), stairs) > 1.5


@pytest.mark.parametrize("slope", [0.02, 0.1, 0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("letters", [2, 3, 5, 20, 1000])
def test_noise_is_never_much_slower(letters: int, slope: float) -> None:
    text = noise(1000, letters)
    assert decode(text[:400], text[400:], linear(slope)) > 0.95


@pytest.mark.parametrize("slope", [0.02, 0.1, 0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("length", [2, 3, 5, 9, 14, 20])
def test_matches_that_end_are_never_much_slower(length: int, slope: float) -> None:
    assert decode(SOURCE, snippets(length), linear(slope)) > 0.95


def test_a_text_that_turns_against_the_guesses_loses_little() -> None:
    assert decode(SOURCE, SOURCE + noise(2000, 3), linear(0.3)) > 0.95


def test_a_disturbed_measurement_is_forgotten() -> None:
    pace = Pace()
    pace.learn(1, 1, 1.0)
    pace.learn(8, 8, 50.0)  # something else ran
    assert pace.choose([0.99] * MOST) > 0
    for _ in range(20):
        pace.learn(8, 8, 1.4)
    assert pace.seconds(8) == pytest.approx(1.4, rel=0.1)
    pace.learn(1, 1, 30.0)
    assert pace.seconds(1) < 1.3


def test_nothing_is_guessed_before_one_token_was_timed_nor_where_nothing_is_expected() -> None:
    pace = Pace()
    assert pace.choose([1.0] * 4) == 0
    pace.learn(1, 1, 1.0)
    assert pace.choose([1.0] * 31) == 4  # carefully at first: no more is staked than may be lost
    pace.learn(5, 5, 1.2)
    assert pace.choose([1.0] * 31) == 15  # no more than three times as many as were tried
    assert pace.choose([]) == 0
    assert pace.choose([1.0] * 31, each=1.0) == 0  # guesses that cost as much as they may bring


def test_what_evaluations_cost_is_learned_once_for_all_generations() -> None:
    costs = Costs()
    first = Pace(costs)
    first.learn(1, 1, 1.0)
    for _ in range(30):
        first.learn(8, 8, 6.0)
    second = Pace(costs)
    assert second.choose([1.0] * 9) == 0  # what one takes is its own to measure
    second.learn(1, 1, 3.0)
    assert second.seconds(8) == pytest.approx(18.0, rel=0.1)
