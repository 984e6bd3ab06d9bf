"""Our quantizers beside ggml's: errors and speed, of the same numbers.

    PYTHONPATH=py python -m tests.bench.quantizers libggml-base.so libpocketllama.so [--store]

ggml's library is that of the package llama-cpp-python (llama_cpp/lib), in an environment of its own; only its C
function ggml_quantize_chunk is called. Both work on one thread, in turn; the ratio is the median of the turns'.
`--store` writes its errors for the tests' numbers into tests/native/quant_errors.json, which our tests compare ours
with.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import time
from ctypes import c_int, c_int64, c_size_t, c_void_p
from statistics import median
from typing import Any

import numpy as np

from pocketllama.gguf import GGMLType

from ..native import abi
from ..native.test_quantizers import F32, ROUNDED, SEARCHED, STORED, U8, column_weights, error, quantize, tensors


def peer(path: str) -> Any:
    lib = ctypes.CDLL(path)
    lib.ggml_quantize_chunk.restype = c_size_t
    lib.ggml_quantize_chunk.argtypes = [c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p]
    return lib


def peer_quantize(lib: Any, name: str, x: F32, importance: F32 | None = None) -> U8:
    out = np.zeros((len(x), GGMLType[name].nbytes(x.shape[1])), np.uint8)
    weights = importance.ctypes.data if importance is not None else None
    size = lib.ggml_quantize_chunk(GGMLType[name], x.ctypes.data, out.ctypes.data, 0, *x.shape, weights)
    assert size == out.nbytes
    return out


def peer_errors(lib: Any) -> dict[str, dict[str, dict[str, float]]]:
    weights = column_weights()
    return {
        name: {
            kind: {
                "plain": error(name, x, peer_quantize(lib, name, x)),
                "weighted": error(name, x, peer_quantize(lib, name, x, weights), weights),
            }
            for kind, x in tensors().items()
        }
        for name in SEARCHED
    }


def seconds(call: Any) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description="Our quantizers beside ggml's.")
    parser.add_argument("ggml")
    parser.add_argument("ours")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    ggml, ours, weights = peer(args.ggml), abi.bind(args.ours), column_weights()
    theirs = peer_errors(ggml)
    if args.store:
        STORED.write_text(json.dumps({"made_by": "tests/bench/quantizers.py", "errors": theirs}, indent=1) + "\n")
    x = np.tile(tensors()["plain"], (8, 1))
    wide = np.tile(weights, 1)
    print(f"{'type':8} {'error, plain':>24} {'error, weighted':>24} {'M weights/s':>16} {'ratio':>6} {'weighted':>9}")
    for name in (*SEARCHED, *ROUNDED[:5]):
        speeds: list[list[float]] = [[], [], [], []]
        for _ in range(args.turns):
            for list_, call in zip(
                speeds,
                (
                    lambda n=name: quantize(ours, n, x),
                    lambda n=name: peer_quantize(ggml, n, x),
                    lambda n=name: quantize(ours, n, x, wide),
                    lambda n=name: peer_quantize(ggml, n, x, wide),
                ),
                strict=True,
            ):
                list_.append(seconds(call))
        ratio = median(b / a for a, b in zip(speeds[0], speeds[1], strict=True))
        ratio_weighted = median(b / a for a, b in zip(speeds[2], speeds[3], strict=True))
        shown = ["", ""]
        if name in theirs:
            found = {kind: quantize(ours, name, t) for kind, t in tensors().items()}
            plain = [error(name, t, found[k]) / theirs[name][k]["plain"] for k, t in tensors().items()]
            packed = {kind: quantize(ours, name, t, weights) for kind, t in tensors().items()}
            weighted = [error(name, t, packed[k], weights) / theirs[name][k]["weighted"] for k, t in tensors().items()]
            shown = [" ".join(f"{r:7.4f}" for r in ratios) for ratios in (plain, weighted)]
        speed = f"{x.size / median(speeds[0]) / 1e6:7.0f} {x.size / median(speeds[1]) / 1e6:7.0f}"
        print(f"{name:8} {shown[0]:>24} {shown[1]:>24} {speed:>16} {ratio:6.2f} {ratio_weighted:9.2f}", flush=True)


if __name__ == "__main__":
    main()
