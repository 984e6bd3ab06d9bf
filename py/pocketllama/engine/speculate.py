"""Speculation: several tokens for one evaluation, where the next ones can be guessed.

Decoding waits for memory: a token needs every weight, and a few tokens evaluated together need them once. So what is
guessed to follow is evaluated with the newest token, and then each token is chosen from its own logits as it would have
been without any guess, with the same stream of random numbers. The first choice that is not the guess ends it, and what
was evaluated behind it is forgotten. A row's logits do not depend on what shares its evaluation, so the text is the
same to the last bit, greedy or sampled, whatever the guesses are worth. They only decide how fast it comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError
from .cancel import flag_of
from .choices import Choices
from .draft import Drafts
from .ngram import Ngrams
from .options import Sampling
from .own import Own
from .pace import MOST, Pace

if TYPE_CHECKING:
    from .llm import LLM

_LOGITS = 1 << 22  # kept at once: the library has them twice, in float32, and that shall not be more than 32 MiB


def speculates(llm: LLM, options: Sampling) -> bool:
    """Whether a generation with these options speculates on this model; UsageError if it cannot and should."""
    if options.speculate == "off" or (options.speculate == "auto" and llm.draft is None):
        return False
    if options.speculate == "draft" and llm.draft is None:
        raise UsageError(
            "This model has no draft that could guess for it.",
            remedy="Load it with one (draft, --draft), or guess from the text (speculate, --speculate ngram).",
        )
    if not isinstance(llm._backend, Own):
        raise UsageError(
            "ctransformers' library evaluates for one token's logits at a time, and cannot speculate.",
            remedy="pocketllama build",
        )
    return True


class Guesser(Protocol):
    """Where guesses come from."""

    seconds: float  # that one guessed token takes, as far as is known; 0 where that is nothing beside an evaluation
    took: float  # seconds that the last guess took

    def feed(self, tokens: Iterable[int]) -> None:
        """The text goes on with `tokens`, behind the prompt that this was made with."""

    def chances(self, n: int) -> Iterable[float]:
        """Of up to `n` guesses, how likely each is right if those before it are."""

    def guess(self, n: int) -> list[int]:
        """The next `n` tokens, or fewer. May raise Cancelled."""


class Speculation:
    """That of one generation: its guesses, and what came of them."""

    def __init__(
        self, llm: LLM, options: Sampling, history: Sequence[int], threads: int, cancel: Callable[[], bool]
    ) -> None:
        self._llm, self._threads, self._cancel = llm, threads, cancel
        self._guesser: Guesser
        if options.speculate == "ngram":
            self._guesser = Ngrams(history)
        else:
            self._guesser = Drafts(llm, options, history, threads, cancel)
        self._pace = Pace(llm._costs)
        self._took = 0.0  # seconds that the last guess took
        self._most = max(1, min(MOST, _LOGITS // llm.vocab_size - 1))
        self._fed = len(history)
        self.drafted = self.accepted = 0  # tokens guessed, and those that were right

    def guess(self, history: Sequence[int], room: int) -> list[int]:
        """What may follow `history`: at most `room` tokens, and only if evaluating them with the newest one promises to
        save time. Cancelled."""
        guesser = self._guesser
        guesser.feed(history[self._fed :])
        self._fed = len(history)
        n = self._pace.choose(guesser.chances(min(room, self._most)), guesser.seconds) if room > 0 else 0
        self._took = 0.0
        found = guesser.guess(n) if n else []
        self._took = guesser.took if n else 0.0
        return found

    def learn(self, guess: Sequence[int], chosen: Sequence[int], seconds: float) -> None:
        """Evaluating the newest token with the last `guess` took so long, and these were chosen."""
        self.drafted += len(guess)
        self.accepted += sum(a == b for a, b in zip(guess, chosen, strict=False))
        self._pace.learn(1 + len(guess), len(chosen), seconds, self._took)

    def step(self, history: Sequence[int], sampler: Any, most: int | None, choices: Choices | None = None) -> list[int]:
        """Evaluate the newest token of `history`, which is all that the model's context lacks, and what is guessed to
        follow it. The tokens that are chosen behind it, up to `most`. The caller has the turn, and has made room.

        The context then ends with the newest token, and the cache holds the chosen tokens but the last behind it.
        Cancelled leaves the context as it was.
        """
        llm, context = self._llm, self._llm._context
        room = llm.context_length - len(context) - 1
        guess = self.guess(history, room if most is None else min(room, most - 1))
        llm._writer, llm._logits_lost = None, True
        seconds = evaluate(llm, 0, len(context), [history[-1], *guess], self._threads, self._cancel)
        context.append(history[-1])
        llm._logits_lost = bool(guess)  # the last row is not that behind the context
        chosen: list[int] = []
        for row in range(1 + len(guess)):
            token = llm._backend.choose(sampler, context + chosen if chosen else context, row)
            chosen.append(token)
            if row == len(guess) or token != guess[row] or token in llm.vocab.ends or (choices and choices.done):
                break
        self.learn(guess, chosen, seconds)
        return chosen


def evaluate(
    llm: LLM, seq: int, n_past: int, tokens: Sequence[int], threads: int, cancel: Callable[[], bool] = lambda: False
) -> float:
    """Evaluate tokens of a sequence, and keep the logits behind each; how many seconds that took."""
    started = time.perf_counter()
    items = [(token, seq, n_past + i, True) for i, token in enumerate(tokens)]
    llm._backend.evaluate_items(items, threads, flag_of(cancel))
    return time.perf_counter() - started
