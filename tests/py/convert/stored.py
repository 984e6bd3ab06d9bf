"""The cases of tests/native as their checkpoints have them: names and shapes on disk, which transformers changes when
it loads them, and the names of models that only their own code has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from tests.native.models import F32, Case
from tests.native.parts import HEADS, KV

Weights = dict[str, F32]

# The class of a case's config → model_type.
MODEL_TYPES = {
    "Llama": "llama", "Mistral": "mistral", "Mixtral": "mixtral", "Qwen2": "qwen2", "Qwen3": "qwen3",
    "Qwen3Moe": "qwen3_moe",
    "Qwen2Moe": "qwen2_moe", "Gemma": "gemma", "Gemma2": "gemma2", "Gemma3Text": "gemma3_text", "Phi": "phi",
    "Phi3": "phi3", "GPTJ": "gptj", "GPT2": "gpt2", "GPTBigCode": "gpt_bigcode", "Mpt": "mpt", "Bloom": "bloom",
    "GPTNeoX": "gpt_neox", "Falcon": "falcon", "Starcoder2": "starcoder2", "Olmo": "olmo", "Olmo2": "olmo2",
    "Olmo3": "olmo3", "Olmoe": "olmoe", "Granite": "granite", "GraniteMoeShared": "granitemoeshared",
    "GraniteMoeHybrid": "granitemoehybrid", "SmolLM3": "smollm3", "GptOss": "gpt_oss", "Ministral3": "ministral3",
    "Arcee": "arcee", "Ernie4_5": "ernie4_5", "Ernie4_5_Moe": "ernie4_5_moe", "SeedOss": "seed_oss",
    "HunYuanDenseV1": "hunyuan_v1_dense", "Glm": "glm", "Glm4": "glm4", "Exaone4": "exaone4", "StableLm": "stablelm",
    "Nemotron": "nemotron", "Cohere": "cohere", "Cohere2": "cohere2", "Dots1": "dots1", "DeepseekV2": "deepseek_v2",
    "DeepseekV3": "deepseek_v3", "Glm4Moe": "glm4_moe",
}  # fmt: skip
# Models that the cases borrow another's class for.
BORROWED = {
    "exaone": "exaone", "internlm2": "internlm2", "xverse": "xverse", "baichuan": "baichuan", "minicpm": "minicpm",
    "qwen2vl": "qwen2_vl", "qwen3vl": "qwen3_vl_text", "qwen3vlmoe": "qwen3_vl_moe_text",
}  # fmt: skip
# Cases of how older converters wrote their files, not of other checkpoints.
OLDER_FILES = {"mixtral-separate-experts", "qwen3moe-joined", "deepseek2-of-2024"}


def config(case: Case) -> dict[str, Any]:
    kind = BORROWED.get(case.arch) or MODEL_TYPES[case.hf[1].removesuffix("Config")]
    values = case.config | {"model_type": kind}
    if kind == "minicpm":
        for key in ("embedding_multiplier", "residual_multiplier", "attention_multiplier", "logits_scaling"):
            del values[key]
        values |= {"scale_emb": 6.0, "scale_depth": 0.4 * 3**0.5, "dim_model_base": 16}
    if kind == "gpt_neox":
        del values["num_key_value_heads"]
    return values


def weights(case: Case) -> Weights:
    """The state dict as it is stored."""
    out = _apart(case.weights(), config(case)["model_type"])
    return OWN_NAMES.get(case.arch, dict)(out)  # type: ignore[no-any-return]


def _apart(state: Weights, kind: str) -> Weights:
    """Experts are stored one by one, gates and ups apart, but for gpt-oss and Granite."""
    out: Weights = {}
    for name, w in state.items():
        at, _, last = name.rpartition(".experts.")
        if kind == "gpt_oss" or not (at or "router" in name):
            out[name] = w
        elif kind.startswith("granitemoe"):
            new = {"gate_up_proj": "input_linear.weight", "down_proj": "output_linear.weight"}
            out[f"{at}.{new[last]}" if at else name.replace("router", "router.layer")] = w
        else:
            own = ("w1", "w3", "w2") if kind == "mixtral" else ("gate_proj", "up_proj", "down_proj")
            for e, one in enumerate(w):
                each = zip(own[:2], np.split(one, 2), strict=True) if last == "gate_up_proj" else [(own[2], one)]
                out |= {f"{at}.experts.{e}.{x}.weight": half for x, half in each}
    if kind == "mixtral":
        out = {name.replace(".mlp.", ".block_sparse_moe."): w for name, w in out.items()}
    if kind == "ernie4_5_moe":
        out = {name.replace("gate.moe_statics", "moe_statics"): w for name, w in out.items()}
    return out


def _renamed(*pairs: tuple[str, str]) -> Callable[[Weights], Weights]:
    def rename(state: Weights) -> Weights:
        out = {}
        for name, w in state.items():
            for pattern, new in pairs:
                name = re.sub(pattern, new, name)
            out[name] = w
        return out

    return rename


def _internlm2(state: Weights) -> Weights:
    """Queries of a group, their key and their value behind each other."""
    out = {}
    for name, w in state.items():
        if "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            q, k, v = (
                state[name.replace("q_proj", x)].reshape(KV, n, -1, *w.shape[1:])
                for x, n in (("q_proj", HEADS // KV), ("k_proj", 1), ("v_proj", 1))
            )
            w, name = np.concatenate([q, k, v], 1).reshape(-1, *w.shape[1:]), name.replace("q_proj", "wqkv")
        out[name] = w
    return _renamed(
        ("embed_tokens", "tok_embeddings"),
        ("lm_head", "output"),
        (r"self_attn\.o_proj", "attention.wo"),
        ("self_attn", "attention"),
        (r"mlp\.gate_proj", "feed_forward.w1"),
        (r"mlp\.down_proj", "feed_forward.w2"),
        (r"mlp\.up_proj", "feed_forward.w3"),
        ("input_layernorm", "attention_norm"),
        ("post_attention_layernorm", "ffn_norm"),
    )(out)


def _baichuan(state: Weights) -> Weights:
    """Its heads share nothing: the case's two of keys and values stand for two heads each."""
    out = {}
    for name, w in state.items():
        if "k_proj" in name or "v_proj" in name:
            continue
        if "q_proj" in name:
            parts = [state[name.replace("q_proj", x)] for x in ("q_proj", "k_proj", "v_proj")]
            parts[1:] = [p.reshape(KV, -1, p.shape[1]).repeat(HEADS // KV, 0).reshape(w.shape) for p in parts[1:]]
            w, name = np.concatenate(parts), name.replace("q_proj", "W_pack")
        out[name] = w
    return out


OWN_NAMES: dict[str, Callable[[Weights], Weights]] = {
    "internlm2": _internlm2,
    "baichuan": _baichuan,
    "exaone": _renamed(
        (r"model\.layers", "transformer.h"),
        (r"model\.embed_tokens", "transformer.wte"),
        (r"model\.norm", "transformer.ln_f"),
        ("input_layernorm", "ln_1"),
        ("post_attention_layernorm", "ln_2"),
        (r"self_attn\.o_proj", "attn.attention.out_proj"),
        ("self_attn", "attn.attention"),
        (r"mlp\.gate_proj", "mlp.c_fc_0"),
        (r"mlp\.up_proj", "mlp.c_fc_1"),
        (r"mlp\.down_proj", "mlp.c_proj"),
    ),
    "qwen2vl": _renamed((r"^model\.", "model.language_model.")),
    "qwen3vl": _renamed((r"^model\.", "model.language_model.")),
}
