"""LLaMAs in the files of 2023, written field by field, with blocks in each version's order."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

MAGICS = {"ggml": 0x67676D6C, "ggmf": 0x67676D66, "ggjt": 0x67676A74}
F32, F16, Q4_0, Q4_1, Q4_2, Q5_0, Q5_1, Q8_0 = 0, 1, 2, 3, 4, 6, 7, 8
# A token of the time: its bytes as they look, and its score.
Tokens = list[tuple[bytes, float]]


def tokens(n: int) -> Tokens:
    """The first n tokens of a vocabulary that begins as LLaMA's."""
    out: Tokens = [(b" \xe2\x81\x87 ", 0.0), (b"", 0.0), (b"", 0.0)]
    out += [(bytes([b]), 0.0) for b in range(256)]
    return out + [(f" t{i}".encode(), -float(i)) for i in range(n - 259)]


def nibbles(q: Any, version: int) -> Any:
    """(n, 32) numbers of four bits → (n, 16) bytes in a version's order."""
    low, high = (q[:, ::2], q[:, 1::2]) if version < 2 else (q[:, :16], q[:, 16:])
    return (low | high << 4).astype(np.uint8)


def blocks(kind: int, version: int, parts: Mapping[str, Any]) -> bytes:
    """The bytes of n blocks: `d` and `m` (n,), `q` (n, 32) of four, five or eight bits."""
    d, q = np.asarray(parts["d"]), np.asarray(parts["q"])
    scale = "<f2" if version == 3 or kind in (Q5_0, Q5_1) else "<f4"

    def number(x: Any) -> Any:
        return np.asarray(x).astype(scale).reshape(-1, 1).view(np.uint8)

    out = [number(d)]
    if kind in (Q4_1, Q5_1):
        out.append(number(parts["m"]))
    if kind in (Q5_0, Q5_1):
        fifth = ((q >> 4 & 1) << np.arange(32)).sum(axis=1).astype("<u4")
        out.append(fifth.reshape(-1, 1).view(np.uint8))
    out.append(q.astype(np.int8).view(np.uint8) if kind == Q8_0 else nibbles(q & 15, version))
    return np.concatenate(out, axis=1).tobytes()


def file(
    magic: str,
    version: int,
    numbers: tuple[int, ...],
    vocabulary: Tokens,
    tensors: Mapping[str, tuple[int, tuple[int, ...], bytes]],
) -> bytes:
    """A whole file; `tensors` are name → (type, shape in torch's order, bytes)."""
    out = bytearray(struct.pack("<I", MAGICS[magic]))
    if magic != "ggml":
        out += struct.pack("<I", version)
    out += struct.pack("<7I", *numbers)
    for text, score in vocabulary:
        out += struct.pack("<I", len(text)) + text
        if magic != "ggml":
            out += struct.pack("<f", score)
    for name, (kind, shape, data) in tensors.items():
        raw = name.encode()
        out += struct.pack(f"<3I{len(shape)}I", len(shape), len(raw), kind, *shape[::-1]) + raw
        if magic == "ggjt":
            out += bytes(-len(out) % 32)
        out += data
    return bytes(out)
