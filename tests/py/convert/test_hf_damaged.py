"""Whatever stands in a folder's JSON files, they are read or refused, and nothing else happens."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hf_folders import safetensors, tokenizer
from stored import config, weights
from tests.native.cases import CASES

from pocketllama.convert import plan
from pocketllama.errors import ModelError, UsageError

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63, 1.5, float("inf"), float("nan"), 1e308, "", "x", "a b", "silu",
    [], [1], [[]], ["a"], [None], {}, {"a": 1}, {"type": "x"}, {"type": "Sequence"}, {"type": "ByteLevel"}, "\ud800",
]  # fmt: skip
SETTINGS = {
    "bos_token": {"content": "<s>"},
    "eos_token": "</s>",
    "chat_template": [{"name": "default", "template": "x"}],
    "added_tokens_decoder": {"5": {"content": "<t>", "special": True}},
    "add_bos_token": True,
    "tokenizer_class": "LlamaTokenizer",
}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value inside, the first of long lists."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(inside)[:60]:
        yield from places(inner, (*at, key))


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    value = copy.copy(value)
    value[at[0]] = put(value[at[0]], at[1:], new)
    return value


@pytest.mark.parametrize(
    "name", ["llama", "mixtral", "gemma3", "deepseek2", "gpt-oss", "phi3-longrope-long", "falcon-40b"]
)
def test_values_that_nobody_expects(name: str, tmp_path: Path) -> None:
    rng, case = random.Random(name), CASES[name]
    files: dict[str, Any] = {
        "config.json": config(case),
        "tokenizer.json": tokenizer(),
        "tokenizer_config.json": SETTINGS,
        "generation_config.json": {"eos_token_id": [1, 5]},
    }
    (tmp_path / "model.safetensors").write_bytes(safetensors(weights(case)))
    refused = 0
    for _ in range(60):
        changed = dict(files)
        for file in rng.choices(list(files), [3, 1, 1, 1], k=rng.randint(1, 2)):
            changed[file] = put(changed[file], rng.choice(list(places(changed[file]))), rng.choice(VALUES))
        for file, content in changed.items():
            (tmp_path / file).write_text(json.dumps(content))
        try:
            plan(tmp_path, tmp_path)
        except (ModelError, UsageError):
            refused += 1
    assert 5 < refused < 60


def test_a_temperature_that_is_no_number(tmp_path: Path) -> None:
    case = CASES["mistral3"]
    values = config(case)
    values["rope_parameters"] = values["rope_parameters"] | {"llama_4_scaling_beta": {}}
    (tmp_path / "model.safetensors").write_bytes(safetensors(weights(case)))
    (tmp_path / "config.json").write_text(json.dumps(values))
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer()))
    with pytest.raises(ModelError, match="llama_4_scaling_beta"):
        plan(tmp_path, tmp_path)
