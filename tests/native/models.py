"""Tiny models with random weights: what they are made of, and how they are written to GGUF.

A `Case` is a model of Hugging Face transformers with its shapes, and for each of its tensors what GGUF calls it and
what converters do to it. The weights come from a seeded generator that knows nothing of either library, so the file
can be written without torch, and torch can be given the same numbers. The names and keys are those of llama.cpp's
converter.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketllama import gguf
from pocketllama.gguf import ArrayOf, GGMLType, TensorSpec, TokenType, ValueType

F32 = NDArray[np.float32]
Change = Callable[[F32], "F32 | Sequence[F32]"]

N_VOCAB = 160
N_PROMPT = 72  # longer than any window here, and than the engine's blocks of keys
WINDOW = 16


def same(w: F32) -> F32:
    return w


@dataclass(frozen=True)
class Part:
    """One tensor: its name and shape in the state dict, and what becomes of it.

    `{i}` stands for the layer in both names, one of `layers` (all). `change` gives one array for each name in `gguf`.
    The weights are uniform with this mean and standard deviation.
    """

    hf: str
    shape: tuple[int, ...]
    gguf: str | tuple[str, ...]
    change: Change = same
    mean: float = 0.0
    std: float = 0.15
    layers: range | None = None


@dataclass(frozen=True)
class Case:
    """A model. `hf` names its class and the class of its config, `config` is given to the latter."""

    name: str
    hf: tuple[str, str]
    config: dict[str, Any]
    arch: str
    metadata: dict[str, Any]  # under the architecture's name; the type of a value gives that of the key
    n_layers: int
    parts: list[Part]
    extra: dict[str, F32] = field(default_factory=dict)  # tensors that only the file has
    n_ctx: int = 128  # of the test: LongRoPE's choice depends on it

    def weights(self) -> dict[str, F32]:
        """The state dict: name → array of the part's shape."""
        return {name: array for part in self.parts for name, array, _ in self._arrays(part)}

    def tensors(self) -> dict[str, F32]:
        """What the file holds: name → array in torch's order of dimensions."""
        out = dict(self.extra)
        for part in self.parts:
            names = (part.gguf,) if isinstance(part.gguf, str) else part.gguf
            for _, array, layer in self._arrays(part):
                changed = part.change(array)
                arrays = [changed] if isinstance(changed, np.ndarray) else changed
                for name, a in zip(names, arrays, strict=True):
                    out[name.replace("{i}", str(layer))] = a
        return out

    def _arrays(self, part: Part) -> list[tuple[str, F32, int]]:
        layers = (part.layers or range(self.n_layers)) if "{i}" in part.hf else range(1)
        names = [part.hf.replace("{i}", str(i)) for i in layers]
        return [(name, self._random(name, part), i) for name, i in zip(names, layers, strict=True)]

    def _random(self, name: str, part: Part) -> F32:
        # RandomState's streams never change, and uniform numbers take no rounding that could differ.
        random = np.random.RandomState(zlib.crc32(f"{self.name} {name}".encode()))
        unit = (random.random_sample(part.shape) - 0.5) * 12**0.5
        array: F32 = (part.mean + part.std * unit).astype(np.float32)
        return array

    def prompt(self) -> NDArray[np.int32]:
        """N_PROMPT token ids."""
        random = np.random.RandomState(zlib.crc32(f"{self.name} prompt".encode()))
        return random.randint(0, N_VOCAB, N_PROMPT).astype(np.int32)

    def write(self, path: Path) -> Path:
        return write(path, self.arch, self.metadata, self.tensors())


# A tensor already in a format's bytes: the format, the shape in torch's order, the bytes.
Packed = tuple[GGMLType, tuple[int, ...], bytes]


def write(
    path: Path,
    arch: str,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, F32 | Packed],
    vocab: Mapping[str, Any] | None = None,
) -> Path:
    """A GGUF file with these keys and tensors; where nothing else is given, with a vocabulary that nobody reads."""
    keys: dict[str, Any] = {"general.architecture": (ValueType.STRING, arch)}
    keys |= {f"{arch}.{key}": (kind_of(value), value) for key, value in metadata.items()}
    keys |= vocabulary() if vocab is None else vocab
    packed = {
        name: (GGMLType.F32, t.shape, np.ascontiguousarray(t, np.float32).tobytes()) if isinstance(t, np.ndarray) else t
        for name, t in tensors.items()
    }
    specs = [TensorSpec(name, shape[::-1], kind) for name, (kind, shape, _) in packed.items()]
    with gguf.Writer(path, keys, specs) as out:
        for _, _, data in packed.values():
            out.write(data)
    return path


def kind_of(value: Any) -> ValueType | ArrayOf:
    if isinstance(value, list):
        return ArrayOf(kind_of(value[0]))
    kinds = {bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32, str: ValueType.STRING}
    return kinds[type(value)]


def vocabulary() -> dict[str, Any]:
    """Keys of a vocabulary of N_VOCAB tokens."""
    tokens = ["<s>", "</s>", *map(chr, range(0x21, 0x7F))]
    tokens += [a + b for a in "abcdefgh" for b in "abcdefgh"][: N_VOCAB - len(tokens)]
    return {
        "tokenizer.ggml.model": (ValueType.STRING, "llama"),
        "tokenizer.ggml.tokens": (ArrayOf(ValueType.STRING), tokens),
        "tokenizer.ggml.token_type": (
            ArrayOf(ValueType.INT32),
            [TokenType.CONTROL] * 2 + [TokenType.NORMAL] * (N_VOCAB - 2),
        ),
        "tokenizer.ggml.scores": (ArrayOf(ValueType.FLOAT32), [0.0] * N_VOCAB),
        "tokenizer.ggml.bos_token_id": (ValueType.UINT32, 0),
        "tokenizer.ggml.eos_token_id": (ValueType.UINT32, 1),
    }


# ---- what converters do to weights


def flat(w: F32) -> F32:
    return w.reshape(-1)


def transposed(w: F32) -> F32:
    return np.swapaxes(w, -1, -2)


def interleaved(heads: int) -> Change:
    """Rows of each head from two halves, as transformers turns them, to pairs beside each other, as Meta's files do."""

    def change(w: F32) -> F32:
        moved: F32 = w.reshape(heads, 2, -1, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)
        return moved

    return change


def heads_together(heads: int) -> Change:
    """GPT-NeoX: (head, q k v) → (q k v, head)."""

    def change(w: F32) -> F32:
        moved: F32 = w.reshape(heads, 3, -1, *w.shape[1:]).swapaxes(0, 1).reshape(w.shape)
        return moved

    return change


def groups_together(heads: int, kv_heads: int) -> Change:
    """Falcon 40B: for each key-value head its queries, a key and a value → all queries, all keys, all values."""

    def change(w: F32) -> F32:
        groups = w.reshape(kv_heads, heads // kv_heads + 2, -1, w.shape[-1])
        parts = groups[:, :-2], groups[:, -2], groups[:, -1]
        return np.concatenate([p.reshape(-1, w.shape[-1]) for p in parts])

    return change


def halves(axis: int) -> Change:
    """One array into two: the gates and the ups."""
    return lambda w: np.split(w, 2, axis)


def each_half(w: F32) -> Sequence[F32]:
    """The same for each expert by itself."""
    return [half for expert in w for half in np.split(expert, 2)]


def alternating(w: F32) -> Sequence[F32]:
    """gpt-oss: gates and ups take turns in the last dimension."""
    return w[..., ::2], w[..., 1::2]


def alternating_transposed(w: F32) -> Sequence[F32]:
    return [transposed(half) for half in alternating(w)]


def plus_one(w: F32) -> F32:
    """Gemma's norms scale by one more than their weight."""
    more: F32 = w + np.float32(1)
    return more
