from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketllama import gguf
from pocketllama.convert.quantize import FORMATS, encode
from pocketllama.gguf import GGMLType

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "gguf" / "golden.gguf"


@pytest.mark.parametrize("name", ["f16", "bf16", "q8_0", "q4_0"])
def test_the_reference_gives_the_same_bytes(name: str) -> None:
    """golden.gguf holds a matrix and what the gguf package's quantizers make of it, ties and subnormals included."""
    with gguf.read(GOLDEN) as f:
        stored = {t.name: t for t in f.tensors}
        x = np.frombuffer(f.tensor_bytes(stored["input"]), "<f4").reshape(-1, 64)
        expected = np.frombuffer(f.tensor_bytes(stored[name]), np.uint8)
        ours = encode(FORMATS[name][0], x)
        assert np.flatnonzero(ours != expected).tolist() == []


def test_the_installed_reference_gives_the_same_bytes() -> None:
    reference = pytest.importorskip("gguf.quants", reason="the gguf package is not installed")
    types = pytest.importorskip("gguf.constants").GGMLQuantizationType
    rng = np.random.default_rng(1)
    for scale in np.logspace(-12, 3, 60):
        x = (rng.standard_normal((16, 256)) * scale).astype(np.float32)
        for values in (x, x.astype(np.float16).astype(np.float32), np.round(x)):
            for kind, _ in FORMATS.values():
                expected = reference.quantize(values, types(int(kind))).reshape(-1).view(np.uint8)
                assert (encode(kind, values) == expected).all(), (kind.name, scale)


@pytest.mark.parametrize("name", FORMATS)
def test_sizes(name: str) -> None:
    kind = FORMATS[name][0]
    assert encode(kind, np.ones((3, 64), np.float32)).size == kind.nbytes(192)


def decoded(kind: GGMLType, data: Any) -> Any:
    """By the format's definition, one block at a time."""
    out = []
    for block in data.reshape(-1, kind.type_size):
        d = float(block[:2].view("<f2")[0])
        if kind == GGMLType.Q8_0:
            out += [d * int(q) for q in block[2:].view(np.int8)]
        else:
            out += [d * ((int(q) & 15) - 8) for q in block[2:]] + [d * ((int(q) >> 4) - 8) for q in block[2:]]
    return np.array(out)


@pytest.mark.parametrize(("kind", "steps"), [(GGMLType.Q8_0, 127), (GGMLType.Q4_0, 8)])
def test_what_is_stored_is_near_what_was_given(kind: GGMLType, steps: int) -> None:
    """At most half a step off, and the step is the largest magnitude over `steps`; one step where Q4_0's 15 clips."""
    x = np.random.default_rng(2).standard_normal((8, 32)).astype(np.float32)
    step = np.abs(x).max(axis=1) / steps
    error = np.abs(decoded(kind, encode(kind, x)).reshape(8, 32) - x).max(axis=1)
    assert (error <= step * (1.01 if kind == GGMLType.Q4_0 else 0.51) + np.abs(x).max() * 2**-11).all()


@pytest.mark.parametrize("kind", [k for k, _ in FORMATS.values()])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(kind: GGMLType, bad: float) -> None:
    x = np.zeros((2, 32), np.float32)
    x[1, 7] = bad
    with pytest.raises(ValueError, match="not finite"):
        encode(kind, x)


@pytest.mark.parametrize(
    ("kind", "largest"),
    [
        (GGMLType.F16, 65504),
        (GGMLType.BF16, 3.3895e38),
        (GGMLType.Q8_0, 65504 * 127),
        (GGMLType.Q4_0, 65504 * 8),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_too_large(kind: GGMLType, largest: float, sign: int) -> None:
    x = np.zeros((1, 32), np.float32)
    x[0, 3] = largest * sign
    data = encode(kind, x)
    scale = {GGMLType.BF16: np.uint32(data[6:8].view("<u2")[0]) << 16}.get(kind)
    stored = data[:2].view("<f2")[0] if scale is None else np.array([scale], np.uint32).view(np.float32)[0]
    assert np.isfinite(stored)
    x[0, 3] = largest * 1.003 * sign
    with pytest.raises(OverflowError, match=kind.name):
        encode(kind, x)


def test_numbers_too_small_become_zero() -> None:
    x = np.full((1, 32), 1e-40, np.float32)
    assert not encode(GGMLType.Q8_0, x).any()
    assert set(decoded(GGMLType.Q4_0, encode(GGMLType.Q4_0, x))) == {0}
