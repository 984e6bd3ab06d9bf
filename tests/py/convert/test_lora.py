"""Adapters are added to the weights they were trained on, in every layout that the weights may lie in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hf_folders import folder, safetensors
from llamas import PARAMS
from llamas import folder as meta_folder
from llamas import tensors as meta_tensors
from tests.native.cases import CASES
from tests.native.parts import DIM, HEADS, KV
from torchfiles import checkpoint

from pocketllama import gguf
from pocketllama.convert import convert
from pocketllama.errors import ModelInvalid, ModelNotFound, UnsafeFile, UsageError

CASE = CASES["llama"]
CONFIG = CASE.config | {"model_type": "llama"}
SETTINGS: dict[str, Any] = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]}
RANK = 4
Q, DOWN = "model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj"


def halves(rows: int, columns: int, seed: int = 1) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((RANK, columns)).astype(np.float32), rng.standard_normal((rows, RANK)).astype(np.float32)


def entries(module: str, shape: tuple[int, int]) -> dict[str, Any]:
    a, b = halves(*shape)
    return {f"base_model.model.{module}.lora_A.weight": a, f"base_model.model.{module}.lora_B.weight": b}


BOTH = entries(Q, (DIM, DIM)) | entries(DOWN, (DIM, 96))


def adapter(path: Path, tensors: dict[str, Any] = BOTH, bin: bool = False, **settings: Any) -> Path:
    path.mkdir(parents=True)
    (path / "adapter_config.json").write_text(json.dumps(SETTINGS | settings))
    if bin:
        (path / "adapter_model.bin").write_bytes(checkpoint(tensors, "FloatStorage"))
    else:
        (path / "adapter_model.safetensors").write_bytes(safetensors(tensors))
    return path


def product(shape: tuple[int, int], scale: float) -> Any:
    a, b = halves(*shape)
    return scale * (b.astype(np.float64) @ a.astype(np.float64))


def values(path: Path, name: str) -> Any:
    with gguf.read(path) as f:
        t = next(t for t in f.tensors if t.name == name)
        return np.frombuffer(f.tensor_bytes(t), np.float32).reshape(t.shape[::-1]).copy()


def turned(w: Any) -> Any:
    """As GGUF has rows of queries."""
    return w.reshape(HEADS, 2, -1, DIM).swapaxes(1, 2).reshape(DIM, DIM)


@pytest.mark.parametrize("bin", [False, True])
def test_to_a_checkpoint_of_hugging_faces(bin: bool, tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    out = convert(source, tmp_path, type="f32", lora=[adapter(tmp_path / "a", bin=bin)])
    weights = CASE.weights()
    q = turned(weights[f"{Q}.weight"] + product((DIM, DIM), 2.0))
    assert np.allclose(values(out, "blk.1.attn_q.weight"), q, atol=1e-5)
    down = weights[f"{DOWN}.weight"] + product((DIM, 96), 2.0)
    assert np.allclose(values(out, "blk.0.ffn_down.weight"), down, atol=1e-5)
    plain = convert(source, tmp_path / "plain.gguf", type="f32")
    assert np.array_equal(values(out, "blk.0.attn_q.weight"), values(plain, "blk.0.attn_q.weight"))


def test_to_metas_own_layout(tmp_path: Path) -> None:
    """An adapter for transformers' rows of queries and keys, which Meta's files have in another order."""
    meta = {name: w.astype(np.float32) for name, w in meta_tensors(kv=KV * 16).items()}
    source = meta_folder(tmp_path / "m", meta, PARAMS, cls="FloatStorage")
    keys = entries("model.layers.1.self_attn.k_proj", (KV * 16, DIM))
    out = convert(source, tmp_path, type="f32", lora=[adapter(tmp_path / "a", BOTH | keys)])
    q = meta["layers.1.attention.wq.weight"] + turned(product((DIM, DIM), 2.0))
    assert np.allclose(values(out, "blk.1.attn_q.weight"), q, atol=1e-5)
    k = product((KV * 16, DIM), 2.0).reshape(KV, 2, -1, DIM).swapaxes(1, 2).reshape(-1, DIM)
    assert np.allclose(values(out, "blk.1.attn_k.weight"), meta["layers.1.attention.wk.weight"] + k, atol=1e-5)
    down = meta["layers.0.feed_forward.w2.weight"] + product((DIM, 96), 2.0)
    assert np.allclose(values(out, "blk.0.ffn_down.weight"), down, atol=1e-5)


def test_two_adapters_are_both_added(tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    both = [adapter(tmp_path / "a"), adapter(tmp_path / "b", lora_alpha=4)]
    out = convert(source, tmp_path, type="f32", lora=both)
    q = turned(CASE.weights()[f"{Q}.weight"] + product((DIM, DIM), 2.0 + 1.0))
    assert np.allclose(values(out, "blk.1.attn_q.weight"), q, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"use_rslora": True}, 8 / RANK**0.5),
        ({"alpha_pattern": {"q_proj": 2}}, 2 / RANK),
        ({"alpha_pattern": {"v_proj": 2}}, 8 / RANK),
    ],
)
def test_how_an_adapter_is_scaled(settings: dict[str, Any], scale: float, tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    out = convert(source, tmp_path, type="f32", lora=[adapter(tmp_path / "a", **settings)])
    q = turned(CASE.weights()[f"{Q}.weight"] + product((DIM, DIM), scale))
    assert np.allclose(values(out, "blk.1.attn_q.weight"), q, atol=1e-5)


def test_embeddings_and_matrices_that_were_trained_whole(tmp_path: Path) -> None:
    n = CASE.weights()["lm_head.weight"].shape[0]
    a, b = halves(DIM, n)  # of an embedding's transpose
    head = np.random.default_rng(3).standard_normal((n, DIM)).astype(np.float32)
    tensors = {
        "base_model.model.model.embed_tokens.lora_embedding_A": a,
        "base_model.model.model.embed_tokens.lora_embedding_B": b,
        "base_model.model.lm_head.weight": head,
    }
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    out = convert(source, tmp_path, type="f32", lora=[adapter(tmp_path / "a", tensors)])
    expected = CASE.weights()["model.embed_tokens.weight"] + 2.0 * (b @ a).T
    assert np.allclose(values(out, "token_embd.weight"), expected, atol=1e-5)
    assert np.array_equal(values(out, "output.weight"), head)


def test_layers_that_are_stored_transposed(tmp_path: Path) -> None:
    case = CASES["gpt2"]
    name = "transformer.h.0.attn.c_attn"
    source = folder(tmp_path / "m", case.config | {"model_type": "gpt2"}, case.weights())
    a, b = halves(3 * DIM, DIM)
    tensors = {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b}
    out = convert(source, tmp_path, type="f32", lora=[adapter(tmp_path / "a", tensors, fan_in_fan_out=True)])
    expected = case.weights()[f"{name}.weight"].T + 2.0 * (b @ a)
    assert np.allclose(values(out, "blk.0.attn_qkv.weight"), expected, atol=1e-5)


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another model's": (entries("model.layers.77.mlp.down_proj", (DIM, 96)), {}, "which the model does not have"),
    "of another width": (entries(Q, (DIM, 32)), {}, "is for a matrix of"),
    "half": ({k: v for k, v in BOTH.items() if "lora_A" in k}, {}, "not the other half"),
    "of two ranks": (BOTH | {f"base_model.model.{Q}.lora_A.weight": np.zeros((3, DIM), np.float32)}, {}, "together"),
    "empty": ({}, {}, "holds no tensors"),
    "with magnitudes": (BOTH | {f"base_model.model.{Q}.lora_magnitude_vector": np.zeros(DIM, np.float32)}, {}, "plain"),
    "DoRA": (BOTH, {"use_dora": True}, "DoRA"),
    "of another kind": (BOTH, {"peft_type": "IA3"}, "IA3"),
    "with biases": (BOTH, {"bias": "all"}, "biases"),
    "no alpha": (BOTH, {"lora_alpha": "x"}, "lora_alpha"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("meta", [False, True])
def test_adapters_that_do_not_fit(name: str, meta: bool, tmp_path: Path) -> None:
    tensors, settings, words = BAD[name]
    source = meta_folder(tmp_path / "m") if meta else folder(tmp_path / "m", CONFIG, CASE.weights())
    with pytest.raises((ModelInvalid, UsageError), match=words):
        convert(source, tmp_path / "o.gguf", lora=[adapter(tmp_path / "a", tensors, **settings)])
    assert not (tmp_path / "o.gguf").exists()


def test_what_is_no_adapter(tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    with pytest.raises(ModelNotFound, match="There is no adapter at nowhere"):
        convert(source, lora=["nowhere"])
    with pytest.raises(UsageError, match="holds an adapter, not a model") as e:
        convert(adapter(tmp_path / "alone"))
    assert "--lora" in str(e.value.remedy)
    with pytest.raises(ModelNotFound, match=r"no adapter_config\.json"):
        convert(source, lora=[tmp_path / "m"])
    path = adapter(tmp_path / "a", bin=True)
    (path / "adapter_model.bin").unlink()
    with pytest.raises(ModelNotFound, match="no adapter_model"):
        convert(source, lora=[path])


def test_an_adapter_that_runs_something(tmp_path: Path) -> None:
    from torchfiles import with_pickle

    path = adapter(tmp_path / "a", bin=True)
    with_pickle(path / "adapter_model.bin", b"\x80\x02cos\nsystem\n(X\x09\x00\x00\x00touch rantR.")
    with pytest.raises(UnsafeFile, match=r"os\.system"):
        convert(folder(tmp_path / "m", CONFIG, CASE.weights()), tmp_path / "o.gguf", lora=[path])
