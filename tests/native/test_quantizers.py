"""The native quantizers: rounded types against NumPy byte for byte, the others by their errors."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pocketllama.gguf import GGMLType

from ..py.native.quant_reference import dequantize
from . import abi
from .library import Library

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
STORED = Path(__file__).parent / "quant_errors.json"
SEARCHED = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")
ROUNDED = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "F16", "BF16", "F32")


def quantize(lib: Any, name: str, x: F32, importance: F32 | None = None, threads: int = 1) -> U8:
    """x (rows, cols) in the type's bytes: (rows, bytes)."""
    rows, cols = x.shape
    source = np.ascontiguousarray(x)
    out = np.zeros((rows, GGMLType[name].nbytes(cols)), np.uint8)
    weights = None if importance is None else (ctypes.c_float * cols)(*importance)
    work = abi.Requantization(
        size=ctypes.sizeof(abi.Requantization), to=GGMLType[name], threads=threads, rows=rows, cols=cols,
        src=source.ctypes.data, src_bytes=source.nbytes, dst=out.ctypes.data, dst_bytes=out.nbytes,
        importance=weights, n_importance=cols if weights else 0,
    )  # fmt: skip
    if lib.pl_requantize(ctypes.byref(work)) != 0:
        raise RuntimeError(abi.error(lib))
    return out


def tensors() -> dict[str, F32]:
    """Rows as models have them, and rows that they should not have."""
    random = np.random.RandomState(5)
    plain = random.standard_normal((24, 1280)) * 0.02
    heavy = random.standard_t(4, (24, 1280)) * 0.02
    shifted = plain + random.standard_normal((24, 1)) * 0.01
    return {
        name: array.astype(np.float32) for name, array in (("plain", plain), ("heavy", heavy), ("shifted", shifted))
    }


def hostile() -> F32:
    """Zeros, one weight alone, equal weights, halves between quants, denormals, both ends at once."""
    rows = np.zeros((12, 512), np.float32)
    rows[1, 7] = 3.0
    rows[2] = -0.25
    rows[3] = 0.5
    rows[4] = np.tile(np.arange(-16, 16), 16) / 32
    rows[5] = np.tile([1.0, -1.0], 256)
    rows[6] = np.tile([-1.0, 1.0], 256)
    rows[7] = np.linspace(1e-42, 1e-39, 512)
    rows[8] = np.linspace(-1e-7, 1e-7, 512)
    rows[9] = np.linspace(0, 1000, 512)
    rows[10] = np.linspace(-1000, -999, 512)
    rows[11] = np.random.RandomState(1).standard_normal(512) * 10 ** np.linspace(-6, 3, 512)
    return rows


# ---- types that are rounded, from their definition


def reciprocal(d: F32) -> F32:
    out = np.zeros_like(d)
    np.divide(np.float32(1), d, out=out, where=np.abs(d) > np.float32(1e-38))
    return out


def halves(*scales: F32) -> list[U8]:
    return [s.astype("<f2").view(np.uint8) for s in scales]


def nibbles(q: U8) -> U8:
    return (q[:, :16] & 15) | (q[:, 16:] & 15) << 4


def fifth_bits(q: U8) -> U8:
    return np.packbits(q >> 4, axis=1, bitorder="little")


def rounded(name: str, x: F32) -> U8:
    if name == "F32":
        return x.view(np.uint8)
    if name == "F16":
        return x.astype("<f2").view(np.uint8)
    if name == "BF16":
        bits = x.view(np.uint32)
        return ((bits + (0x7FFF + (bits >> 16 & 1))) >> 16).astype("<u2").view(np.uint8)
    b = x.reshape(-1, 32)
    if name == "Q8_0":
        d = np.abs(b).max(axis=1, keepdims=True) / np.float32(127)
        scaled = b * reciprocal(d)
        away = np.floor(np.abs(scaled)) + (np.abs(scaled) % 1 >= 0.5)
        parts = [*halves(d), np.copysign(away, scaled).astype(np.int8).view(np.uint8)]
    elif name in ("Q4_0", "Q5_0"):
        zero = 8 if name == "Q4_0" else 16
        d = np.take_along_axis(b, np.abs(b).argmax(axis=1)[:, None], 1) / np.float32(-zero)
        q = np.minimum(b * reciprocal(d) + np.float32(zero + 0.5), np.float32(2 * zero - 1)).astype(np.uint8)
        parts = [*halves(d), *([fifth_bits(q)] if zero == 16 else []), nibbles(q)]
    else:
        most = 15 if name == "Q4_1" else 31
        low = b.min(axis=1, keepdims=True)
        d = (b.max(axis=1, keepdims=True) - low) / np.float32(most)
        q = np.minimum((b - low) * reciprocal(d) + np.float32(0.5), np.float32(most)).astype(np.uint8)
        parts = [*halves(d, low), *([fifth_bits(q)] if most == 31 else []), nibbles(q)]
    return np.concatenate(parts, axis=1).reshape(len(x), -1)


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_types_byte_for_byte(lib: Any, name: str) -> None:
    for x in (*tensors().values(), hostile()):
        np.testing.assert_array_equal(quantize(lib, name, x), rounded(name, x))


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_types_against_the_gguf_package(lib: Any, name: str) -> None:
    """The quantizers of the format's authors, where their package is installed (in CI)."""
    package = pytest.importorskip("gguf")
    random = np.random.RandomState(11)
    x = (random.standard_normal((64, 8192)) * 10 ** random.uniform(-4, 1, (64, 1))).astype(np.float32)
    for array in (x, *tensors().values()):
        theirs = package.quantize(array, package.GGMLQuantizationType[name])
        np.testing.assert_array_equal(quantize(lib, name, array), theirs.view(np.uint8).reshape(len(array), -1))


# ---- types whose scales are searched for


def error(name: str, x: F32, packed: U8, weights: F32 | None = None) -> float:
    """Root of the mean square of the error, each column's weighted, beside that of the weights."""
    off = (dequantize(name, packed.tobytes()).reshape(x.shape) - x).astype(np.float64) ** 2
    square = x.astype(np.float64) ** 2
    if weights is not None:
        off, square = off * weights, square * weights
    return float(np.sqrt(off.sum() / square.sum()))


def column_weights() -> F32:
    return np.exp(np.random.RandomState(3).standard_normal(1280)).astype(np.float32)


@pytest.mark.parametrize("name", SEARCHED)
def test_errors_are_not_above_the_reference(lib: Any, name: str) -> None:
    """quant_errors.json has what llama.cpp's quantizer gives for the same numbers (tests/bench/quantizers.py)."""
    stored = json.loads(STORED.read_text())["errors"][name]
    for kind, x in tensors().items():
        assert error(name, x, quantize(lib, name, x)) <= 1.01 * stored[kind]["plain"]
        weights = column_weights()
        packed = quantize(lib, name, x, weights)
        assert error(name, x, packed, weights) <= 1.01 * stored[kind]["weighted"]


@pytest.mark.parametrize("name", [*SEARCHED, "Q4_0", "Q4_1", "Q5_0", "Q5_1"])
def test_an_importance_lowers_the_error_that_it_weighs(lib: Any, name: str) -> None:
    x, weights = tensors()["plain"], column_weights()
    without, with_it = quantize(lib, name, x), quantize(lib, name, x, weights)
    assert error(name, x, with_it, weights) < 0.99 * error(name, x, without, weights)
    # Only proportions count, and what says nothing changes nothing.
    np.testing.assert_array_equal(quantize(lib, name, x, weights * np.float32(4096)), with_it)
    np.testing.assert_array_equal(quantize(lib, name, x, weights * np.float32(0)), without)


@pytest.mark.parametrize("name", SEARCHED)
def test_strange_rows(lib: Any, name: str) -> None:
    x = hostile()
    y = dequantize(name, quantize(lib, name, x).tobytes()).reshape(x.shape)
    assert np.isfinite(y).all()
    assert (y[0] == 0).all()
    # No worse than one scale for a whole row would be; far below 1e-7 float16 has no scales any more.
    steps = {"Q2_K": 3, "Q3_K": 7, "Q4_K": 15, "Q5_K": 31, "Q6_K": 63}.get(name, 12)
    for row, found in zip(x[8:], y[8:], strict=True):
        assert np.abs(row - found).max() <= 1.1 * (max(row.max(), 0) - min(row.min(), 0)) / steps + 1.2e-7


@pytest.mark.parametrize("name", [*SEARCHED, *ROUNDED])
def test_rows_do_not_depend_on_their_company_or_on_threads(lib: Any, name: str) -> None:
    x, weights = np.concatenate([*tensors().values(), *tensors().values()]), column_weights()
    together = quantize(lib, name, x, weights, threads=3)
    for i in (0, 17, 71, 143):
        np.testing.assert_array_equal(quantize(lib, name, x[i : i + 1], weights)[0], together[i])


def test_every_instruction_set_gives_the_same_bytes(lib: Any, library: Library) -> None:
    program = (
        "import sys, zlib; from pathlib import Path; from tests.native.library import Library\n"
        "from tests.native import abi; from tests.native.test_quantizers import *\n"
        "lib = abi.bind(sys.argv[1])\n"
        "print([zlib.crc32(quantize(lib, n, x).tobytes()) for n in (*SEARCHED, *ROUNDED) for x in tensors().values()])"
    )

    def digests(isa: str) -> Sequence[str]:
        out = subprocess.run(
            [sys.executable, "-c", program, str(library.path)],
            capture_output=True, text=True, check=True, env={"POCKETLLAMA_ISA": isa, "PYTHONPATH": ":".join(sys.path)},
        )  # fmt: skip
        return out.stdout.split()

    assert digests("scalar") == digests("")


def test_what_cannot_be_written(lib: Any) -> None:
    x = np.zeros((2, 256), np.float32)
    for bad, name in ((np.nan, "F16"), (np.inf, "Q4_K"), (-np.inf, "Q8_0"), (7e4, "F16"), (7e4, "Q6_K"), (6e5, "Q4_0")):
        x[1, 200] = bad
        with pytest.raises(RuntimeError, match=r"NaN or infinity|too large for"):
            quantize(lib, name, x)
    x[1, 200] = 6e5
    assert dequantize("Q8_0", quantize(lib, "Q8_0", x).tobytes())[456] == pytest.approx(6e5, rel=0.01)
    for name in ("IQ2_XXS", "MXFP4", "I32"):
        with pytest.raises(RuntimeError, match="cannot be written"):
            quantize(lib, name, np.zeros((1, 256), np.float32))
