"""A second, smaller model that guesses what the first will say: draft-model speculation (Leviathan et al. 2023)."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import gguf
from ..errors import UsageError
from .options import Sampling
from .own import Own

if TYPE_CHECKING:
    from .llm import LLM

_CLASSES = 8  # the first guess, the second, …; those behind share the last
_PRIOR, _PRIOR_WEIGHT = 0.7, 2.0  # how likely a guess is right before any was seen, and how many guesses that counts
_MEMORY = 0.97  # of what has been seen, for each guess seen since …
_FORGET = 0.985  # … and for each token while nothing is guessed: some day it is worth another try
_WEIGHT = 0.2  # of a new measurement


class Drafts:
    """The guesses of one generation. See `speculate.Guesser`.

    The draft model reads what the first one reads. A text that is longer than its context it reads from the middle.
    """

    def __init__(
        self, llm: LLM, options: Sampling, history: Sequence[int], threads: int, cancel: Callable[[], bool]
    ) -> None:
        assert llm.draft is not None
        self._draft: LLM = llm.draft
        self._vocab_size = min(llm.vocab_size, self._draft.vocab_size)  # the larger one has tokens that no text has
        self._threads, self._cancel = threads, cancel
        # The likeliest token by the same penalties. One drawn by the random number that the first model will draw by
        # agrees no more often: 32.5% of tokens at temperature 0.8 (tales, and tales without its last layer), to 33.1%.
        greedy = replace(options, temperature=0.0, mirostat=0, xtc_probability=0.0)
        self._sampler = self._draft.sampler(greedy)
        self._text = list(history)
        self._start = 0  # where in the text the draft's context begins
        self._agreed = 0  # how much of its context is known to be the text's
        self._guess: list[int] = []
        self._right = [_PRIOR * _PRIOR_WEIGHT] * _CLASSES
        self._seen = [_PRIOR_WEIGHT] * _CLASSES
        self.seconds = self.took = 0.0

    def feed(self, tokens: Iterable[int]) -> None:
        """The text goes on with `tokens`; the last guess is compared with them."""
        tokens = list(tokens)
        self._text += tokens
        if not self._guess:
            self._right = [r * _FORGET + _PRIOR * _PRIOR_WEIGHT * (1 - _FORGET) for r in self._right]
            self._seen = [s * _FORGET + _PRIOR_WEIGHT * (1 - _FORGET) for s in self._seen]
            self.seconds *= _FORGET
            return
        for i, (guessed, token) in enumerate(zip(self._guess, tokens, strict=False)):
            c = min(i, _CLASSES - 1)
            self._right[c] = self._right[c] * _MEMORY + (guessed == token)
            self._seen[c] = self._seen[c] * _MEMORY + 1.0
            if guessed != token:
                break
        self._guess = []

    def chances(self, n: int) -> Iterator[float]:
        """Of up to `n` guesses, how likely each is right if those before it are."""
        for i in range(n):
            c = min(i, _CLASSES - 1)
            yield self._right[c] / self._seen[c]

    def guess(self, n: int) -> list[int]:
        """The next `n` tokens; fewer where the draft ends its text, or says what the first model cannot. Cancelled."""
        draft, self.took = self._draft, 0.0
        with draft._turn.step():
            first = not self._agreed
            started = time.perf_counter()
            if not self._read(n):
                return []
            if first:  # reading the prompt is what a draft costs in any case
                started = time.perf_counter()
            found: list[int] = []
            while True:
                token = draft._choose(self._sampler)
                if token >= self._vocab_size:
                    break
                found.append(token)
                if len(found) == n or token in draft.vocab.ends:
                    break
                draft._evaluate([token], None, self._threads, self._cancel)
            draft._writer = self
        self.took = time.perf_counter() - started
        each = self.took / max(1, len(found))
        if self.seconds:  # something else may have disturbed it
            self.seconds += (min(each, 3 * self.seconds) - self.seconds) * _WEIGHT
        else:
            self.seconds = each
        self._guess = found
        return found

    def _read(self, n: int) -> bool:
        """Make the draft's context the text, so that `n` more tokens fit behind it; False if that cannot be."""
        draft, length = self._draft, len(self._text)
        room = draft.context_length - n
        if room < 2:
            return False
        if length - self._start > room:
            self._start, self._agreed = length - max(1, min(room, draft.context_length // 2)), 0
        wanted = self._text[self._start :]
        if max(wanted[self._agreed :], default=0) >= draft.vocab_size:
            return False
        context = draft._context[: draft._clean]
        at = self._agreed if draft._writer is self else 0
        while at < min(len(context), length - self._start) and context[at] == wanted[at]:
            at += 1
        at = min(at, len(wanted) - 1)  # the logits behind the last one are wanted
        draft._truncate(at)
        draft._evaluate(wanted[at:], None, self._threads, self._cancel)
        draft._writer, self._agreed = self, len(wanted)
        return True


class Drafting:
    """What `LLM` does with a draft: a mixin."""

    draft: LLM | None = None  # the model whose guesses it may verify
    _own_draft = False  # … and closes with itself

    def use_draft(self: Any, draft: LLM | None) -> None:
        """Let `draft`, a smaller model with the same vocabulary, guess what this one will say: `speculate="auto"` then
        means "draft". UsageError where it cannot. The caller closes it, after this one. None: no draft any more."""
        if draft is not None:
            check_pair(self, draft)
        self._close_draft()
        self.draft = draft

    def load_draft(self: Any, name_or_path: str, *, progress: Any = None, lib: str | None = None) -> Any:
        """`use_draft` with a model that is loaded for it, by name or path, and closed with this one, which
        is returned. Its context is no longer than what it was trained for."""
        from .. import models
        from . import files

        path = models.pull(name_or_path, progress=progress).path
        config = copy.copy(self._config)
        trained = files.inspect(path, self.library).trained_context
        config.context_length = min(self.context_length, trained or self.context_length)
        draft = type(self)(str(path), config=config, lib=lib)
        try:
            self.use_draft(draft)
        except BaseException:
            draft.close()
            raise
        self._own_draft = True
        return self

    def _close_draft(self: Any) -> None:
        draft, owned = self.draft, self._own_draft
        self.draft, self._own_draft = None, False
        if draft and owned:
            draft.close()


def check_pair(llm: LLM, draft: LLM) -> None:
    """UsageError unless `draft` can guess for `llm`: both in our library, each id the same token in both. One may have
    more ids than the other, as models of one family have whose embeddings are filled up to different sizes."""
    if draft is llm:
        raise UsageError("A model cannot be its own draft: it would guess as slowly as it answers.")
    if draft.draft is not None:
        raise UsageError("A model that has a draft cannot be one: who waits for whom would have no end.")
    if not isinstance(llm._backend, Own) or not isinstance(draft._backend, Own):
        raise UsageError("Draft models need pocketllama's own library.", remedy="pocketllama build")
    ours, theirs = _tokens(llm.file.path), _tokens(draft.file.path)
    for i, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        if a != b:
            raise UsageError(
                f"{draft.file.path.name} cannot be the draft of {llm.file.path.name}: their vocabularies differ "
                f"(token {i} is {b!r:.40} there, and {a!r:.40} here).",
                remedy="A draft is a smaller model of the same family.",
            )


def _tokens(path: Path) -> list[str]:
    with gguf.read(path) as file:
        return list(file.metadata.get("tokenizer.ggml.tokens", ()))
