"""The model files of spring and summer 2023, before GGUF: magic, seven numbers, the vocabulary, then each tensor.

    "ggml"            March: tokens without scores
    "ggmf" 1          with scores
    "ggjt" 1          tensors' numbers begin at multiples of 32 bytes
    "ggjt" 2          May: the halves of a block's bytes hold other weights
    "ggjt" 3          blocks' scales are float16: the blocks that GGUF has
Source: ggml's and llama.cpp's histories. All numbers are little-endian, and every one is checked against the file.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelInvalid
from .range_file import RangeFile

_MAGICS = {b"lmgg": "ggml", b"fmgg": "ggmf", b"tjgg": "ggjt"}  # as their bytes lie in the file
_VERSIONS = {"ggml": (0,), "ggmf": (1,), "ggjt": (1, 2, 3)}
_MAX_TOKENS = 1 << 20
_MAX_TOKEN = 1 << 16  # bytes
_MAX_TENSORS = 1 << 16
_MAX_NAME = 256  # bytes


@dataclass(frozen=True)
class Header:
    """The seven numbers. `n_mult` rounds the feed-forward network's width, `ftype` says what most tensors are."""

    n_vocab: int
    n_embd: int
    n_mult: int
    n_head: int
    n_layer: int
    n_rot: int
    ftype: int


@dataclass(frozen=True)
class Entry:
    """A tensor: its type's number, its shape (torch's order), and where its bytes begin."""

    name: str
    type: int
    shape: tuple[int, ...]
    offset: int


# (weights in a block, its bytes) for each number of a type, as files of ggjt 3 and GGUF have them …
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
}
# … and before, with scales of float32, and two types that were given up.
OLD_BLOCKS = BLOCKS | {2: (32, 20), 3: (32, 24), 4: (16, 10), 5: (16, 12), 8: (32, 36)}


def is_ggml(path: Path) -> bool:
    """Whether a file begins as they do."""
    try:
        with path.open("rb") as f:
            return f.read(4) in _MAGICS
    except OSError:
        return False


class GgmlFile(RangeFile):
    """An open file. `tokens` are (bytes, score), the score 0 where the format has none. Use it in a `with`."""

    def _parse(self) -> None:
        self._at = 0
        self.format, self.version = self._read_version()
        self.header = Header(*self._numbers("7I"))
        self.tokens = self._read_tokens()
        self.tensors = self._read_tensors()

    @property
    def blocks(self) -> dict[int, tuple[int, int]]:
        return BLOCKS if self.version == 3 else OLD_BLOCKS

    def _take(self, size: int) -> bytes:
        """The next bytes."""
        data = self.read(self._at, size)
        self._at += size
        return data

    def _numbers(self, code: str) -> tuple[int, ...]:
        return struct.unpack(f"<{code}", self._take(struct.calcsize(f"<{code}")))

    def _read_version(self) -> tuple[str, int]:
        name = _MAGICS.get(self._take(4), "")
        version = self._numbers("I")[0] if name in ("ggmf", "ggjt") else 0
        if version not in _VERSIONS.get(name, ()):
            raise ModelInvalid(
                f"{self.path.name} is a file of {name or 'no known format'} {version}, which is unknown.",
                remedy="Known are ggml, ggmf 1, and ggjt 1 to 3.",
            )
        return name, version

    def _read_tokens(self) -> list[tuple[bytes, float]]:
        n, scored = self.header.n_vocab, self.format != "ggml"
        if n > _MAX_TOKENS or n * 4 > self.size:
            raise self.damaged(f"it has {self.size} bytes, which cannot hold a vocabulary of {n} tokens")
        tokens = []
        for i in range(n):
            (size,) = self._numbers("I")
            if size > _MAX_TOKEN:
                raise self.damaged(f"its token {i} has {size} bytes")
            text = self._take(size)
            tokens.append((text, float(struct.unpack("<f", self._take(4))[0]) if scored else 0.0))
        return tokens

    def _read_tensors(self) -> dict[str, Entry]:
        tensors: dict[str, Entry] = {}
        while self._at < self.size:
            entry = self._read_entry()
            if entry.name in tensors or len(tensors) >= _MAX_TENSORS:
                raise self.damaged(f"its tensor {entry.name!r} is there twice, or is one of too many")
            tensors[entry.name] = entry
        return tensors

    def _read_entry(self) -> Entry:
        n_dims, n_name, kind = self._numbers("3I")
        if not 1 <= n_dims <= 2 or not 1 <= n_name <= _MAX_NAME:
            raise self.damaged(f"a tensor of {n_dims} dimensions with a name of {n_name} bytes is at {self._at}")
        dims = self._numbers(f"{n_dims}I")
        name = self._take(n_name).decode("utf-8", "replace")
        if kind not in self.blocks:
            raise self.damaged(f"its tensor {name!r} is of the type {kind}, which its version had not")
        if self.format == "ggjt":
            self._at += -self._at % 32
        weights, size = self.blocks[kind]
        n = 1
        for dim in dims:
            n *= dim
        at = self._at
        if dims[0] % weights or not n or n // weights * size > self.size - at:
            raise self.damaged(f"its tensor {name!r} of {dims} reaches beyond its end, or is no number of blocks")
        self._at += n // weights * size
        return Entry(name, kind, dims[::-1], at)
