"""Hugging Face's folders: what else is in them than weights, and what is wrong with some."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hf_folders import folder, tokenizer
from llamas import sentencepiece_model
from stored import config, weights
from tests.conftest import REPO
from tests.native.cases import CASES
from tests.native.models import N_VOCAB

from pocketllama import gguf
from pocketllama.convert import convert, plan
from pocketllama.convert.families import FAMILIES
from pocketllama.errors import ModelInvalid, ModelNotFound, UsageError
from pocketllama.gguf import GGMLType

CASE = CASES["llama"]
CONFIG = CASE.config | {"model_type": "llama"}


def made(tmp_path: Path, files: dict[str, Any] | None = None, n_vocab: int = N_VOCAB, **more: Any) -> dict[str, Any]:
    """The metadata of the converted case, with these files beside its weights."""
    tensors = dict(CASE.weights())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = np.resize(tensors[name], (n_vocab, tensors[name].shape[1]))
    with gguf.read(convert(folder(tmp_path / "m", CONFIG | more, tensors, files), tmp_path / "o.gguf")) as f:
        return dict(f.metadata)


def test_the_docs_list_every_architecture() -> None:
    text = (REPO / "docs" / "convert.md").read_text(encoding="utf-8")
    listed = text.partition("## Architectures")[2].partition("Each is a row")[0]
    words = set(re.findall(r"[a-z0-9_]+", listed))
    spelt = {"RefinedWeb", "RefinedWebModel", "Yi", "stablelm_epoch"}  # other names of what is listed
    names = {name.removesuffix("_text") for name in FAMILIES} - spelt
    assert names <= words, names - words


# ---- configs that ask for what the engine does not compute


BAD_CONFIGS: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown model": ("llama", {"model_type": "mamba"}, "'mamba' of config.json is none"),
    "no model": ("llama", {"model_type": None}, "config.json has no model_type"),
    "quantized weights": ("llama", {"quantization_config": {"quant_method": "gptq"}}, "quantized already \\('gptq'"),
    "another activation": ("llama", {"hidden_act": "gelu"}, "the activation 'gelu'"),
    "positions of an unknown kind": ("llama", {"rope_parameters": {"rope_type": "new"}}, "positions of type 'new'"),
    "another way to choose experts": ("deepseek2", {"topk_method": "new"}, "choosing experts by 'new'"),
    "layers without experts": ("qwen3moe", {"mlp_only_layers": [1]}, "layers without experts"),
    "layers that turn otherwise": ("smollm3", {"no_rope_layers": [1, 1, 1, 1, 1]}, "layers without positions"),
    "Falcon with ALiBi": ("falcon-7b", {"alibi": True}, "ALiBi"),
    "Baichuan 13 B": ("baichuan", {"num_hidden_layers": 40}, "13 B"),
    "Mamba layers": ("granitemoe", {"layer_types": ["mamba", "attention", "attention"]}, "Mamba"),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_what_the_engine_does_not_compute_is_no_file(name: str, tmp_path: Path) -> None:
    case, more, words = BAD_CONFIGS[name]
    source = folder(tmp_path / "m", config(CASES[case]) | more, weights(CASES[case]))
    with pytest.raises(UsageError, match=words):
        convert(source, tmp_path / "o.gguf")
    assert not (tmp_path / "o.gguf").exists()


WRONG_VALUES: dict[str, Any] = {
    "hidden_size": ["64", 0, -1, 1.5, True, 2**40, [64], {}],
    "num_attention_heads": [0, "4", 7],
    "num_hidden_layers": [0, 4, 10**6],
    "num_key_value_heads": [0, 4],
    "intermediate_size": [0, 97],
    "rms_norm_eps": [0, -1, "x", float("inf"), 10**400],
    "max_position_embeddings": [0, "x"],
    "rope_parameters": [{"rope_theta": 0}, {"rope_theta": "x"}, {"rope_type": "linear"}, {"rope_type": 3}, [], 7],
    "head_dim": [0, 15, 17],
}


@pytest.mark.parametrize("key", WRONG_VALUES)
def test_values_that_are_wrong(key: str, tmp_path: Path) -> None:
    for i, value in enumerate(WRONG_VALUES[key]):
        source = folder(tmp_path / str(i), CONFIG | {key: value}, CASE.weights())
        with pytest.raises((ModelInvalid, UsageError)):
            convert(source, tmp_path / "o.gguf")


def test_tensors_that_are_missing_or_too_many(tmp_path: Path) -> None:
    all_of_them = CASE.weights()
    for i, (change, words) in enumerate(
        [
            ({"model.layers.1.self_attn.q_proj.weight": None}, r"no tensor model\.layers\.1\.self_attn\.q_proj"),
            ({"model.embed_tokens.weight": None}, r"tensor model\.embed_tokens\.weight is missing"),
            ({"lm_head.weight": None}, r"no tensor lm_head\.weight"),
            ({"model.layers.0.self_attn.rotary.weight": np.zeros(3, np.float32)}, "rotary.weight', which has no place"),
            ({"model.layers.3.mlp.up_proj.weight": np.zeros(3, np.float32)}, "layers.3.*, which has no place"),
            ({"model.norm.weight": np.zeros(3, np.float32)}, r"of shape \(64,\) has \(3,\)"),
            ({"model.layers.0.self_attn.k_proj.weight": np.zeros((8, 8), np.float32)}, r"\(32, 64\) has \(8, 8\)"),
        ]
    ):
        tensors = {k: v for k, v in (all_of_them | change).items() if v is not None}
        with pytest.raises(ModelInvalid, match=words):
            convert(folder(tmp_path / str(i), CONFIG, tensors), tmp_path)


def test_a_tied_output_needs_no_tensor(tmp_path: Path) -> None:
    tensors = {k: v for k, v in CASE.weights().items() if k != "lm_head.weight"}
    for i, more in enumerate(({"tie_word_embeddings": True}, {"tie_word_embeddings": None})):
        out = convert(folder(tmp_path / str(i), CONFIG | more, tensors), tmp_path)
        with gguf.read(out) as f:
            assert "output.weight" not in {t.name for t in f.tensors}
    # One that is there all the same is not written twice.
    out = convert(folder(tmp_path / "3", CONFIG | {"tie_word_embeddings": True}, CASE.weights()), tmp_path)
    with gguf.read(out) as f:
        assert "output.weight" not in {t.name for t in f.tensors}


def test_a_model_that_sees_is_converted_for_its_text(tmp_path: Path) -> None:
    tensors = {f"model.language_{k}" if k.startswith("model.") else k: v for k, v in CASE.weights().items()}
    tensors = {k.replace("model.language_model.", "model.language_model."): v for k, v in tensors.items()}
    tensors["model.visual.blocks.0.weight"] = np.zeros((3, 3), np.float32)
    whole = {"model_type": "llava", "text_config": CONFIG, "tie_word_embeddings": False}
    source = folder(tmp_path / "m", whole, tensors)
    notes: list[str] = []
    with gguf.read(convert(source, tmp_path, note=notes.append)) as f:
        assert f.metadata["general.architecture"] == "llama" and len(f.tensors) == len(CASE.tensors())
    assert any("sees" in note for note in notes)


def test_what_a_model_that_sees_leaves_out_is_as_transformers_has_it(tmp_path: Path) -> None:
    """Gemma 3's text_config says neither how many heads it has nor how long a context."""
    case = CASES["gemma3"]
    values = config(case)
    for key in ("num_attention_heads", "num_key_value_heads", "max_position_embeddings", "head_dim"):
        del values[key]
    source = folder(tmp_path / "m", {"model_type": "gemma3", "text_config": values}, weights(case))
    with pytest.raises(ModelInvalid, match=re.escape("(2048, 64) has (128, 64)")):  # eight heads of 256
        convert(source, tmp_path)


def test_baichuan_2_has_rows_of_length_1_in_its_output(tmp_path: Path) -> None:
    case = CASES["baichuan"]
    source = folder(tmp_path / "m", config(case) | {"z_loss_weight": 0, "model_max_length": 128}, weights(case))
    with gguf.read(convert(source, tmp_path, type="f32")) as f:
        t = next(t for t in f.tensors if t.name == "output.weight")
        found = np.frombuffer(f.tensor_bytes(t), np.float32).reshape(t.shape[::-1])
    plain = weights(case)["lm_head.weight"]
    assert np.allclose(found, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5)


def test_names_of_a_model_that_was_saved_without_its_head(tmp_path: Path) -> None:
    """As GPT-2 and BLOOM were: no 'transformer.' in front."""
    case = CASES["gpt2"]
    tensors = {k.removeprefix("transformer."): v for k, v in weights(case).items()}
    tensors["h.0.attn.bias"] = np.zeros((1, 1, 4, 4), np.float32)  # its mask
    source = folder(tmp_path / "m", config(case), tensors)
    with gguf.read(convert(source, tmp_path)) as f:
        assert {t.name for t in f.tensors} == set(case.tensors())


def test_gpt_oss_blocks_stay_as_they_are(tmp_path: Path) -> None:
    """MXFP4 in the checkpoint's order: what it stands for is what GGUF's stands for."""
    case = CASES["gpt-oss"]
    tensors, rng = weights(case), np.random.default_rng(1)
    e, dim, ffn = 4, 64, 96
    written = {}
    for name, rows, columns in (("gate_up_proj", 2 * ffn, dim), ("down_proj", dim, ffn)):
        for i in range(case.n_layers):
            at = f"model.layers.{i}.mlp.experts.{name}"
            del tensors[at]
            packed = rng.integers(0, 256, (e, rows, columns // 32, 16), dtype=np.uint8)
            scales = rng.integers(110, 130, (e, rows, columns // 32), dtype=np.uint8)
            tensors[f"{at}_blocks"], tensors[f"{at}_scales"] = packed, scales
            values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
            numbers = np.stack([values[packed & 15], values[packed >> 4]], -1).reshape(e, rows, -1, 32)
            written[at] = (numbers * np.exp2(scales.astype(np.float32) - 127)[..., None]).reshape(e, rows, columns)
    source = folder(tmp_path / "m", config(case) | {"quantization_config": {"quant_method": "mxfp4"}}, tensors)
    with gguf.read(convert(source, tmp_path)) as f:
        places = {
            "ffn_gate": ("gate_up_proj", slice(0, None, 2)),
            "ffn_up": ("gate_up_proj", slice(1, None, 2)),
            "ffn_down": ("down_proj", slice(None)),
        }
        for to, (name, rows) in places.items():
            t = next(t for t in f.tensors if t.name == f"blk.2.{to}_exps.weight")
            assert t.type == GGMLType.MXFP4
            block = np.frombuffer(f.tensor_bytes(t), np.uint8).reshape(-1, 17)
            values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
            numbers = np.concatenate([values[block[:, 1:] & 15], values[block[:, 1:] >> 4]], 1)
            found = (numbers * np.exp2(block[:, :1].astype(np.float32) - 127)).reshape(t.shape[::-1])
            assert np.array_equal(found, written[f"model.layers.2.mlp.experts.{name}"][:, rows]), to


def test_queries_of_another_scale(tmp_path: Path) -> None:
    """Gemma's have their heads' size, which readers know without a key."""
    for scalar, written in ((32, False), (64, True)):
        values = config(CASES["gemma2"]) | {"query_pre_attn_scalar": scalar}
        source = folder(tmp_path / str(scalar), values, weights(CASES["gemma2"]))
        with gguf.read(convert(source, tmp_path)) as f:
            assert ("gemma2.attention.scale" in f.metadata) == written
            assert not written or f.metadata["gemma2.attention.scale"] == 0.125


def test_a_layer_that_predicts_further_tokens_is_left_out(tmp_path: Path) -> None:
    case = CASES["glm4moe"]
    more = {"model.layers.3.eh_proj.weight": np.zeros((3, 3), np.float32)}
    source = folder(tmp_path / "m", config(case) | {"num_nextn_predict_layers": 1}, weights(case) | more)
    with gguf.read(convert(source, tmp_path)) as f:
        assert f.metadata["glm4moe.block_count"] == 3


def test_positions_that_stretch_with_the_text_are_noted(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    source = folder(tmp_path / "m", CONFIG | {"rope_parameters": rope}, CASE.weights())
    assert "dynamic NTK" in plan(source, tmp_path).notes[0]


# ---- tokenizers


def test_special_tokens_and_templates(tmp_path: Path) -> None:
    tokens = tokenizer()
    tokens["added_tokens"].append({"id": 5, "content": "<|im_end|>", "special": True})
    tokens["added_tokens"].append({"id": 6, "content": "<tool>", "special": False})
    tokens["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {"type": "ByteLevel"},
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]},
        ],
    }
    settings = {
        "bos_token": {"content": "<s>"},
        "eos_token": "</s>",
        "pad_token": "<tool>",
        "chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}],
    }
    files = {
        "tokenizer.json": tokens,
        "tokenizer_config.json": settings,
        "generation_config.json": {"eos_token_id": [1, 5]},
    }
    m = made(tmp_path, files)
    assert m["tokenizer.ggml.model"] == "gpt2" and m["tokenizer.ggml.pre"] == "gpt-2"
    assert m["tokenizer.ggml.tokens"][5:7] == ["<|im_end|>", "<tool>"]
    assert m["tokenizer.ggml.token_type"][:8] == [3, 3, 1, 1, 1, 3, 4, 1]
    assert [m[f"tokenizer.ggml.{x}_token_id"] for x in ("bos", "eos", "eot", "padding")] == [0, 1, 5, 6]
    assert m["tokenizer.ggml.add_bos_token"] is True and m["tokenizer.ggml.add_eos_token"] is False
    assert m["tokenizer.chat_template"] == "D" and m["tokenizer.chat_template.tool_use"] == "T"
    assert m["tokenizer.chat_templates"] == ["tool_use"]


def test_a_template_in_a_file_of_its_own_counts_most(tmp_path: Path) -> None:
    files = {"tokenizer_config.json": {"chat_template": "old"}, "chat_template.jinja": "{{ new }}"}
    assert made(tmp_path, files)["tokenizer.chat_template"] == "{{ new }}"


def test_nothing_says_that_a_bos_is_put_in_front(tmp_path: Path) -> None:
    m = made(tmp_path, {"tokenizer_config.json": {"bos_token": "<s>", "add_bos_token": False}})
    assert m["tokenizer.ggml.add_bos_token"] is False and m["tokenizer.ggml.bos_token_id"] == 0


def test_sentencepiece_with_added_tokens(tmp_path: Path) -> None:
    n = 268
    files = {
        "tokenizer.json": None,
        "added_tokens.json": {"<|im_start|>": 265, "<|im_end|>": 266},
        "tokenizer_config.json": {
            "tokenizer_class": "LlamaTokenizer",
            "added_tokens_decoder": {
                "266": {"content": "<|im_end|>", "special": True},
                "1": {"content": "<s>", "special": True},
            },
            "bos_token": "<s>",
            "eos_token": "<|im_end|>",
        },
    }
    source = folder(tmp_path / "m", CONFIG, _wide(n), files)
    (source / "tokenizer.model").write_bytes(sentencepiece_model())
    with gguf.read(convert(source, tmp_path)) as f:
        m = dict(f.metadata)
    assert m["tokenizer.ggml.model"] == "llama" and m["tokenizer.ggml.add_bos_token"] is True
    assert m["tokenizer.ggml.tokens"][264:] == ["a", "<|im_start|>", "<|im_end|>", "[PAD267]"]
    assert m["tokenizer.ggml.token_type"][264:] == [1, 4, 3, 5] and m["tokenizer.ggml.token_type"][:3] == [2, 3, 3]
    assert m["tokenizer.ggml.eos_token_id"] == 266 and len(m["tokenizer.ggml.scores"]) == n


def _wide(n: int) -> dict[str, Any]:
    tensors = dict(CASE.weights())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = np.resize(tensors[name], (n, 64))
    return tensors


def test_sentencepiece_without_its_own_file(tmp_path: Path) -> None:
    vocab = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁a", "ab", "▁", "a", "b"]
    tokens = {
        "model": {
            "type": "BPE",
            "vocab": {t: i for i, t in enumerate(vocab)},
            "merges": [["▁", "a"], "a b"],
            "unk_token": "<unk>",
            "byte_fallback": True,
        },
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace"}],
        },
        "added_tokens": [{"id": i, "content": vocab[i], "special": True} for i in range(3)],
    }
    files = {"tokenizer.json": tokens, "tokenizer_config.json": {"tokenizer_class": "LlamaTokenizerFast"}}
    m = made(tmp_path, files, len(vocab))
    assert m["tokenizer.ggml.model"] == "llama" and m["tokenizer.ggml.add_space_prefix"] is True
    assert m["tokenizer.ggml.token_type"] == [2, 3, 3, *[6] * 256, *[1] * 5]
    a, ab = m["tokenizer.ggml.scores"][259:261]
    assert a > ab > max(m["tokenizer.ggml.scores"][261:])  # in the order of their merges, then what none makes


def test_files_of_before_tokenizer_json(tmp_path: Path) -> None:
    model = tokenizer()["model"]
    merges = "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in model["merges"])
    files = {"tokenizer.json": None, "vocab.json": model["vocab"], "merges.txt": merges}
    case = CASES["gpt2"]
    source = folder(tmp_path / "m", config(case), weights(case), files)
    with gguf.read(convert(source, tmp_path)) as f:
        assert f.metadata["tokenizer.ggml.pre"] == "gpt-2"
        assert len(f.metadata["tokenizer.ggml.merges"]) == len(model["merges"])
    with pytest.raises(UsageError, match=r"in its tokenizer\.json, which is not there"):
        convert(folder(tmp_path / "n", CONFIG, CASE.weights(), files), tmp_path)


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no tokenizer\.json and no tokenizer\.model"):
        convert(folder(tmp_path / "m", CONFIG, CASE.weights(), {"tokenizer.json": None}), tmp_path)


def changed(**changes: Any) -> dict[str, Any]:
    return tokenizer() | changes


BAD_TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown way to find words": (
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": "x+"}, "behavior": "Isolated", "invert": False},
                    {"type": "ByteLevel", "use_regex": False},
                ],
            }
        ),
        "in a way that has no name in GGUF: split x",
    ),
    "lower case": (changed(normalizer={"type": "Lowercase"}), "changes texts before it cuts them"),
    "no vocabulary": (changed(model={"type": "BPE", "merges": []}), "no vocabulary"),
    "no merges": (changed(model={"type": "BPE", "vocab": {"a": 0}}), "no merges"),
    "an id twice": (
        changed(model={"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}),
        "two tokens with the id 0",
    ),
    "an id below 0": (changed(model={"type": "BPE", "vocab": {"a": -1}, "merges": []}), "with the id -1"),
    "an id of 2^23": (
        changed(model={"type": "BPE", "vocab": {"a": 2**23}, "merges": []}),
        "1 tokens and an id 8388608",
    ),
    "an id that is a text": (changed(model={"type": "BPE", "vocab": {"a": "0"}, "merges": []}), "with the id '0'"),
    "a merge of three": (changed(model={"vocab": {"a": 0}, "merges": ["a a a"]}), "no pair"),
    "a merge of unknown ones": (changed(model={"vocab": {"a": 0}, "merges": ["a a"]}), "of which one is no token"),
    "an added token far away": (changed(added_tokens=[{"id": 10**7, "content": "x"}]), "add a token 10000000"),
    "an added token without a text": (changed(added_tokens=[{"id": 3}]), "add a token None as 3"),
    "words and pieces": (
        {"model": {"type": "WordPiece", "vocab": {"a": 0}}, "pre_tokenizer": {"type": "BertPreTokenizer"}},
        "kind 'WordPiece'",
    ),
}


@pytest.mark.parametrize("name", BAD_TOKENIZERS)
def test_tokenizers_that_cannot_be_converted(name: str, tmp_path: Path) -> None:
    content, words = BAD_TOKENIZERS[name]
    with pytest.raises((ModelInvalid, UsageError), match=re.escape(words)):
        convert(folder(tmp_path / "m", CONFIG, CASE.weights(), {"tokenizer.json": content}), tmp_path)


def test_more_tokens_than_the_embedding_has(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="161 tokens, the embedding only 160 rows"):
        made(tmp_path, {"added_tokens.json": {"<more>": 160}})
