"""`pocketllama convert` as people run it, and what it needs of a machine."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hf_folders import folder, tokenizer
from llamas import PARAMS, tensors
from llamas import folder as meta_folder
from tests.conftest import SHARED
from tests.native.cases import CASES

from pocketllama import gguf
from pocketllama.cli import convert as command
from pocketllama.convert import convert
from pocketllama.errors import UsageError
from pocketllama.quantize import quantize
from pocketllama.units import human_size

CONFIG = CASES["llama"].config | {"model_type": "llama"}
ENV = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
TALES = SHARED / "tales"


def cli(*words: object, cwd: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "pocketllama", "convert", *map(str, words)]
    return subprocess.run(argv, cwd=cwd, env=ENV, capture_output=True, text=True, timeout=120, **more)


def test_a_dry_run_says_what_would_be_written(tmp_path: Path) -> None:
    source = folder(tmp_path / "tiny", CONFIG, CASES["llama"].weights())
    before = sorted(tmp_path.rglob("*"))
    done = cli(source, "--type", "F16", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tiny-f16.gguf: llama, ")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[1:3] for row in rows if row[0] == "F16"] == [["23", "tensors"]]
    assert "nothing is written yet" in done.stdout and sorted(tmp_path.rglob("*")) == before
    assert cli(source, "--type", "f16", cwd=tmp_path).stdout == "tiny-f16.gguf\n"
    size = (tmp_path / "tiny-f16.gguf").stat().st_size
    assert f"{size / 1000:.0f} kB" in done.stdout


def test_notes_go_to_standard_error(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    source = folder(tmp_path / "tiny", CONFIG | {"rope_parameters": rope}, CASES["llama"].weights())
    done = cli(source, cwd=tmp_path)
    assert done.stdout == "tiny-q8_0.gguf\n" and "note: Its positions stretch" in done.stderr


def test_errors_are_one_sentence_and_a_remedy(tmp_path: Path) -> None:
    for words, code, said in (
        ((tmp_path,), 3, "holds no checkpoint of a known layout"),
        ((tmp_path, "--type", "q9"), 2, "'q9' is no type"),
        (("nothing",), 3, "There is no checkpoint at nothing"),
    ):
        done = cli(*words, cwd=tmp_path)
        assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr


def wide(path: Path, layers: int) -> Path:
    """A LLaMA of 7 billion parameters' shapes, of a few layers and nothing but zeros, which take no disk."""
    dim, ffn, n_vocab = 4096, 11008, 32000
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (n_vocab, dim)}
    for i in range(layers):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{x}_proj.weight": (dim, dim) for x in "qkvo"}
        shapes |= {f"{at}.mlp.{x}_proj.weight": (ffn, dim) for x in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (dim, ffn)}
        shapes |= {f"{at}.{x}_layernorm.weight": (dim,) for x in ("input", "post_attention")}
    shapes |= {"model.norm.weight": (dim,), "lm_head.weight": (n_vocab, dim)}
    table, at_byte = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        table[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at_byte, at_byte + size]}
        at_byte += size
    path.mkdir()
    header = json.dumps(table).encode()
    with (path / "model.safetensors").open("wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        f.truncate(8 + len(header) + at_byte)
    config = CONFIG | {
        "hidden_size": dim,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": n_vocab,
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text(json.dumps(tokenizer()))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_nothing(number: int, tmp_path: Path) -> None:
    source = wide(tmp_path / "wide", 1)
    argv = [sys.executable, "-m", "pocketllama", "convert", str(source), "--type", "q8_0"]
    process = subprocess.Popen(argv, cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (partial := list(tmp_path.glob(".*.partial"))) and process.poll() is None:
        time.sleep(0.01)  # for a file to appear: nothing tells of it
    assert partial, process.communicate()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (128 + number, 130, -number)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wide"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell")
def test_seven_billion_parameters_take_little_memory(tmp_path: Path) -> None:
    """1.3 GB of tensors go through a few pieces of some megabytes each; with more layers there are only more pieces."""
    source = wide(tmp_path / "wide", 2)
    assert (source / "model.safetensors").stat().st_size > 1.3e9
    program = (
        f"from pocketllama.convert import convert; convert({str(source)!r}, 'out.gguf', type='q8_0');"
        "from pocketllama.bench.start import peak_rss; print(peak_rss())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=ENV, capture_output=True, check=True)
    assert int(done.stdout) < 500e6


# ---- further types, by way of the quantizer


@pytest.mark.parametrize(
    ("kind", "stored"), [("HalfStorage", "F16"), ("BFloat16Storage", "BF16"), ("FloatStorage", "F32")]
)
def test_further_types(
    kind: str, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """By way of a file of the checkpoint's own precision, of which nothing is left: the same as with two commands."""
    library = os.environ.get("TEST_LIBRARY") or request.getfixturevalue("engine")
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library))
    monkeypatch.chdir(tmp_path)
    weights = tensors(dim=256, ffn=256, kv=128)
    if kind == "FloatStorage":
        weights = {name: w.astype(np.float32) for name, w in weights.items()}
    params = PARAMS | {"dim": 256, "hidden_dim": 256}
    source = meta_folder(tmp_path / "tiny", weights, params, cls=kind)
    command.convert(str(source), type="Q5_K_M")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny", "tiny-q5_k_m.gguf"]
    quantize(convert(source, tmp_path / "first.gguf", type=stored.lower()), tmp_path / "second.gguf", "Q5_K_M")
    assert (tmp_path / "second.gguf").read_bytes() == (tmp_path / "tiny-q5_k_m.gguf").read_bytes()
    with gguf.read(tmp_path / "first.gguf") as f:
        assert {t.type.name for t in f.tensors if len(t.shape) > 1} == {stored}


def test_a_dry_run_of_further_types_says_what_the_end_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sizes and types are the quantized file's; q4_0 is the mixture that is known by the name, as in quantize."""
    library = os.environ.get("TEST_LIBRARY") or request.getfixturevalue("engine")
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library))
    monkeypatch.chdir(tmp_path)
    source = meta_folder(tmp_path / "tiny", tensors(dim=256, ffn=96, kv=128), PARAMS | {"dim": 256, "hidden_dim": 96})
    for kind in ("Q4_K", "q4_0"):
        command.convert(str(source), type=kind, dry_run=True)
        planned = capfd.readouterr()
        path = tmp_path / f"tiny-{'q4_k_m' if kind == 'Q4_K' else kind}.gguf"
        assert planned.out.startswith(f"{path.name}: llama, ") and "by way of a file of F16" in planned.out
        assert not path.exists()
        command.convert(str(source), type=kind)
        made = capfd.readouterr()
        rows = [line.split() for line in planned.out.splitlines()]
        with gguf.read(path) as f:
            found = Counter(t.type.name for t in f.tensors)
        assert {row[0]: int(row[1]) for row in rows if row[2:3] == ["tensors"]} == found
        assert human_size(path.stat().st_size) in planned.out and found["Q6_K"]
        fell_back = "note: Q5_0 for Q4_K, whose blocks do not divide rows of 96: blk.0.ffn_down.weight"
        for told in (planned.err, made.err):
            assert (fell_back in told) is (kind == "Q4_K")


def test_a_type_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'q6_x' is no type") as e:
        command.convert(str(meta_folder(tmp_path / "tiny")), type="q6_x")
    assert "Q4_K_M" in str(e.value.remedy)


# ---- the same model in two layouts


@pytest.mark.skipif(not TALES.exists(), reason="the tales checkpoint is not here")
def test_the_same_model_in_both_layouts_is_the_same_file(tmp_path: Path) -> None:
    """The tales as transformers would have them: other names, and queries and keys in halves."""
    from pocketllama.convert.pth import TorchFile
    from pocketllama.convert.tensor import whole

    params = json.loads((TALES / "params.json").read_text())
    heads, kv, layers = params["n_heads"], params["n_kv_heads"], params["n_layers"]
    names = {"tok_embeddings": "model.embed_tokens", "norm": "model.norm", "output": "lm_head"}
    inside = {
        "wq": "self_attn.q_proj",
        "wk": "self_attn.k_proj",
        "wv": "self_attn.v_proj",
        "wo": "self_attn.o_proj",
        "w1": "mlp.gate_proj",
        "w2": "mlp.down_proj",
        "w3": "mlp.up_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    weights = {}
    with TorchFile(TALES / "consolidated.00.pth") as f:
        for name, tensor in f.tensors.items():
            parts, w = name.split("."), whole(tensor).astype(np.float16)
            if parts[-2] in ("wq", "wk"):
                n = heads if parts[-2] == "wq" else kv
                w = w.reshape(n, -1, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)
            at = f"model.layers.{parts[1]}.{inside[parts[-2]]}" if parts[0] == "layers" else names[parts[0]]
            weights[f"{at}.weight"] = w
    meta = convert(TALES, tmp_path / "meta.gguf", type="q8_0")
    with gguf.read(meta) as f:
        m = dict(f.metadata)
    config = {
        "model_type": "llama",
        "hidden_size": m["llama.embedding_length"],
        "intermediate_size": m["llama.feed_forward_length"],
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": m["llama.context_length"],
        "rms_norm_eps": params["norm_eps"],
        "rope_theta": m["llama.rope.freq_base"],
        "tie_word_embeddings": False,
    }
    source = folder(tmp_path / "tales", config, weights, {"tokenizer.json": None})
    (source / "tokenizer.model").write_bytes((TALES / "tokenizer.model").read_bytes())
    with gguf.read(convert(source, tmp_path, type="q8_0")) as a, gguf.read(meta) as b:
        assert {k: v for k, v in a.metadata.items() if k != "llama.vocab_size"} == dict(b.metadata)
        theirs = {t.name: bytes(b.tensor_bytes(t)) for t in b.tensors}
        assert {t.name: bytes(a.tensor_bytes(t)) for t in a.tensors} == theirs
