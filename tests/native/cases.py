"""The table: one tiny model for each architecture, and for each of its variants that computes something else."""

from __future__ import annotations

import math

import numpy as np

from .mixtures import mixtures
from .models import F32, WINDOW, Case, Part, alternating, alternating_transposed, transposed
from .more_cases import more_cases
from .older_cases import older_cases
from .parts import (
    AT,
    BLK,
    CTX,
    DIM,
    EPS,
    FFN,
    HEAD,
    HEADS,
    KV,
    attention,
    causal,
    ends,
    experts,
    four_norms,
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

# ---- llama


LLAMA_PARTS = [*ends(), *attention(turned=True), *gated_ffn(), *two_norms()]


def llama3_factors() -> F32:
    """What LLaMA 3.1 divides its frequencies by; converters write it as the tensor rope_freqs."""
    out = []
    for i in range(HEAD // 2):
        wavelength = 2 * math.pi * 10000.0 ** (2 * i / HEAD)
        low, high = 32 / 1.0, 32 / 4.0  # original context / low and high frequency factor
        smooth = (32 / wavelength - 1.0) / (4.0 - 1.0)
        middle = 1 / ((1 - smooth) / 8.0 + smooth)
        out.append(1.0 if wavelength < high else 8.0 if wavelength > low else middle)
    return np.array(out, np.float32)


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def llama() -> list[Case]:
    return [
        Case("llama", causal("Llama"), hf_config(3), "llama", keys(3), 3, LLAMA_PARTS),
        Case(
            "llama-tied-wide-heads",
            causal("Llama"),
            hf_config(3, tie_word_embeddings=True, head_dim=32, attention_bias=True),
            "llama",
            keys(3, head=32),
            3,
            [*ends(tied=True), *attention(head=32, turned=True, bias=True, bias_out=True), *gated_ffn(), *two_norms()],
        ),
        Case(
            "llama3-rope",
            causal("Llama"),
            hf_config(3, rope=LLAMA3),
            "llama",
            keys(3),
            3,
            LLAMA_PARTS,
            {"rope_freqs.weight": llama3_factors()},
        ),
        Case(
            "llama-linear-rope",
            causal("Llama"),
            hf_config(3, rope={"rope_type": "linear", "factor": 4.0}),
            "llama",
            keys(3, rope__scaling__type="linear", rope__scaling__factor=4.0),
            3,
            LLAMA_PARTS,
        ),
        Case(
            "mistral-window",
            causal("Mistral"),
            hf_config(3, sliding_window=WINDOW),
            "llama",
            keys(3, attention__sliding_window=WINDOW),
            3,
            LLAMA_PARTS,
        ),
        Case(
            "mixtral",
            causal("Mixtral"),
            hf_config(3, num_local_experts=4, num_experts_per_tok=2),
            "llama",
            keys(3, expert_count=4, expert_used_count=2),
            3,
            [*ends(), *attention(turned=True), *experts(4, FFN), *two_norms()],
        ),
        Case(
            "mixtral-separate-experts",
            causal("Mixtral"),
            hf_config(3, num_local_experts=4, num_experts_per_tok=2),
            "llama",
            keys(3, expert_count=4, expert_used_count=2),
            3,
            [*ends(), *attention(turned=True), *experts(4, FFN, separate=True), *two_norms()],
        ),
    ]


# ---- qwen


def qwen() -> list[Case]:
    head = 32
    return [
        Case(
            "qwen2",
            causal("Qwen2"),
            hf_config(3, base=1e6),
            "qwen2",
            keys(3, base=1e6),
            3,
            [*ends(), *attention(bias=True), *gated_ffn(), *two_norms()],
        ),
        Case(
            "qwen2-yarn",
            causal("Qwen2"),
            hf_config(3, rope={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
            "qwen2",
            keys(
                3,
                rope__scaling__type="yarn",
                rope__scaling__factor=4.0,
                rope__scaling__original_context_length=32,
            ),
            3,
            [*ends(), *attention(bias=True), *gated_ffn(), *two_norms()],
        ),
        Case(
            "qwen2-windows",  # in the upper layers
            causal("Qwen2"),
            hf_config(3, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
            "qwen2",
            keys(3, attention__sliding_window=WINDOW, attention__sliding_window_pattern=[False, True, True]),
            3,
            [*ends(), *attention(bias=True), *gated_ffn(), *two_norms()],
        ),
        Case(
            "qwen3",
            causal("Qwen3"),
            hf_config(3, base=1e6, head_dim=head, tie_word_embeddings=True),
            "qwen3",
            keys(3, base=1e6, head=head),
            3,
            [*ends(tied=True), *attention(head=head, norms=(head, head)), *gated_ffn(), *two_norms()],
        ),
        Case(
            "qwen3moe",
            causal("Qwen3Moe"),
            hf_config(
                3, head_dim=head, num_experts=8, num_experts_per_tok=3, moe_intermediate_size=32, norm_topk_prob=True
            ),
            "qwen3moe",
            keys(3, head=head, expert_count=8, expert_used_count=3, expert_feed_forward_length=32),
            3,
            [*ends(), *attention(head=head, norms=(head, head)), *experts(8, 32), *two_norms()],
        ),
    ]


# ---- gemma


def gemma2(name: str, layers: int, scale: int) -> Case:
    head = 32
    return Case(
        name,
        causal("Gemma2"),
        hf_config(
            layers,
            head_dim=head,
            query_pre_attn_scalar=scale,
            sliding_window=WINDOW,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=3.0,
            tie_word_embeddings=True,
        ),
        "gemma2",
        keys(
            layers,
            head=head,
            attention__sliding_window=WINDOW,
            attn_logit_softcapping=5.0,
            final_logit_softcapping=3.0,
        ),
        layers,
        [*ends(tied=True, gemma=True), *attention(head=head), *gated_ffn(), *four_norms()],
    )


def gemma3() -> Case:
    head, layers = 32, 7
    rope = {
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
    }
    config = hf_config(
        layers,
        head_dim=head,
        query_pre_attn_scalar=head,
        sliding_window=WINDOW,
        hidden_activation="gelu_pytorch_tanh",
        tie_word_embeddings=True,
    )
    return Case(
        "gemma3",
        causal("Gemma3", "Gemma3Text"),
        config | {"rope_parameters": rope},
        "gemma3",
        keys(
            layers,
            head=head,
            base=1e6,
            attention__sliding_window=WINDOW,
            rope__scaling__type="linear",
            rope__scaling__factor=8.0,
        ),
        layers,
        [
            *ends(tied=True, gemma=True),
            *attention(head=head, norms=(head, head), gemma=True),
            *gated_ffn(),
            *four_norms(),
        ],
    )


# ---- phi3


PHI3_PARTS = [
    *ends(),
    *linear(f"{AT}.self_attn.qkv_proj", f"{BLK}.attn_qkv", (HEADS + 2 * KV) * HEAD, DIM),
    *linear(f"{AT}.self_attn.o_proj", f"{BLK}.attn_output", DIM, DIM),
    *joined_ffn(),
    *two_norms(),
]


def phi3_longrope(name: str, original: int, n_ctx: int) -> Case:
    """Three quarters of each head turn, as in Phi-4-mini; `n_ctx` beyond `original` takes the long factors."""
    turning = HEAD * 3 // 4
    short = [1.0 + 0.1 * i for i in range(turning // 2)]
    long = [1.0 + 1.5 * i for i in range(turning // 2)]
    # In the file the factor on cos and sin is worked out.
    magnitude = math.sqrt(1 + math.log(CTX / original) / math.log(original))
    rope = {"rope_type": "longrope", "short_factor": short, "long_factor": long, "partial_rotary_factor": 0.75}
    return Case(
        name,
        causal("Phi3"),
        hf_config(3, rope=rope, original_max_position_embeddings=original),
        "phi3",
        keys(
            3,
            rope__scaling__original_context_length=original,
            rope__scaling__attn_factor=magnitude,
        )
        | {"rope.dimension_count": turning},
        3,
        PHI3_PARTS,
        {
            "rope_factors_long.weight": np.array(long, np.float32),
            "rope_factors_short.weight": np.array(short, np.float32),
        },
        n_ctx,
    )


def phi3() -> list[Case]:
    return [
        Case(
            "phi3",
            causal("Phi3"),
            hf_config(3, sliding_window=WINDOW),
            "phi3",
            keys(3, attention__sliding_window=WINDOW),
            3,
            PHI3_PARTS,
        ),
        phi3_longrope("phi3-longrope-long", 32, CTX),
        phi3_longrope("phi3-longrope-short", 96, 96),
    ]


# ---- the others


def starcoder2() -> Case:
    parts = [
        *ends(tied=True, bias=True),
        *attention(bias=True, bias_out=True),
        *plain_ffn("c_fc", "c_proj", bias=True),
        *two_norms(bias=True),
    ]
    config = hf_config(3, tie_word_embeddings=True, norm_epsilon=EPS, sliding_window=WINDOW)
    del config["rms_norm_eps"]
    metadata = layer_norm_keys(3, FFN, attention__sliding_window=WINDOW)
    return Case("starcoder2", causal("Starcoder2"), config, "starcoder2", metadata, 3, parts)


def olmo2() -> Case:
    parts = [
        *ends(),
        *attention(norms=(HEADS * HEAD, KV * HEAD)),
        *gated_ffn(),
        *norm(f"{AT}.post_attention_layernorm", f"{BLK}.post_attention_norm"),
        *norm(f"{AT}.post_feedforward_layernorm", f"{BLK}.post_ffw_norm"),
    ]
    return Case("olmo2", causal("Olmo2"), hf_config(3), "olmo2", keys(3), 3, parts)


def granite() -> Case:
    config = hf_config(
        3, embedding_multiplier=6.0, residual_multiplier=0.4, attention_multiplier=0.125, logits_scaling=4.0
    )
    metadata = keys(3, embedding_scale=6.0, residual_scale=0.4, attention__scale=0.125, logit_scale=4.0)
    return Case("granite", causal("Granite"), config, "granite", metadata, 3, LLAMA_PARTS)


def smollm3() -> Case:
    layers = 5  # the fourth does not turn
    parts = [*ends(tied=True), *attention(turned=True), *gated_ffn(), *two_norms()]
    config = hf_config(layers, tie_word_embeddings=True)
    return Case("smollm3", causal("SmolLM3"), config, "smollm3", keys(layers), layers, parts)


def gpt_oss() -> Case:
    head, n, layers = 32, 4, 4
    at, exps = f"{AT}.mlp.experts", ("ffn_gate_exps", "ffn_up_exps")
    parts = [
        *ends(),
        *attention(head=head, bias=True, bias_out=True),
        Part(f"{AT}.self_attn.sinks", (HEADS,), f"{BLK}.attn_sinks.weight", std=1.0),
        *two_norms("post_attention_norm"),
        *linear(f"{AT}.mlp.router", f"{BLK}.ffn_gate_inp", n, DIM, bias=True),
        # Wide enough that some are clamped.
        Part(
            f"{at}.gate_up_proj",
            (n, DIM, 2 * FFN),
            tuple(f"{BLK}.{e}.weight" for e in exps),
            alternating_transposed,
            std=0.5,
        ),
        Part(f"{at}.gate_up_proj_bias", (n, 2 * FFN), tuple(f"{BLK}.{e}.bias" for e in exps), alternating),
        Part(f"{at}.down_proj", (n, FFN, DIM), f"{BLK}.ffn_down_exps.weight", transposed),
        Part(f"{at}.down_proj_bias", (n, DIM), f"{BLK}.ffn_down_exps.bias"),
    ]
    rope = {
        "rope_type": "yarn",
        "factor": 8.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "truncate": False,
        "original_max_position_embeddings": 16,
    }
    config = hf_config(
        layers,
        rope=rope,
        base=150000.0,
        head_dim=head,
        sliding_window=WINDOW,
        num_local_experts=n,
        num_experts_per_tok=2,
    )
    metadata = keys(
        layers,
        head=head,
        base=150000.0,
        attention__sliding_window=WINDOW,
        expert_count=n,
        expert_used_count=2,
        expert_feed_forward_length=FFN,
        rope__scaling__type="yarn",
        rope__scaling__factor=8.0,
        rope__scaling__original_context_length=16,
    )
    return Case("gpt-oss", causal("GptOss"), config, "gpt-oss", metadata, layers, parts)


CASES: dict[str, Case] = {
    case.name: case
    for case in (
        *llama(),
        *qwen(),
        gemma2("gemma2", 4, 32),
        gemma2("gemma2-27b", 46, DIM // HEADS),  # known by its depth: it scales queries by another size
        gemma3(),
        *phi3(),
        *older_cases(),
        starcoder2(),
        olmo2(),
        granite(),
        smollm3(),
        gpt_oss(),
        *more_cases(),
        *mixtures(),
    )
}
