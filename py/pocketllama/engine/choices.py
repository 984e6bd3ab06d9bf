"""What a request may want of each choice of a token beyond its `Sampling`: some tokens alone, and how likely each was.

Both belong to the request, and go with it into a batch and into a generation that speculates: each choice, in order,
asks the constraint for the tokens that may come, draws one of them, and tells it which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Constraint(Protocol):
    """A language of token sequences, walked from its beginning."""

    @property
    def done(self) -> bool:
        """Whether the text is complete and nothing but its end may follow."""

    def mask(self) -> bytes:
        """Which tokens may come next, at least one: bit t % 8 of byte t // 8 for token t; whole words of 32 bits."""

    def accept(self, token: int) -> None:
        """`token`, which the mask allowed, has come."""


@dataclass(frozen=True)
class TokenLogprobs:
    """A chosen token, the natural logarithm of its probability by the model, and the likeliest tokens with theirs."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...]


class Choices:
    """Those of one request; for one generation only.

    `logprobs`: after how many likeliest tokens to look at each choice, from 0; None not to look at all.
    """

    def __init__(self, constraint: Constraint | None = None, logprobs: int | None = None) -> None:
        self.constraint, self.n_top = constraint, logprobs
        self.logprobs: list[TokenLogprobs] = []  # of every token of the text so far, if they were asked for

    @property
    def done(self) -> bool:
        """Whether the constraint wants the text to end here."""
        return self.constraint is not None and self.constraint.done
