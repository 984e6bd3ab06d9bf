"""Our own library, through its sized and checked functions (native/include/pocketllama.h)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import (
    Cancelled,
    ContextOverflow,
    EngineClosed,
    EngineError,
    ModelInvalid,
    OutOfMemory,
    PocketllamaError,
    StorageError,
    UsageError,
)
from . import native
from .choices import Choices, Constraint, TokenLogprobs
from .options import Sampling
from .vocab import Vocab

_BOS, _SPECIAL = 1, 2
_MEAN = 1
_KV_TYPES = ("f16", "f32", "q8_0")  # in the order of pl_kv_type
_ERRORS: dict[int, type[PocketllamaError]] = {
    -2: UsageError,
    -3: ContextOverflow,
    -4: ModelInvalid,
    -5: ModelInvalid,
    -6: OutOfMemory,
    -7: StorageError,
    -8: Cancelled,
}
_REMEDIES: dict[type[PocketllamaError], str] = {
    OutOfMemory: "Ask for a shorter context (context_length, --ctx), or a smaller cache (kv_type, --kv-type q8_0)."
}


class _Options(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("context_length", c_int32),
        ("n_seqs", c_int32),
        ("threads", c_int32),
        ("kv_type", c_int32),
        ("no_mmap", c_int32),
        ("vocab_only", c_int32),
    ]


class _Item(Structure):
    _fields_ = [("token", c_int32), ("seq", c_int32), ("pos", c_int32), ("wants_logits", c_int32)]


class _Sampling(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("seed", c_uint64),
        ("temperature", c_float),
        ("top_k", c_int32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("typical_p", c_float),
        ("xtc_probability", c_float),
        ("xtc_threshold", c_float),
        ("penalty_last_n", c_int32),
        ("repetition_penalty", c_float),
        ("frequency_penalty", c_float),
        ("presence_penalty", c_float),
        ("dry_multiplier", c_float),
        ("dry_base", c_float),
        ("dry_allowed_length", c_int32),
        ("dry_last_n", c_int32),
        ("dry_breakers", POINTER(c_int32)),
        ("n_dry_breakers", c_int32),
        ("mirostat", c_int32),
        ("mirostat_tau", c_float),
        ("mirostat_eta", c_float),
        ("bias_tokens", POINTER(c_int32)),
        ("bias_values", POINTER(c_float)),
        ("n_bias", c_int32),
    ]


_i32_p, _f32_p = POINTER(c_int32), POINTER(c_float)
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "last_error": ([], c_char_p),
    "last_error_kind": ([], c_int32),
    "isa": ([], c_char_p),
    "load": ([c_char_p, POINTER(_Options)], c_void_p),
    "free": ([c_void_p], None),
    "vocab_size": ([c_void_p], c_int32),
    "context_length": ([c_void_p], c_int32),
    "embedding_size": ([c_void_p], c_int32),
    "memory": ([c_void_p, c_int32], c_int64),
    "bos": ([c_void_p], c_int32),
    "adds_bos": ([c_void_p], c_int32),
    "ends": ([c_void_p, _i32_p, c_int64], c_int64),
    "tokenize": ([c_void_p, c_char_p, c_int64, c_int32, _i32_p, c_int64], c_int64),
    "piece": ([c_void_p, c_int32, c_int32, c_char_p, c_int64], c_int64),
    "detokenize": ([c_void_p, _i32_p, c_int64, c_int32, c_char_p, c_int64], c_int64),
    "eval": ([c_void_p, POINTER(_Item), c_int64, _i32_p], c_int32),
    "hidden": ([c_void_p, _f32_p, c_int64], c_int64),
    "score": ([c_void_p, _i32_p, c_int64, _f32_p, c_int64, _i32_p], c_int32),
    "embed": ([c_void_p, _i32_p, c_int64, c_int32, _f32_p, c_int64, _i32_p], c_int32),
    "shift": ([c_void_p, c_int32, c_int32, c_int32], c_int32),
    "set_threads": ([c_void_p, c_int32], c_int32),
    "logprobs": ([c_void_p, c_int64, _i32_p, c_int64, c_int64, _f32_p, c_int64], c_int32),
    "sampler_allow": ([c_void_p, c_void_p, c_char_p, c_int64], c_int32),
    "sampling_defaults": ([POINTER(_Sampling)], None),
    "sampler_new": ([POINTER(_Sampling)], c_void_p),
    "sampler_free": ([c_void_p], None),
    "sample": ([c_void_p, c_void_p, c_int64, _i32_p, c_int64], c_int32),
    "probe_bandwidth": ([c_int32], c_double),
    "probe_int8": ([c_int32], c_double),
}


def speaks(lib: ctypes.CDLL) -> bool:
    """Whether a library has our functions beside ctransformers'."""
    return hasattr(lib, "pl_load")


def identify(library: native.Library, lib: ctypes.CDLL) -> native.Library:
    """What `library` turns out to be once it is loaded: ours, with the instruction set it has chosen, or as it was."""
    return replace(library, kind="native", isa=bind(lib).pl_isa().decode()) if speaks(lib) else library


def bind(lib: ctypes.CDLL) -> ctypes.CDLL:
    """`lib` with the signatures of our functions; EngineError if it has none, or those of another version."""
    if not speaks(lib):
        raise EngineError(f"{lib._name} is not pocketllama's own library.", remedy="pocketllama build")
    for name, (argtypes, restype) in _SIGNATURES.items():
        function = getattr(lib, f"pl_{name}", None)
        if function is None:
            raise EngineError(f"{lib._name} is of another version: it has no pl_{name}.", remedy="pocketllama build")
        function.argtypes, function.restype = argtypes, restype
    return lib


def probe(lib: Any, limit: str, threads: int) -> float:
    """What this machine does at most: "bandwidth", bytes read a second, or "int8", products of int8 a second."""
    value = float(getattr(lib, f"pl_probe_{limit}")(threads))
    if value < 0:
        raise error(lib)
    return value


def error(lib: Any, what: str = "") -> PocketllamaError:
    """What the last call that failed had to say."""
    # Some are sentences that name the file, others go on behind a name.
    words = (lib.pl_last_error() or b"").decode(errors="replace").removesuffix(".")
    cls = _ERRORS.get(lib.pl_last_error_kind(), EngineError)
    named = what and what not in words
    return cls(f"{what}: {words}." if named else f"{words[:1].upper()}{words[1:]}.", remedy=_REMEDIES.get(cls))


class Own:
    """A model, or a vocabulary alone, in our library. See `Backend`."""

    def __init__(
        self,
        lib: ctypes.CDLL,
        path: Path,
        context_length: int,
        *,
        mmap: bool = True,
        kv_type: str = "f16",
        n_seqs: int = 1,
        vocab_only: bool = False,
    ) -> None:
        self.lib: Any = bind(lib)
        self.handle: int | None = None
        if kv_type not in _KV_TYPES:
            raise UsageError(f"kv_type is one of {', '.join(_KV_TYPES)}, not {kv_type!r:.80}.")
        options = _Options(
            ctypes.sizeof(_Options), context_length, n_seqs, 1, _KV_TYPES.index(kv_type), not mmap, vocab_only
        )
        self.handle = self.lib.pl_load(str(path).encode(), byref(options))
        if not self.handle:
            raise error(self.lib, str(path))
        self.vocab_size = self.call("vocab_size")
        self.context_length = self.call("context_length")
        self.architecture = self.lib.ctransformers_llm_architecture(self.handle).decode()
        self._threads = 0
        bos = self.call("bos")
        self.vocab = Vocab(
            size=self.vocab_size,
            bos=bos if bos >= 0 else None,
            add_bos=bool(self.call("adds_bos")),
            add_space_prefix=False,  # decode() is the library's own here
            ends=self._ends(),
            nul=None,
        )

    def _ends(self) -> frozenset[int]:
        out = (c_int32 * self.call("ends", None, 0))()
        self.call("ends", out, len(out))
        return frozenset(out)

    def call(self, name: str, *args: Any) -> int:
        """One of our functions on this model; its error as an exception."""
        if not self.handle:
            raise EngineClosed("This model has been closed.", remedy="Load it again with LLM.from_pretrained().")
        value = int(getattr(self.lib, f"pl_{name}")(self.handle, *args))
        if value < 0 and name not in ("bos",):
            raise error(self.lib)
        return value

    def memory(self) -> dict[str, int]:
        """Bytes: of the files, of the cache, of the arrays of an evaluation."""
        return {name: self.call("memory", what) for what, name in enumerate(("weights", "cache", "arrays"))}

    def tokenize(self, raw: bytes, bos: bool, special: bool) -> list[int]:
        flags = (_BOS if bos and self.vocab.add_bos else 0) | (_SPECIAL if special else 0)
        out = (c_int32 * (len(raw) + 16))()
        n = self.call("tokenize", raw, len(raw), flags, out, len(out))
        if n > len(out):  # rare: characters that become more tokens than they have bytes
            out = (c_int32 * n)()
            n = self.call("tokenize", raw, len(raw), flags, out, n)
        ids = list(out[:n])
        if bos and not self.vocab.add_bos and self.vocab.bos is not None:
            ids.insert(0, self.vocab.bos)  # the caller wants what the file does not
        return ids

    def piece(self, token: int) -> bytes:
        out = ctypes.create_string_buffer(256)
        n = self.call("piece", token, 0, out, len(out))
        if n > len(out):
            out = ctypes.create_string_buffer(n)
            n = self.call("piece", token, 0, out, n)
        return out.raw[:n]

    def decode(self, tokens: Sequence[int]) -> bytes:
        """The text whose tokens these are."""
        ids = (c_int32 * len(tokens))(*tokens)
        n = self.call("detokenize", ids, len(ids), 0, None, 0)
        out = ctypes.create_string_buffer(n or 1)
        self.call("detokenize", ids, len(ids), 0, out, n)
        return out.raw[:n]

    def _use(self, threads: int) -> None:
        if threads != self._threads:
            self.call("set_threads", threads)
            self._threads = threads

    def evaluate(self, tokens: list[int], n_past: int, threads: int, abort: c_int32 | None = None) -> None:
        self.evaluate_batch([(0, n_past, tokens)], threads, abort)

    def evaluate_batch(
        self, parts: Sequence[tuple[int, int, list[int]]], threads: int, abort: c_int32 | None = None
    ) -> None:
        """Evaluate (sequence, n_past, tokens) together; the logits behind the last token of each are kept, as rows."""
        items = [
            (token, seq, n_past + i, i == len(tokens) - 1)
            for seq, n_past, tokens in parts
            for i, token in enumerate(tokens)
        ]
        self.evaluate_items(items, threads, abort)

    def evaluate_items(
        self, items: Sequence[tuple[int, int, int, bool]], threads: int, abort: c_int32 | None = None
    ) -> None:
        """Evaluate (token, sequence, position, whether the logits behind it are kept) of any sequences together."""
        self._use(threads)
        self.call("eval", (_Item * len(items))(*(_Item(*item) for item in items)), len(items), abort)

    def shift(self, keep: int, discard: int, seq: int = 0) -> None:
        self.call("shift", seq, keep, discard)

    def sampler(self, options: Sampling, choices: Choices | None = None) -> _Sampler:
        return _Sampler(self, options, choices)

    def choose(self, sampler: _Sampler, context: Sequence[int], row: int = -1) -> int:
        ids = (c_int32 * len(context))(*context)
        choices = sampler.choices
        if choices and choices.constraint:
            self.call("sampler_allow", sampler.handle, self._mask(choices.constraint), self.vocab_size)
        token = self.call("sample", sampler.handle, row, ids, len(ids))
        if choices:
            if choices.n_top is not None and token not in self.vocab.ends:
                choices.logprobs.append(self.logprobs(token, choices.n_top, row))
            if choices.constraint:
                choices.constraint.accept(token)
        return token

    def _mask(self, constraint: Constraint) -> bytes:
        mask = constraint.mask()
        if len(mask) < (self.vocab_size + 31) // 32 * 4:
            raise EngineError(f"A constraint gave a mask of {len(mask)} bytes for {self.vocab_size} tokens.")
        return mask

    def logprobs(self, token: int, n_top: int, row: int = -1) -> TokenLogprobs:
        """How likely `token` and the `n_top` likeliest were, by a row of the kept logits."""
        n = 1 + min(n_top, self.vocab_size)
        tokens, out = (c_int32 * n)(token), (c_float * n)()
        self.call("logprobs", row, tokens, 1, n - 1, out, n)
        return TokenLogprobs(token, out[0], tuple(zip(tokens[1:], out[1:], strict=True)))

    def embedding(self) -> list[float]:
        out = (c_float * self.call("embedding_size"))()
        self.call("hidden", out, len(out))
        return list(out)

    def mean_embedding(self, tokens: list[int], threads: int, abort: c_int32 | None = None) -> list[float]:
        self._use(threads)
        out = (c_float * self.call("embedding_size"))()
        self.call("embed", (c_int32 * len(tokens))(*tokens), len(tokens), _MEAN, out, len(out), abort)
        return list(out)

    def score(self, tokens: list[int], threads: int) -> Any:
        self._use(threads)
        out = (c_float * (len(tokens) * self.vocab_size))()
        self.call("score", (c_int32 * len(tokens))(*tokens), len(tokens), out, len(out), None)
        return memoryview(out).cast("B").cast("f", (len(tokens), self.vocab_size))

    def close(self) -> None:
        handle, self.handle = self.handle, None
        if handle:
            self.lib.pl_free(handle)


class _Sampler:
    """One request's choices, freed with it."""

    def __init__(self, own: Own, options: Sampling, choices: Choices | None = None) -> None:
        self.choices = choices
        p = _Sampling()
        own.lib.pl_sampling_defaults(byref(p))
        p.seed = native.seed(options.seed)
        p.temperature, p.top_k, p.top_p = options.temperature, options.top_k, options.top_p
        p.repetition_penalty, p.penalty_last_n = options.repetition_penalty, options.last_n_tokens
        p.min_p, p.typical_p = options.min_p, options.typical_p
        p.frequency_penalty, p.presence_penalty = options.frequency_penalty, options.presence_penalty
        p.xtc_probability, p.xtc_threshold = options.xtc_probability, options.xtc_threshold
        p.dry_multiplier, p.dry_base = options.dry_multiplier, options.dry_base
        p.dry_allowed_length = options.dry_allowed_length
        p.mirostat, p.mirostat_tau, p.mirostat_eta = options.mirostat, options.mirostat_tau, options.mirostat_eta
        n = len(options.logit_bias)
        p.bias_tokens = (c_int32 * n)(*(token for token, _ in options.logit_bias))
        p.bias_values = (c_float * n)(*(value for _, value in options.logit_bias))
        p.n_bias = n
        self._lib = own.lib
        self.handle: int | None = own.lib.pl_sampler_new(byref(p))
        if not self.handle:
            raise error(own.lib)

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self._lib.pl_sampler_free(self.handle)
