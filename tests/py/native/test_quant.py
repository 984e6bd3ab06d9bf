"""Dequantization in C++ against NumPy, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(Path(__file__).parent))

from native_build import program  # noqa: E402
from quant_reference import GRID_FACTS, QUANTIZED, dequantize, grid, random_blocks  # noqa: E402

from pocketllama.gguf import GGMLType  # noqa: E402


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program("quant_dump", ["quant/dequant.cc", "quant/grids.cc"], tmp_path_factory.mktemp("quant_dump"))


def native(dump: Path, name: str, data: bytes) -> np.ndarray:
    out = subprocess.run([dump, str(int(GGMLType[name]))], input=data, capture_output=True, check=True).stdout
    return np.frombuffer(out, np.float32)


@pytest.mark.parametrize("name", QUANTIZED)
def test_blocks(dump: Path, name: str) -> None:
    assert QUANTIZED[name][0] == GGMLType[name].type_size
    data = random_blocks(name, 500, 7)
    expected = dequantize(name, data)
    assert expected.dtype == np.float32 and len(expected) == 500 * GGMLType[name].block_size
    np.testing.assert_array_equal(native(dump, name, data), expected)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
def test_floats(dump: Path, name: str) -> None:
    """Of 16 bits all there are: denormals, infinities and NaNs too."""
    data = np.arange(65536, dtype=np.uint16).tobytes() if name != "F32" else np.arange(99, dtype=np.float32).tobytes()
    np.testing.assert_array_equal(native(dump, name, data), dequantize(name, data))


def test_every_scale_of_mxfp4(dump: Path) -> None:
    data = b"".join(bytes([e]) + bytes(range(0, 256, 16)) for e in range(253))  # beyond, 6 times it is infinite
    np.testing.assert_array_equal(native(dump, "MXFP4", data), dequantize("MXFP4", data))


@pytest.mark.parametrize("name", GRID_FACTS)
def test_codebooks(name: str) -> None:
    assert len(grid(name)) == GRID_FACTS[name][0]


def test_against_the_gguf_package() -> None:
    """The reference itself, where the package of the format's authors is installed."""
    package = pytest.importorskip("gguf")
    for name, (size, _, _) in QUANTIZED.items():
        data = random_blocks(name, 50, 3)
        blocks = np.frombuffer(data, np.uint8).reshape(-1, size)
        theirs = package.dequantize(blocks, package.GGMLQuantizationType[name]).reshape(-1)
        np.testing.assert_array_equal(dequantize(name, data), theirs)
