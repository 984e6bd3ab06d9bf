"""The models that are measured: their weights are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quant_reference
from tests.bench import synthetic

from pocketllama import gguf
from pocketllama.gguf import GGMLType


@pytest.mark.parametrize("form", synthetic.FORMATS)
def test_weights_have_mean_0_and_variance_1_by_columns(form: str, tmp_path: Path) -> None:
    with gguf.read(synthetic.write(tmp_path / "m.gguf", "test", form)) as file:
        for tensor in file.tensors:
            if tensor.type == GGMLType.F32:
                continue
            data = bytes(file.tensor_bytes(tensor))
            weights = quant_reference.dequantize(tensor.type.name, data)
            assert weights.std() == pytest.approx(tensor.shape[0] ** -0.5, rel=0.05), tensor.name
            assert abs(weights.mean()) < weights.std() * 0.02, tensor.name
            assert np.unique(weights).size > 100, tensor.name


def test_the_mix_of_q4_k_m() -> None:
    kinds = {spec.name: spec.type for spec in synthetic.specs(synthetic.SHAPES["1b"], "q4_k_m")}
    downs = [kinds[f"blk.{i}.ffn_down.weight"] for i in range(22)]
    assert [i for i, kind in enumerate(downs) if kind == GGMLType.Q6_K] == [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]
    assert kinds["output.weight"] == GGMLType.Q6_K and kinds["blk.0.attn_q.weight"] == GGMLType.Q4_K


def test_one_seed_writes_one_file(tmp_path: Path) -> None:
    files = [synthetic.write(tmp_path / f"{i}.gguf", "test", "q4_0", seed) for i, seed in enumerate((1, 1, 2))]
    first, second, third = (file.read_bytes() for file in files)
    assert first == second != third
