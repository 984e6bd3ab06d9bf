"""gpt-oss' experts: 4-bit floats with a shared exponent for each 32, as checkpoints hold them and as GGUF does.

Both store a block's exponent as a byte and two numbers in one; the order differs. The checkpoint has numbers 2i and
2i + 1 in byte i, low half first, GGUF i and i + 16, behind the exponent. Nothing is rounded on the way.
Source: the Open Compute Project's MX formats (the numbers), gpt-oss' own loading code (the order).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ModelInvalid
from ..gguf import GGMLType
from .families.parts import Pick
from .tensor import Rows, n_rows


class MxTensor:
    """One tensor in blocks of MXFP4, as `checkpoint.Packed`."""

    type = GGMLType.MXFP4

    def __init__(self, blocks: Any, scales: Any, rows: Rows, shape: tuple[int, ...]) -> None:
        self.shape, self._blocks, self._scales, self._rows = shape, blocks, scales, rows

    @classmethod
    def of(cls, found: Sequence[Any], pick: Pick | None, shape: tuple[int, ...]) -> MxTensor | None:
        """From a tensor of blocks (…, rows, n, 16) and one of exponents (…, rows, n); None if they are of others."""
        blocks, scales = found
        if any(getattr(t, "dtype", "") != "u8" or not hasattr(t, "read_bytes") for t in found):
            raise ModelInvalid("The checkpoint's blocks of MXFP4 are not stored as bytes in safetensors.")
        if blocks.shape != (*scales.shape, 16) or len(scales.shape) < 2 or scales.shape[-1] * 32 != shape[-1]:
            return None
        n = n_rows(scales.shape)
        rows = np.arange(n) if pick is None else pick(n)
        return cls(blocks, scales, rows, shape) if len(rows) == n_rows(shape) else None

    def read_packed(self, start: int, stop: int) -> bytes:
        rows = self._rows[start:stop]
        if not len(rows):
            return b""
        low, high = int(rows.min()), int(rows.max()) + 1
        n = self._scales.shape[-1]
        # A row of `blocks` in the file's sense has 16 bytes: n of them are a row of numbers.
        packed = np.frombuffer(self._blocks.read_bytes(low * n, high * n), np.uint8).reshape(-1, n, 16)[rows - low]
        scales = np.frombuffer(self._scales.read_bytes(low, high), np.uint8).reshape(-1, n)[rows - low]
        values = np.stack([packed & 15, packed >> 4], axis=-1).reshape(len(rows), n, 32)
        out = np.empty((len(rows), n, 17), np.uint8)
        out[..., 0] = scales
        out[..., 1:] = values[..., :16] | values[..., 16:] << 4
        return out.tobytes()
