"""`LLM`: ctransformers' class with its faults repaired, on whichever library `native.find` prefers.

Everything that code written for `ctransformers.LLM` calls is here with the same meaning; ARCHITECTURE.md lists the
faults and what this class does instead. Thread safety, prefix reuse and cancellation live in `generation` and `turn`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import Cancelled, ContextOverflow, EngineClosed, EngineError, PocketllamaError, UsageError
from . import bundled, cpu, files, native, own
from .backend import Backend
from .batch import Batch, complete_all
from .cancel import flag_of
from .choices import Choices
from .conversation import REMEMBERED, Conversations
from .draft import Drafting
from .generation import Chunks, Generation, sampling_of
from .options import Sampling, check_text, check_tokens
from .pace import Costs
from .stock import Config, StockLLM
from .turn import Turn

MAX_SEQS = 1024


class LLM(Conversations, Drafting, StockLLM):  # type: ignore[misc]  # ctransformers is untyped
    """A language model on this machine.

    >>> with LLM.from_pretrained("tales") as llm:
    ...     for piece in llm("Once upon a time", stream=True):
    ...         print(piece, end="", flush=True)

    Safe from several threads. Errors are `pocketllama.errors`.
    """

    def __init__(
        self,
        model_path: str,
        model_type: str | None = None,
        *,
        config: Any = None,
        lib: str | None = None,
        kv_type: str = "f16",
        n_seqs: int = 0,
    ) -> None:
        """Load the model file at `model_path`.

        `model_type` is needed only for the GGML files of 2023. `config` is a `ctransformers.Config`; `lib` a library's
        path or one of "avx2", "avx", "basic" (see `native.find`). `kv_type`, of our own library only, is what its cache
        holds: "f16", "f32", or "q8_0", which takes little more than half of the memory of "f16"; and `n_seqs` is how
        many texts `complete_batch` and `batch` can decode together, each with a context of its own in memory.
        """
        # What __del__ and close() look at must be there before anything can fail.
        self._backend: Any = None
        self._context: list[int] = []  # the tokens in the cache
        # After a shift, what the cache holds from `_clean` on is not what evaluating these tokens would give: it is of
        # use to the generation that shifted it, the `_writer`, as long as nobody else comes by.
        self._clean: int | None = None
        self._writer: object = None
        self._logits_lost = False  # a batch's have taken the place of those behind the context
        self._model_path, self._config = str(model_path), config or Config()
        self.model: str | None = None  # its name, if it was asked for by one
        self._turn = Turn()
        self._chunks, self._costs = Chunks(), Costs()
        self._said = deque(maxlen=REMEMBERED + 2 * n_seqs if isinstance(n_seqs, int) and n_seqs > 0 else REMEMBERED)

        self.library = native.find(lib)
        self.file = files.inspect(Path(model_path), self.library, model_type)
        self._backend = self._open(model_type, kv_type, n_seqs)
        self.n_seqs = n_seqs
        self._free_seqs = list(range(1, n_seqs + 1))  # sequence 0 is that of single generations
        self._kept: dict[int, list[int]] = {}  # what free ones still hold
        self._model_type = self._backend.architecture
        self.vocab = self._backend.vocab

    def _open(self, model_type: str | None, kv_type: str, n_seqs: int) -> Backend:
        """The model in the library: through our own functions where it has them."""
        if not isinstance(n_seqs, int) or not 0 <= n_seqs <= MAX_SEQS:
            raise UsageError(f"n_seqs must be a whole number from 0 to {MAX_SEQS}, not {n_seqs!r:.80}.")
        n_ctx = self.file.context_length(self._config.context_length)
        if self.file.vocab and own.speaks(lib := native.load(self.library)):
            self.library = own.identify(self.library, lib)
            return own.Own(lib, self.file.path, n_ctx, mmap=self._config.mmap, kv_type=kv_type, n_seqs=1 + n_seqs)
        if kv_type != "f16":
            raise UsageError(f"ctransformers' library knows no cache of {kv_type!r:.80}.", remedy="pocketllama build")
        if n_seqs:
            raise UsageError(
                "ctransformers' library has one sequence, and n_seqs must be 0.", remedy="pocketllama build"
            )
        self.file.check_memory(n_ctx)
        return bundled.Bundled(self.library, self.file, model_type, self._config)

    @property
    def _lib(self) -> Any:
        return self._backend.lib

    @_lib.setter
    def _lib(self, lib: Any) -> None:
        self._backend.lib = lib

    @property
    def _llm(self) -> int | None:
        return self._backend.handle if self._backend else None

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str,
        *,
        model_type: str | None = None,
        lib: str | None = None,
        config: Any = None,
        progress: Any = None,
        kv_type: str = "f16",
        n_seqs: int = 0,
        draft: str | None = None,
        **options: Any,
    ) -> LLM:
        """Load a model by name: `tales`, an alias, `hf:owner/repo[:quant]`, an https URL or a path.

        What is not on this machine is fetched first; `progress` is called with `models.ProgressEvent`s then.
        `draft` names a smaller model of the same vocabulary, whose guesses make this one faster (see `load_draft`).
        `options` are fields of `ctransformers.Config`: context_length, threads, batch_size, mmap, temperature, ….
        """
        from .. import models

        config = config or Config()
        for name, value in options.items():
            if not hasattr(config, name):
                known = ", ".join(vars(config))
                raise UsageError(f"from_pretrained() has no option {name!r}; the options are {known}.")
            setattr(config, name, value)
        if alias := models.aliases().get(name_or_path):  # better said before a gigabyte has been fetched
            files.check_architecture(alias.name, alias.architecture, native.find(lib))
        model = models.pull(name_or_path, progress=progress)
        llm = cls(str(model.path), model_type, config=config, lib=lib, kv_type=kv_type, n_seqs=n_seqs)
        llm.model = model.name
        return llm.load_draft(draft, progress=progress, lib=lib) if draft is not None else llm

    # ---- life ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Free the model; waits for a native call under way. Later calls raise EngineClosed. Closing twice is fine."""
        with self._turn.step():
            self._backend.close()
        self._close_draft()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        # The interpreter may be half gone; a model that was never loaded needs nothing.
        if getattr(self, "_backend", None):
            self.close()

    def __getattr__(self, name: str) -> Any:
        # Stock code calls `self.ctransformers_llm_*`; here each such call also takes the turn.
        if name.startswith("ctransformers_llm_") and name.removeprefix("ctransformers_llm_") in native.FUNCTIONS:

            def call(*args: Any) -> Any:
                with self._turn.step():
                    if not self._llm:
                        raise EngineClosed("This model has been closed.", remedy="Load it again.")
                    self._regain_logits()
                    return getattr(self._lib, name)(self._llm, *args)

            return call
        raise AttributeError(f"'LLM' object has no attribute {name!r}")

    # ---- facts ---------------------------------------------------------------------------------------------------

    @property
    def vocab_size(self) -> int:
        """The number of tokens in the vocabulary."""
        return int(self._backend.vocab_size)

    @property
    def context_length(self) -> int:
        """The most tokens, prompt and answer together, that fit."""
        return int(self._backend.context_length)

    def is_eos_token(self, token: int) -> bool:
        """Whether `token` ends a generation; a model may have several such tokens."""
        return token in self.vocab.ends

    @property
    def threads(self) -> int:
        """The threads that evaluate: the config's, `$POCKETLLAMA_THREADS`, or one for each physical core."""
        return self._config.threads if self._config.threads > 0 else cpu.default_threads()

    def describe(self) -> dict[str, Any]:
        """Plain values about the loaded model, for status reports."""
        facts = {
            "path": self._model_path,
            "architecture": self._model_type,
            "context_length": self.context_length,
            "vocab_size": self.vocab_size,
            "threads": self.threads,
            "library": self.library.as_json(),
        }
        if isinstance(self._backend, own.Own):
            facts["memory"] = self._backend.memory()
        if self.draft:
            facts["draft"] = self.draft.describe()
        return facts

    # ---- text and tokens -----------------------------------------------------------------------------------------

    def tokenize(self, text: str, add_bos_token: bool | None = None, special: bool = False) -> list[int]:
        """The token ids of `text`; the beginning-of-sequence token comes first if the model's file asks for it.

        With `special`, the names of control tokens in the text stand for them (our own library only).
        """
        raw = check_text("text", text).encode()
        with self._turn.step():
            tokens: list[int] = self._backend.tokenize(
                raw, self.vocab.add_bos if add_bos_token is None else add_bos_token, special
            )
        return tokens

    def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]:
        """The token ids of `text`, with the beginning-of-sequence token only on request; `decode` undoes it."""
        return self.tokenize(text, bos, special)

    def detokenize(self, tokens: Sequence[int] | int, decode: bool = True) -> str | bytes:
        """The text of `tokens` as it stands inside a generation: str, or bytes if not `decode`.

        A list that begins with the beginning-of-sequence token begins a text, so that the space which the tokenizer
        put before it is taken away.
        """
        ids = check_tokens([tokens] if isinstance(tokens, int) else tokens, self.vocab_size)
        with self._turn.step():
            data = b"".join(map(self.piece, ids))
        if not decode:
            return data
        text = data.decode(errors="replace")
        starts = bool(ids) and ids[0] == self.vocab.bos and self.vocab.add_space_prefix
        return text.removeprefix(" ") if starts else text

    def decode(self, tokens: Sequence[int]) -> str:
        """The text whose `encode` is `tokens`: like `detokenize`, without the tokenizer's own leading space."""
        ids = check_tokens(tokens, self.vocab_size)
        with self._turn.step():
            if isinstance(self._backend, own.Own):
                return self._backend.decode(ids).decode(errors="replace")
            text = b"".join(map(self._backend.piece, ids)).decode(errors="replace")
        return text.removeprefix(" ") if self.vocab.add_space_prefix else text

    def piece(self, token: int) -> bytes:
        """The bytes that the token id `token` stands for; they need not be whole characters."""
        with self._turn.step():
            piece: bytes = self._backend.piece(token)
        return piece

    # ---- evaluation ----------------------------------------------------------------------------------------------

    def eval(self, tokens: Sequence[int], *, batch_size: int | None = None, threads: int | None = None) -> None:
        """Append `tokens` to the context and compute the logits behind the last one.

        UsageError for an empty list or an id outside the vocabulary; ContextOverflow when they do not fit.
        """
        self._evaluate(check_tokens(tokens, self.vocab_size), batch_size, threads, lambda: False)

    def _evaluate(
        self,
        tokens: list[int],
        batch_size: int | None,
        threads: int | None,
        cancel: Callable[[], bool],
        keep: int | None = None,
    ) -> None:
        """`eval` for checked ids, in chunks between which `cancel` is asked; Cancelled leaves a valid context. With
        `keep`, a full context forgets the older half of what is behind its first `keep` tokens."""
        if not tokens:
            raise UsageError("There is nothing to evaluate: the list of tokens is empty.")
        batch = self._config.batch_size if batch_size is None else batch_size
        workers = self._workers(threads)
        if batch < 1:
            raise UsageError(f"batch_size must be at least 1, not {batch}.")
        with self._turn.step():
            self._writer = None
            if keep is None:
                self._check_room(len(self._context) + len(tokens))
            for chunk in self._chunks.cut(tokens):
                while chunk:
                    if cancel():
                        raise Cancelled("Cancelled while the prompt was evaluated.")
                    if keep is not None and len(self._context) == self.context_length:
                        self._shift(keep)
                    part = chunk[: self.context_length - len(self._context)]
                    # Whatever happens in there, the cache behind this point is no longer what it was.
                    self._backend.evaluate(part, len(self._context), workers, flag_of(cancel))
                    self._context.extend(part)
                    self._logits_lost = False
                    chunk = chunk[len(part) :]

    def _regain_logits(self) -> None:
        if self._logits_lost and self._context:
            self._backend.evaluate(self._context[-1:], len(self._context) - 1, self.threads)
            self._logits_lost = False

    def _shift(self, keep: int) -> None:
        discard = (len(self._context) - keep) // 2
        self._backend.shift(keep, discard)
        del self._context[keep : keep + discard]
        self._clean = keep

    def _truncate(self, n: int) -> None:
        """Forget the context behind its first `n` tokens, which are clean."""
        del self._context[n:]
        self._clean = self._writer = None

    def _workers(self, threads: int | None) -> int:
        """The threads of a call in ctransformers' manner: None and negative numbers mean the config's."""
        if threads == 0:
            raise UsageError("threads must be at least 1, not 0.")
        return self.threads if threads is None or threads < 0 else threads

    def _check_room(self, n: int) -> None:
        """ContextOverflow if `n` tokens do not fit."""
        if n > self.context_length:
            raise ContextOverflow(
                f"{n} tokens do not fit the context of {self.context_length}.",
                remedy="Shorten the prompt, or load the model with a larger context_length.",
                data={"tokens": n, "context_length": self.context_length},
            )

    def sample(
        self,
        *,
        top_k: int | None = None,
        top_p: float | None = None,
        temperature: float | None = None,
        repetition_penalty: float | None = None,
        last_n_tokens: int | None = None,
        seed: int | None = None,
    ) -> int:
        """Choose a token from the logits of the last evaluation; `seed` seeds this one choice."""
        options = sampling_of(
            self._config,
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            repetition_penalty=repetition_penalty,
            last_n_tokens=last_n_tokens,
            seed=seed,
        )
        with self._turn.step():
            return self._choose(self._backend.sampler(options))

    def sampler(self, options: Sampling, choices: Choices | None = None) -> Any:
        """The state of one request's choices: its options and its own stream of random numbers."""
        return self._backend.sampler(options, choices)

    def _choose(self, sampler: Any) -> int:
        """The next token; the caller has the turn."""
        if not self._context:
            raise UsageError("There is nothing to sample from: no token has been evaluated yet.")
        self._regain_logits()
        return int(self._backend.choose(sampler, self._context))

    def reset(self) -> None:
        """Forget the context."""
        with self._turn.step():
            self._truncate(0)  # what the library holds behind position 0 is never looked at

    def generate(self, tokens: Sequence[int], **options: Any) -> Generator[int, None, None]:
        """New tokens after `tokens`, until the model ends its text or the context is full. Options as in `__call__`."""
        reset = options.pop("reset", None)
        generation = Generation(
            self,
            check_tokens(tokens, self.vocab_size),
            sampling_of(self._config, **{k: v for k, v in options.items() if k not in ("batch_size", "threads")}),
            batch_size=options.get("batch_size"),
            threads=options.get("threads"),
            keep_context=reset is False or (reset is None and not self._config.reset),
            bounded=False,
        )
        yield from generation.tokens()

    # ---- text generation -----------------------------------------------------------------------------------------

    def complete(
        self,
        prompt: str | Sequence[int],
        options: Sampling | None = None,
        *,
        cancel: Callable[[], bool] = lambda: False,
        choices: Choices | None = None,
        **values: Any,
    ) -> Generation:
        """A generation after `prompt`: iterate it for pieces of text as they come, or take its `result()`.

        `options`, or its fields as keywords. `cancel` is asked before each chunk of the prompt and each token, and a
        `Cancel` is heard within them; a cancelled generation ends normally, with what there is and finish_reason
        "cancelled". ContextOverflow is raised here, before anything is computed. `choices` constrains the tokens and
        tells how likely they were (our own library only).
        """
        if options is None:
            options = Sampling.of(**values)
        tokens = self.tokenize(prompt) if isinstance(prompt, str) else check_tokens(prompt, self.vocab_size)
        return Generation(self, tokens, options, cancel=cancel, choices=choices)

    def batch(self) -> Batch:
        """Many generations that are decoded together; see `Batch`."""
        return Batch(self)

    def complete_batch(
        self,
        prompts: Sequence[str | Sequence[int]],
        options: Sampling | Sequence[Sampling] | None = None,
        *,
        on_piece: Callable[[int, str], object] = lambda index, piece: None,
        return_errors: bool = False,
        **values: Any,
    ) -> list[Any]:
        """Complete many prompts, `n_seqs` of them at a time, each exactly as `complete` would by itself.

        `options`, or its fields as keywords, hold for all; or it is a list, one for each. `on_piece` gets a prompt's
        index and the next piece of its text. The completions, in order. What goes wrong with one prompt does not touch
        the others: the first such error is raised when all are done, or with `return_errors` stands in its place.
        """
        each = [options or Sampling.of(**values)] * len(prompts) if not isinstance(options, Sequence) else list(options)
        if len(each) != len(prompts):
            raise UsageError(f"There are options for {len(each)} prompts, and {len(prompts)} prompts.")
        results = complete_all(self, prompts, each, on_piece)
        if not return_errors and (failed := next((r for r in results if isinstance(r, PocketllamaError)), None)):
            raise failed
        return results

    def _stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """What ctransformers' `__call__` iterates."""
        reset, max_new = options.pop("reset", None), options.pop("max_new_tokens", None)
        batch_size, threads = options.pop("batch_size", None), options.pop("threads", None)
        yield from Generation(
            self,
            self.tokenize(prompt),
            sampling_of(self._config, max_tokens=max_new, **options),
            batch_size=batch_size,
            threads=threads,
            keep_context=reset is False or (reset is None and not self._config.reset),
        )

    def embed(
        self,
        input: str | Sequence[int],
        *,
        pooling: str = "last",
        normalize: bool = False,
        batch_size: int | None = None,
        threads: int | None = None,
        cancel: Callable[[], bool] = lambda: False,
    ) -> list[float]:
        """The embedding of a text or of token ids, n_embd floats: the final hidden state of the last token, or with
        `pooling="mean"` the mean of all (our own library only). `normalize`: of length 1. `cancel`, as
        in `complete`, makes it raise Cancelled."""
        if pooling not in ("last", "mean"):
            raise UsageError(f'pooling is "last" or "mean", not {pooling!r:.80}.')
        tokens = self.tokenize(input) if isinstance(input, str) else check_tokens(input, self.vocab_size)
        if not tokens:
            raise UsageError("There is nothing to embed: the text has no tokens.")
        with self._turn.step():
            self._truncate(0)  # the state of every token is wanted anew, whatever the cache holds
            if pooling == "last":
                self._evaluate(tokens, batch_size, threads, cancel)
                state: list[float] = self._backend.embedding()
            else:
                self._check_room(len(tokens))
                state = self._backend.mean_embedding(tokens, self._workers(threads), flag_of(cancel))
                self._context.extend(tokens)
        if not state:
            raise EngineError(f"{self.library.path.name} gives no embeddings for {self._model_type} models.")
        length = math.hypot(*state) if normalize else 0.0
        return [x / length for x in state] if length > 0 else state

    def score(self, tokens: Sequence[int]) -> Any:
        """The logits behind each of `tokens`, evaluated as a new text: float32, shape (n, vocab).

        A NumPy array where NumPy is installed, else a memoryview of that shape.
        """
        ids = check_tokens(tokens, self.vocab_size)
        if not 0 < len(ids) <= self.context_length:
            raise ContextOverflow(f"From 1 to {self.context_length} tokens can be scored, not {len(ids)}.")
        with self._turn.step():
            self._truncate(0)
            scores = self._backend.score(ids, self.threads)
            self._context.extend(ids)
        try:
            import numpy
        except ImportError:
            return scores
        return numpy.asarray(scores)
