"""Many generations in one cache, a sequence for each: every step evaluates what all of them wait for in one batch.

A request may come and go while others are under way. What it gives is what it would give alone: its choices have a
stream of random numbers of their own, and a token's logits do not depend on what shares its batch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import Cancelled, PocketllamaError, UsageError
from .choices import Choices
from .generation import check_prompt
from .options import Completion, Sampling, Timings, check_tokens
from .speculate import Speculation, evaluate, speculates
from .text import TextOut

if TYPE_CHECKING:
    from .llm import LLM


class Request:
    """One prompt of a batch, and what came of it."""

    def __init__(
        self,
        sampler: Any,
        prompt: list[int],
        options: Sampling,
        cancel: Callable[[], bool],
        choices: Choices | None = None,
    ) -> None:
        self.sampler, self.options, self.cancel, self.choices = sampler, options, cancel, choices
        self.n_prompt = len(prompt)
        self.history = prompt  # the prompt, then what was generated
        self.out = TextOut(options.stop)
        self.seq: int | None = None  # while it is under way
        self.context: list[int] = []  # what its sequence holds
        self.fed = 0  # how much of the history went in there; more than it holds, after a shift
        self.found = 0  # tokens of the prompt that its sequence held already
        self.shifted = False
        self.reason = ""
        self.error: PocketllamaError | None = None
        self.started = time.monotonic()
        self.prompt_done = self.first = self.last = 0.0
        self.speculation: Speculation | None = None  # once it has been alone in the batch

    @property
    def done(self) -> bool:
        """Whether nothing more will come."""
        return bool(self.reason)

    def result(self) -> Completion:
        """What it has given so far; `finish_reason` is "cancelled" as long as it has not ended."""
        tokens = self.history[self.n_prompt :]
        timings = Timings.between(
            self.started,
            self.prompt_done,
            self.first,
            self.last,
            min(self.fed, self.n_prompt) - self.found,
            len(tokens),
            (self.speculation.drafted, self.speculation.accepted) if self.speculation else (0, 0),
        )
        return Completion(self.out.text, self.reason or "cancelled", self.n_prompt, len(tokens), timings, tuple(tokens))


class Batch:
    """The loop of a server: `add` requests, `step` as long as it is `busy`, hand out what comes, `remove` who has left.

    Requests wait for a sequence while the model has none left (`n_seqs`). For one thread at a time; single generations
    on the same model may run beside it.
    """

    def __init__(self, llm: LLM) -> None:
        self._llm = llm
        self._waiting: deque[Request] = deque()
        self._running: list[Request] = []
        if not llm.n_seqs:
            raise UsageError(
                "This model was loaded with room for single generations only.",
                remedy="Load it with n_seqs=8, or as many texts as shall be decoded together.",
            )

    @property
    def busy(self) -> bool:
        """Whether a step has something to do."""
        return bool(self._waiting or self._running)

    def add(
        self,
        prompt: str | Sequence[int],
        options: Sampling | None = None,
        *,
        cancel: Callable[[], bool] = lambda: False,
        choices: Choices | None = None,
        **values: Any,
    ) -> Request:
        """A request to complete `prompt`, with options as `LLM.complete` takes them. UsageError and ContextOverflow are
        raised here. `cancel` is asked before each step."""
        llm, options = self._llm, options or Sampling.of(**values)
        tokens = llm.tokenize(prompt) if isinstance(prompt, str) else check_tokens(prompt, llm.vocab_size)
        check_prompt(len(tokens), llm.context_length, options)
        speculates(llm, options)
        if options.context_shift:
            with llm._turn.step():
                llm._backend.shift(0, 0)  # said now, and not when the context is full
        request = Request(llm.sampler(options, choices), tokens, options, cancel, choices)
        self._waiting.append(request)
        return request

    def step(self) -> list[tuple[Request, str]]:
        """Evaluate one batch: the next token of every text that is under way, and as much of the prompts as takes a
        fraction of a second. The pieces of text that came; a request that has ended is `done`."""
        llm = self._llm
        pieces: list[tuple[Request, str]] = []
        with llm._turn.step():
            for request in [r for r in (*self._running, *self._waiting) if r.cancel()]:
                self.remove(request)
            while self._waiting and llm._free_seqs:
                self._begin(self._waiting.popleft())
            parts = self._parts()
            if not parts:
                return pieces
            alone = self._speculation(*parts[0]) if len(self._running) == 1 else None
            guess = self._guess(parts[0][0], alone) if alone else []
            known = len(parts[0][0].history)
            seconds = self._evaluate(parts, guess)
            for row, (request, part) in enumerate(parts):
                request.context += part
                request.fed += len(part)
                if request.fed == len(request.history):
                    self._go_on(request, row, pieces)
            if alone:
                self._accept(parts[0][0], guess, pieces)
                alone.learn(guess, parts[0][0].history[known:], seconds)
        return pieces

    def _evaluate(self, parts: list[tuple[Request, list[int]]], guess: list[int]) -> float:
        """Evaluate what each request waits for; and of one that is alone, what is guessed to follow. Seconds."""
        llm = self._llm
        started = time.monotonic()
        llm._logits_lost = True  # those of single generations
        try:
            if guess:
                request, part = parts[0]
                assert request.seq is not None
                evaluate(llm, request.seq, len(request.context), [*part, *guess], llm.threads)
            else:
                llm._backend.evaluate_batch([(r.seq, len(r.context), part) for r, part in parts], llm.threads)
        except BaseException:
            for request, _ in parts:  # what its sequence holds is not known: all of it goes in again
                request.context, request.fed, request.found = [], 0, 0
            raise
        seconds = time.monotonic() - started
        llm._chunks.learn(sum(len(part) for _, part in parts), seconds)
        return seconds

    def _speculation(self, request: Request, part: list[int]) -> Speculation | None:
        """That of a text which is alone and waits for a token. Beside others there is none: each of their tokens costs
        what a guessed one does, and is worth more."""
        llm = self._llm
        first = len(request.history) == request.n_prompt
        if first or request.fed + len(part) < len(request.history) or not speculates(llm, request.options):
            return None
        if request.speculation is None:
            request.speculation = Speculation(llm, request.options, request.history, llm.threads, request.cancel)
        return request.speculation

    def _guess(self, request: Request, speculation: Speculation) -> list[int]:
        left = request.options.max_tokens - (len(request.history) - request.n_prompt)
        try:
            room = self._llm.context_length - len(request.context) - 1
            return speculation.guess(request.history, min(room, left - 1))
        except Cancelled:  # the next step hears it
            return []

    def _accept(self, request: Request, guess: list[int], pieces: list[tuple[Request, str]]) -> None:
        """Go on behind the first choice, as long as what is chosen was guessed."""
        for row, token in enumerate(guess, 1):
            if request.done or request.history[-1] != token:
                return
            request.context.append(token)
            request.fed += 1
            self._go_on(request, row, pieces)

    def _begin(self, request: Request) -> None:
        """Give a request a free sequence that holds the beginning of its prompt: the next turn of a conversation needs
        only what is new. Where that would lose more of another conversation than it saves, and where there is none, the
        one that has been free for longest."""
        llm = self._llm
        held = {seq: llm._kept.get(seq, []) for seq in llm._free_seqs}
        shared = {seq: _shared(tokens, request.history) for seq, tokens in held.items()}
        worth = [seq for seq in llm._free_seqs if 2 * shared[seq] > len(held[seq])]
        seq = max(worth, key=shared.__getitem__) if worth else llm._free_seqs[0]
        llm._free_seqs.remove(seq)
        llm._kept.pop(seq, None)
        request.seq, request.fed, request.found = seq, shared[seq], shared[seq]
        request.context = request.history[: shared[seq]]
        self._running.append(request)

    def _parts(self) -> list[tuple[Request, list[int]]]:
        """What is evaluated next of which request: of every text under way its newest token, and of the prompts what
        else a chunk has room for, the shortest first."""
        llm = self._llm
        missing = {request: len(request.history) - request.fed for request in self._running}
        room = max(1, llm._chunks.size - sum(n == 1 for n in missing.values()))
        parts = []
        for request in sorted(self._running, key=missing.__getitem__):
            take = 1 if missing[request] == 1 else min(missing[request], room)
            room -= take if missing[request] > 1 else 0
            if take == 0:
                break
            if len(request.context) == llm.context_length:
                keep = request.options.keep
                discard = (len(request.context) - keep) // 2
                llm._backend.shift(keep, discard, request.seq)
                del request.context[keep : keep + discard]
                request.shifted = True
            take = min(take, llm.context_length - len(request.context))
            parts.append((request, request.history[request.fed : request.fed + take]))
        return parts

    def _go_on(self, request: Request, row: int, pieces: list[tuple[Request, str]]) -> None:
        """Choose the next token of a request; its text goes to `pieces`."""
        llm, options = self._llm, request.options
        request.prompt_done = request.prompt_done or time.monotonic()
        n = len(request.history) - request.n_prompt
        reason, text = "", ""
        if n >= options.max_tokens:
            reason = "length"
        else:
            try:
                token = llm._backend.choose(request.sampler, request.context, row)
            except PocketllamaError as e:
                request.error = e
                self._end(request, "error")
                return
            request.last = time.monotonic()
            request.first = request.first or request.last
            if token in llm.vocab.ends:
                reason = "stop"
            else:
                request.history.append(token)
                text = request.out.feed(llm._backend.piece(token))
                # The last token is never evaluated: nothing comes behind it.
                full = len(request.history) > llm.context_length and not options.context_shift
                if request.out.stopped or (request.choices and request.choices.done):
                    reason = "stop"
                elif full or n + 1 >= options.max_tokens:
                    reason = "length"
        if reason:
            text += request.out.flush()
            self._end(request, reason)
        if text:
            pieces.append((request, text))

    def _end(self, request: Request, reason: str) -> None:
        request.reason = reason
        self._running.remove(request)
        assert request.seq is not None
        self._llm._free_seqs.append(request.seq)
        if not request.shifted:  # else it holds what evaluating these tokens would not give
            self._llm._kept[request.seq] = request.context
        request.seq = None

    def remove(self, request: Request) -> None:
        """Give a request up; its `result()` is what there was until then."""
        if request in self._waiting:
            self._waiting.remove(request)
            request.reason = "cancelled"
        elif request in self._running:
            with self._llm._turn.step():
                self._end(request, "cancelled")

    def close(self) -> None:
        """Give all of them up."""
        for request in (*self._running, *self._waiting):
            self.remove(request)

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _shared(held: list[int], wanted: list[int]) -> int:
    """With how many tokens of `held` the text `wanted` begins, of which at least the last one must be evaluated."""
    n = min(len(held), len(wanted) - 1)
    return next((i for i in range(n) if held[i] != wanted[i]), n)


def complete_all(
    llm: LLM,
    prompts: Sequence[str | Sequence[int]],
    options: Sequence[Sampling],
    on_piece: Callable[[int, str], object],
) -> list[Completion | PocketllamaError]:
    """Each prompt's completion or error; `on_piece` gets its index and the next piece of its text."""
    results: dict[int, Completion | PocketllamaError] = {}
    with Batch(llm) as batch:
        indices: dict[Request, int] = {}
        for i, (prompt, sampling) in enumerate(zip(prompts, options, strict=True)):
            try:
                indices[batch.add(prompt, sampling)] = i
            except PocketllamaError as e:
                results[i] = e
        while batch.busy:
            for request, piece in batch.step():
                on_piece(indices[request], piece)
        results |= {i: request.error or request.result() for request, i in indices.items()}
    return [results[i] for i in range(len(prompts))]
