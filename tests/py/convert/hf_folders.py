"""Folders in Hugging Face's layout, written with NumPy alone: safetensors, config.json, tokenizers."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tests.native.models import N_VOCAB

_TYPES = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8", "uint16": "BF16"}


def safetensors(tensors: Mapping[str, Any], **more: Any) -> bytes:
    """The bytes of a file. uint16 stands for bfloat16. `more` are entries of the table that are written as they are."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        offsets = [len(data), len(data) + len(raw)]
        table[name] = {"dtype": _TYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        data += raw
    header = json.dumps(table | more).encode()
    return struct.pack("<Q", len(header)) + header + data


def tokenizer(n: int = N_VOCAB) -> dict[str, Any]:
    """The smallest byte-level tokenizer.json that is one, of n tokens."""
    texts = ["<s>", "</s>", *map(chr, range(0x21, 0x7F))]
    texts += [a + b for a in "abcdefgh" for b in "abcdefgh"][: n - len(texts)]
    return {
        "model": {
            "type": "BPE",
            "vocab": {text: i for i, text in enumerate(texts)},
            "merges": [[text[0], text[1]] for text in texts if len(text) == 2],
        },
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "added_tokens": [{"id": i, "content": texts[i], "special": True} for i in (0, 1)],
    }


def folder(
    path: Path, config: Mapping[str, Any], tensors: Mapping[str, Any], files: Mapping[str, Any] | None = None
) -> Path:
    """Write a checkpoint of one file; `files` are further ones: JSON, or text."""
    path.mkdir(parents=True)
    (path / "model.safetensors").write_bytes(safetensors(tensors))
    everything = {"config.json": config, "tokenizer.json": tokenizer(), **(files or {})}
    for name, content in everything.items():
        if content is not None:
            (path / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path
