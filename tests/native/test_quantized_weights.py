"""A whole model with weights of each format, against a LLaMA in NumPy with the same weights as numbers.

The numbers of the formats come from tests/py/native/quant_reference.py, which shares nothing with the engine. Quantized
weights are multiplied by activations that are rounded to 8 bits, with a scale for each 32; the model below rounds them
too, so what remains is the order of additions, and a value now and then that this puts on the other side of a half
(then all tokens behind it differ by what one rounding does). How much the rounding itself costs is bounded as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketllama.gguf import GGMLType

from .library import Library
from .models import F32, N_PROMPT, N_VOCAB, Packed, write

sys.path.insert(0, str(Path(__file__).parents[1] / "py" / "native"))

from quant_reference import QUANTIZED, dequantize, random_blocks

F64 = NDArray[np.float64]

DIM = 256  # a block of the K formats
LAYERS, HEADS, KV, HEAD = 2, 4, 2, 64

KEYS: dict[str, Any] = {
    "block_count": LAYERS,
    "context_length": 128,
    "embedding_length": DIM,
    "feed_forward_length": DIM,
    "attention.head_count": HEADS,
    "attention.head_count_kv": KV,
    "attention.layer_norm_rms_epsilon": 1e-5,
}
MATRICES = {
    "token_embd": N_VOCAB,
    "output": N_VOCAB,
    **{
        f"blk.{i}.{name}": rows
        for i in range(LAYERS)
        for name, rows in {
            "attn_q": HEADS * HEAD,
            "attn_k": KV * HEAD,
            "attn_v": KV * HEAD,
            "attn_output": DIM,
            "ffn_gate": DIM,
            "ffn_up": DIM,
            "ffn_down": DIM,
        }.items()
    },
}
NORMS = ["output_norm", *(f"blk.{i}.{name}" for i in range(LAYERS) for name in ("attn_norm", "ffn_norm"))]

# Relative RMS. From the model with the same rounding: at the best of all tokens, and over all of them. And from the one
# without: weights of random bits, unlike a model's, cancel, so this is some times what real weights show.
SAME_BOUND, SAME_BOUND_ALL, ROUNDING_BOUND = 1e-5, 1.5e-2, 4e-2
FLOATS = ["F16", "BF16"]  # whose activations stay F32
FORMATS = [*FLOATS, "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
FORMATS += ["IQ4_NL", "IQ4_XS", "MXFP4"]


def blocks(kind: str, rows: int, seed: int) -> bytes:
    """A matrix of random bits in a format, with numbers of about the size that such a matrix has in a model."""
    if kind in FLOATS:
        x = np.random.RandomState(seed).standard_normal(rows * DIM).astype(np.float32) / 16
        return (
            x.astype(np.float16).tobytes() if kind == "F16" else (x.view(np.uint32) >> 16).astype(np.uint16).tobytes()
        )
    data = random_blocks(kind, rows * DIM // GGMLType[kind].block_size, seed)
    powers = round(float(np.log2(dequantize(kind, data).std() * 16)))
    size, _, scales = QUANTIZED[kind]
    b = np.frombuffer(data, np.uint8).reshape(-1, size).copy()
    for at in scales:
        halves = b[:, at : at + 2].copy().view(np.float16) * np.float16(2.0**-powers)
        b[:, at : at + 2] = halves.view(np.uint8)
    if kind == "MXFP4":
        b[:, 0] -= np.uint8(powers)
    return b.tobytes()


def rounded(x: F64) -> F64:
    """Each 32 as whole multiples of 1/127 of the largest."""
    groups = x.reshape(*x.shape[:-1], -1, 32).astype(np.float32)
    largest = np.maximum(np.abs(groups).max(axis=-1, keepdims=True), np.float32(1e-30))
    return (np.rint(groups * (np.float32(127) / largest)).astype(np.float64) * (largest / 127)).reshape(x.shape)


def llama(w: dict[str, F32], prompt: NDArray[np.int32], act: Callable[[F64], F64]) -> F64:
    """The logits behind each token; `act` is what becomes of the activations before each matrix."""
    n = len(prompt)

    def norm(x: F64, name: str) -> F64:
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * w[f"{name}.weight"]

    def times(x: F64, name: str) -> F64:
        return act(x) @ w[f"{name}.weight"].astype(np.float64).T

    angles = np.arange(n)[:, None] * 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD)
    turn = np.exp(1j * angles)[:, None]  # pairs beside each other, as complex numbers

    def heads(x: F64, count: int, turned: bool = True) -> F64:
        h = x.reshape(n, count, HEAD)
        return (
            np.ascontiguousarray(np.ascontiguousarray(h).view(np.complex128) * turn).view(np.float64) if turned else h
        )

    x = w["token_embd.weight"][prompt].astype(np.float64)
    for i in range(LAYERS):
        at = f"blk.{i}"
        h = norm(x, f"{at}.attn_norm")
        q = heads(times(h, f"{at}.attn_q"), HEADS)
        k = heads(times(h, f"{at}.attn_k"), KV).repeat(HEADS // KV, axis=1)
        v = heads(times(h, f"{at}.attn_v"), KV, turned=False).repeat(HEADS // KV, axis=1)
        scores = np.einsum("ihd,jhd->hij", q, k) / HEAD**0.5 + np.triu(np.full((n, n), -np.inf), 1)
        p = np.exp(scores - scores.max(axis=-1, keepdims=True))
        attended = np.einsum("hij,jhd->ihd", p / p.sum(axis=-1, keepdims=True), v).reshape(n, -1)
        x = x + times(attended, f"{at}.attn_output")
        h = norm(x, f"{at}.ffn_norm")
        gate, up = times(h, f"{at}.ffn_gate"), times(h, f"{at}.ffn_up")
        x = x + times(gate / (1 + np.exp(-gate)) * up, f"{at}.ffn_down")
    return times(norm(x, "output_norm"), "output")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_with_quantized_weights(library: Library, tmp_path: Path, kind: str) -> None:
    random = np.random.RandomState(7)
    plain = {f"{name}.weight": random.uniform(0.6, 1.4, DIM).astype(np.float32) for name in NORMS}
    packed: dict[str, F32 | Packed] = dict(plain)
    for seed, (name, rows) in enumerate(MATRICES.items()):
        data = blocks(kind, rows, seed)
        plain[f"{name}.weight"] = dequantize(kind, data).reshape(rows, DIM)
        packed[f"{name}.weight"] = (GGMLType[kind], (rows, DIM), data)
    prompt = random.randint(0, N_VOCAB, N_PROMPT).astype(np.int32)
    with library.load(write(tmp_path / "packed.gguf", "llama", KEYS, packed)) as model:
        found = model.score(prompt)
        assert np.array_equal(model.chunks(prompt, [1] * N_PROMPT), found)
    exact = llama(plain, prompt, lambda x: x)
    same = exact if kind in FLOATS else llama(plain, prompt, rounded)
    assert min(away(row, other) for row, other in zip(found, same, strict=True)) <= SAME_BOUND
    assert away(found, same) <= SAME_BOUND_ALL
    assert away(found, exact) <= ROUNDING_BOUND


def away(found: F32, expected: F64) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
