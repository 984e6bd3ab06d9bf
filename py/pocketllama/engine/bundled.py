"""ctransformers' own library of September 2023, through its unsized ABI."""

from __future__ import annotations

import random
from collections.abc import Sequence
from ctypes import c_int, c_int32
from dataclasses import fields
from typing import Any

from ..errors import EngineClosed, EngineError, ModelInvalid, UsageError
from . import native
from .choices import Choices
from .files import ModelFile
from .options import Sampling
from .vocab import Vocab

_GREEDY_BELOW = 1e-4  # dividing logits by less than this overflows a float32
# What this library's sampler knows; the other options must be left alone.
_KNOWN = frozenset("max_tokens temperature top_k top_p repetition_penalty last_n_tokens seed stop speculate".split())


class Bundled:
    """A model in ctransformers' library. See `Backend`."""

    def __init__(self, library: native.Library, file: ModelFile, model_type: str | None, config: Any) -> None:
        n_ctx = file.context_length(config.context_length) if file.vocab else config.context_length
        self.lib: Any = native.load(library)
        self.handle: int | None = self.lib.ctransformers_llm_create(
            str(file.path).encode(), (model_type or "gguf").encode(), native.config_struct(config, n_ctx)
        )
        if not self.handle:
            raise ModelInvalid(
                f"The library {library.path.name} could not load {file.path}; its own words are on stderr.",
                remedy=f"Look at the file with: pocketllama show {file.path}",
            )
        self._name = library.path.name
        self.architecture = self.call("architecture").decode() or model_type or "gguf"
        self.vocab_size = int(self.call("vocab_size"))
        # The 2023 models that do not tell get what their library allots.
        self.context_length = int(self.call("context_length")) or 512
        self.vocab = file.vocab or Vocab.unknown(
            self.vocab_size,
            int(self.call("bos_token_id")),
            int(self.call("eos_token_id")),
            llama=self.architecture == "llama",
        )

    def call(self, name: str, *args: Any) -> Any:
        """One function of the ABI on this model."""
        if not self.handle:
            raise EngineClosed("This model has been closed.", remedy="Load it again with LLM.from_pretrained().")
        return getattr(self.lib, f"ctransformers_llm_{name}")(self.handle, *args)

    def tokenize(self, raw: bytes, bos: bool, special: bool) -> list[int]:
        if special:
            raise UsageError(
                "ctransformers' library cannot take the names of control tokens in a text for them.",
                remedy="pocketllama build",
            )
        if b"\0" in raw:
            # The ABI passes a C string, which would end there and lose the rest without a word.
            raise UsageError(f"The text holds a NUL character at byte {raw.index(0)}, which this library cannot take.")
        # The ABI passes no capacity. A byte can become a token of its own, and a space becomes U+2581, three bytes.
        out = (c_int * (3 * len(raw) + 16))()
        n = self.call("tokenize", raw, bos, out)
        if not 0 <= n <= len(out):
            raise EngineError(f"The library tokenized {len(raw)} bytes into {n} tokens.")
        return list(out[:n])

    def piece(self, token: int) -> bytes:
        if token == self.vocab.nul:
            return b"\0"  # a C string cannot say it
        piece: bytes | None = self.call("detokenize", token)
        return piece or b""

    def evaluate(self, tokens: list[int], n_past: int, threads: int, abort: c_int32 | None = None) -> None:
        ids = (c_int * len(tokens))(*tokens)
        if not self.call("batch_eval", ids, len(tokens), n_past, max(len(tokens), 64), threads):
            raise EngineError(f"The library failed to evaluate {len(tokens)} tokens behind {n_past}.")

    def shift(self, keep: int, discard: int) -> None:
        raise UsageError("ctransformers' library cannot shift a context.", remedy="pocketllama build")

    def sampler(self, options: Sampling, choices: Choices | None = None) -> tuple[Sampling, random.Random]:
        if choices:
            raise UsageError(
                "ctransformers' library cannot constrain a text, and does not tell how likely its tokens are.",
                remedy="pocketllama build",
            )
        for field in fields(options):
            if field.name not in _KNOWN and getattr(options, field.name) != field.default:
                raise UsageError(f"ctransformers' library does not know the option {field.name}.")
        return options, random.Random(options.seed if options.seed >= 0 else None)

    def choose(self, sampler: tuple[Sampling, random.Random], context: Sequence[int]) -> int:
        # The library seeds its generator anew at each call: with one seed for all of them, every choice would fall on
        # the same point of the distribution. So it gets the next number of the request's own stream.
        options, rng = sampler
        n = self.context_length if options.last_n_tokens < 0 else options.last_n_tokens
        recent = context[-n:] if n else []
        greedy = options.temperature < _GREEDY_BELOW
        token = self.call(
            "sample",
            (c_int * len(recent))(*recent),
            len(recent),
            1 if greedy else min(options.top_k or self.vocab_size, self.vocab_size),
            1.0 if greedy else options.top_p,
            1.0 if greedy else options.temperature,
            options.repetition_penalty,
            rng.getrandbits(31),
        )
        return int(token)

    def embedding(self) -> list[float]:
        n = self.call("embeddings_size")
        return list(self.call("embeddings_data")[:n]) if n > 0 else []

    def mean_embedding(self, tokens: list[int], threads: int, abort: c_int32 | None = None) -> list[float]:
        raise UsageError(
            "ctransformers' library keeps the last token's state only, and has no mean.", remedy="pocketllama build"
        )

    def score(self, tokens: list[int], threads: int) -> Any:
        # It keeps the logits of the last token only, so the tokens go in one by one.
        rows = bytearray()
        for i, token in enumerate(tokens):
            self.evaluate([token], i, threads)
            data = self.call("logits_data")
            rows += bytes(memoryview((type(data.contents) * self.vocab_size).from_address(native.address(data))))
        return memoryview(rows).cast("f", (len(tokens), self.vocab_size))

    def close(self) -> None:
        handle, self.handle = self.handle, None
        if handle:
            self.lib.ctransformers_llm_delete(handle)
