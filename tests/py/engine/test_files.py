"""What is known of a model's file before a library sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pocketllama import gguf
from pocketllama.engine import files
from pocketllama.engine.native import Library
from pocketllama.gguf import ArrayOf, ValueType


@pytest.mark.parametrize(
    ("metadata", "bytes_per_token"),
    [
        ({}, 3 * 4 * (16 + 16) * 2),
        ({"attention.head_count_kv": 2}, 3 * 2 * (16 + 16) * 2),
        ({"attention.head_count_kv": [2, 1, 2]}, 3 * 2 * (16 + 16) * 2),
        ({"attention.key_length": 32}, 3 * 4 * (32 + 32) * 2),
        ({"attention.key_length": 32, "attention.value_length": 8}, 3 * 4 * (32 + 8) * 2),
    ],
)
def test_the_caches_size_is_that_of_the_heads(
    tmp_path: Path, metadata: dict[str, int | list[int]], bytes_per_token: int
) -> None:
    sizes = {"block_count": 3, "embedding_length": 64, "attention.head_count": 4, "context_length": 128} | metadata
    keys: dict[str, Any] = {
        "general.architecture": (ValueType.STRING, "gemma3"),
        "tokenizer.ggml.model": (ValueType.STRING, "gpt2"),
        "tokenizer.ggml.tokens": (ArrayOf(ValueType.STRING), ["<s>", "</s>", "a"]),
    }
    for key, value in sizes.items():
        keys[f"gemma3.{key}"] = (ArrayOf(ValueType.UINT32) if isinstance(value, list) else ValueType.UINT32, value)
    path = tmp_path / "model.gguf"
    with gguf.Writer(path, keys, []):
        pass
    assert files.inspect(path, Library(path, "native", "scalar")).kv_bytes_per_token == bytes_per_token
