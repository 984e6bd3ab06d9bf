"""Mixtures of experts that are no one's variation: OLMoE, DeepSeek's latent attention, ERNIE 4.5, gpt-oss."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import UsageError
from ..config import Config
from ..rope import read_rope
from ..tensor import Rows
from .llama import sliding
from .parts import (
    AT,
    BLK,
    Dims,
    Model,
    Part,
    Pick,
    Source,
    attention,
    ends,
    every,
    experts,
    gated_ffn,
    keys,
    linear,
    norm,
    only,
    read_dims,
    two_norms,
)
from .qwen import groups, without_layers_ahead


def olmoe(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    n = c.size("num_experts", "num_local_experts", default=64)
    parts = [*ends(c, d), *attention(d, norms="whole"), *experts(d, n, d.ffn), *two_norms(d)]
    more: dict[str, Any] = {"expert_count": n, "expert_used_count": c.size("num_experts_per_tok", default=8)}
    if c.flag("norm_topk_prob", default=False):
        more["expert_weights_norm"] = True
    if c.get("clip_qkv") is not None:
        raise UsageError(f"{c.file}: clip_qkv is not known to the engine's olmoe.")
    values = keys(c, d, rope, eps=("rms_norm_eps",)) | more
    return Model("olmoe", d.layers, values, parts, rope.tensors, rope.notes)


def deepseek2(c: Config) -> Model:
    """DeepSeek-V2 and V3."""
    third = c.get("model_type") == "deepseek_v3"
    method = c.text("topk_method", default="noaux_tc" if third else "greedy")
    if method not in ("greedy", "noaux_tc", "group_limited_greedy"):
        raise UsageError(f"{c.file}: choosing experts by {method[:40]!r} is not known to the engine.")
    d = read_dims(c)
    plain, turning = c.size("qk_nope_head_dim"), c.size("qk_rope_head_dim")
    value, rank = c.size("v_head_dim"), c.size("kv_lora_rank")
    rope = read_rope(c, turning, log_multiplier=0.1)
    q_rank = c.size("q_lora_rank", default=0, zero=True)
    n, width = c.size("n_routed_experts", "num_local_experts"), c.size("moe_intermediate_size")
    dense, shared = c.size("first_k_dense_replace", default=0, zero=True), c.size("n_shared_experts", default=1)
    if c.size("moe_layer_freq", default=1) != 1:
        raise UsageError(f"{c.file}: layers without experts between others are not known to the engine.")
    mixture = [*experts(d, n, width), *gated_ffn(d, f"{AT}.mlp.shared_experts", "_shexp", shared * width)]
    if method == "noaux_tc":
        bias = Source(f"{AT}.mlp.gate.e_score_correction_bias")
        mixture.append(Part(f"{BLK}.exp_probs_b.bias", (n,), (bias,)))
    parts = [
        *ends(c, d),
        *_latent_attention(c, d, q_rank, rank, plain, turning, value),
        *only(gated_ffn(d), range(dense)),
        *only(mixture, range(dense, d.layers)),
        *two_norms(d),
    ]
    more: dict[str, Any] = {
        "attention.head_count_kv": 1,  # what is kept is one for all heads
        "attention.key_length": rank + turning,
        "attention.value_length": rank,
        "attention.key_length_mla": plain + turning,
        "attention.value_length_mla": value,
        "attention.kv_lora_rank": rank,
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok"),
        "expert_feed_forward_length": width,
        "expert_shared_count": shared,
        "leading_dense_block_count": dense,
        "expert_weights_scale": c.real("routed_scaling_factor", default=1.0),
    }
    if q_rank:
        more["attention.q_lora_rank"] = q_rank
    if c.flag("norm_topk_prob", default=third):
        more["expert_weights_norm"] = True
    if c.text("scoring_func", default="sigmoid" if third else "softmax") == "sigmoid":
        more["expert_gating_func"] = 2
    if method != "greedy":
        more |= groups(c)
    model = Model("deepseek2", d.layers, keys(c, d, rope) | more, parts, rope.tensors, rope.notes)
    return without_layers_ahead(c, model)


def _latent_attention(c: Config, d: Dims, q_rank: int, rank: int, plain: int, turning: int, value: int) -> list[Part]:
    """kv_b, which makes each head's keys and values, becomes two: the first is applied to the query, transposed."""
    at, q = f"{AT}.self_attn", d.heads * (plain + turning)

    def part(start: int, stop: int) -> Pick:
        def pick(n: int) -> Rows:
            return np.arange(n).reshape(d.heads, plain + value, -1)[:, start:stop].reshape(-1)

        return pick

    kv_b = f"{at}.kv_b_proj.weight"
    queries = (
        [
            *linear(f"{at}.q_a_proj", f"{BLK}.attn_q_a", q_rank, d.dim),
            *norm(f"{at}.q_a_layernorm", f"{BLK}.attn_q_a_norm", q_rank),
            *linear(f"{at}.q_b_proj", f"{BLK}.attn_q_b", q, q_rank),
        ]
        if q_rank
        else linear(f"{at}.q_proj", f"{BLK}.attn_q", q, d.dim)
    )
    return [
        *queries,
        *linear(f"{at}.kv_a_proj_with_mqa", f"{BLK}.attn_kv_a_mqa", rank + turning, d.dim),
        *norm(f"{at}.kv_a_layernorm", f"{BLK}.attn_kv_a_norm", rank),
        Part(
            f"{BLK}.attn_k_b.weight",
            (d.heads, rank, plain),
            (Source(kv_b, pick=part(0, plain), then_transposed=True),),
        ),
        Part(f"{BLK}.attn_v_b.weight", (d.heads, value, rank), (Source(kv_b, pick=part(plain, plain + value)),)),
        *linear(f"{at}.o_proj", f"{BLK}.attn_output", d.dim, d.heads * value),
    ]


def ernie_moe(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    n, width = c.size("moe_num_experts", "num_experts", "num_local_experts"), c.size("moe_intermediate_size")
    first, shared = c.size("moe_layer_start_index", default=1, zero=True), c.size("moe_num_shared_experts", default=2)
    last = c.get("moe_layer_end_index")
    if c.size("moe_layer_interval", default=1) != 1 or last not in (None, -1, d.layers - 1):
        raise UsageError(f"{c.file}: layers without experts behind those with them are not known to the engine.")
    at = f"{AT}.mlp"
    names = ("moe_statics.e_score_correction_bias", "gate.moe_statics.e_score_correction_bias")
    bias = tuple(Source(f"{at}.{name}") for name in names)
    parts = [
        *ends(c, d),
        *attention(d),
        *only(gated_ffn(d), range(first)),
        *only(
            [
                *experts(d, n, width),
                Part(f"{BLK}.exp_probs_b.bias", (n,), bias),
                *gated_ffn(d, f"{at}.shared_experts", "_shexp", shared * width),
            ],
            range(first, d.layers),
        ),
        *two_norms(d),
    ]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("moe_k", "num_experts_per_tok"),
        "expert_feed_forward_length": width,
        "expert_shared_feed_forward_length": shared * width,
        "leading_dense_block_count": first,
        "interleave_moe_layer_step": 1,
    }
    return Model("ernie4_5-moe", d.layers, keys(c, d, rope) | more, parts, rope.tensors, rope.notes)


def gpt_oss(c: Config) -> Model:
    """Its experts' matrices are stored transposed, gates and ups in turns, or in blocks of MXFP4, which stay so."""
    d = read_dims(c)
    rope = read_rope(c, d.head, default_base=150000.0)
    n = c.size("num_local_experts", "num_experts", default=128)
    at = f"{AT}.mlp.experts"
    both, down = f"{at}.gate_up_proj", f"{at}.down_proj"

    def of_both(k: int, to: str) -> list[Part]:
        return [
            Part(
                f"{BLK}.{to}.weight",
                (n, d.ffn, d.dim),
                (Source(both, pick=every(k, 2), transposed=True), Source(both, pick=every(k, 2), mxfp4=True)),
            ),
            Part(f"{BLK}.{to}.bias", (n, d.ffn), (Source(f"{both}_bias", columns=(k, 2)),)),
        ]

    parts = [
        *ends(c, d),
        *attention(d, bias=True, bias_out=True),
        Part(f"{BLK}.attn_sinks.weight", (d.heads,), (Source(f"{AT}.self_attn.sinks"),)),
        *two_norms(d, "post_attention_norm"),
        *linear(f"{AT}.mlp.router", f"{BLK}.ffn_gate_inp", n, d.dim, bias=True),
        *of_both(0, "ffn_gate_exps"),
        Part(
            f"{BLK}.ffn_down_exps.weight", (n, d.dim, d.ffn), (Source(down, transposed=True), Source(down, mxfp4=True))
        ),
        Part(f"{BLK}.ffn_down_exps.bias", (n, d.dim), (Source(f"{down}_bias"),)),
        *of_both(1, "ffn_up_exps"),
    ]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok", "experts_per_token", default=4),
        "expert_feed_forward_length": d.ffn,
    }
    rope.keys = {k: v for k, v in rope.keys.items() if "beta" not in k}
    return Model("gpt-oss", d.layers, keys(c, d, rope, eps=("rms_norm_eps",)) | sliding(c, d, 2) | more, parts)
