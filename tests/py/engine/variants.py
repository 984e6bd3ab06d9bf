"""Models made from the embedded one by changing what its header says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pocketllama import gguf


def variant(source: Path, out: Path, changes: dict[str, tuple[Any, Any]]) -> Path:
    """A copy of `source` at `out` whose metadata has `changes`: {key: (type, value)}, a None type removes the key."""
    with gguf.read(source) as file:
        metadata = {key: (file.metadata.type_of(key), file.metadata[key]) for key in file.metadata}
        for key, value in file.metadata.items():
            if isinstance(value, list):
                element = {str: gguf.ValueType.STRING, int: gguf.ValueType.INT32, float: gguf.ValueType.FLOAT32}
                metadata[key] = (gguf.ArrayOf(element[type(value[0])]), value)
        metadata.update(changes)
        specs = [gguf.TensorSpec(t.name, t.shape, t.type) for t in file.tensors]
        with gguf.Writer(out, {k: v for k, v in metadata.items() if v[0] is not None}, specs) as writer:
            for tensor in file.tensors:
                writer.write(file.tensor_bytes(tensor))
    return out
