"""The tests on a loaded model, whichever engine has loaded it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Protocol

from .plan import Case

_WARM_UP = 32  # tokens of a prompt, before anything counts


class Engine(Protocol):
    """What is measured: ours is `engine.own.Own`."""

    vocab_size: int

    def evaluate_items(self, items: Sequence[tuple[int, int, int, bool]], threads: int) -> None:
        """(token, sequence, position, whether logits are wanted); each continues its sequence or replaces its end."""


def room(cases: Sequence[Case]) -> tuple[int, int]:
    """What the cache must hold: tokens for each sequence, and sequences. Each depth has one of its own, filled once."""
    return max(c.context for c in cases), max(c.batch for c in cases) + len({c.depth for c in cases} - {0})


class Session:
    """A model that is measured in some cases."""

    def __init__(self, engine: Engine, cases: Sequence[Case], threads: int) -> None:
        self._engine, self._cases, self._threads = engine, cases, threads
        batch, depths = max(c.batch for c in cases), sorted({c.depth for c in cases} - {0})
        self._sequence = {0: 0} | {d: batch + i for i, d in enumerate(depths)}
        ids = random.Random(0)
        # Any tokens will do; different ones, so that experts are chosen as in a text.
        self._tokens = [ids.randrange(engine.vocab_size) for _ in range(4096)]

    def warm_up(self) -> None:
        """Everything once, shortened; and the depths are filled."""
        for depth, sequence in self._sequence.items():
            if depth:
                self._prompt(sequence, 0, depth)
        for case in self._cases:
            tokens = min(case.tokens, _WARM_UP if case.kind == "pp" else 2)
            self.run(Case(case.kind, tokens, case.batch, case.depth))

    def run(self, case: Case) -> float:
        """Seconds."""
        first = self._sequence[case.depth]
        begin = time.perf_counter()
        if case.kind == "pp":
            self._prompt(first, case.depth, case.tokens)
        else:
            for i in range(case.depth, case.context):
                step = [(self._token(i + s), first + s, i, True) for s in range(case.batch)]
                self._engine.evaluate_items(step, self._threads)
        return time.perf_counter() - begin

    def _token(self, i: int) -> int:
        return self._tokens[i % len(self._tokens)]

    def _prompt(self, sequence: int, at: int, n: int) -> None:
        items = [(self._token(at + i), sequence, at + i, i == n - 1) for i in range(n)]
        self._engine.evaluate_items(items, self._threads)
