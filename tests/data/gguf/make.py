"""Makes golden.gguf and golden.json beside it with the reference implementation, the `gguf` package (0.19.0) of PyPI:

    pip install gguf==0.19.0 numpy && python make.py

golden.gguf holds metadata of every type and, of one matrix `input` of float32, what the reference's quantizers make of
it. golden.json holds the metadata, and a sha256 of each tensor's bytes. The matrix is random normal rows of several
sizes and rows that decide roundings: ties, zeros, the largest number twice with both signs, subnormal numbers.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFReader, GGUFWriter, quants

HERE = Path(__file__).parent


def rows() -> np.ndarray:
    rng = np.random.default_rng(7)
    normal = [rng.standard_normal(64) * scale for scale in (1, 0.02, 1e-3, 30, 1e-6, 1e-9) for _ in range(4)]
    ramp = np.arange(64) - 32.0
    special = [
        np.zeros(64),
        np.concatenate([np.zeros(32), ramp[:32]]),
        ramp / 127 * 64,  # halves of a step of Q8_0
        np.where(np.arange(64) % 32 == 0, 127.0, ramp + 0.5),  # ties at a scale of 1
        np.where(np.arange(64) % 32 == 31, -127.0, -ramp - 0.5),
        np.where(np.arange(64) % 2, 8.0, -8.0),  # the largest with both signs
        np.where(np.arange(64) % 2, -8.0, 8.0),
        np.where(np.arange(64) % 32 == 5, -8.0, ramp % 8 - 0.5),  # ties of Q4_0
        np.full(64, 1.0),
        np.full(64, -1.0),
        np.full(64, 2.0**-24),  # the smallest of float16
        np.full(64, 2.0**-25),  # half of it: a tie to zero
        np.full(64, 6e-36),
        np.full(64, 65504.0),
    ]
    return np.array(normal + special, np.float32)


METADATA = {
    "general.architecture": ("string", "llama"),
    "test.u8": ("uint8", 200),
    "test.i8": ("int8", -100),
    "test.u16": ("uint16", 60000),
    "test.i16": ("int16", -30000),
    "test.u32": ("uint32", 4000000000),
    "test.i32": ("int32", -2000000000),
    "test.u64": ("uint64", 2**63 + 1),
    "test.i64": ("int64", -(2**62)),
    "test.f32": ("float32", 0.15625),
    "test.f64": ("float64", 0.1),
    "test.bool": ("bool", True),
    "test.string": ("string", "naïve ▁ 日本 🙂"),
    "test.strings": ("array", ["<unk>", "<s>", "", "é", "🙂"]),
    "test.floats": ("array", [0.5, -1.25]),
    "test.ints": ("array", [1, -2, 3]),
    "test.bools": ("array", [True, False]),
}


def main() -> None:
    x = rows()
    out = GGUFWriter(HERE / "golden.gguf", "llama")
    for key, (kind, value) in METADATA.items():
        if key != "general.architecture":
            getattr(out, f"add_{kind}")(key, value)
    out.add_tensor("input", x)
    for kind in (T.F16, T.BF16, T.Q8_0, T.Q4_0):
        out.add_tensor(kind.name.lower(), quants.quantize(x, kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    tensors = {
        t.name: {
            "shape": [int(n) for n in t.shape],
            "type": t.tensor_type.name,
            "sha256": hashlib.sha256(t.data.tobytes()).hexdigest(),
        }
        for t in GGUFReader(HERE / "golden.gguf").tensors
    }
    facts = {"metadata": {k: v for k, (_, v) in METADATA.items()}, "tensors": tensors}
    (HERE / "golden.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
