"""The table's mixtures of experts beyond Mixtral, Qwen 3 and gpt-oss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .models import F32, Case, Part, flat, halves, same
from .parts import (
    AT,
    BLK,
    DIM,
    FFN,
    HEAD,
    HEADS,
    KV,
    attention,
    causal,
    ends,
    experts,
    gated_ffn,
    hf_config,
    keys,
    linear,
    norm,
    two_norms,
)

N, USED, WIDTH, SHARED = 8, 3, 32, 64


def mixtures() -> list[Case]:
    counts = {"expert_count": N, "expert_used_count": USED}
    qwen = {"num_experts": N, "num_experts_per_tok": USED, "moe_intermediate_size": WIDTH}
    head = 32
    joined = [
        *linear(f"{AT}.mlp.gate", f"{BLK}.ffn_gate_inp", N, DIM),
        Part(f"{AT}.mlp.experts.gate_up_proj", (N, 2 * WIDTH, DIM), f"{BLK}.ffn_gate_up_exps.weight"),
        Part(f"{AT}.mlp.experts.down_proj", (N, DIM, WIDTH), f"{BLK}.ffn_down_exps.weight"),
    ]
    return [
        Case(
            "qwen2moe",
            causal("Qwen2Moe"),
            hf_config(3, **qwen, shared_expert_intermediate_size=SHARED),
            "qwen2moe",
            keys(3, expert_feed_forward_length=WIDTH, expert_shared_feed_forward_length=SHARED, **counts),
            3,
            [
                *ends(),
                *attention(bias=True),
                *experts(N, WIDTH),
                *gated_ffn("mlp.shared_expert", "_shexp", SHARED),
                Part(
                    f"{AT}.mlp.shared_expert_gate.weight", (1, DIM), f"{BLK}.ffn_gate_inp_shexp.weight", lambda w: w[0]
                ),
                *two_norms(),
            ],
        ),
        Case(
            "qwen3moe-joined",  # one tensor of gates and ups, one of queries, keys and values
            causal("Qwen3Moe"),
            hf_config(3, **qwen, head_dim=head, norm_topk_prob=False),
            "qwen3moe",
            keys(3, head=head, expert_feed_forward_length=WIDTH, expert_weights_norm=False, **counts),
            3,
            [*ends(), *attention(head=head, norms=(head, head)), *joined, *two_norms()],
        ),
        Case(
            "qwen3vlmoe",
            causal("Qwen3Moe"),
            hf_config(3, **qwen, head_dim=HEAD, norm_topk_prob=True),
            "qwen3vlmoe",
            keys(3, expert_feed_forward_length=WIDTH, **counts),
            3,
            [*ends(), *attention(norms=(HEAD, HEAD)), *experts(N, WIDTH), *two_norms()],
        ),
        Case(
            "olmoe",
            causal("Olmoe"),
            hf_config(3, num_experts=N, num_experts_per_tok=USED),
            "olmoe",
            keys(3, **counts),
            3,
            [*ends(), *attention(norms=(HEADS * HEAD, KV * HEAD)), *experts(N, FFN), *two_norms()],
        ),
        granitemoe(),
        dots1(),
        deepseek2("deepseek2", 48, absorbed=True),
        deepseek2("deepseek2-of-2024", None, absorbed=False),
        deepseek2("deepseek2-groups", None, absorbed=True, groups=(4, 2)),
        deepseek3("deepseek-v3", said=True),
        deepseek3("deepseek-v3-unsaid", said=False),
        glm4moe("glm4moe", normed=True),
        glm4moe("glm4moe-air", normed=False),
        ernie(),
    ]


def granitemoe() -> Case:
    at = f"{AT}.block_sparse_moe"
    parts = [
        *ends(),
        *attention(turned=True),
        *experts(N, FFN, at=at, router="router"),
        Part(
            f"{AT}.shared_mlp.input_linear.weight",
            (2 * SHARED, DIM),
            (f"{BLK}.ffn_gate_shexp.weight", f"{BLK}.ffn_up_shexp.weight"),
            halves(0),
        ),
        *linear(f"{AT}.shared_mlp.output_linear", f"{BLK}.ffn_down_shexp", DIM, SHARED),
        *two_norms(),
    ]
    config = hf_config(
        3,
        embedding_multiplier=6.0,
        residual_multiplier=0.4,
        attention_multiplier=0.125,
        logits_scaling=4.0,
        num_local_experts=N,
        num_experts_per_tok=USED,
        shared_intermediate_size=SHARED,
    )
    metadata = keys(
        3,
        embedding_scale=6.0,
        residual_scale=0.4,
        attention__scale=0.125,
        logit_scale=4.0,
        expert_count=N,
        expert_used_count=USED,
        expert_shared_feed_forward_length=SHARED,
    )
    return Case("granitemoe", causal("GraniteMoeShared"), config, "granitemoe", metadata, 3, parts)


def after_the_first(parts: list[Part], layers: int) -> list[Part]:
    """The first layer has none of them."""
    return [Part(p.hf, p.shape, p.gguf, p.change, p.mean, p.std, range(1, layers)) for p in parts]


def first_alone(parts: list[Part]) -> list[Part]:
    return [Part(p.hf, p.shape, p.gguf, p.change, p.mean, p.std, range(1)) for p in parts]


def dots1() -> Case:
    at = f"{AT}.mlp"
    parts = [
        *ends(),
        *attention(norms=(HEAD, HEAD)),
        *first_alone(gated_ffn()),
        *after_the_first(
            [
                *experts(N, WIDTH),
                Part(f"{at}.gate.e_score_correction_bias", (N,), f"{BLK}.exp_probs_b.bias", same, 0.0, 0.3),
                *gated_ffn("mlp.shared_experts", "_shexp", 2 * WIDTH),
            ],
            3,
        ),
        *two_norms(),
    ]
    config = hf_config(
        3,
        n_routed_experts=N,
        num_experts_per_tok=USED,
        moe_intermediate_size=WIDTH,
        n_shared_experts=2,
        first_k_dense_replace=1,
        norm_topk_prob=True,
        routed_scaling_factor=2.5,
    )
    metadata = keys(
        3,
        expert_count=N,
        expert_used_count=USED,
        expert_feed_forward_length=WIDTH,
        expert_shared_count=2,
        leading_dense_block_count=1,
        expert_weights_norm=True,
        expert_weights_scale=2.5,
        expert_gating_func=2,
    )
    return Case("dots1", causal("Dots1"), config, "dots1", metadata, 3, parts)


def glm4moe(name: str, *, normed: bool) -> Case:
    """With a layer behind the last one, that predicts further tokens."""
    at, ahead = f"{AT}.mlp", "blk.3"
    parts = [
        *ends(),
        *attention(bias=True, norms=(HEAD, HEAD) if normed else None),
        *first_alone(gated_ffn()),
        *after_the_first(
            [
                *experts(N, WIDTH),
                Part(f"{at}.gate.e_score_correction_bias", (N,), f"{BLK}.exp_probs_b.bias", same, 0.0, 0.3),
                *gated_ffn("mlp.shared_experts", "_shexp", WIDTH),
            ],
            3,
        ),
        *two_norms("post_attention_norm"),
    ]
    config = hf_config(
        3,
        head_dim=HEAD,
        attention_bias=True,
        use_qk_norm=normed,
        n_routed_experts=N,
        num_experts_per_tok=USED,
        moe_intermediate_size=WIDTH,
        n_shared_experts=1,
        first_k_dense_replace=1,
        norm_topk_prob=True,
        routed_scaling_factor=1.5,
        rope={"partial_rotary_factor": 0.5},
    )
    metadata = keys(
        4,
        nextn_predict_layers=1,
        expert_count=N,
        expert_used_count=USED,
        expert_feed_forward_length=WIDTH,
        expert_shared_count=1,
        leading_dense_block_count=1,
        expert_weights_norm=True,
        expert_weights_scale=1.5,
        expert_gating_func=2,
    ) | {"rope.dimension_count": HEAD // 2}
    extra = {
        f"{ahead}.nextn.eh_proj.weight": np.ones((DIM, 2 * DIM), np.float32),
        f"{ahead}.attn_norm.weight": np.ones(DIM, np.float32),
    }
    return Case(name, causal("Glm4Moe"), config, "glm4moe", metadata, 3, parts, extra)


def deepseek3(name: str, *, said: bool) -> Case:
    """Sigmoids and a bias, and experts from the better groups; `said`: the file says so of the sigmoids."""
    base = deepseek2(name, 48, absorbed=True, groups=(4, 2))
    bias = Part(f"{AT}.mlp.gate.e_score_correction_bias", (N,), f"{BLK}.exp_probs_b.bias", same, 0.0, 0.3)
    metadata = base.metadata | {"expert_weights_norm": True} | ({"expert_gating_func": 2} if said else {})
    config = base.config | {"norm_topk_prob": True}
    del config["topk_method"]
    return Case(
        name, causal("DeepseekV3"), config, "deepseek2", metadata, 3, [*base.parts, *after_the_first([bias], 3)]
    )


def deepseek2(name: str, q_rank: int | None, absorbed: bool, groups: tuple[int, int] | None = None) -> Case:
    """Latent attention. `absorbed`: as converters write it since April 2025, with two matrices for each head. `groups`
    of experts, and how many of them a token may take its experts from."""
    plain, rope, value, rank = 24, 8, 16, 32
    at = f"{AT}.self_attn"

    def up(w: F32) -> Sequence[F32]:
        k, v = np.split(w.reshape(HEADS, plain + value, rank), [plain], axis=1)
        return k.swapaxes(1, 2), v

    kv_b = (f"{BLK}.attn_k_b.weight", f"{BLK}.attn_v_b.weight") if absorbed else f"{BLK}.attn_kv_b.weight"
    q = HEADS * (plain + rope)
    parts = [
        *ends(),
        *(linear(f"{at}.q_a_proj", f"{BLK}.attn_q_a", q_rank, DIM) if q_rank else []),
        *(norm(f"{at}.q_a_layernorm", f"{BLK}.attn_q_a_norm", q_rank) if q_rank else []),
        *(linear(f"{at}.q_b_proj", f"{BLK}.attn_q_b", q, q_rank) if q_rank else []),
        *([] if q_rank else linear(f"{at}.q_proj", f"{BLK}.attn_q", q, DIM)),
        *linear(f"{at}.kv_a_proj_with_mqa", f"{BLK}.attn_kv_a_mqa", rank + rope, DIM),
        *norm(f"{at}.kv_a_layernorm", f"{BLK}.attn_kv_a_norm", rank),
        Part(f"{at}.kv_b_proj.weight", (HEADS * (plain + value), rank), kv_b, up if absorbed else same),
        *linear(f"{at}.o_proj", f"{BLK}.attn_output", DIM, HEADS * value),
        *first_alone(gated_ffn()),
        *after_the_first([*experts(N, WIDTH), *gated_ffn("mlp.shared_experts", "_shexp", 2 * WIDTH)], 3),
        *two_norms(),
    ]
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    config = hf_config(
        3,
        rope=yarn | {"mscale": 0.7, "mscale_all_dim": 0.7},
        num_key_value_heads=HEADS,
        q_lora_rank=q_rank,
        kv_lora_rank=rank,
        qk_nope_head_dim=plain,
        qk_rope_head_dim=rope,
        v_head_dim=value,
        n_routed_experts=N,
        num_experts_per_tok=USED,
        moe_intermediate_size=WIDTH,
        n_shared_experts=2,
        first_k_dense_replace=1,
        routed_scaling_factor=1.5,
    ) | {"rms_norm_eps": 1e-6}  # some of its norms know no other
    if groups:
        config |= {"topk_method": "group_limited_greedy", "n_group": groups[0], "topk_group": groups[1]}
    metadata = keys(
        3,
        kv=1 if absorbed else HEADS,
        expert_count=N,
        expert_used_count=USED,
        expert_feed_forward_length=WIDTH,
        expert_shared_count=2,
        leading_dense_block_count=1,
        expert_weights_scale=1.5,
        rope__scaling__type="yarn",
        rope__scaling__factor=4.0,
        rope__scaling__original_context_length=32,
        rope__scaling__yarn_log_multiplier=0.07,
    )
    lengths = (rank + rope, rank) if absorbed else (plain + rope, value)
    metadata |= {"attention.key_length": lengths[0], "attention.value_length": lengths[1]}
    if absorbed:
        metadata |= {"attention.key_length_mla": plain + rope, "attention.value_length_mla": value}
    if q_rank:
        metadata["attention.q_lora_rank"] = q_rank
    if groups:
        metadata |= {"expert_group_count": groups[0], "expert_group_used_count": groups[1]}
    metadata |= {
        "attention.layer_norm_rms_epsilon": 1e-6,
        "attention.kv_lora_rank": rank,
        "rope.dimension_count": rope,
    }
    return Case(name, causal("DeepseekV2"), config, "deepseek2", metadata, 3, parts)


def ernie() -> Case:
    at = f"{AT}.mlp"
    parts = [
        *ends(),
        *attention(),
        *first_alone(gated_ffn()),
        *after_the_first(
            [
                *experts(N, WIDTH),
                Part(f"{at}.gate.moe_statics.e_score_correction_bias", (1, N), f"{BLK}.exp_probs_b.bias", flat),
                *gated_ffn("mlp.shared_experts", "_shexp", 2 * WIDTH),
            ],
            3,
        ),
        *two_norms(),
    ]
    config = hf_config(
        3,
        moe_num_experts=N,
        moe_k=USED,
        moe_intermediate_size=WIDTH,
        moe_num_shared_experts=2,
        moe_layer_start_index=1,
        head_dim=HEAD,
    )
    metadata = keys(
        3,
        expert_count=N,
        expert_used_count=USED,
        expert_feed_forward_length=WIDTH,
        expert_shared_feed_forward_length=2 * WIDTH,
        leading_dense_block_count=1,
        interleave_moe_layer_step=1,
    )
    return Case("ernie4_5-moe", causal("Ernie4_5_Moe"), config, "ernie4_5-moe", metadata, 3, parts)
