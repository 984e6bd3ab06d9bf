"""The native library as a test sees it: a few functions of native/include/pocketllama.h over NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_float, c_int32, c_int64, c_uint32, c_void_p
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


KV_TYPES = ("f16", "f32", "q8_0")  # in the order of pl_kv_type


class Options(ctypes.Structure):
    _fields_ = [("size", c_uint32)] + [
        (name, c_int32)
        for name in ("context_length", "n_seqs", "threads", "kv_type", "no_mmap", "vocab_only")
    ]  # fmt: skip


class Item(ctypes.Structure):
    _fields_ = [(name, c_int32) for name in ("token", "seq", "pos", "wants_logits")]


class NativeError(Exception):
    """What pl_last_error said; `kind` is its pl_error."""

    def __init__(self, kind: int, words: str) -> None:
        super().__init__(f"{words} ({kind})")
        self.kind = kind


class Library:
    """The loaded shared library."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lib = ctypes.CDLL(str(path))
        signatures = {
            "pl_isa": (c_char_p, []),
            "pl_architectures": (c_char_p, []),
            "pl_last_error": (c_char_p, []),
            "pl_last_error_kind": (c_int32, []),
            "pl_load": (c_void_p, [c_char_p, POINTER(Options)]),
            "pl_free": (None, [c_void_p]),
            "pl_vocab_size": (c_int32, [c_void_p]),
            "pl_eval": (c_int32, [c_void_p, POINTER(Item), c_int64, POINTER(c_int32)]),
            "pl_logits": (c_int64, [c_void_p, POINTER(c_float), c_int64]),
            "pl_score": (c_int32, [c_void_p, POINTER(c_int32), c_int64, POINTER(c_float), c_int64, POINTER(c_int32)]),
            "pl_set_threads": (c_int32, [c_void_p, c_int32]),
            "pl_shift": (c_int32, [c_void_p, c_int32, c_int32, c_int32]),
        }
        for name, (result, arguments) in signatures.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
        self._lib = lib
        # Asking makes the table of kernels, and reads POCKETLLAMA_ISA while it is what the user set.
        self.isa = lib.pl_isa().decode()

    def architectures(self) -> list[str]:
        names: bytes = self._lib.pl_architectures()
        return names.decode().split(", ")

    def error(self) -> NativeError:
        words: bytes = self._lib.pl_last_error()
        return NativeError(self._lib.pl_last_error_kind(), words.decode())

    def load(self, path: Path, *, n_ctx: int = 128, n_seqs: int = 1, threads: int = 1, kv: str = "f32") -> Model:
        options = Options(ctypes.sizeof(Options), n_ctx, n_seqs, threads, KV_TYPES.index(kv))
        handle = self._lib.pl_load(str(path).encode(), ctypes.byref(options))
        if not handle:
            raise self.error()
        return Model(self, handle)


class Model:
    """A loaded model; a `with` frees it."""

    def __init__(self, library: Library, handle: int) -> None:
        self._library, self._lib, self._handle = library, library._lib, handle
        self.n_vocab = int(self._lib.pl_vocab_size(handle))

    def __enter__(self) -> Model:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._lib.pl_free(self._handle)

    def eval(self, items: Sequence[tuple[int, int, int]]) -> F32:
        """The logits behind each (token, seq, pos): (n, n_vocab)."""
        array = (Item * len(items))(*[Item(int(token), seq, pos, 1) for token, seq, pos in items])
        self._check(self._lib.pl_eval(self._handle, array, len(items), None))
        out = np.full((len(items), self.n_vocab), np.nan, np.float32)
        self._check(self._lib.pl_logits(self._handle, out.ctypes.data_as(POINTER(c_float)), out.size))
        return out

    def score(self, tokens: NDArray[np.int32]) -> F32:
        """The logits behind each token of a text: (n, n_vocab)."""
        out = np.full((len(tokens), self.n_vocab), np.nan, np.float32)
        ids = np.ascontiguousarray(tokens, np.int32).ctypes.data_as(POINTER(c_int32))
        floats = out.ctypes.data_as(POINTER(c_float))
        self._check(self._lib.pl_score(self._handle, ids, len(tokens), floats, out.size, None))
        return out

    def chunks(self, tokens: NDArray[np.int32], sizes: Sequence[int], seq: int = 0) -> F32:
        """The same in pieces of these sizes, one evaluation after the other."""
        assert sum(sizes) == len(tokens)
        rows, at = [], 0
        for size in sizes:
            rows.append(self.eval([(int(tokens[i]), seq, i) for i in range(at, at + size)]))
            at += size
        return np.concatenate(rows)

    def shift(self, seq: int, keep: int, discard: int) -> None:
        self._check(self._lib.pl_shift(self._handle, seq, keep, discard))

    def set_threads(self, n: int) -> None:
        self._check(self._lib.pl_set_threads(self._handle, n))

    def _check(self, result: int) -> None:
        if result < 0:
            raise self._library.error()
