"""llama.cpp as an engine to be measured: llama-cpp-python's plain C functions, in that package's environment."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp as c
import numpy as np

_BATCH = 512  # n_batch and n_ubatch


@c.llama_log_callback
def _silent(level: int, text: bytes, user_data: Any) -> None:
    pass


c.llama_log_set(_silent, ctypes.c_void_p())
c.llama_backend_init()


class Model:
    """A file's weights, which several contexts may share."""

    def __init__(self, path: Path) -> None:
        self.handle = c.llama_model_load_from_file(str(path).encode(), c.llama_model_default_params())
        if not self.handle:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self.vocab_size = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.handle))

    def close(self) -> None:
        c.llama_model_free(self.handle)


class Context:
    """An engine as `pocketllama.bench.session` wants it."""

    def __init__(self, model: Model, n_ctx: int, n_seqs: int, threads: int, *, flash: bool, f32: bool = False) -> None:
        self.vocab_size = model.vocab_size
        p = c.llama_context_default_params()
        p.n_ctx, p.n_seq_max = -(-n_ctx // 256) * 256 * n_seqs, n_seqs  # each has its share
        p.n_batch = p.n_ubatch = _BATCH
        p.n_threads = p.n_threads_batch = threads
        p.flash_attn_type = c.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if f32:
            p.type_k = p.type_v = c.GGML_TYPE_F32
        self.handle = c.llama_init_from_model(model.handle, p)
        if not self.handle:
            raise RuntimeError("llama.cpp cannot make a context")
        self._memory = c.llama_get_memory(self.handle)
        self._length = [0] * n_seqs
        self._batch = c.llama_batch_init(_BATCH, 0, 1)

    def evaluate_items(self, items: Sequence[tuple[int, int, int, bool]], threads: int) -> None:
        for start in range(0, len(items), _BATCH):
            self._decode(items[start : start + _BATCH])

    def _decode(self, items: Sequence[tuple[int, int, int, bool]]) -> None:
        batch = self._batch
        batch.n_tokens = len(items)
        for i, (token, seq, pos, wanted) in enumerate(items):
            if pos < self._length[seq]:
                c.llama_memory_seq_rm(self._memory, seq, pos, -1)
            self._length[seq] = pos + 1
            batch.token[i], batch.pos[i], batch.logits[i] = token, pos, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, seq
        if code := c.llama_decode(self.handle, batch):
            raise RuntimeError(f"llama_decode gave {code}")
        c.llama_synchronize(self.handle)

    def score(self, tokens: Sequence[int]) -> Any:
        """The logits behind each token of a new text: (n, vocabulary)."""
        rows = []
        for start in range(0, len(tokens), _BATCH):
            part = tokens[start : start + _BATCH]
            self._decode([(token, 0, start + i, True) for i, token in enumerate(part)])
            logits = c.llama_get_logits(self.handle)
            rows.append(np.ctypeslib.as_array(logits, (len(part), self.vocab_size)).copy())
        return np.concatenate(rows)

    def close(self) -> None:
        c.llama_batch_free(self._batch)
        c.llama_free(self.handle)


def version() -> str:
    return f"llama-cpp-python {c.__version__}"


def features() -> str:
    """What it was built for."""
    words: bytes = c.llama_print_system_info()
    return words.decode()


# By llama.cpp's numbers for files.
_FILE_TYPES = {"q4_k_m": 15, "q6_k": 18, "q5_k_m": 17}


def quantize(source: Path, out: Path, form: str) -> None:
    params = c.llama_model_quantize_default_params()
    params.ftype, params.nthread = _FILE_TYPES[form], 1
    if c.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp cannot make {out}")
