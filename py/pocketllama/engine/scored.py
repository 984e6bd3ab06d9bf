"""A model whose answers are measured: losses, distances from another model, and what its matrices are multiplied by.

Through our own library's functions of native/src/abi_measure.cc; no NumPy is needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int32, c_int64, c_uint8, c_void_p
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import UsageError
from . import cpu, native, own
from .files import trained_context


class _Loss(Structure):
    _fields_ = [("loss", c_double), ("base_loss", c_double), ("divergence", c_double), ("same_top", c_int64)]


_SIGNATURES: dict[str, list[Any]] = {
    "pl_pack_logits": [c_void_p, c_int64, c_int64, POINTER(c_uint8), c_int64],
    "pl_losses": [
        *(c_void_p, c_int64, POINTER(c_int32), c_int64, POINTER(c_uint8), c_int64, POINTER(_Loss), c_int64),
    ],
    "pl_watch": [c_void_p, c_int32],
    "pl_watched": [c_void_p, c_char_p, POINTER(c_float), c_int64, POINTER(c_int64), c_int64],
}
_RESULTS = {"pl_losses": c_int32, "pl_watch": c_int32}
_MOST_EXPERTS = 1 << 16


@dataclass(frozen=True)
class Loss:
    """Of one token that came: -log p by this model and by the base (natural), the divergence of this model's whole
    distribution from the base's, and whether both hold the same token for the likeliest."""

    loss: float
    base_loss: float = 0.0
    divergence: float = 0.0
    same_top: bool = False


class ScoredModel:
    """The model in the file at `path`, in a context of `n_ctx` tokens; a `with` closes it."""

    def __init__(self, path: Path, n_ctx: int, *, threads: int | None = None, kv_type: str = "f16") -> None:
        if n_ctx < 2:
            raise UsageError(f"A context of {n_ctx} tokens has nothing to predict.")
        self.threads = cpu.default_threads() if threads is None else threads
        if not 1 <= self.threads <= 1024:
            raise UsageError(f"There may be 1 to 1024 threads, not {self.threads}.")
        lib = own.bind(native.load(native.find()))
        for name, arguments in _SIGNATURES.items():
            function = getattr(lib, name)
            function.argtypes, function.restype = arguments, _RESULTS.get(name, c_int64)
        self._own = own.Own(lib, path, n_ctx, kv_type=kv_type)
        self.n_vocab = self._own.vocab_size
        self.trained_context = trained_context(path)  # tokens; 0 where the file does not say
        # What texts of this model begin with; None where they begin with nothing.
        self.bos = self._own.vocab.bos if self._own.vocab.add_bos else None

    def __enter__(self) -> ScoredModel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._own.close()

    def encode(self, text: str) -> list[int]:
        """The text's tokens, without what a text begins with."""
        return self._own.tokenize(text.encode(), False, False)

    @property
    def bytes_per_row(self) -> int:
        """Of packed logits."""
        return 12 + 2 * self.n_vocab

    def evaluate(self, tokens: Sequence[int], first: int) -> None:
        """Read `tokens` as a new text, and keep the logits behind those from number `first` on, but for the last one's;
        `first` of len(tokens) or more keeps none."""
        last = len(tokens) - 1
        self._own.evaluate_items([(t, 0, i, first <= i < last) for i, t in enumerate(tokens)], self.threads)

    def losses(self, came: Sequence[int], base: bytes | None = None) -> list[Loss]:
        """What the kept rows, in order, make of the tokens that came behind them. `base`: `pack` of another model."""
        n = len(came)
        out = (_Loss * n)()
        packed = (c_uint8 * len(base)).from_buffer_copy(base) if base is not None else None
        self._own.call("losses", 0, (c_int32 * n)(*came), n, packed, len(base or b""), out, n)
        return [Loss(o.loss, o.base_loss, o.divergence, bool(o.same_top)) for o in out]

    def pack(self, n: int) -> bytes:
        """The first n kept rows, for another model's `losses`."""
        size = n * self.bytes_per_row
        out = (c_uint8 * size)()
        self._own.call("pack_logits", 0, n, out, size)
        return bytes(out)

    def watch(self) -> None:
        """From now on, add up the squares of what matrices are multiplied by."""
        self._own.call("watch", 1)

    def watched(self, tensor: str) -> tuple[array[float], array[float]] | None:
        """The sums of a matrix's columns and the number of tokens, for each expert; None if it was not used."""
        counts = (c_int64 * _MOST_EXPERTS)()
        n = self._own.call("watched", tensor.encode(), None, 0, counts, len(counts))
        if n == 0:
            return None
        sums = (c_float * n)()
        self._own.call("watched", tensor.encode(), sums, n, counts, len(counts))
        squares = array("f")
        squares.frombytes(bytes(sums))
        return squares, array("f", (float(count) for count in counts))
