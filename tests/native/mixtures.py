"""The table's mixtures of experts beyond Mixtral, Qwen 3 and gpt-oss."""

from __future__ import annotations

from .models import Case, Part, flat, halves, same
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
