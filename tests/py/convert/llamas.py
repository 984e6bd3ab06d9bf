"""Small LLaMAs in Meta's layout, of random numbers, with a sentencepiece model written field by field."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from torchfiles import checkpoint

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
Piece = tuple[str, float, int]
PIECES: list[Piece] = [
    ("<unk>", 0.0, UNKNOWN),
    ("<s>", 0.0, CONTROL),
    ("</s>", 0.0, CONTROL),
    *((f"<0x{i:02X}>", 0.0, BYTE) for i in range(256)),
    ("▁a", -1.0, NORMAL),
    ("é", -2.5, NORMAL),
    ("<user>", 0.0, USER),
    ("gone", -4.0, UNUSED),
    ("▁", -3.0, NORMAL),
    ("a", -5.0, NORMAL),
]


def varint(n: int) -> bytes:
    n &= 2**64 - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes([*out, n])


def field(number: int, value: int | bytes | float) -> bytes:
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def sentencepiece_model(
    pieces: list[Piece] = PIECES, model_type: int = 2, trainer: bytes = b"", normalizer: bytes = b""
) -> bytes:
    out = b"".join(field(1, field(1, p.encode()) + field(2, score) + field(3, kind)) for p, score, kind in pieces)
    out += field(2, field(3, model_type) + field(35, int(any(p[2] == BYTE for p in pieces))) + trainer)
    return out + field(3, field(1, b"identity") + normalizer)


PARAMS: dict[str, Any] = {
    "dim": 64,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "hidden_dim": 96,
    "vocab_size": len(PIECES),
    "norm_eps": 1e-6,
    "rope_theta": 500000.0,
    "max_seq_len": 128,
}


def tensors(n_vocab: int = len(PIECES), dim: int = 64, kv: int = 32, ffn: int = 96, layers: int = 2) -> dict[str, Any]:
    """Under the names of Meta's releases."""
    rng = np.random.default_rng(3)
    shapes: dict[str, tuple[int, ...]] = {"tok_embeddings.weight": (n_vocab, dim)}
    for i in range(layers):
        part = {"wq": (dim, dim), "wk": (kv, dim), "wv": (kv, dim), "wo": (dim, dim)}
        shapes |= {f"layers.{i}.attention.{k}.weight": v for k, v in part.items()}
        part = {"w1": (ffn, dim), "w2": (dim, ffn), "w3": (ffn, dim)}
        shapes |= {f"layers.{i}.feed_forward.{k}.weight": v for k, v in part.items()}
        shapes |= {f"layers.{i}.{k}_norm.weight": (dim,) for k in ("attention", "ffn")}
    shapes |= {"norm.weight": (dim,), "output.weight": (n_vocab, dim)}
    return {name: rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def folder(
    path: Path,
    weights: dict[str, Any] | None = None,
    params: dict[str, Any] | None = None,
    tokenizer: bytes | None = None,
    cls: str = "HalfStorage",
) -> Path:
    """Write the three files into the new folder `path`."""
    path.mkdir(parents=True)
    (path / "consolidated.00.pth").write_bytes(checkpoint(tensors() if weights is None else weights, cls))
    (path / "params.json").write_text(json.dumps(PARAMS if params is None else params))
    (path / "tokenizer.model").write_bytes(sentencepiece_model() if tokenizer is None else tokenizer)
    return path
