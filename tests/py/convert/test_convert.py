from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from llamas import NORMAL, PARAMS, PIECES, folder, sentencepiece_model, tensors

from pocketllama import gguf
from pocketllama.convert import TYPES, convert
from pocketllama.errors import EngineError, ModelInvalid, ModelNotFound, StorageError, UnsafeFile, UsageError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder of the test's own, for the default output."""
    path = tmp_path / "here"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


def test_converts_a_checkpoint(tmp_path: Path, here: Path) -> None:
    out = convert(folder(tmp_path / "tiny"))
    assert out == Path("tiny-q8_0.gguf") and names(here) == ["tiny-q8_0.gguf"]
    with gguf.read(out) as f:
        assert dict(f.metadata) == {
            "general.architecture": "llama",
            "general.name": "tiny",
            "general.file_type": 7,
            "general.quantization_version": 2,
            "llama.context_length": 128,
            "llama.embedding_length": 64,
            "llama.block_count": 2,
            "llama.feed_forward_length": 96,
            "llama.rope.dimension_count": 16,
            "llama.rope.freq_base": 500000.0,
            "llama.attention.head_count": 4,
            "llama.attention.head_count_kv": 2,
            "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": [p for p, _, _ in PIECES],
            "tokenizer.ggml.scores": [s for _, s, _ in PIECES],
            "tokenizer.ggml.token_type": [k for _, _, k in PIECES],
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
            "tokenizer.ggml.unknown_token_id": 0,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.ggml.add_eos_token": False,
            "tokenizer.ggml.add_space_prefix": True,
        }
        assert len(f.tensors) == 3 + 2 * 9
        assert {t.type.name for t in f.tensors if len(t.shape) == 2} == {"Q8_0"}
        assert {t.type.name for t in f.tensors if len(t.shape) == 1} == {"F32"}
        assert f.file_size == out.stat().st_size


# Meta's name → GGUF's, for one layer and what is outside.
NAMES = {
    "tok_embeddings": "token_embd",
    "norm": "output_norm",
    "output": "output",
    "layers.1.attention.wq": "blk.1.attn_q",
    "layers.1.attention.wk": "blk.1.attn_k",
    "layers.1.attention.wv": "blk.1.attn_v",
    "layers.1.attention.wo": "blk.1.attn_output",
    "layers.1.feed_forward.w1": "blk.1.ffn_gate",
    "layers.1.feed_forward.w2": "blk.1.ffn_down",
    "layers.1.feed_forward.w3": "blk.1.ffn_up",
    "layers.1.attention_norm": "blk.1.attn_norm",
    "layers.1.ffn_norm": "blk.1.ffn_norm",
}


def test_every_number_arrives_in_its_place(tmp_path: Path) -> None:
    weights = tensors()
    with gguf.read(convert(folder(tmp_path / "tiny"), type="f32")) as f:
        stored = {t.name: t for t in f.tensors}
        for theirs, ours in NAMES.items():
            t, w = stored[f"{ours}.weight"], weights[f"{theirs}.weight"]
            assert t.shape == w.shape[::-1]
            assert bytes(f.tensor_bytes(t)) == w.astype(np.float32).tobytes()


@pytest.mark.parametrize("type", TYPES)
def test_every_type(type: str, tmp_path: Path) -> None:
    with gguf.read(convert(folder(tmp_path / "tiny"), tmp_path / "o.gguf", type=type)) as f:
        assert {t.type.name for t in f.tensors if len(t.shape) == 2} == {type.upper()}
        assert gguf.FileType(f.metadata["general.file_type"]).name == type.upper()


@pytest.mark.parametrize("cls", ["FloatStorage", "BFloat16Storage"])
def test_checkpoints_of_other_precision(cls: str, tmp_path: Path) -> None:
    weights = {k: v.astype(np.float32) for k, v in tensors().items()}
    stored = {k: (v.view(np.uint32) >> 16).astype(np.uint16) for k, v in weights.items()} if cls[0] == "B" else weights
    with gguf.read(convert(folder(tmp_path / "tiny", stored, cls=cls), type="f32")) as f:
        t = next(t for t in f.tensors if t.name == "output.weight")
        found = np.frombuffer(f.tensor_bytes(t), np.float32).reshape(weights["output.weight"].shape)
        assert np.allclose(found, weights["output.weight"], rtol=2**-7 if cls[0] == "B" else 0)


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    convert(source, tmp_path / "a.gguf", progress=lambda *_: None)
    convert(source / "params.json", tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_short_names_and_derived_tables(tmp_path: Path) -> None:
    weights = {k.replace("attention.w", "w").replace("feed_forward.", ""): v for k, v in tensors().items()}
    weights["rope.freqs"] = np.zeros(8, np.float16)
    weights["layers.0.attention.inner_attention.rope.freqs"] = np.zeros(8, np.float16)
    short = convert(folder(tmp_path / "short" / "tiny", weights), tmp_path / "short.gguf")
    assert short.read_bytes() == convert(folder(tmp_path / "long" / "tiny")).read_bytes()


def test_what_releases_leave_out_follows_from_the_shapes(tmp_path: Path) -> None:
    """LLaMA 2's params.json: no hidden_dim, a vocab_size of -1, no n_kv_heads."""
    params = {"dim": 64, "multiple_of": 256, "n_heads": 4, "n_layers": 2, "norm_eps": 1e-05, "vocab_size": -1}
    with gguf.read(convert(folder(tmp_path / "tiny", tensors(kv=64), params))) as f:
        assert f.metadata["llama.feed_forward_length"] == 96
        assert f.metadata["llama.attention.head_count_kv"] == 4
        assert f.metadata["llama.context_length"] == 4096
        assert f.metadata["llama.rope.freq_base"] == 10000.0


def test_spare_rows_of_the_embedding_become_unused_tokens(tmp_path: Path) -> None:
    weights = tensors(n_vocab=len(PIECES) + 3)
    with gguf.read(convert(folder(tmp_path / "tiny", weights, PARAMS | {"vocab_size": -1}))) as f:
        n = len(PIECES)
        assert f.metadata["tokenizer.ggml.tokens"][n:] == [f"[PAD{i}]" for i in range(n, n + 3)]
        assert f.metadata["tokenizer.ggml.token_type"][n:] == [5, 5, 5]
        assert len(f.metadata["tokenizer.ggml.scores"]) == n + 3


def test_rows_that_no_block_divides_stay_float16(tmp_path: Path) -> None:
    weights = tensors(dim=24, kv=12, ffn=32)
    with gguf.read(convert(folder(tmp_path / "tiny", weights, PARAMS | {"dim": 24, "hidden_dim": 32}))) as f:
        types = {t.name: t.type.name for t in f.tensors}
    assert types["token_embd.weight"] == "F16"
    assert types["blk.0.ffn_down.weight"] == "Q8_0"


def test_progress_goes_from_tensor_to_tensor_up_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    out = convert(folder(tmp_path / "tiny"), progress=lambda *event: seen.append(event))
    assert [name for name, _, _ in seen] == [t.name for t in gguf.read(out).tensors]
    done = [n for _, n, _ in seen]
    assert done == sorted(set(done)) and {total for _, _, total in seen} == {out.stat().st_size}
    assert done[-1] <= out.stat().st_size


def test_a_dry_run_checks_and_writes_nothing(tmp_path: Path, here: Path) -> None:
    source = folder(tmp_path / "tiny")
    assert convert(source, dry_run=True) == Path("tiny-q8_0.gguf")
    assert names(here) == []
    (source / "params.json").write_text(json.dumps(PARAMS | {"dim": 65}))
    with pytest.raises(ModelInvalid):
        convert(source, dry_run=True)


def test_where_it_goes(tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    (tmp_path / "out").mkdir()
    assert convert(str(source), str(tmp_path / "out"), type="q4_0") == tmp_path / "out" / "tiny-q4_0.gguf"
    before = (tmp_path / "out" / "tiny-q4_0.gguf").read_bytes()
    (tmp_path / "out" / "tiny-q4_0.gguf").write_bytes(b"GGUF, an older one")
    convert(source, tmp_path / "out", type="q4_0")
    assert (tmp_path / "out" / "tiny-q4_0.gguf").read_bytes() == before
    with pytest.raises(StorageError, match="no folder"):
        convert(source, tmp_path / "no" / "a.gguf")


def test_what_is_no_model_is_not_overwritten(tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    weights = (source / "consolidated.00.pth").read_bytes()
    with pytest.raises(UsageError, match="not overwritten"):
        convert(source, source / "consolidated.00.pth")
    assert (source / "consolidated.00.pth").read_bytes() == weights


def test_an_unknown_type(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'q5_k' is no type") as e:
        convert(tmp_path, type="q5_k")
    assert "q8_0" in str(e.value.remedy)


BAD_PARAMS: dict[str, tuple[Any, str]] = {
    "a list": ([], "not a JSON object"),
    "a long one": ("x" * (1 << 20), "larger than the 1.0 MB"),
    "dim": (PARAMS | {"dim": 128}, "says dim 128, the tensors' shapes say 64"),
    "n_layers": (PARAMS | {"n_layers": 3}, "says n_layers 3"),
    "hidden_dim": (PARAMS | {"hidden_dim": 97}, "says hidden_dim 97"),
    "vocab_size": (PARAMS | {"vocab_size": 10}, "says vocab_size 10"),
    "a nested dim": (PARAMS | {"dim": {"dim": 64}}, "says dim a dict"),
    "no n_heads": ({k: v for k, v in PARAMS.items() if k != "n_heads"}, "'n_heads' should be"),
    "n_heads 0": (PARAMS | {"n_heads": 0}, "'n_heads' should be"),
    "n_heads -4": (PARAMS | {"n_heads": -4}, "'n_heads' should be"),
    "n_heads text": (PARAMS | {"n_heads": "4"}, "'n_heads' should be"),
    "n_heads true": (PARAMS | {"n_heads": True}, "'n_heads' should be"),
    "n_heads 2^31": (PARAMS | {"n_heads": 2**31}, "'n_heads' should be"),
    "n_heads 3": (PARAMS | {"n_heads": 3}, "do not divide"),
    "n_heads 64": (PARAMS | {"n_heads": 64, "n_kv_heads": 32}, "do not divide"),
    "n_heads 8": (PARAMS | {"n_heads": 8}, "should have the shape (16, 64), found (32, 64)"),
    "n_kv_heads 3": (PARAMS | {"n_kv_heads": 3}, "do not divide"),
    "n_kv_heads 4": (PARAMS | {"n_kv_heads": 4}, "should have the shape (64, 64), found (32, 64)"),
    "max_seq_len 0": (PARAMS | {"max_seq_len": 0}, "'max_seq_len' should be"),
    "max_seq_len 1.5": (PARAMS | {"max_seq_len": 1.5}, "'max_seq_len' should be"),
    "norm_eps 0": (PARAMS | {"norm_eps": 0}, "'norm_eps' should be"),
    "norm_eps NaN": (PARAMS | {"norm_eps": float("nan")}, "'norm_eps' should be"),
    "norm_eps 1e300": (PARAMS | {"norm_eps": 1e300}, "'norm_eps' should be"),
    "rope_theta -1": (PARAMS | {"rope_theta": -1}, "'rope_theta' should be"),
    "rope_theta huge": (PARAMS | {"rope_theta": 10**400}, "'rope_theta' should be"),
    "rope_theta infinity": (PARAMS | {"rope_theta": float("inf")}, "'rope_theta' should be"),
}


@pytest.mark.parametrize("name", BAD_PARAMS)
def test_bad_params(name: str, tmp_path: Path, here: Path) -> None:
    params, words = BAD_PARAMS[name]
    with pytest.raises(ModelInvalid) as e:
        convert(folder(tmp_path / "tiny", params=params))
    assert words in str(e.value), str(e.value)
    assert names(here) == []


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff{}", b"[" * 100_000, b'{"dim": ' + b"9" * 10_000 + b"}", b" " * (2 << 20), b"null"]
)
def test_params_that_are_no_json(data: bytes, tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    (source / "params.json").write_bytes(data)
    with pytest.raises(ModelInvalid, match=r"params\.json"):
        convert(source)


def test_params_that_ask_for_more(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="moe"):
        convert(folder(tmp_path / "tiny", params=PARAMS | {"moe": {"num_experts": 8}}))


def without(name: str) -> dict[str, Any]:
    return {k: v for k, v in tensors().items() if k != name}


ZERO = np.zeros((64, 64), np.float16)
BAD_TENSORS: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({}, "is missing"),
    "no embedding": (without("tok_embeddings.weight"), "token_embd.weight is missing"),
    "no output": (without("output.weight"), "no tensor for output.weight"),
    "no norm": (without("norm.weight"), "no tensor for output_norm.weight"),
    "no w1 of layer 0": (without("layers.0.feed_forward.w1.weight"), "ffn_gate.weight is missing"),
    "no wk of layer 1": (without("layers.1.attention.wk.weight"), "no tensor for blk.1.attn_k.weight"),
    "layer 9": (tensors() | {"layers.9.attention.wq.weight": ZERO}, "says n_layers 2, the tensors' shapes say 10"),
    "layer 99999": (tensors() | {"layers.99999.attention.wq.weight": ZERO}, "names a layer 99999"),
    "another tensor": (tensors() | {"layers.0.attention.wq.bias": ZERO}, "wq.bias', which is no part"),
    "a layer 01": (tensors() | {"layers.01.attention.wq.weight": ZERO}, "which is no part"),
    "a module mixed up": (tensors() | {"layers.0.attention.w1.weight": ZERO}, "which is no part"),
    "both names": (tensors() | {"layers.0.wq.weight": ZERO}, "under two names"),
    "w2 transposed": (tensors() | {"layers.0.feed_forward.w2.weight": ZERO.repeat(3, 0)[:96]}, "(64, 96), found (96"),
    "norm of two dimensions": (tensors() | {"norm.weight": ZERO}, "shape (64,), found (64, 64)"),
    "embedding of one dimension": (tensors() | {"tok_embeddings.weight": ZERO[0]}, "not that of a matrix"),
    "embedding of no rows": (tensors() | {"tok_embeddings.weight": ZERO[:0]}, "not that of a matrix"),
    "NaN": (tensors() | {"layers.0.attention.wq.weight": ZERO + np.float16(np.nan)}, "blk.0.attn_q.weight holds NaN"),
    "infinity in a norm": (tensors() | {"norm.weight": ZERO[0] + np.float16(np.inf)}, "holds NaN or infinity"),
}


@pytest.mark.parametrize("name", BAD_TENSORS)
def test_bad_tensors(name: str, tmp_path: Path, here: Path) -> None:
    weights, words = BAD_TENSORS[name]
    with pytest.raises(ModelInvalid) as e:
        convert(folder(tmp_path / "tiny", weights, {k: v for k, v in PARAMS.items() if k != "vocab_size"}))
    assert words in str(e.value), str(e.value)
    assert names(here) == []


def test_numbers_too_large_for_the_type(tmp_path: Path, here: Path) -> None:
    weights = {k: v.astype(np.float32) for k, v in tensors().items()}
    weights["output.weight"][5, 5] = 1e9
    source = folder(tmp_path / "tiny", weights, cls="FloatStorage")
    with pytest.raises(ModelInvalid, match=r"output\.weight holds numbers too large for Q8_0") as e:
        convert(source)
    assert "f32" in str(e.value.remedy) and names(here) == []
    convert(source, type="f32")


def test_more_tokens_than_the_embedding_has(tmp_path: Path) -> None:
    pieces = [*PIECES, ("more", -9.0, NORMAL)]
    with pytest.raises(ModelInvalid, match="266 tokens, the embedding only 265 rows"):
        convert(folder(tmp_path / "tiny", tokenizer=sentencepiece_model(pieces)))


def test_a_pickle_that_runs_something(tmp_path: Path, here: Path) -> None:
    from torchfiles import with_pickle

    source = folder(tmp_path / "tiny")
    with_pickle(source / "consolidated.00.pth", b"\x80\x02cos\nsystem\n(X\x09\x00\x00\x00touch rantR.")
    with pytest.raises(UnsafeFile, match=r"os\.system"):
        convert(source)
    assert names(here) == []


@pytest.mark.parametrize("missing", ["consolidated.00.pth", "params.json", "tokenizer.model"])
def test_a_file_missing(missing: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    (source / missing).unlink()
    with pytest.raises(ModelNotFound, match=f"has no {missing}"):
        convert(source)


def test_folders_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="no checkpoint at"):
        convert(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match="no checkpoint of a known layout") as e:
        convert(tmp_path / "empty")
    assert "safetensors" in str(e.value.remedy) and "GGML" in str(e.value.remedy)
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match="is a GGUF file already"):
        convert(tmp_path / "model.gguf")
    (tmp_path / "text").write_bytes(b"a text")
    with pytest.raises(ModelNotFound, match="text is no checkpoint"):
        convert(tmp_path / "text")


def test_a_folder_to_write_to_that_is_not_there(tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny")
    with pytest.raises(StorageError, match=r"There is no folder .*new"):
        convert(source, f"{tmp_path / 'new'}{os.sep}")
    (tmp_path / "new" / "tiny-f16.gguf").mkdir(parents=True)
    with pytest.raises(UsageError, match="is a folder"):
        convert(source, tmp_path / "new", type="f16")


def test_ctrl_c_leaves_nothing(tmp_path: Path, here: Path) -> None:
    def stop(name: str, done: int, total: int) -> None:
        if name.startswith("blk.1"):
            assert len(names(here)) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder(tmp_path / "tiny"), progress=stop)
    assert names(here) == []


@pytest.mark.parametrize("good", range(0, 22, 3))
def test_a_disk_that_fills_up_leaves_nothing(
    good: int, tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pocketllama.gguf import writer

    class Full(writer.FileIO):
        left = good

        def write(self, data: Any) -> int:
            Full.left -= len(data) > 0  # padding of nothing is no write
            if Full.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    source = folder(tmp_path / "tiny")
    monkeypatch.setattr(writer, "FileIO", Full)
    with pytest.raises(StorageError, match="No space left"):
        convert(source)
    assert names(here) == []


def test_disk_space_is_asked_first(tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pocketllama.gguf import target

    source = folder(tmp_path / "tiny")
    monkeypatch.setattr(target.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match=r"needs .* kB, and 1\.0 kB are free"):
        convert(source)
    assert names(here) == []


def test_without_numpy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(EngineError, match="NumPy") as e:
        convert(tmp_path)
    assert "pocketllama[convert]" in str(e.value.remedy)


def test_importing_it_costs_nothing() -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    program = "import sys, pocketllama.convert as c; print({'numpy', 'sentencepiece', 'json'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
