"""Qwen 2 and 3, dense and mixed, and what those that see do with text; dots.llm1 and GLM 4.5, which are alike."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..config import Config
from ..rope import Rope, read_rope, rope_config, rope_part
from .llama import sliding
from .parts import (
    AT,
    BLK,
    Dims,
    Model,
    Part,
    Source,
    attention,
    ends,
    experts,
    gated_ffn,
    keys,
    only,
    read_dims,
    two_norms,
)


def _plan(c: Config, arch: str, d: Dims, rope: Rope, parts: list[Part], more: dict[str, Any]) -> Model:
    return Model(arch, d.layers, keys(c, d, rope) | sliding(c, d, 0) | more, parts, rope.tensors, rope.notes)


def _window_default(c: Config) -> Config:
    """These models say use_sliding_window, and no where they do not say."""
    return Config({"use_sliding_window": False, **c.values}, c.file)


def _sections(c: Config) -> dict[str, Any]:
    """How many pairs of a head turn by time, height and width; with text all turn alike."""
    sections = rope_config(c).get("mrope_section")
    if not isinstance(sections, list) or not all(type(n) is int and n >= 0 for n in sections) or len(sections) > 4:
        return {}
    return {"rope.dimension_sections": [*sections, *[0] * (4 - len(sections))]}


def qwen2(c: Config) -> Model:
    c = _window_default(c)
    d = read_dims(c)
    rope = read_rope(c, d.head)
    parts = [*ends(c, d), *attention(d, bias=True), *gated_ffn(d), *two_norms(d)]
    return _plan(c, "qwen2", d, rope, parts, {})


def qwen2vl(c: Config) -> Model:
    model = qwen2(c)
    model.arch = "qwen2vl"
    model.keys |= _sections(c)
    return model


def qwen3(c: Config) -> Model:
    c = _window_default(c)
    d = read_dims(c, head=128)
    rope = read_rope(c, d.head)
    parts = [*ends(c, d), *attention(d, norms="heads"), *gated_ffn(d), *two_norms(d)]
    return _plan(c, "qwen3", d, rope, parts, {})


def qwen3vl(c: Config) -> Model:
    model = qwen3(c)
    model.arch = "qwen3vl"
    model.keys |= _sections(c) | {"n_deepstack_layers": c.size("n_deepstack_layers", default=0, zero=True)}
    return model


def qwen2moe(c: Config) -> Model:
    c = _window_default(c)
    d = read_dims(c)
    rope = read_rope(c, d.head)
    n = c.size("num_experts", "num_local_experts", default=60)
    width, shared = c.size("moe_intermediate_size"), c.size("shared_expert_intermediate_size")
    gate = Source(f"{AT}.mlp.shared_expert_gate.weight")
    parts = [
        *ends(c, d),
        *attention(d, bias=True),
        *_all_mixed(c, experts(d, n, width)),
        *gated_ffn(d, f"{AT}.mlp.shared_expert", "_shexp", shared),
        Part(f"{BLK}.ffn_gate_inp_shexp.weight", (d.dim,), (gate,)),
        *two_norms(d),
    ]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok", default=4),
        "expert_feed_forward_length": width,
        "expert_shared_feed_forward_length": shared,
    }
    if c.flag("norm_topk_prob", default=False):
        more["expert_weights_norm"] = True
    return _plan(c, "qwen2moe", d, rope, parts, more)


def _all_mixed(c: Config, parts: list[Part]) -> list[Part]:
    if c.size("decoder_sparse_step", default=1) != 1 or c.get("mlp_only_layers"):
        raise UsageError(f"{c.file}: layers without experts between others are not known to the engine.")
    return parts


def qwen3moe(c: Config) -> Model:
    c = _window_default(c)
    d = read_dims(c, head=128)
    rope = read_rope(c, d.head)
    n, width = c.size("num_experts", "num_local_experts", default=128), c.size("moe_intermediate_size")
    mixture = experts(d, n, width)
    if c.get("model_type") == "qwen3_vl_moe_text":  # whose checkpoints have them all in one, transposed
        turned = experts(d, n, width, joined_transposed=True)
        mixture = [Part(p.target, p.shape, (*q.sources, *p.sources)) for p, q in zip(mixture, turned, strict=True)]
    parts = [*ends(c, d), *attention(d, norms="heads"), *_all_mixed(c, mixture), *two_norms(d)]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok", default=8),
        "expert_feed_forward_length": width,
    }
    # Files that say nothing are normalized.
    if not c.flag("norm_topk_prob", default=c.get("model_type") != "qwen3_moe"):
        more["expert_weights_norm"] = False
    return _plan(c, "qwen3moe", d, rope, parts, more)


def qwen3vlmoe(c: Config) -> Model:
    model = qwen3moe(c)
    model.arch = "qwen3vlmoe"
    model.keys |= _sections(c) | {"n_deepstack_layers": c.size("n_deepstack_layers", default=0, zero=True)}
    return model


def dots1(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    n, width = c.size("n_routed_experts", "num_local_experts"), c.size("moe_intermediate_size")
    dense, shared = c.size("first_k_dense_replace", default=0, zero=True), c.size("n_shared_experts", default=1)
    at = f"{AT}.mlp"
    correction = Source(f"{at}.gate.e_score_correction_bias")
    parts = [
        *ends(c, d),
        *attention(d, norms="heads"),
        *only(gated_ffn(d), range(dense)),
        *only(
            [
                *experts(d, n, width),
                Part(f"{BLK}.exp_probs_b.bias", (n,), (correction,)),
                *gated_ffn(d, f"{at}.shared_experts", "_shexp", shared * width),
            ],
            range(dense, d.layers),
        ),
        *two_norms(d),
    ]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok"),
        "expert_feed_forward_length": width,
        "expert_shared_count": shared,
        "leading_dense_block_count": dense,
        "expert_weights_norm": c.flag("norm_topk_prob", default=False),
        "expert_weights_scale": c.real("routed_scaling_factor", default=1.0),
        "expert_gating_func": 2,
    }
    more |= groups(c)
    return Model("dots1", d.layers, keys(c, d, rope) | more, parts, rope.tensors, rope.notes)


def groups(c: Config) -> dict[str, Any]:
    """The keys of experts that are chosen from the better of several groups."""
    n = c.size("n_group", default=1)
    if n == 1:
        return {}
    return {"expert_group_count": n, "expert_group_used_count": c.size("topk_group", default=n)}


def without_layers_ahead(c: Config, model: Model) -> Model:
    """A layer behind the last one predicts further tokens; the engine has no use for it."""
    if c.size("num_nextn_predict_layers", default=0, zero=True):
        n = c.size("num_nextn_predict_layers")
        model.other = tuple(rf"model\.layers\.{model.n_layers + i}\..*" for i in range(min(n, 16)))
    return model


def glm4moe(c: Config) -> Model:
    """GLM 4.5; the larger of them normalizes queries and keys."""
    d = read_dims(c)
    rope = read_rope(c, int(d.head * rope_part(c, 0.5)))
    n, width = c.size("n_routed_experts", "num_local_experts"), c.size("moe_intermediate_size")
    dense, shared = c.size("first_k_dense_replace", default=0, zero=True), c.size("n_shared_experts", default=1)
    at = f"{AT}.mlp"
    parts = [
        *ends(c, d),
        *attention(d, norms="heads" if c.flag("use_qk_norm", default=False) else ""),
        *only(gated_ffn(d), range(dense)),
        *only(
            [
                *experts(d, n, width),
                Part(f"{BLK}.exp_probs_b.bias", (n,), (Source(f"{at}.gate.e_score_correction_bias"),)),
                *gated_ffn(d, f"{at}.shared_experts", "_shexp", shared * width),
            ],
            range(dense, d.layers),
        ),
        *two_norms(d, "post_attention_norm"),
    ]
    more = {
        "expert_count": n,
        "expert_used_count": c.size("num_experts_per_tok"),
        "expert_feed_forward_length": width,
        "expert_shared_count": shared,
        "leading_dense_block_count": dense,
        "expert_weights_norm": c.flag("norm_topk_prob", default=True),
        "expert_weights_scale": c.real("routed_scaling_factor", default=1.0),
        "expert_gating_func": 2,
    }
    values = keys(c, d, rope) | more | groups(c)
    return without_layers_ahead(c, Model("glm4moe", d.layers, values, parts, rope.tensors, rope.notes))
