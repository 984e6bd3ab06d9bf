"""Quantized blocks to numbers, in NumPy, from the formats' definition: what the native code is held against.

It shares no code with the native library and works in another manner: the bytes of all blocks at once are spread into
bit fields. `dequantize(name, data)` gives float32. Only the IQ1-3 codebooks come from the native source, for they are
nothing but numbers: they are read out of native/src/quant/grids.cc and must have the digests below, which are those of
the tables in the `gguf` package of ggml's authors.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]

GRIDS = Path(__file__).resolve().parents[3] / "native" / "src" / "quant" / "grids.cc"
# name → (entries, levels, values of an entry, sha256 of the entries as int8)
GRID_FACTS = {
    "IQ2_XXS": (256, (8, 25, 43), 8, "05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54"),
    "IQ2_XS": (512, (8, 25, 43), 8, "06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de"),
    "IQ2_S": (1024, (8, 25, 43), 8, "e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88"),
    "IQ1": (2048, (-1, 0, 1), 8, "07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a"),
    "IQ3_XXS": (
        256,
        (4, 12, 20, 28, 36, 44, 52, 62),
        4,
        "46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d",
    ),
    "IQ3_S": (512, (1, 3, 5, 7, 9, 11, 13, 15), 4, "bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f"),
}


@functools.cache
def grid(name: str) -> Ints:
    entries, levels, values, digest = GRID_FACTS[name]
    match = re.search(rf"kChosen{name}\[\d+\] = \{{(.*?)\}};", GRIDS.read_text(), re.DOTALL)
    assert match
    words = [int(w, 16) for w in re.findall(r"0x[0-9a-f]+", match[1])]
    # The first coordinate runs fastest, and product() runs the last one so.
    points = itertools.product(levels, repeat=values)
    chosen = [p[::-1] for i, p in enumerate(points) if words[i // 64] >> (i % 64) & 1]
    table = np.array(chosen, np.int8)
    assert table.shape == (entries, values)
    assert hashlib.sha256(table.tobytes()).hexdigest() == digest, name
    return table.astype(np.int64)


def fields(data: bytes, block_bytes: int) -> U8:
    return np.frombuffer(data, np.uint8).reshape(-1, block_bytes)


def half(b: U8, at: int) -> F32:
    """The float16 at byte `at` of each block: (blocks, 1)."""
    return np.ascontiguousarray(b[:, at : at + 2]).view(np.float16).astype(np.float32)


def u16(b: U8, at: int, n: int) -> Ints:
    return np.ascontiguousarray(b[:, at : at + 2 * n]).view("<u2").astype(np.int64)


def u32(b: U8, at: int, n: int) -> Ints:
    return np.ascontiguousarray(b[:, at : at + 4 * n]).view("<u4").astype(np.int64)


def ints(b: U8, at: int, n: int) -> Ints:
    return b[:, at : at + n].astype(np.int64)


def nibbles(q: Ints) -> Ints:
    """All low nibbles, then all high ones."""
    return np.concatenate([q & 15, q >> 4], axis=-1)


def bits(q: Ints, width: int, n: int) -> Ints:
    """(…) → (…, n): the fields of `width` bits of each number, lowest first."""
    return q[..., None] >> (width * np.arange(n)) & ((1 << width) - 1)


def times(scale: F32, q: Ints) -> F32:
    """(blocks, groups), (blocks, elements) → float32 products, a scale for each run of elements."""
    n = len(q)
    out = scale.astype(np.float32)[:, :, None] * q.astype(np.float32).reshape(n, scale.shape[1], -1)
    return out.reshape(n, -1)


def f32(x: Ints | NDArray[np.float64]) -> F32:
    return x.astype(np.float32)


# ---- 32 elements


def q4_0(b: U8) -> F32:
    return times(half(b, 0), nibbles(ints(b, 2, 16)) - 8)


def q4_1(b: U8) -> F32:
    return times(half(b, 0), nibbles(ints(b, 4, 16))) + half(b, 2)


def q5_0(b: U8) -> F32:
    return times(half(b, 0), (nibbles(ints(b, 6, 16)) | bits(u32(b, 2, 1)[:, 0], 1, 32) << 4) - 16)


def q5_1(b: U8) -> F32:
    return times(half(b, 0), nibbles(ints(b, 8, 16)) | bits(u32(b, 4, 1)[:, 0], 1, 32) << 4) + half(b, 2)


def q8_0(b: U8) -> F32:
    return times(half(b, 0), np.ascontiguousarray(b[:, 2:34]).view(np.int8).astype(np.int64))


IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])


def iq4_nl(b: U8) -> F32:
    return times(half(b, 0), IQ4[nibbles(ints(b, 2, 16))])


def mxfp4(b: U8) -> F32:
    """OCP Microscaling: E2M1 values under a power of two."""
    q = nibbles(ints(b, 1, 16))
    exponent, mantissa = q >> 1 & 3, q & 1
    magnitude = np.where(exponent == 0, mantissa * 0.5, (1 + mantissa * 0.5) * 2.0 ** (exponent - 1))
    return f32(np.where(q & 8, -magnitude, magnitude) * 2.0 ** (ints(b, 0, 1) - 127))


# ---- 256 elements


def two_bits(b: U8, at: int) -> Ints:
    """64 bytes → 256 numbers: in each half, all lowest two bits, then the next two, …"""
    q = ints(b, at, 64).reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6]).reshape(1, 1, 4, 1) & 3
    return q.reshape(-1, 256)


def four_bits(b: U8, at: int) -> Ints:
    """128 bytes → 256 numbers: 32 low nibbles, 32 high nibbles, …"""
    return nibbles(ints(b, at, 128).reshape(-1, 4, 32)).reshape(-1, 256)


def transposed_bits(q: Ints) -> Ints:
    """32 bytes → 256 bits: bit 0 of each, bit 1 of each, …"""
    return np.swapaxes(bits(q, 1, 8), 1, 2).reshape(-1, 256)


def q2_k(b: U8) -> F32:
    s = ints(b, 0, 16)
    low = half(b, 82) * f32(s >> 4)
    return times(half(b, 80) * f32(s & 15), two_bits(b, 16)) - np.repeat(low, 16, axis=1)


def q3_k(b: U8) -> F32:
    packed = ints(b, 96, 12)
    low = nibbles(packed[:, :8])
    high = np.swapaxes(bits(packed[:, 8:], 2, 4), 1, 2).reshape(-1, 16)
    q = two_bits(b, 32) - 4 * (1 - transposed_bits(ints(b, 0, 32)))
    return times(half(b, 108) * f32((low | high << 4) - 32), q)


def k_scales(b: U8, at: int) -> tuple[Ints, Ints]:
    a, m, both = (ints(b, at + 4 * i, 4) for i in range(3))
    scale = np.concatenate([a & 63, (both & 15) | a >> 6 << 4], axis=1)
    low = np.concatenate([m & 63, both >> 4 | m >> 6 << 4], axis=1)
    return scale, low


def q4_k(b: U8) -> F32:
    scale, low = k_scales(b, 4)
    return times(half(b, 0) * f32(scale), four_bits(b, 16)) - np.repeat(half(b, 2) * f32(low), 32, axis=1)


def q5_k(b: U8) -> F32:
    scale, low = k_scales(b, 4)
    q = four_bits(b, 48) | transposed_bits(ints(b, 16, 32)) << 4
    return times(half(b, 0) * f32(scale), q) - np.repeat(half(b, 2) * f32(low), 32, axis=1)


def q6_k(b: U8) -> F32:
    low = nibbles(ints(b, 0, 128).reshape(-1, 2, 64)).reshape(-1, 256)
    scale = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.int64)
    return times(half(b, 208) * f32(scale), (low | two_bits(b, 128) << 4) - 32)


def iq4_xs(b: U8) -> F32:
    low = bits(ints(b, 4, 4), 4, 2).reshape(-1, 8)
    scale = (low | bits(u16(b, 2, 1)[:, 0], 2, 8) << 4) - 32
    return times(half(b, 0) * f32(scale), IQ4[nibbles(ints(b, 8, 128).reshape(-1, 8, 16)).reshape(-1, 256)])


# ---- codebooks


def seven_signs(s: Ints) -> Ints:
    """Seven stored signs and the one that makes the minus signs even, as +1 and -1."""
    minus = bits(s, 1, 7)
    last = minus.sum(axis=-1, keepdims=True) % 2
    return 1 - 2 * np.concatenate([minus, last], axis=-1)


def eight_signs(s: Ints) -> Ints:
    return 1 - 2 * bits(s, 1, 8)


def flat(q: Ints) -> Ints:
    return q.reshape(len(q), -1)


def iq2_xxs(b: U8) -> F32:
    words = u32(b, 2, 16).reshape(-1, 8, 2)
    values = grid("IQ2_XXS")[bits(words[:, :, 0], 8, 4)]
    signs = seven_signs(bits(words[:, :, 1], 7, 4))
    return times(half(b, 0) * f32(0.5 + (words[:, :, 1] >> 28)) * np.float32(0.25), flat(values * signs))


def iq2_scale(b: U8, at: int) -> F32:
    return half(b, 0) * f32(0.5 + bits(ints(b, at, 8), 4, 2).reshape(-1, 16)) * np.float32(0.25)


def iq2_xs(b: U8) -> F32:
    q = u16(b, 2, 32)
    return times(iq2_scale(b, 66), flat(grid("IQ2_XS")[q & 511] * seven_signs(q >> 9)))


def iq2_s(b: U8) -> F32:
    index = ints(b, 2, 32) | bits(ints(b, 66, 8), 2, 4).reshape(-1, 32) << 8
    return times(iq2_scale(b, 74), flat(grid("IQ2_S")[index] * eight_signs(ints(b, 34, 32))))


def iq3_xxs(b: U8) -> F32:
    words = u32(b, 66, 8)
    signs = seven_signs(bits(words, 7, 4))
    q = flat(grid("IQ3_XXS")[ints(b, 2, 64)]) * flat(signs)
    return times(half(b, 0) * f32(0.5 + (words >> 28)) * np.float32(0.5), q)


def iq3_s(b: U8) -> F32:
    index = ints(b, 2, 64) | bits(ints(b, 66, 8), 1, 8).reshape(-1, 64) << 8
    q = flat(grid("IQ3_S")[index]) * flat(eight_signs(ints(b, 74, 32)))
    return times(half(b, 0) * f32(1 + 2 * bits(ints(b, 106, 4), 4, 2).reshape(-1, 8)), q)


def iq1_s(b: U8) -> F32:
    h = u16(b, 34, 8)
    index = ints(b, 2, 32) | bits(h, 3, 4).reshape(-1, 32) << 8
    shift = np.where(h & 0x8000, -0.125, 0.125)
    values = grid("IQ1")[index].reshape(-1, 8, 32) + shift[:, :, None]
    return f32((half(b, 0) * f32(2 * (h >> 12 & 7) + 1))[:, :, None] * f32(values)).reshape(-1, 256)


def iq1_m(b: U8) -> F32:
    h = bits(ints(b, 32, 16), 4, 2).reshape(-1, 32)
    values = grid("IQ1")[ints(b, 0, 32) | (h & 7) << 8] + np.where(h & 8, -0.125, 0.125)[:, :, None]
    words = u16(b, 48, 4)
    d = np.sum((words >> 12) << np.array([0, 4, 8, 12]), axis=1).astype(np.uint16).view(np.float16)
    scale = d.astype(np.float32)[:, None] * f32(2 * bits(words, 3, 4).reshape(-1, 16) + 1)
    return f32(scale[:, :, None] * f32(values).reshape(-1, 16, 16)).reshape(-1, 256)


# name → (bytes of a block, function, where its float16 scales are)
QUANTIZED: dict[str, tuple[int, Callable[[U8], F32], tuple[int, ...]]] = {
    "Q4_0": (18, q4_0, (0,)),
    "Q4_1": (20, q4_1, (0, 2)),
    "Q5_0": (22, q5_0, (0,)),
    "Q5_1": (24, q5_1, (0, 2)),
    "Q8_0": (34, q8_0, (0,)),
    "Q2_K": (84, q2_k, (80, 82)),
    "Q3_K": (110, q3_k, (108,)),
    "Q4_K": (144, q4_k, (0, 2)),
    "Q5_K": (176, q5_k, (0, 2)),
    "Q6_K": (210, q6_k, (208,)),
    "IQ4_NL": (18, iq4_nl, (0,)),
    "IQ4_XS": (136, iq4_xs, (0,)),
    "MXFP4": (17, mxfp4, ()),
    "IQ2_XXS": (66, iq2_xxs, (0,)),
    "IQ2_XS": (74, iq2_xs, (0,)),
    "IQ2_S": (82, iq2_s, (0,)),
    "IQ3_XXS": (98, iq3_xxs, (0,)),
    "IQ3_S": (110, iq3_s, (0,)),
    "IQ1_S": (50, iq1_s, (0,)),
    "IQ1_M": (56, iq1_m, ()),
}


def dequantize(name: str, data: bytes) -> F32:
    """The numbers of whole blocks, in order: float32 (elements,)."""
    if name == "F32":
        return np.frombuffer(data, np.float32)
    if name == "F16":
        return np.frombuffer(data, np.float16).astype(np.float32)
    if name == "BF16":
        return (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
    size, function, _ = QUANTIZED[name]
    return function(fields(data, size)).reshape(-1)


def random_blocks(name: str, count: int, seed: int) -> bytes:
    """Blocks of random bits, but scales that are neither NaN nor infinite: both signs, 2^-7 to 2^-3."""
    size, _, scales = QUANTIZED[name]
    rng = np.random.default_rng(seed)
    b = rng.integers(0, 256, (count, size), np.uint8)
    for at in scales:
        b[:, at + 1] = (b[:, at + 1] & 0x8F) | 0x20
    if name == "IQ1_M":
        b[:, 55] = (b[:, 55] & 0x0F) | rng.choice(np.array([0x20, 0xA0], np.uint8), count)
    if name == "MXFP4":
        b[:, 0] = rng.integers(118, 136, count)
    return b.tobytes()
