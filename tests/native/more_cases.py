"""The table's dense models that are variations on LLaMA, each with what it does otherwise."""

from __future__ import annotations

from typing import Any

from .models import N_VOCAB, WINDOW, Case, Part, halves, plus_one
from .parts import (
    AT,
    BLK,
    DIM,
    EPS,
    FFN,
    HEAD,
    HEADS,
    KV,
    attention,
    causal,
    ends,
    gated_ffn,
    hf_config,
    joined_ffn,
    keys,
    layer_norm_keys,
    linear,
    norm,
    plain_ffn,
    two_norms,
)

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
YARN_KEYS = {
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 4.0,
    "rope.scaling.original_context_length": 32,
}


def like(hf: str, arch: str, **how: Any) -> Case:
    """What only its name tells from a model that transformers has."""
    parts = [*ends(), *attention(**how), *gated_ffn(), *two_norms()]
    config = hf_config(3, head_dim=HEAD, attention_bias=bool(how.get("bias_out")))
    return Case(arch, causal(hf), config, arch, keys(3), 3, parts)


def llamas() -> list[Case]:
    turned, plain = (
        [*ends(), *attention(turned=True), *gated_ffn(), *two_norms()],
        [*ends(), *attention(), *gated_ffn(), *two_norms()],
    )
    yarn = YARN | {"attention_factor": 0.7, "beta_fast": 8.0, "beta_slow": 2.0}
    yarn_keys = YARN_KEYS | {
        "rope.scaling.yarn_attn_factor": 0.7,
        "rope.scaling.yarn_beta_fast": 8.0,
        "rope.scaling.yarn_beta_slow": 2.0,
    }
    minicpm = hf_config(
        3, embedding_multiplier=6.0, residual_multiplier=0.4, attention_multiplier=0.25, logits_scaling=4.0
    )
    minicpm_keys = keys(3, embedding_scale=6.0, residual_scale=0.4, logit_scale=4.0)
    ministral = YARN | {"mscale": 1.0, "mscale_all_dim": 0.5, "llama_4_scaling_beta": 0.3, "rope_theta": 10000.0}
    ministral_keys = YARN_KEYS | {"rope.scaling.yarn_log_multiplier": 0.5, "attention.temperature_scale": 0.3}
    hybrid = hf_config(
        3, attention_multiplier=0.25, num_local_experts=0, shared_intermediate_size=FFN, position_embedding_type=None
    )
    nope = [
        *ends(),
        *attention(turned=True),
        Part(
            f"{AT}.shared_mlp.input_linear.weight",
            (2 * FFN, DIM),
            (f"{BLK}.ffn_gate.weight", f"{BLK}.ffn_up.weight"),
            halves(0),
        ),
        *linear(f"{AT}.shared_mlp.output_linear", f"{BLK}.ffn_down", DIM, FFN),
        *two_norms(),
    ]
    return [
        Case("llama-yarn", causal("Llama"), hf_config(3, rope=yarn), "llama", keys(3) | yarn_keys, 3, turned),
        Case(
            "llama-one-kv-head",
            causal("Llama"),
            hf_config(3, num_key_value_heads=1),
            "llama",
            keys(3, kv=1),
            3,
            [*ends(), *attention(turned=True, kv=1), *gated_ffn(), *two_norms()],
        ),
        like("Llama", "exaone"),
        like("Llama", "internlm2", turned=True, bias=True, bias_out=True),
        like("Llama", "xverse", turned=True),
        like("Llama", "baichuan", turned=True),
        like("Qwen2", "qwen2vl", bias=True),
        like("Qwen3", "qwen3vl", norms=(HEAD, HEAD)),
        Case("minicpm", causal("Granite"), minicpm, "minicpm", minicpm_keys, 3, turned),
        Case(
            "mistral3",
            causal("Ministral3"),
            hf_config(3, head_dim=HEAD, rope=ministral),
            "mistral3",
            keys(3) | ministral_keys,
            3,
            turned,
        ),
        Case(
            "granite-without-rope",
            causal("GraniteMoeHybrid"),
            hybrid | {"layer_types": ["attention"] * 3, "mamba_n_heads": 8},
            "granite",
            {k: v for k, v in keys(3).items() if "rope" not in k} | {"rope.scaling.finetuned": False},
            3,
            nope,
        ),
        Case(
            "arcee",
            causal("Arcee"),
            hf_config(3, head_dim=HEAD),
            "arcee",
            keys(3),
            3,
            [*ends(), *attention(turned=True), *plain_ffn("up_proj", "down_proj"), *two_norms()],
        ),
        Case("ernie4_5", causal("Ernie4_5"), hf_config(3, head_dim=HEAD), "ernie4_5", keys(3), 3, plain),
        Case(
            "seed_oss",
            causal("SeedOss"),
            hf_config(3, head_dim=32, attention_bias=True, attention_out_bias=True),
            "seed_oss",
            keys(3, head=32),
            3,
            [
                *ends(),
                *attention(head=32, bias=True, bias_out=True),
                *gated_ffn(),
                *two_norms("post_attention_norm"),
            ],
        ),
    ]


def hunyuan() -> Case:
    names = {f"{AT}.self_attn.q_norm.weight": "query_layernorm", f"{AT}.self_attn.k_norm.weight": "key_layernorm"}
    parts = [
        Part(f"{AT}.self_attn.{names[p.hf]}.weight", *parts_of(p)) if p.hf in names else p
        for p in (*ends(tied=True), *attention(head=32, norms=(32, 32)), *gated_ffn(), *two_norms())
    ]
    config = hf_config(3, head_dim=32, tie_word_embeddings=True)
    return Case("hunyuan-dense", causal("HunYuanDenseV1"), config, "hunyuan-dense", keys(3, head=32), 3, parts)


def parts_of(part: Part) -> tuple[Any, ...]:
    """All of a part but its name in the state dict."""
    return part.shape, part.gguf, part.change, part.mean, part.std


def glm() -> list[Case]:
    rope = {"partial_rotary_factor": 0.5}
    config = hf_config(3, head_dim=HEAD, attention_bias=True, rope=rope)
    metadata = keys(3) | {"rope.dimension_count": HEAD // 2}
    common = [*ends(), *attention(bias=True), *joined_ffn()]
    behind = [
        *norm(f"{AT}.post_self_attn_layernorm", f"{BLK}.post_attention_norm"),
        *norm(f"{AT}.post_mlp_layernorm", f"{BLK}.post_ffw_norm"),
    ]
    return [
        Case("chatglm", causal("Glm"), config, "chatglm", metadata, 3, [*common, *two_norms()]),
        Case("glm4", causal("Glm4"), config, "glm4", metadata, 3, [*common, *two_norms(), *behind]),
    ]


def norms_behind() -> list[Case]:
    def parts(q: int, k: int) -> list[Part]:
        return [
            *ends(),
            *attention(norms=(q, k)),
            *gated_ffn(),
            *norm(f"{AT}.post_attention_layernorm", f"{BLK}.post_attention_norm"),
            *norm(f"{AT}.post_feedforward_layernorm", f"{BLK}.post_ffw_norm"),
        ]

    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    slide = {"attention.sliding_window": WINDOW, "attention.sliding_window_pattern": [k[0] == "s" for k in kinds]}
    layers = {"layer_types": kinds, "sliding_window": WINDOW}
    rope = {
        "full_attention": YARN | {"rope_theta": 1e6, "attention_factor": 0.7},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e6},
    }
    olmo3 = hf_config(5, **layers) | {"rope_parameters": rope}
    olmo3_keys = keys(5, base=1e6) | YARN_KEYS | slide | {"rope.scaling.attn_factor": 0.7}
    return [
        Case("olmo3", causal("Olmo3"), olmo3, "olmo2", olmo3_keys, 5, parts(DIM, KV * HEAD)),
        Case("exaone4", causal("Exaone4"), hf_config(5, **layers), "exaone4", keys(5) | slide, 5, parts(HEAD, HEAD)),
        Case(
            "exaone4-small",
            causal("Exaone4"),
            hf_config(3, sliding_window=None, layer_types=["full_attention"] * 3),
            "exaone4",
            keys(3),
            3,
            parts(HEAD, HEAD),
        ),
    ]


def gemma() -> Case:
    parts = [
        *ends(tied=True, gemma=True),
        *attention(head=32),
        *gated_ffn(),
        *two_norms(gemma=True),
    ]
    config = hf_config(3, head_dim=32, tie_word_embeddings=True, hidden_act="gelu_pytorch_tanh")
    metadata = keys(3, head=32)
    del metadata["rope.freq_base"], metadata["rope.dimension_count"]
    return Case("gemma", causal("Gemma"), config, "gemma", metadata, 3, parts)


def layer_normed() -> list[Case]:
    """LayerNorm instead of RMS norm; each has its own name for its epsilon."""

    def config(eps: str, layers: int = 3, **more: Any) -> dict[str, Any]:
        out = hf_config(layers, **{eps: EPS}, **more)
        del out["rms_norm_eps"]
        return out

    def one_norm(**how: Any) -> list[Part]:
        return norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", **how)

    own = [
        Part(f"{AT}.self_attn.{x}_norm.weight", (n, HEAD), f"{BLK}.attn_{x}_norm.weight", mean=1.0, std=0.2)
        for x, n in (("q", HEADS), ("k", KV))
    ]
    llama = [*ends(bias=True), *attention(bias=True), *gated_ffn()]
    partial = {"partial_rotary_factor": 0.5}
    partial_key = {"rope.dimension_count": HEAD // 2}
    olmo = [p for p in (*ends(), *attention(turned=True), *gated_ffn()) if "norm" not in p.hf]
    cohere2 = ["sliding_attention"] * 3 + ["full_attention"] + ["sliding_attention"]
    return [
        Case(
            "phi2",
            causal("Phi"),
            config("layer_norm_eps", num_key_value_heads=HEADS, rope=partial),
            "phi2",
            layer_norm_keys(3, FFN, kv=HEADS) | partial_key,
            3,
            [
                *(p for p in ends() if "norm" not in p.hf),
                *norm("model.final_layernorm", "output_norm", bias=True),
                Part("lm_head.bias", (N_VOCAB,), "output.bias"),
                *attention(kv=HEADS, bias=True, bias_out=True, o="dense"),
                *plain_ffn("fc1", "fc2", bias=True),
                *one_norm(bias=True),
            ],
        ),
        Case(
            "stablelm",
            causal("StableLm"),
            config("layer_norm_eps", use_qkv_bias=True, rope=partial),
            "stablelm",
            layer_norm_keys(3, FFN) | partial_key,
            3,
            [*llama, *two_norms(bias=True)],
        ),
        Case(
            "stablelm-parallel",
            causal("StableLm"),
            config("layer_norm_eps", use_qkv_bias=True, use_parallel_residual=True, rope=partial),
            "stablelm",
            layer_norm_keys(3, FFN, use_parallel_residual=True) | partial_key,
            3,
            [*llama, *one_norm(bias=True)],
        ),
        Case(
            "nemotron",
            causal("Nemotron"),
            config("norm_eps", head_dim=HEAD, rope=partial),
            "nemotron",
            layer_norm_keys(3, FFN) | partial_key,
            3,
            [
                Part(p.hf, p.shape, p.gguf, plus_one, 0.0, p.std) if "norm.weight" in p.hf else p
                for p in (
                    *ends(bias=True),
                    *attention(),
                    *plain_ffn("up_proj", "down_proj"),
                    *two_norms(bias=True),
                )
            ],
        ),
        Case(
            "olmo",
            causal("Olmo"),
            hf_config(3, clip_qkv=0.5),
            "olmo",
            layer_norm_keys(3, FFN, attention__clamp_kqv=0.5),
            3,
            olmo,
        ),
        Case(
            "command-r",
            causal("Cohere"),
            config("layer_norm_eps", logit_scale=0.25, use_qk_norm=True, tie_word_embeddings=True),
            "command-r",
            layer_norm_keys(3, FFN, logit_scale=0.25),
            3,
            [*ends(tied=True), *attention(), *own, *gated_ffn(), *one_norm()],
        ),
        Case(
            "cohere2",
            causal("Cohere2"),
            config(
                "layer_norm_eps",
                5,
                logit_scale=0.25,
                head_dim=HEAD,
                sliding_window=WINDOW,
                layer_types=cohere2,
                tie_word_embeddings=True,
            ),
            "cohere2",
            layer_norm_keys(5, FFN, logit_scale=0.25, attention__sliding_window=WINDOW),
            5,
            [*ends(tied=True), *attention(), *gated_ffn(), *one_norm()],
        ),
    ]


def more_cases() -> list[Case]:
    return [*llamas(), hunyuan(), *glm(), *norms_behind(), gemma(), *layer_normed()]
