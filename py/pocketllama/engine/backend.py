"""What differs between the libraries that a model can run on. `LLM` is the same on each of them."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_int32
from typing import Any, Protocol

from .choices import Choices
from .options import Sampling
from .vocab import Vocab


class Backend(Protocol):
    """A loaded model in one library. The caller holds the engine's turn, and has checked ids and counts."""

    lib: Any  # the shared library: its C functions
    handle: int | None  # the model in it; None once closed
    architecture: str
    vocab_size: int
    context_length: int
    vocab: Vocab

    def tokenize(self, raw: bytes, bos: bool, special: bool) -> list[int]:
        """The tokens of UTF-8 text. `special`: the names of control tokens stand for them."""

    def piece(self, token: int) -> bytes:
        """The bytes of a token inside a text; control tokens have none."""

    def evaluate(self, tokens: list[int], n_past: int, threads: int, abort: c_int32 | None = None) -> None:
        """Evaluate `tokens` behind the first `n_past` of the cache; the logits behind the last are kept. Cancelled soon
        after `abort` became non-zero, where the library can hear it."""

    def shift(self, keep: int, discard: int) -> None:
        """Take `discard` tokens behind the first `keep` out of the cache; what is behind them moves down. 0 only asks
        whether this model can do that: UsageError or ModelInvalid if not."""

    def sampler(self, options: Sampling, choices: Choices | None = None) -> Any:
        """The state of one request's choices, with its own stream of random numbers. UsageError if the library cannot
        do what `choices` wants."""

    def choose(self, sampler: Any, context: Sequence[int]) -> int:
        """The token after `context`, from the logits that were kept."""

    def embedding(self) -> list[float]:
        """The final hidden state of the last evaluated token, n_embd floats; empty where the library has none."""

    def mean_embedding(self, tokens: list[int], threads: int, abort: c_int32 | None = None) -> list[float]:
        """The mean of the final hidden states of `tokens` as a new text. The cache then holds them."""

    def score(self, tokens: list[int], threads: int) -> Any:
        """The logits behind each of `tokens` as a new text: a memoryview of float32, shape (n, vocab). The cache then
        holds them."""

    def close(self) -> None:
        """Free the model."""
