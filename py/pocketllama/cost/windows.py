"""How a text is cut into contexts, and which of its tokens are scored.

Without a stride: windows that follow one another, of which the second half is scored, so that each scored token has at
least half a context before it. The first token of each window gives its place to the beginning-of-sequence token, where
texts of the model begin with one. That is what llama.cpp's figures mean.

With a stride of N: windows begin N tokens apart and overlap; each scores what no window before it has scored, so that
all tokens of the text count, each behind at least a context less N tokens (but for the first window's). That is what
Hugging Face's documentation does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True)
class Window:
    """`tokens` are read together; from `tokens[first + 1]` on they are scored, by the logits from number `first` on."""

    tokens: list[int]
    first: int

    @property
    def scored(self) -> list[int]:
        return self.tokens[self.first + 1 :]


def cut(tokens: Sequence[int], n_ctx: int, stride: int | None, bos: int | None) -> list[Window]:
    """The windows of a text; UsageError where it is too short for one, or the stride is none."""
    if n_ctx < 4:
        raise UsageError(f"A context of {n_ctx} tokens is too short to measure anything.")
    if stride is not None:
        if not 1 <= stride < n_ctx:
            raise UsageError(f"The stride is from 1 to the context less 1, {n_ctx - 1}, not {stride}.")
        return _sliding(tokens, n_ctx, stride, bos)
    if len(tokens) < n_ctx:
        raise UsageError(
            f"The text has {len(tokens)} tokens, and one context alone has {n_ctx}.",
            remedy="Take a longer text, or a shorter context (--ctx).",
        )
    windows = []
    for at in range(0, len(tokens) - n_ctx + 1, n_ctx):
        part = list(tokens[at : at + n_ctx])
        if bos is not None:
            part[0] = bos
        windows.append(Window(part, n_ctx // 2))
    return windows


def _sliding(tokens: Sequence[int], n_ctx: int, stride: int, bos: int | None) -> list[Window]:
    start = [bos] if bos is not None else []
    room = n_ctx - len(start)
    if len(tokens) + len(start) < 2:
        raise UsageError(f"The text has {len(tokens)} tokens: there is nothing to predict.")
    windows: list[Window] = []
    done = 0 if bos is not None else 1  # tokens of the text that are scored; the very first has nothing before it
    at = 0
    while done < len(tokens):
        part = [*start, *tokens[at : at + room]]
        windows.append(Window(part, len(start) + done - at - 1))
        done = min(at + room, len(tokens))
        at += min(stride, room)
    return windows
