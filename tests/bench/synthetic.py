"""Models of real shapes with random weights, for measuring: written as a stream, in the memory of a few blocks.

    PYTHONPATH=py python -m tests.bench.synthetic out.gguf --shape 1b --format q4_0

The quantized blocks are drawn as they lie in a file (any bits are valid quants, the scales are chosen), so nothing is
quantized. Every matrix has mean 0 and variance 1 / columns: activations keep their size through all layers, as in a
trained model. The vocabulary is that of tales, filled up to the shape's size; llama.cpp reads the files as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketllama import gguf
from pocketllama.gguf import ArrayOf, FileType, GGMLType, TensorSpec, TokenType, ValueType
from pocketllama.paths import PACKAGE

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Shape:
    """A llama: its numbers under their names in the papers."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    rope_base: float = 10000.0
    context: int = 8192


SHAPES = {
    "1b": Shape(dim=2048, layers=22, heads=32, kv_heads=4, ffn=5632, vocab=32000),
    "8b": Shape(dim=4096, layers=32, heads=32, kv_heads=8, ffn=14336, vocab=128256, rope_base=500000.0),
    # 150 million weights, of which a quantizer makes any file within seconds.
    "small": Shape(dim=1024, layers=12, heads=16, kv_heads=4, ffn=2816, vocab=8192),
    # Small enough for a test, wide enough for blocks of 256.
    "test": Shape(dim=256, layers=2, heads=4, kv_heads=2, ffn=512, vocab=4608, context=256),
}


# ---- blocks: n of one format, whose weights have this standard deviation


def _bits(random: np.random.Generator, *shape: int) -> Bytes:
    return random.integers(0, 256, shape, np.uint8)


def _f16(values: NDArray[Any]) -> Bytes:
    return values.astype("<f2").view(np.uint8).reshape(len(values), 2)


def _scales(random: np.random.Generator, n: int, mean: float, *, signs: bool = False) -> NDArray[Any]:
    """Scales of n blocks around `mean`. `signs`: either sign, which takes the mean out of quants that have one."""
    scales = mean * random.uniform(0.75, 1.25, n)
    return scales * random.choice([-1, 1], n) if signs else scales


def _q4_0(random: np.random.Generator, n: int, std: float) -> Bytes:
    return np.concatenate([_f16(_scales(random, n, std / 4.64, signs=True)), _bits(random, n, 16)], axis=1)


def _q8_0(random: np.random.Generator, n: int, std: float) -> Bytes:
    return np.concatenate([_f16(_scales(random, n, std / 73.9, signs=True)), _bits(random, n, 32)], axis=1)


def _q4_k(random: np.random.Generator, n: int, std: float) -> Bytes:
    """w = d × scale × q − dmin × min: with min = scale and dmin = 7.5 d, the 16 values of q lie around 0."""
    d = _scales(random, n, std / (4.61 * 41.9))
    scale = random.integers(16, 64, (n, 8), np.uint8)
    low, high = scale[:, :4], scale[:, 4:]
    top = high >> 4 << 6  # the upper two of the last four's six bits lie above the first four
    packed = np.concatenate([low | top, low | top, (high & 15) | (high & 15) << 4], axis=1)
    return np.concatenate([_f16(d), _f16(d * 7.5), packed, _bits(random, n, 128)], axis=1)


def _q6_k(random: np.random.Generator, n: int, std: float) -> Bytes:
    scale = random.integers(16, 64, (n, 16), np.int8) * random.choice(np.array([-1, 1], np.int8), (n, 16))
    d = _scales(random, n, std / (18.5 * 41.9))
    return np.concatenate([_bits(random, n, 192), scale.view(np.uint8), _f16(d)], axis=1)


def _f16_weights(random: np.random.Generator, n: int, std: float) -> Bytes:
    return _f16(random.standard_normal(n, np.float32) * np.float32(std))


_BLOCKS: dict[GGMLType, Callable[[np.random.Generator, int, float], Bytes]] = {
    GGMLType.Q4_0: _q4_0,
    GGMLType.Q8_0: _q8_0,
    GGMLType.Q4_K: _q4_k,
    GGMLType.Q6_K: _q6_k,
    GGMLType.F16: _f16_weights,
}
_PIECE = 1 << 19  # weights drawn at a time


def blocks(kind: GGMLType, n_weights: int, std: float, random: np.random.Generator) -> Iterator[memoryview]:
    """`n_weights` random weights in the bytes of `kind`, piece by piece."""
    for start in range(0, n_weights, _PIECE):
        n = min(_PIECE, n_weights - start) // kind.block_size
        yield memoryview(np.ascontiguousarray(_BLOCKS[kind](random, n, std))).cast("B")


# ---- files

# Of each format: the file's number, and what most tensors and the output matrix are stored as. As llama.cpp's quantizer
# has it: a 4-bit file spends six bits on the output.
FORMATS: dict[str, tuple[FileType, GGMLType, GGMLType]] = {
    "q4_0": (FileType.Q4_0, GGMLType.Q4_0, GGMLType.Q6_K),
    "q4_k_m": (FileType.Q4_K_M, GGMLType.Q4_K, GGMLType.Q6_K),
    "q8_0": (FileType.Q8_0, GGMLType.Q8_0, GGMLType.Q8_0),
    "q6_k": (FileType.Q6_K, GGMLType.Q6_K, GGMLType.Q6_K),
    "f16": (FileType.F16, GGMLType.F16, GGMLType.F16),
}


def _six_bits(layer: int, layers: int) -> bool:
    """Whether Q4_K_M gives this layer's values and downs six bits: the first and last eighth, and every third."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


def specs(shape: Shape, form: str) -> list[TensorSpec]:
    """The tensors of a file, in order."""
    _, most, last = FORMATS[form]
    kv = shape.dim // shape.heads * shape.kv_heads
    inside = {  # name: (columns, rows)
        "attn_q": (shape.dim, shape.dim),
        "attn_k": (shape.dim, kv),
        "attn_v": (shape.dim, kv),
        "attn_output": (shape.dim, shape.dim),
        "ffn_gate": (shape.dim, shape.ffn),
        "ffn_up": (shape.dim, shape.ffn),
        "ffn_down": (shape.ffn, shape.dim),
    }
    found = [TensorSpec("token_embd.weight", (shape.dim, shape.vocab), most)]
    for i in range(shape.layers):
        finer = form == "q4_k_m" and _six_bits(i, shape.layers)
        found += [TensorSpec(f"blk.{i}.{name}_norm.weight", (shape.dim,), GGMLType.F32) for name in ("attn", "ffn")]
        for name, dims in inside.items():
            kind = GGMLType.Q6_K if finer and name in ("attn_v", "ffn_down") else most
            found.append(TensorSpec(f"blk.{i}.{name}.weight", dims, kind))
    found.append(TensorSpec("output_norm.weight", (shape.dim,), GGMLType.F32))
    return [*found, TensorSpec("output.weight", (shape.dim, shape.vocab), last)]


def metadata(name: str, shape: Shape, form: str) -> dict[str, tuple[Any, Any]]:
    """The keys of a file."""
    u32, f32 = ValueType.UINT32, ValueType.FLOAT32
    return {
        "general.architecture": (ValueType.STRING, "llama"),
        "general.name": (ValueType.STRING, f"{name}, random weights"),
        "general.file_type": (u32, FORMATS[form][0]),
        "general.quantization_version": (u32, 2),
        "llama.vocab_size": (u32, shape.vocab),
        "llama.context_length": (u32, shape.context),
        "llama.embedding_length": (u32, shape.dim),
        "llama.block_count": (u32, shape.layers),
        "llama.feed_forward_length": (u32, shape.ffn),
        "llama.attention.head_count": (u32, shape.heads),
        "llama.attention.head_count_kv": (u32, shape.kv_heads),
        "llama.attention.layer_norm_rms_epsilon": (f32, 1e-5),
        "llama.rope.dimension_count": (u32, shape.dim // shape.heads),
        "llama.rope.freq_base": (f32, shape.rope_base),
        **_vocabulary(shape.vocab),
    }


def _vocabulary(size: int) -> dict[str, tuple[Any, Any]]:
    """tales' tokens, and behind them tokens that no text has."""
    prefix = "tokenizer.ggml."
    with gguf.read(PACKAGE / "data" / "tales.gguf") as tales:
        own = {key: tales.metadata[key] for key in tales.metadata if key.startswith(prefix)}
        kinds: dict[str, Any] = {key: tales.metadata.type_of(key) for key in own}
    more = size - len(own[prefix + "tokens"])
    fill = {"tokens": [f"<unused_{i}>" for i in range(more)], "scores": [-1e9] * more}
    fill["token_type"] = [TokenType.UNUSED] * more
    entries = {"tokens": ValueType.STRING, "scores": ValueType.FLOAT32, "token_type": ValueType.INT32}
    for key, entry in entries.items():
        own[prefix + key], kinds[prefix + key] = [*own[prefix + key], *fill[key]], ArrayOf(entry)
    return {key: (kinds[key], value) for key, value in own.items()}


def write(path: Path, shape: str, form: str, seed: int = 0, layers: int | None = None) -> Path:
    """Write a model of one of SHAPES in one of FORMATS, with fewer layers if that is wanted."""
    of, random = SHAPES[shape], np.random.default_rng(seed)
    of = replace(of, layers=layers or of.layers)
    tensors = specs(of, form)
    with gguf.Writer(path, metadata(shape, of, form), tensors) as out:
        for spec in tensors:
            if spec.type == GGMLType.F32:  # a norm
                out.write(np.ones(spec.shape[0], "<f4").tobytes())
            else:
                n = spec.shape[0] * spec.shape[1]
                out.write(blocks(spec.type, n, spec.shape[0] ** -0.5, random))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a model of random weights.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="1b")
    parser.add_argument("--format", choices=FORMATS, default="q4_0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layers", type=int, help="fewer than the shape has: what one layer takes is soon measured")
    args = parser.parse_args()
    print(write(args.out, args.shape, args.format, args.seed, args.layers))


if __name__ == "__main__":
    main()
