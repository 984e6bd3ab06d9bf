"""The held-out text as both sides of the perplexity test cut it: make_perplexity.py by PyTorch, test_tales.py by us."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..conftest import SHARED

TALES = SHARED / "tales"
WINDOW, WINDOWS, BOS = 256, 32, 1


def windows(encode: Callable[[str], Sequence[int]]) -> list[list[int]]:
    """The first WINDOWS windows of the held-out text: BOS and WINDOW - 1 tokens each."""
    ids = list(encode((TALES / "heldout.txt").read_text(encoding="utf-8")))
    step = WINDOW - 1
    return [[BOS, *ids[i * step : (i + 1) * step]] for i in range(WINDOWS)]
