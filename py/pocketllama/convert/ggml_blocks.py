"""Blocks of quantized weights as ggml had them until May 2023, in the order and size that they have since.

    until ggjt 1      byte j of a block's 16 holds weight 2j in its lower half, 2j + 1 in its upper
    since ggjt 2      weight j and weight j + 16
    until ggjt 2      scales (and minima) of Q4_0, Q4_1 and Q8_0 are float32, since ggjt 3 float16

The weights' own bits are kept, all of them. A float32 scale is rounded to float16, which no reader of today does
without: that moves each weight by at most 1/2048 of itself, where rounding to four bits moved it by up to a fifteenth
of the largest of its block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 = 2, 3, 6, 7, 8
CHANGED = (Q4_0, Q4_1, Q5_0, Q5_1, Q8_0)
_FLOATS = {Q4_0: 1, Q4_1: 2, Q8_0: 1}  # so many float32 at a block's beginning
_HALVES = {Q5_0: 2, Q5_1: 4}  # so many bytes of float16 there


def rounds_scales(kind: int, version: int) -> bool:
    return version < 3 and kind in _FLOATS


def today(kind: int, version: int, blocks: Bytes) -> Bytes:
    """Blocks (n, bytes of the version) → (n, bytes of GGUF). OverflowError if a scale does not fit float16."""
    if version == 3 or kind not in CHANGED:
        return blocks
    start: Bytes
    if kind in _FLOATS:
        n = 4 * _FLOATS[kind]
        floats = np.ascontiguousarray(blocks[:, :n]).view("<f4")
        with np.errstate(over="ignore"):
            head = floats.astype("<f2")
        if not np.isfinite(head).all():
            raise OverflowError("a scale")
        start, rest = head.view(np.uint8).reshape(len(blocks), -1), blocks[:, n:]
    else:
        n = _HALVES[kind] + 4  # the scale, and the fifth bits, one for each weight in order
        start, rest = blocks[:, :n], blocks[:, n:]
    if kind != Q8_0 and version < 2:
        rest = _reordered(rest)
    return np.concatenate([start, rest], axis=1)


def _reordered(pairs: Bytes) -> Bytes:
    """(n, 16) of neighbours → of weights that are 16 apart."""
    weights: Bytes = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), 32)
    packed: Bytes = weights[:, :16] | weights[:, 16:] << np.uint8(4)
    return packed
