"""One generation: prompt tokens in, pieces of text out. The loop that everything else in the project waits for."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, ContextOverflow, UsageError
from .choices import Choices
from .options import Completion, Sampling, Timings
from .speculate import Speculation, speculates
from .text import TextOut

if TYPE_CHECKING:
    from .llm import LLM

_SAMPLING_FIELDS = {f.name for f in fields(Sampling)}


def sampling_of(config: Any, **values: Any) -> Sampling:
    """The options of a call in ctransformers' manner: None means what the model's `config` says."""
    merged = {k: getattr(config, k) for k in _SAMPLING_FIELDS if hasattr(config, k)}
    merged["max_tokens"] = config.max_new_tokens
    merged.update((k, v) for k, v in values.items() if v is not None)
    merged["stop"] = merged.get("stop") or ()
    merged["seed"] = max(-1, merged["seed"])  # ctransformers takes any negative number for "random"
    merged["top_k"] = max(0, merged["top_k"])  # … and any k below 1 for "all"
    return Sampling.of(**merged)


def check_prompt(n: int, context_length: int, options: Sampling) -> None:
    """UsageError, or ContextOverflow, for a prompt of `n` tokens that cannot be continued."""
    if n == 0:
        raise UsageError("The prompt is empty: the model has no token to begin from.")
    if n > context_length:
        raise ContextOverflow(
            f"The prompt has {n} tokens, the context holds {context_length}.",
            remedy="Shorten the prompt, or load the model with a larger context_length.",
            data={"prompt_tokens": n, "context_length": context_length},
        )
    if options.context_shift and options.keep > context_length - 2:
        raise UsageError(
            f"keep is {options.keep}: of a context of {context_length}, nothing would be left to forget.",
            remedy="Keep fewer tokens, or load the model with a larger context_length.",
        )


class Chunks:
    """Cuts a prompt into chunks that each take about `SLICE_S`, so that a cancellation is heard in time.

    It learns the engine's speed from the time between one chunk and the next, and begins carefully.
    """

    SLICE_S = 0.25
    FIRST, LARGEST = 32, 512

    def __init__(self) -> None:
        self.size = self.FIRST

    def cut(self, tokens: list[int]) -> Iterator[list[int]]:
        at = 0
        while at < len(tokens):
            chunk = tokens[at : at + self.size]
            started = time.monotonic()
            yield chunk
            self.learn(len(chunk), time.monotonic() - started)
            at += len(chunk)

    def learn(self, n: int, seconds: float) -> None:
        """So many tokens took so long."""
        if n >= self.size:  # the last, shorter chunk says little
            wanted = int(n / max(seconds, 1e-6) * self.SLICE_S)
            # At most double or halve: one slow chunk on a busy machine is no reason to crawl.
            self.size = max(1, min(self.LARGEST, max(self.size // 2, min(self.size * 2, wanted))))


class Generation:
    """The running answer to one prompt: an iterator of text pieces, then a `result()`.

    The iterator may be abandoned at any time. Several generations on one model may be interleaved from any threads:
    each restores its own context where another has been (see `turn`), so that none sees another's text.
    """

    def __init__(
        self,
        llm: LLM,
        prompt: list[int],
        options: Sampling,
        *,
        cancel: Callable[[], bool] = lambda: False,
        batch_size: int | None = None,
        threads: int | None = None,
        keep_context: bool = False,
        bounded: bool = True,
        choices: Choices | None = None,
    ) -> None:
        self._llm, self._options, self._cancel = llm, options, cancel
        self._choices = choices
        self._batch_size, self._threads = batch_size, threads
        # With keep_context the prompt continues what the model has in its context (ctransformers' reset=False).
        self._history = [*llm._context, *prompt] if keep_context else list(prompt)
        self._n_prompt = len(self._history)
        self._bounded = bounded
        self._out = TextOut(options.stop)
        self._generated: list[int] = []
        self.forgotten = 0  # messages of a conversation that were left out of the prompt
        self.call_style: str | None = None  # how its tools are called; see chat.tools
        self._reason = "cancelled"  # true of a generation that is abandoned
        self._started = self._prompt_done = self._ended = 0.0
        self._first_token = 0.0
        self._evaluated = 0
        self._fed = 0  # how much of the history went into the context
        self._ready: deque[int] = deque()  # tokens that are chosen, and not handed out yet
        self._speculates = speculates(llm, options)
        self._speculation: Speculation | None = None  # begins behind the first token
        self._ahead = 0  # tokens that it had evaluated: the cache holds them behind the context
        check_prompt(self._n_prompt, llm.context_length, options)
        self._iterator = self._run()

    def __iter__(self) -> Iterator[str]:
        return self._iterator

    def __next__(self) -> str:
        return next(self._iterator)

    def text(self) -> str:
        """The whole text; runs the generation to its end."""
        return self.result().text

    def result(self) -> Completion:
        """The finished generation; runs it to its end if it is not there yet."""
        # Nothing is handed out in between, so the turn need not be given up between two tokens.
        with self._llm._turn.step(self):
            for _ in self._iterator:
                pass
        n = len(self._generated)
        guesses = (0, 0)
        if s := self._speculation:  # the last token that is ready is no guess, and those before it were not wanted
            guesses = (s.drafted, s.accepted - max(0, len(self._ready) - 1))
        return Completion(
            text=self._out.text,
            finish_reason=self._reason,
            prompt_tokens=self._n_prompt,
            completion_tokens=n,
            timings=Timings.between(
                self._started, self._prompt_done, self._first_token, self._ended, self._evaluated, n, guesses
            ),
            tokens=tuple(self._generated),
        )

    @property
    def generated(self) -> list[int]:
        """The tokens, which become more as it goes on."""
        return self._generated

    def message(self) -> dict[str, Any]:
        """The finished generation as the next message of its conversation: {role, content}, and tool_calls where the
        model calls tools that it was told of."""
        from ..chat.calls import message_of

        return message_of(self.result().text, self.call_style)

    def close(self) -> None:
        """Give the generation up where it is."""
        self._iterator.close()

    # ---- the loop ------------------------------------------------------------------------------------------------

    def _run(self) -> Generator[str, None, None]:
        with closing(self.tokens()) as tokens:  # an abandoned stream gives up its turn now, not at some collection
            for token in tokens:
                if text := self._out.feed(self._llm.piece(token)):
                    yield text
                if self._out.stopped:
                    self._reason = "stop"
                    return
        if rest := self._out.flush():
            yield rest

    def tokens(self) -> Generator[int, None, None]:
        """The new token ids. Sets the reason for the end, and the times."""
        llm, options = self._llm, self._options
        sampler = llm.sampler(options, self._choices)
        if options.context_shift:
            with llm._turn.step():
                llm._backend.shift(0, 0)  # said now, and not when the context is full
        self._started = time.monotonic()
        try:
            while True:
                if self._cancel():
                    self._reason = "cancelled"
                    return
                if not self._ready:
                    with llm._turn.step(self):
                        try:
                            chosen = self._restore(sampler)
                        except Cancelled:
                            self._reason = "cancelled"
                            return
                        if not self._generated and not self._prompt_done:
                            self._prompt_done = time.monotonic()
                        if self._bounded and len(self._generated) >= options.max_tokens:
                            self._reason = "length"
                            return
                        self._ready.extend(chosen or [llm._choose(sampler)])
                token = self._ready.popleft()
                if not self._first_token:
                    self._first_token = time.monotonic()
                if token in llm.vocab.ends:
                    self._reason = "stop"
                    return
                self._generated.append(token)
                self._history.append(token)
                self._ended = time.monotonic()
                yield token
                if self._choices and self._choices.done and not self._ready:
                    self._reason = "stop"
                    return
                # The last token is never evaluated: nothing comes behind it.
                full = len(self._history) > llm.context_length and not options.context_shift
                if full or (self._bounded and len(self._generated) >= options.max_tokens):
                    self._reason = "length"
                    return
        finally:
            if self._choices:  # those that were ready and not handed out belong to no text
                del self._choices.logprobs[len(self._generated) :]
            if self._ahead and llm._writer is self:  # the context is left as if each token had been evaluated alone
                with llm._turn.step():
                    self._catch_up()
            llm._turn.leave(self)

    def _restore(self, sampler: Any) -> list[int]:
        """Make the model's context this generation's history, evaluating only what differs; the caller has the turn.
        Where that is a single token, speculation may go further, and chooses what follows."""
        llm, history = self._llm, self._history
        self._catch_up()
        if llm._writer is not self:
            self._fed = self._shared()
            llm._truncate(self._fed)
        missing = history[self._fed :]
        self._evaluated += 0 if self._generated else len(missing)
        # A shift depends on the history alone: a generation that has lost its cache goes through the same ones again.
        keep = self._options.keep if self._options.context_shift else None
        chosen: list[int] = []
        if self._speculates and self._generated and len(missing) == 1:
            chosen = self._speculate(sampler, keep)
        else:
            llm._evaluate(missing, self._batch_size, self._threads, self._cancel, keep)
        self._fed = len(history)
        llm._writer = self
        return chosen

    def _speculate(self, sampler: Any, keep: int | None) -> list[int]:
        """Evaluate the newest token and what may follow it; what follows."""
        llm, options = self._llm, self._options
        if self._speculation is None:
            workers = llm._workers(self._threads)
            self._speculation = Speculation(llm, options, self._history, workers, self._cancel)
        if keep is not None and len(llm._context) == llm.context_length:
            llm._shift(keep)
        most = options.max_tokens - len(self._generated) if self._bounded else None
        chosen = self._speculation.step(self._history, sampler, most, self._choices)
        self._ahead = len(chosen) - 1
        return chosen

    def _catch_up(self) -> None:
        """What was evaluated ahead, and has been handed out since, belongs to the context; the caller has the turn."""
        if self._ahead and self._llm._writer is self:
            handed_out = self._history[self._fed : -1][: self._ahead]
            self._llm._context += handed_out
            self._fed += len(handed_out)
        self._ahead = 0

    def _shared(self) -> int:
        """How much of the history is in the cache already."""
        context, history = self._llm._context[: self._llm._clean], self._history
        shared = 0
        if context == history[: len(context)]:
            shared = len(context)  # the ordinary case: everything is there but the newest token
        else:
            while shared < min(len(context), len(history)) and context[shared] == history[shared]:
                shared += 1
        # The logits of the last token are wanted, so at least that one is evaluated.
        return min(shared, len(history) - 1)
