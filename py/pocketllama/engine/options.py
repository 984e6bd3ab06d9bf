"""What one generation may be told, and what it gives back: the values that CLI, RPC and Python share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..errors import UsageError

MAX_STOPS = 16
MAX_SEED = 2**63 - 1
SPECULATE = ("auto", "off", "ngram", "draft")


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and when to end. Every value is checked when the object is made (UsageError)."""

    max_tokens: int = 256  # at most this many new tokens; 0 only evaluates the prompt
    temperature: float = 0.8  # 0: greedy, always the likeliest token
    top_k: int = 40  # keep the k likeliest tokens; 0: all
    top_p: float = 0.95  # keep the likeliest tokens that together have this probability; 1: all
    repetition_penalty: float = 1.1  # divides (or multiplies) the logits of recent tokens; 1: off
    last_n_tokens: int = 64  # how many recent tokens the penalty looks at; -1: the whole context, 0: none
    seed: int = -1  # one seed, one text; -1: a new one each time
    stop: tuple[str, ...] = field(default=())  # the text ends before the first of these

    # What only our own library knows; on ctransformers' they must be left as they are.
    min_p: float = 0.0  # keep what is at least this fraction as likely as the likeliest; 0: all
    typical_p: float = 1.0  # locally typical sampling; 1: off
    frequency_penalty: float = 0.0  # taken from a token's logit for each time it stands in the last_n_tokens
    presence_penalty: float = 0.0  # … once, if it does
    xtc_probability: float = 0.0  # how often all likely tokens but the last are excluded
    xtc_threshold: float = 0.1  # … where likely means at least this probability
    dry_multiplier: float = 0.0  # penalty for continuing a repetition; 0: off
    dry_base: float = 1.75  # … growing by this factor with each token of it
    dry_allowed_length: int = 2  # … beyond this length
    mirostat: int = 0  # 2: keep the surprise near mirostat_tau, in place of top_k, top_p, …
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: tuple[tuple[int, float], ...] = ()  # (token id, what is added to its logit)
    context_shift: bool = False  # a full context forgets its older half, and the text goes on in place of ending
    keep: int = 4  # … but not this many tokens at its start: models rest much of their attention there
    # Guess tokens ahead and verify them: "ngram" from the text so far, "draft" by the model's draft, "off"; "auto" is
    # "draft" where there is one, else "off". No guess changes the text.
    speculate: str = "auto"

    def __post_init__(self) -> None:
        _whole("max_tokens", self.max_tokens, 0, 2**31 - 1)
        _number("temperature", self.temperature, 0.0, 100.0)
        _whole("top_k", self.top_k, 0, 2**31 - 1)
        _number("top_p", self.top_p, 0.0, 1.0)
        _number("repetition_penalty", self.repetition_penalty, 0.01, 100.0)
        _whole("last_n_tokens", self.last_n_tokens, -1, 2**31 - 1)
        _whole("seed", self.seed, -1, MAX_SEED)
        for name, low, high in _RANGES:
            _number(name, getattr(self, name), low, high)
        _whole("dry_allowed_length", self.dry_allowed_length, 0, 2**31 - 1)
        if self.mirostat not in (0, 2):
            raise UsageError(f"mirostat is 0 (off) or 2, not {self.mirostat!r:.80}.")
        if not isinstance(self.context_shift, bool):
            raise UsageError(f"context_shift must be true or false, not {self.context_shift!r:.80}.")
        _whole("keep", self.keep, 0, 2**31 - 1)
        if self.speculate not in SPECULATE:
            raise UsageError(f"speculate is one of {', '.join(SPECULATE)}, not {self.speculate!r:.80}.")
        object.__setattr__(self, "logit_bias", _check_bias(self.logit_bias))
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, list | tuple) or not all(isinstance(s, str) for s in stop):
            raise UsageError(f"stop must be a string or a list of strings, not {stop!r:.80}.")
        if len(stop) > MAX_STOPS or not all(stop):
            raise UsageError(f"stop takes up to {MAX_STOPS} strings, none of them empty.")
        object.__setattr__(self, "stop", tuple(stop))

    @classmethod
    def of(cls, **values: Any) -> Sampling:
        """From named values, where None stands for the default; an unknown name is a UsageError."""
        known = {f.name for f in fields(cls)}
        if unknown := values.keys() - known:
            raise UsageError(f"Unknown option {sorted(unknown)[0]!r}; the options are {', '.join(sorted(known))}.")
        return cls(**{k: v for k, v in values.items() if v is not None})


_RANGES = (
    ("min_p", 0.0, 1.0),
    ("typical_p", 0.0, 1.0),
    ("frequency_penalty", -100.0, 100.0),
    ("presence_penalty", -100.0, 100.0),
    ("xtc_probability", 0.0, 1.0),
    ("xtc_threshold", 0.0, 1.0),
    ("dry_multiplier", 0.0, 1000.0),
    ("dry_base", 1.0, 100.0),
    ("mirostat_tau", 0.0, 100.0),
    ("mirostat_eta", 0.0, 10.0),
)


def _check_bias(bias: Any) -> tuple[tuple[int, float], ...]:
    """A mapping of token ids (as JSON has them, strings too) or a sequence of pairs."""
    pairs = list(bias.items()) if isinstance(bias, Mapping) else bias
    try:
        checked = tuple((int(token), float(value)) for token, value in pairs)
    except (TypeError, ValueError):
        raise UsageError(f"logit_bias must map token ids to numbers, not {bias!r:.80}.") from None
    if any(math.isnan(value) for _, value in checked):
        raise UsageError("logit_bias must map token ids to numbers, not to NaN.")
    return checked


def _whole(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise UsageError(f"{name} must be a whole number from {low} to {high}, not {value!r:.80}.")


def _number(name: str, value: object, low: float, high: float) -> None:
    ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not ok or not low <= float(value) <= high:  # type: ignore[arg-type]
        raise UsageError(f"{name} must be a number from {low:g} to {high:g}, not {value!r:.80}.")


def check_text(name: str, text: object) -> str:
    """`text` if it is a string that UTF-8 can carry (no lone surrogates), else UsageError naming `name`."""
    if not isinstance(text, str):
        raise UsageError(f"{name} must be a string, not {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise UsageError(f"{name} is not valid Unicode: a lone surrogate at character {e.start}.") from e
    return text


def check_tokens(tokens: object, vocab_size: int) -> list[int]:
    """`tokens` as a list if it is a sequence of token ids within the vocabulary, else UsageError."""
    if not isinstance(tokens, Sequence) or isinstance(tokens, str | bytes):
        raise UsageError(f"tokens must be a list of token ids, not {type(tokens).__name__}.")
    for i, token in enumerate(tokens):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < vocab_size:
            raise UsageError(f"Token {i} is {token!r:.40}; a token id is a whole number from 0 to {vocab_size - 1}.")
    return list(tokens)


@dataclass(frozen=True)
class Timings:
    """Where the time of one generation went, in milliseconds, and what that makes per second."""

    prompt_ms: float = 0.0  # evaluating the prompt
    decode_ms: float = 0.0  # everything after the first token
    first_token_ms: float = 0.0  # from the call to the first token
    prompt_tokens_evaluated: int = 0  # without those found in the KV cache
    tokens_per_second: float = 0.0  # of the decode
    drafted_tokens: int = 0  # guessed by speculation
    accepted_tokens: int = 0  # … and right: so many tokens needed no evaluation of their own

    @classmethod
    def between(
        cls,
        started: float,
        prompt: float,
        first: float,
        last: float,
        evaluated: int,
        n: int,
        guesses: tuple[int, int] = (0, 0),
    ) -> Timings:
        """Of `n` tokens, from the moments (in seconds) of the start, the evaluated prompt, the first and last token.
        `guesses`: those drafted and accepted."""
        decode_s = last - first if n > 1 else 0.0
        return cls(
            prompt_ms=max(0.0, prompt - started) * 1e3,
            decode_ms=decode_s * 1e3,
            first_token_ms=max(0.0, first - started) * 1e3,
            prompt_tokens_evaluated=evaluated,
            tokens_per_second=(n - 1) / decode_s if decode_s > 0 else 0.0,
            drafted_tokens=guesses[0],
            accepted_tokens=guesses[1],
        )

    def as_json(self) -> dict[str, float]:
        return {f.name: round(getattr(self, f.name), 3) for f in fields(self)}


@dataclass(frozen=True)
class Completion:
    """What a generation gave."""

    text: str
    finish_reason: str  # "stop": the model or a stop string ended it; "length": max_tokens or the context; "cancelled"
    prompt_tokens: int
    completion_tokens: int
    timings: Timings
    tokens: tuple[int, ...] = ()

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that the cache held already."""
        begun = self.finish_reason != "cancelled" or self.completion_tokens > 0
        return max(0, self.prompt_tokens - self.timings.prompt_tokens_evaluated) if begun else 0

    def as_json(self) -> dict[str, Any]:
        """The result as JSON-RPC and `run --json` give it."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens},
            "timings": self.timings.as_json(),
        }
