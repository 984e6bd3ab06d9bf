"""How many tokens to guess: as many as make the most tokens a second, by what evaluations have taken on this machine.

Evaluating n tokens together takes T(n); a guess of n - 1 tokens of which a are right gives a + 1 tokens for it. Without
a guess, T(1) gives one.
"""

from __future__ import annotations

from collections.abc import Iterable

MOST = 31  # tokens guessed at once: beyond that, more tokens at once are hardly cheaper for each of them
_SIZES = (2, 4, 8, 12, 16, 24, MOST + 1)  # up to which evaluations are taken to cost the same for each token more
_SLOPE = 0.25  # what another token costs, as a share of T(1), before it has been measured
_WEIGHT = 0.2  # of a new measurement
_MARGIN = 1.04  # what a guess must promise: estimates are only that
_LOSS = 0.02  # the share of the time that guesses may have lost, all in all, before no more are made
_GRACE = 0.5  # … and of a token's time beside that, or there would be no beginning
_CREDIT = 0.05  # … and what they have won before that they may lose again
_UNLIKELY = 0.02  # to be right together: guesses beyond that are not looked at
_FORGET = 0.98  # so slowly the cost of a size that is not tried any more returns to what was expected: it was a hiccup

_SIZE_OF = [next(i for i, most in enumerate(_SIZES) if n <= most) for n in range(MOST + 2)]


class Costs:
    """What evaluations of several tokens take on one model: T(n) / T(1), learned by all of its generations."""

    def __init__(self) -> None:
        self.largest = 2  # of the sizes that were tried
        self._slopes = [_SLOPE] * len(_SIZES)
        self._known = [False] * len(_SIZES)

    def ratio(self, n: int) -> float:
        """T(n) / T(1), as far as is known."""
        return 1.0 + self._slopes[_SIZE_OF[n]] * (n - 1)

    def learn(self, n: int, ratio: float) -> None:
        """`n` tokens, at least two, took `ratio` times as long as one."""
        size, slope = _SIZE_OF[n], max(0.0, ratio - 1.0) / (n - 1)
        self.largest = max(self.largest, n)
        self._slopes[size] += (slope - self._slopes[size]) * (_WEIGHT if self._known[size] else 0.5)
        self._known[size] = True
        for larger in range(size + 1, len(_SIZES)):  # those that were never tried will be like it
            if self._known[larger]:
                break
            self._slopes[larger] = self._slopes[size]

    def forget(self) -> None:
        """A token has come without a guess."""
        self._slopes = [_SLOPE + (slope - _SLOPE) * _FORGET for slope in self._slopes]


class Pace:
    """That of one generation; learns from each of its evaluations."""

    def __init__(self, costs: Costs | None = None) -> None:
        self._costs = costs or Costs()
        self._one = 0.0  # T(1) in seconds, which grows with the context; 0 until it has been measured
        self._time = 0.0  # spent in evaluations and guesses
        self._balance = 0.0  # seconds that guesses have won

    def seconds(self, n: int) -> float:
        """T(n), as far as is known."""
        return self._one * self._costs.ratio(n)

    def choose(self, chances: Iterable[float], each: float = 0.0) -> int:
        """How many tokens to guess, where the i-th is right with its chance if those before it are, and guessing one
        takes `each` seconds."""
        if not self._one or self._balance < -_GRACE * self._one - _LOSS * self._time:
            return 0
        best, rate = 0, _MARGIN / self._one
        most = 2 * self._costs.largest - 1  # carefully: no more than twice as many at once as were tried
        expected = likely = 1.0
        for n, chance in enumerate(chances, 1):
            likely *= chance
            if likely < _UNLIKELY or n > most:
                break
            expected += likely
            found = expected / (self.seconds(n + 1) + n * each)
            if found > rate:
                best, rate = n, found
        return best

    def learn(self, n: int, tokens: int, seconds: float, guessing: float = 0.0) -> None:
        """Evaluating `n` tokens took so long, the guess before it `guessing`, and together they gave `tokens`."""
        # An evaluation that something else disturbed must neither speak for all of its kind, nor against guesses.
        lost = min(seconds, 3 * self.seconds(n))
        seconds = min(seconds, 2 * self.seconds(n)) if self._one else seconds
        if n == 1:
            self._one += (seconds - self._one) * (_WEIGHT if self._one else 1.0)
            self._costs.forget()
        elif self._one:
            self._costs.learn(n, seconds / self._one)
        self._time += seconds + guessing
        if n > 1 or guessing:
            won = tokens * self._one - lost - guessing
            self._balance = min(self._balance + won, _CREDIT * self._time)
