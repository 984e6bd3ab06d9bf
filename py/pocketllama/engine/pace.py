"""How many tokens to guess: as many as make the most tokens a second, by what evaluations have taken on this machine.

Evaluating n tokens together takes T(n); a guess of n - 1 tokens of which a are right gives a + 1 tokens for it. Without
a guess, T(1) gives one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

MOST = 31  # tokens guessed at once: beyond that, more tokens at once are hardly cheaper for each of them
_SIZES = (2, 4, 8, 12, 16, 24, MOST + 1)  # up to which evaluations are taken to cost the same for each token more
_SLOPE = 0.25  # what another token costs, as a share of T(1), before it has been measured
_FORGET = 0.02  # of a cost that was measured once, at each token: it may have been a hiccup
_MARGIN = 1.04  # what a guess must promise: estimates are only that
_LOSS = 0.02  # the share of the time that guesses may lose, all in all
_GRACE = 1.0  # … and tokens' times beside that, or there would be no beginning
_CREDIT, _SHARE = 16.0, 0.05  # the most that guesses may lose of what they have won: tokens' times, share of the time
_UNLIKELY = 0.02  # to be right together: guesses beyond that are not looked at

_SIZE_OF = [next(i for i, most in enumerate(_SIZES) if n <= most) for n in range(MOST + 2)]


class Costs:
    """What evaluations of several tokens take on one model: T(n) / T(1), learned by all of its generations."""

    def __init__(self) -> None:
        self.largest = 2  # of the sizes that were tried
        self._recent: list[deque[float]] = [deque(maxlen=3) for _ in _SIZES]  # the last measurements of each slope
        self._ratios = [1.0 + _SLOPE * (n - 1) for n in range(MOST + 2)]

    def ratio(self, n: int) -> float:
        """T(n) / T(1), as far as is known."""
        return self._ratios[n]

    def learn(self, n: int, ratio: float) -> None:
        """`n` tokens, at least two, took `ratio` times as long as one."""
        self.largest = max(self.largest, n)
        self._recent[_SIZE_OF[n]].append(max(0.0, ratio - 1.0) / (n - 1))
        self._reckon()

    def _reckon(self) -> None:
        slope, below = _SLOPE, 1
        for size, most in enumerate(_SIZES):
            if recent := self._recent[size]:
                slope = _median(recent)
                for n in range(below + 1, most + 1):
                    self._ratios[n] = 1.0 + slope * (n - 1)
            else:
                # Never tried: hopefully each token more costs no more than is usual, or it never will be.
                for n in range(below + 1, most + 1):
                    self._ratios[n] = self._ratios[below] + min(slope, _SLOPE) * (n - below)
            below = most

    def forget(self) -> None:
        """A token has come without a guess: what was measured once may have been a hiccup, and fades."""
        for recent in self._recent:
            if len(recent) == 1 and recent[0] > _SLOPE:
                recent[0] += (_SLOPE - recent[0]) * _FORGET
                self._reckon()


class Pace:
    """That of one generation; learns from each of its evaluations."""

    def __init__(self, costs: Costs | None = None) -> None:
        self._costs = costs or Costs()
        self._singles: deque[float] = deque(maxlen=5)  # the last measurements of T(1), which grows with the context
        self._one = 0.0  # their median; 0 until there is one
        self._time = 0.0  # spent in evaluations and guesses
        self._balance = 0.0  # seconds that guesses have won

    def seconds(self, n: int) -> float:
        """T(n), as far as is known."""
        return self._one * self._costs.ratio(n)

    def choose(self, chances: Iterable[float], each: float = 0.0) -> int:
        """How many tokens to guess, where the i-th is right with its chance if those before it are, and guessing one
        takes `each` seconds."""
        if not self._one:
            return 0
        # What may be lost if all of them are wrong: so that whatever the text does, it is never much slower.
        stake = (1.0 + _GRACE) * self._one + self._balance + _LOSS * self._time
        best, rate = 0, _MARGIN / self._one
        most = 3 * self._costs.largest  # carefully: what more of them take is not known
        expected = likely = 1.0
        for n, chance in enumerate(chances, 1):
            likely *= chance
            takes = self.seconds(n + 1) + n * each
            if likely < _UNLIKELY or n > most or takes > stake:
                break
            expected += likely
            found = expected / takes
            if found > rate:
                best, rate = n, found
        return best

    def learn(self, n: int, tokens: int, seconds: float, guessing: float = 0.0) -> None:
        """Evaluating `n` tokens took so long, the guess before it `guessing`, and together they gave `tokens`."""
        # An evaluation that something else disturbed must not speak against guesses.
        expected = min(seconds, 3 * self.seconds(n)) if self._one else seconds
        if n == 1:
            self._singles.append(seconds)
            self._one = _median(self._singles)
            self._costs.forget()
        elif self._one:
            self._costs.learn(n, seconds / self._one)
        self._time += expected + guessing
        if n > 1 or guessing:
            won = tokens * self._one - expected - guessing
            self._balance = min(self._balance + won, _CREDIT * self._one + _SHARE * self._time)


def _median(values: Iterable[float]) -> float:
    """The lower one of two."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]
