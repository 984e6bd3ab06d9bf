"""Every architecture's checkpoint becomes the file that tests/native holds to transformers: the same numbers, the same
keys. That transformers saves such checkpoints is checked where transformers is (tests/native/check_convert.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hf_folders import folder
from stored import OLDER_FILES, config, weights
from tests.native.cases import CASES
from tests.native.models import Case

from pocketllama import gguf
from pocketllama.convert import convert
from pocketllama.convert.families import FAMILIES
from pocketllama.gguf import GGMLType

# The one of 46 layers takes as long as all others.
SHOWN = {name: case for name, case in CASES.items() if name not in OLDER_FILES | {"gemma2-27b"}}
# Keys that a checkpoint does not have, or has otherwise.
OTHERWISE = {
    "baichuan": {"attention.head_count_kv"},  # its heads share nothing
    "bloom": {"context_length"},
    "glm4moe": {"block_count", "nextn_predict_layers"},  # the layer behind the last one is left out
}


@pytest.mark.parametrize("case", SHOWN.values(), ids=SHOWN.keys())
def test_the_file_is_the_cases(case: Case, tmp_path: Path) -> None:
    out = convert(folder(tmp_path / "model", config(case), weights(case)), tmp_path, type="f32")
    expected = case.tensors()
    if case.arch == "glm4moe":
        expected = {name: t for name, t in expected.items() if not name.startswith(f"blk.{case.n_layers}.")}
    with gguf.read(out) as f:
        assert f.metadata["general.architecture"] == case.arch
        for key, value in case.metadata.items():
            if key in OTHERWISE.get(case.arch, ()):
                continue
            found = f.metadata.get(f"{case.arch}.{key}")
            assert found == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value), key
        assert {t.name for t in f.tensors} == set(expected)
        for t in f.tensors:
            assert t.type == GGMLType.F32
            found = np.frombuffer(f.tensor_bytes(t), np.float32)
            wanted = expected[t.name]
            if case.arch == "baichuan" and ("attn_k" in t.name or "attn_v" in t.name):
                wanted = wanted.reshape(2, -1, wanted.shape[1]).repeat(2, 0)
            assert found.size == wanted.size, t.name
            assert np.allclose(found, wanted.reshape(-1), rtol=1e-6, atol=0), t.name


def test_every_architecture_of_the_engine_is_in_the_table() -> None:
    reached = {FAMILIES[config(case)["model_type"]](_config(case)).arch for case in SHOWN.values()}
    assert reached == {case.arch for case in CASES.values()}


def _config(case: Case) -> Any:
    from pocketllama.convert.config import Config

    return Config(config(case), "config.json")
