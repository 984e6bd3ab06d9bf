"""Numbers into GGUF's blocks, with the reference's rounding: the same bytes as ggml's own quantizers give.

Each block of 32 weights shares one float16 scale `d`:
    Q8_0   d = max|x| / 127            q = round(x / d), int8                    34 bytes
    Q4_0   d = -8th of the x with the largest |x|   q = x / d + 8, 4 bits: first 16 low, last 16 high   18 bytes
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..gguf import FileType, GGMLType

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def f32(x: Floats) -> Bytes:
    """float32, little-endian."""
    return np.ascontiguousarray(x, "<f4").reshape(-1).view(np.uint8)


def f16(x: Floats) -> Bytes:
    """IEEE half precision, to nearest even; what is too large becomes inf."""
    with np.errstate(over="ignore"):
        return x.astype("<f2").reshape(-1).view(np.uint8)


def bf16(x: Floats) -> Bytes:
    """The upper half of a float32, to nearest even."""
    bits = np.ascontiguousarray(x).reshape(-1).view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2").view(np.uint8)


def q8_0(x: Floats) -> Bytes:
    """Blocks of a float16 scale and 32 int8."""
    blocks = x.reshape(-1, 32)
    d = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    q = blocks * _reciprocal(d)
    # Halves go away from zero, as C's roundf; numpy's own round sends them to even.
    magnitude = np.abs(q)
    floor = np.floor(magnitude)
    rounded = np.copysign(floor + (magnitude - floor >= 0.5), q)
    return np.concatenate([_scale(d), rounded.astype(np.int8).view(np.uint8)], axis=1).reshape(-1)


def q4_0(x: Floats) -> Bytes:
    """Blocks of a float16 scale and 16 bytes, each of weight i (low) and weight i + 16 (high)."""
    blocks = x.reshape(-1, 32)
    largest = np.abs(blocks).argmax(axis=1)[:, None]  # the first of equals
    d = np.take_along_axis(blocks, largest, axis=1) / np.float32(-8)
    q = np.minimum(blocks * _reciprocal(d) + np.float32(8.5), np.float32(15)).astype(np.uint8)
    return np.concatenate([_scale(d), q[:, :16] | q[:, 16:] << 4], axis=1).reshape(-1)


def _reciprocal(d: Floats) -> Floats:
    """1 / d, and 0 for a d so small that it is 0 in float16 by far and 1 / d has no float32."""
    inverse = np.zeros_like(d)
    np.divide(np.float32(1), d, out=inverse, where=np.abs(d) > np.float32(1e-38))
    return inverse


def _scale(d: Floats) -> Bytes:
    with np.errstate(over="ignore"):
        return d.astype("<f2").view(np.uint8)


# What `type=` may say: the tensors' type, and the file's number for it.
FORMATS: dict[str, tuple[GGMLType, FileType]] = {
    "f32": (GGMLType.F32, FileType.F32),
    "f16": (GGMLType.F16, FileType.F16),
    "bf16": (GGMLType.BF16, FileType.BF16),
    "q8_0": (GGMLType.Q8_0, FileType.Q8_0),
    "q4_0": (GGMLType.Q4_0, FileType.Q4_0),
}
# For each tensor type, its encoder and the magnitude from which on it overflows: its scale is a float16.
_ENCODERS: dict[GGMLType, tuple[Callable[[Floats], Bytes], float]] = {
    GGMLType.F32: (f32, np.inf),
    GGMLType.F16: (f16, 65520),
    GGMLType.BF16: (bf16, 3.3961775e38),
    GGMLType.Q8_0: (q8_0, 65520 * 127),
    GGMLType.Q4_0: (q4_0, 65520 * 8),
}


def encode(kind: GGMLType, x: Floats) -> Bytes:
    """Whole rows of finite float32, whose length is a multiple of the type's block, in the type's bytes.

    OverflowError if a number is too large for the type, ValueError if one is not finite.
    """
    encoder, limit = _ENCODERS[kind]
    if not np.isfinite(x).all():
        raise ValueError("not finite")
    if np.abs(x).max(initial=0) >= limit:
        raise OverflowError(f"too large for {kind.name}")
    return encoder(x)
