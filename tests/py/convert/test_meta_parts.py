"""Meta's larger models in their parts, LLaMA 3's vocabulary and positions."""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llamas import PARAMS, PIECES, folder, tensors
from torchfiles import checkpoint

from pocketllama import gguf
from pocketllama.convert import convert
from pocketllama.convert.tiktoken import byte_letters, read_tiktoken
from pocketllama.errors import ModelInvalid, ModelNotFound

# Across which dimension each tensor is cut.
ROWS = ("wq", "wk", "wv", "w1", "w3", "output")
COLUMNS = ("wo", "w2")


def split(weights: dict[str, Any], n: int, embedding: int = 1) -> list[dict[str, Any]]:
    """The share of each of n processors; `embedding` is the dimension in which it is cut."""
    parts: list[dict[str, Any]] = [{} for _ in range(n)]
    for name, w in weights.items():
        last = name.split(".")[-2]
        axis = embedding if "embeddings" in name else 0 if last in ROWS else 1 if last in COLUMNS else None
        shares = [w] * n if axis is None else np.split(w, n, axis)
        for part, share in zip(parts, shares, strict=True):
            part[name] = share
    return parts


def in_parts(path: Path, parts: list[dict[str, Any]], params: dict[str, Any] = PARAMS) -> Path:
    folder(path, parts[0], params)
    for i, part in enumerate(parts):
        (path / f"consolidated.{i:02}.pth").write_bytes(checkpoint(part))
    return path


WIDE = PARAMS | {"vocab_size": 272}  # which eight parts can share


@pytest.mark.parametrize("n", [1, 2, 4, 8])
@pytest.mark.parametrize("embedding", [0, 1])
def test_parts_are_merged(n: int, embedding: int, tmp_path: Path) -> None:
    weights = tensors(n_vocab=272)
    whole = convert(folder(tmp_path / "whole" / "m", weights, WIDE), tmp_path / "whole.gguf", type="f16")
    out = convert(in_parts(tmp_path / "m", split(weights, n, embedding), WIDE), tmp_path / "parts.gguf", type="f16")
    assert out.read_bytes() == whole.read_bytes()


def test_a_part_that_is_missing(tmp_path: Path) -> None:
    source = in_parts(tmp_path / "m", split(tensors(n_vocab=272), 4), WIDE)
    (source / "consolidated.02.pth").unlink()
    with pytest.raises(ModelNotFound, match=r"consolidated\.02\.pth, one between them, is missing"):
        convert(source)
    (source / "consolidated.03.pth").unlink()  # of four the first two: the shapes tell
    with pytest.raises(ModelInvalid, match="says dim 64, the tensors' shapes say 32") as e:
        convert(source, tmp_path / "o.gguf")
    assert "may be missing" in str(e.value.remedy)
    assert not (tmp_path / "o.gguf").exists()


def test_parts_of_two_models(tmp_path: Path) -> None:
    parts = split(tensors(n_vocab=272), 2)
    other = {name: w + np.float16(1) for name, w in parts[1].items()}
    for wrong, words in (
        ({**parts[1], "norm.weight": other["norm.weight"]}, "differs between the parts"),
        ({k: v for k, v in parts[1].items() if "wq" not in k}, "do not belong together: blk.0.attn_q.weight is in 1"),
        ({**parts[1], "output.weight": parts[1]["output.weight"][:-1]}, r"of the shapes \(135, 64\) and \(136, 64\)"),
        ({**parts[1], "layers.7.attention.wq.weight": parts[1]["norm.weight"]}, "the first has no blk.7"),
    ):
        source = in_parts(tmp_path / words[:7] / "m", [parts[0], wrong], WIDE)
        with pytest.raises(ModelInvalid, match=words):
            convert(source)


def test_later_models_say_how_their_positions_are_scaled(tmp_path: Path) -> None:
    params = PARAMS | {"use_scaled_rope": True, "rope_theta": 500000.0}
    del params["max_seq_len"]
    with gguf.read(convert(folder(tmp_path / "m", params=params), tmp_path, type="f32")) as f:
        assert f.metadata["llama.context_length"] == 131072
        t = next(t for t in f.tensors if t.name == "rope_freqs.weight")
        found = np.frombuffer(f.tensor_bytes(t), np.float32)
    # As Meta's own code has it, for each of a head's 8 frequencies.
    expected = []
    for i in range(8):
        wavelength = 2 * math.pi * 500000.0 ** (i / 8)
        if wavelength < 8192 / 4:
            expected.append(1.0)
        elif wavelength > 8192:
            expected.append(32.0)  # the small ones of LLaMA 3.2; 8 where the model is wider
        else:
            smooth = (8192 / wavelength - 1) / 3
            expected.append(1 / ((1 - smooth) / 32 + smooth))
    assert found == pytest.approx(expected, rel=1e-6)
    assert min(found) == 1 and max(found) == 32 and len(set(found)) > 2


def ranks(tokens: list[bytes]) -> bytes:
    return b"".join(base64.b64encode(t) + b" %d\n" % i for i, t in enumerate(tokens))


EACH = [bytes([b]) for b in range(256)]
TOKENS = [*EACH, b"th", b"in", b"the", b" t", b"ing", b"thing", b"xyz"]


def test_llama3s_vocabulary(tmp_path: Path) -> None:
    n = len(TOKENS) + 256
    params = PARAMS | {"vocab_size": n}
    source = folder(tmp_path / "m", tensors(n_vocab=n), params, ranks(TOKENS))
    with gguf.read(convert(source, tmp_path)) as f:
        m = dict(f.metadata)
    at = len(TOKENS)
    assert (m["tokenizer.ggml.model"], m["tokenizer.ggml.pre"]) == ("gpt2", "llama-bpe")
    assert m["tokenizer.ggml.tokens"][:5] == byte_letters()[:5]
    assert m["tokenizer.ggml.tokens"][259] == "Ġt"
    assert m["tokenizer.ggml.tokens"][at] == "<|begin_of_text|>" and m["tokenizer.ggml.tokens"][at + 9] == "<|eot_id|>"
    assert m["tokenizer.ggml.tokens"][-1] == "<|reserved_special_token_250|>"
    assert len(m["tokenizer.ggml.tokens"]) == n == len(set(m["tokenizer.ggml.tokens"]))
    assert m["tokenizer.ggml.token_type"] == [1] * at + [3] * 256
    # "xyz" comes of no two tokens, and is found as a whole word only.
    assert m["tokenizer.ggml.merges"] == ["t h", "i n", "th e", "Ġ t", "in g", "th ing"]
    assert (m["tokenizer.ggml.bos_token_id"], m["tokenizer.ggml.eos_token_id"]) == (at, at + 1)
    assert m["tokenizer.ggml.eot_token_id"] == at + 9
    assert m["tokenizer.ggml.add_bos_token"] is True


def test_llama31_has_other_names_for_reserved_tokens(tmp_path: Path) -> None:
    n = len(TOKENS) + 256
    params = PARAMS | {"vocab_size": n, "use_scaled_rope": True}
    source = folder(tmp_path / "m", tensors(n_vocab=n), params, ranks(TOKENS))
    with gguf.read(convert(source, tmp_path)) as f:
        m, at = dict(f.metadata), len(TOKENS)
    tokens = m["tokenizer.ggml.tokens"]
    assert tokens[at + 8] == "<|eom_id|>" == tokens[m["tokenizer.ggml.eom_token_id"]]
    assert tokens[m["tokenizer.ggml.padding_token_id"]] == "<|finetune_right_pad_id|>"
    assert tokens[-1] == "<|reserved_special_token_247|>" and len(set(tokens)) == n


BAD_RANKS = {
    "nothing": b"",
    "a gap": ranks(EACH) + base64.b64encode(b"ab") + b" 300\n",
    "twice": ranks(EACH) + base64.b64encode(b"a") + b" 256\n",
    "no base64": ranks(EACH) + b"*** 256\n",
    "no rank": ranks(EACH) + base64.b64encode(b"ab") + b"\n",
    "a rank that is none": ranks(EACH) + base64.b64encode(b"ab") + b" -1\n",
    "a long token": ranks(EACH) + base64.b64encode(bytes(5000)) + b" 256\n",
}


@pytest.mark.parametrize("name", BAD_RANKS)
def test_ranks_that_are_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(BAD_RANKS[name])
    with pytest.raises(ModelInvalid, match="no tiktoken vocabulary"):
        read_tiktoken(path, "llama-bpe", [])


def test_weights_beside_a_config_of_hugging_faces(tmp_path: Path) -> None:
    """Repositories have both; Meta's own are converted where they are."""
    source = folder(tmp_path / "m")
    (source / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with gguf.read(convert(source, tmp_path)) as f:
        assert f.metadata["tokenizer.ggml.tokens"] == [p for p, _, _ in PIECES]
