"""The tests: what is evaluated, and what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

_MOST = 1 << 20  # tokens; no context is longer
_MOST_SEQUENCES = 256


@dataclass(frozen=True)
class Case:
    """`pp`: a prompt of `tokens`, evaluated at once. `tg`: as many steps, each with a token for each of `batch` texts.
    Either one behind `depth` tokens that are in the cache already."""

    kind: Literal["pp", "tg"]
    tokens: int
    batch: int = 1
    depth: int = 0

    @property
    def name(self) -> str:
        """pp512, tg128, tg128@8 (a batch of 8), tg128 d4096 (behind 4096 tokens)."""
        batch = f"@{self.batch}" if self.batch > 1 else ""
        depth = f" d{self.depth}" if self.depth else ""
        return f"{self.kind}{self.tokens}{batch}{depth}"

    @property
    def context(self) -> int:
        """Tokens that each of its sequences holds in the end."""
        return self.depth + self.tokens


def plan(prompt: str = "512", new: str = "128", batch: str = "1,8", depth: str = "") -> list[Case]:
    """The tests of these lists of numbers, separated by commas; 0 leaves a kind of test out.

    A depth repeats the tests of one sequence behind a context of that length.
    """
    prompts, news, depths = (_numbers(*given) for given in (("-p", prompt), ("-n", new), ("-d", depth)))
    batches = _numbers("-b", batch, _MOST_SEQUENCES)
    tests = [Case("pp", tokens) for tokens in prompts]
    tests += [Case("tg", tokens, size) for tokens in news for size in batches]
    for d in depths:
        tests += [Case("pp", tokens, depth=d) for tokens in prompts]
        tests += [Case("tg", tokens, depth=d) for tokens in news]
    if not tests:
        raise UsageError("There is nothing to measure.", remedy="Give -p a prompt's length, or -n a number of tokens.")
    return tests


def _numbers(flag: str, text: str, most: int = _MOST) -> list[int]:
    """The different numbers above 0, in their order."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not all(word.isascii() and word.isdigit() and int(word) <= most for word in words):
        raise UsageError(f"{flag} takes whole numbers up to {most}, separated by commas, not {text!r:.60}.")
    return [n for n in dict.fromkeys(map(int, words)) if n]
