"""LLaMA and the dense models that are variations on it, each with what it does otherwise."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...errors import UsageError
from ..config import Config
from ..rope import read_rope, rope_part
from .parts import (
    AT,
    BLK,
    Dims,
    Model,
    Part,
    Source,
    attention,
    ends,
    expect,
    expect_act,
    experts,
    gated_ffn,
    interleaved,
    joined_ffn,
    keys,
    linear,
    norm,
    of_groups,
    plain_ffn,
    read_dims,
    share,
    split_ffn,
    then,
    two_norms,
)

SILU = ("silu", "swish")


def sliding(c: Config, d: Dims, every: int) -> dict[str, Any]:
    """The keys of a sliding window; `every`: the layer that sees all where no key says so (0: none does)."""
    window = c.get("sliding_window")
    if window is None or not c.flag("use_sliding_window", default=True):
        return {}
    out: dict[str, Any] = {"attention.sliding_window": c.size("sliding_window")}
    kinds, first = c.get("layer_types"), c.size("max_window_layers", default=0, zero=True)
    if isinstance(kinds, list) and len(kinds) == d.layers:
        slides = [kind == "sliding_attention" for kind in kinds]
    elif first:  # Qwen 2: the layers from there on
        slides = [i >= first for i in range(d.layers)]
    else:
        slides = []
    if slides:
        usual = [every == 0 or i % every != every - 1 for i in range(d.layers)]
        if not any(slides):
            return {}
        if slides != usual:
            out["attention.sliding_window_pattern"] = slides
    elif (step := c.get("sliding_window_pattern")) is not None and step != every:
        step = c.size("sliding_window_pattern")
        out["attention.sliding_window_pattern"] = [i % step != step - 1 for i in range(d.layers)]
    return out


def of_llama(c: Config, arch: str = "llama", *, turned: bool = True, gated: bool = True, **how: Any) -> Model:
    """LLaMA's parts under its names; `how` goes to attention."""
    d = read_dims(c)
    rope = read_rope(c, d.head)
    ffn = gated_ffn(d) if gated else plain_ffn(d, "up_proj", "down_proj")
    parts = [*ends(c, d), *attention(d, turned=turned, **how), *ffn, *two_norms(d)]
    return Model(arch, d.layers, keys(c, d, rope) | sliding(c, d, 0), parts, rope.tensors, rope.notes)


def llama(c: Config) -> Model:
    """Also Mistral, Yi, InternLM 1 and 3, Aquila: only their sizes and biases are their own."""
    expect_act(c, *SILU)
    return of_llama(c)


def mixtral(c: Config) -> Model:
    expect_act(c, *SILU)
    d = read_dims(c)
    rope, n = read_rope(c, d.head, default_base=1e6), c.size("num_local_experts", default=8)
    mixture = experts(d, n, d.ffn, at=f"{AT}.block_sparse_moe", each=("w1", "w3", "w2"), elsewhere=f"{AT}.mlp")
    parts = [*ends(c, d), *attention(d, turned=True), *mixture, *two_norms(d)]
    counts = {"expert_count": n, "expert_used_count": c.size("num_experts_per_tok", default=2)}
    return Model("llama", d.layers, keys(c, d, rope) | sliding(c, d, 0) | counts, parts, rope.tensors, rope.notes)


def ministral3(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head, log_multiplier=1.0)
    new = c.sub("rope_parameters")
    where = new if new.get("llama_4_scaling_beta") is not None else c
    out = keys(c, d, rope) | sliding(c, d, 0)
    if where.get("llama_4_scaling_beta") is not None:
        out["attention.temperature_scale"] = where.real("llama_4_scaling_beta")
    parts = [*ends(c, d), *attention(d, turned=True), *gated_ffn(d), *two_norms(d)]
    return Model("mistral3", d.layers, out, parts, rope.tensors, rope.notes)


def internlm2(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    at, group = f"{AT}.attention", d.heads // d.kv
    heads = {"q": d.heads, "k": d.kv, "v": d.kv}
    parts = ends(c, d, "model.tok_embeddings", head="output")
    for which, n in heads.items():
        pick = of_groups(d.kv, group, which)
        if which != "v":
            pick = then(pick, interleaved(n))
        parts += linear(f"{at}.wqkv", f"{BLK}.attn_{which}", n * d.head, d.dim, pick=pick)
    parts += [
        *linear(f"{at}.wo", f"{BLK}.attn_output", d.dim, d.heads * d.head),
        *linear(f"{AT}.feed_forward.w1", f"{BLK}.ffn_gate", d.ffn, d.dim),
        *linear(f"{AT}.feed_forward.w2", f"{BLK}.ffn_down", d.dim, d.ffn),
        *linear(f"{AT}.feed_forward.w3", f"{BLK}.ffn_up", d.ffn, d.dim),
        *norm(f"{AT}.attention_norm", f"{BLK}.attn_norm", d.dim),
        *norm(f"{AT}.ffn_norm", f"{BLK}.ffn_norm", d.dim),
    ]
    return Model("internlm2", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def baichuan(c: Config) -> Model:
    d = read_dims(c)
    if d.layers == 40:
        raise UsageError(
            "Baichuan's 13 B model, whose positions are no rotations, is not known to the engine; the 7 B model is."
        )
    rope = read_rope(c, d.head)
    pack = f"{AT}.self_attn.W_pack"
    second = c.get("z_loss_weight") is not None  # Baichuan 2, whose code brings the output's rows to length 1
    parts = [
        *(replace(p, unit=second and p.target == "output.weight") for p in ends(c, d)),
        *linear(pack, f"{BLK}.attn_q", d.dim, d.dim, pick=then(share(0, 3), interleaved(d.heads))),
        *linear(pack, f"{BLK}.attn_k", d.dim, d.dim, pick=then(share(1, 3), interleaved(d.heads))),
        *linear(pack, f"{BLK}.attn_v", d.dim, d.dim, pick=share(2, 3)),
        *linear(f"{AT}.self_attn.o_proj", f"{BLK}.attn_output", d.dim, d.dim),
        *gated_ffn(d),
        *two_norms(d),
    ]
    return Model("baichuan", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def exaone(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    at = "transformer.h.{i}"
    parts = [
        *ends(c, d, "transformer.wte", "transformer.ln_f"),
        *attention(d, at=f"{at}.attn.attention", o="out_proj"),
        *linear(f"{at}.mlp.c_fc_0", f"{BLK}.ffn_gate", d.ffn, d.dim),
        *linear(f"{at}.mlp.c_proj", f"{BLK}.ffn_down", d.dim, d.ffn),
        *linear(f"{at}.mlp.c_fc_1", f"{BLK}.ffn_up", d.ffn, d.dim),
        *norm(f"{at}.ln_1", f"{BLK}.attn_norm", d.dim),
        *norm(f"{at}.ln_2", f"{BLK}.ffn_norm", d.dim),
    ]
    values = keys(c, d, rope, eps=("rms_norm_eps", "layer_norm_epsilon"))
    return Model("exaone", d.layers, values, parts, rope.tensors, rope.notes)


def exaone4(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    parts = [*ends(c, d), *attention(d, norms="heads"), *gated_ffn(d), *norms_behind(d)]
    return Model("exaone4", d.layers, keys(c, d, rope) | sliding(c, d, 4), parts, rope.tensors, rope.notes)


def norms_behind(d: Dims) -> list[Part]:
    return [
        *norm(f"{AT}.post_attention_layernorm", f"{BLK}.post_attention_norm", d.dim),
        *norm(f"{AT}.post_feedforward_layernorm", f"{BLK}.post_ffw_norm", d.dim),
    ]


def minicpm(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    scales = {
        "embedding_scale": c.real("scale_emb", default=1.0),
        "residual_scale": c.real("scale_depth", default=1.0) / math.sqrt(d.layers),
        "logit_scale": d.dim / c.size("dim_model_base", default=d.dim),
    }
    parts = [*ends(c, d, tied=True), *attention(d, turned=True), *gated_ffn(d), *two_norms(d)]
    return Model("minicpm", d.layers, keys(c, d, rope) | scales, parts, rope.tensors, rope.notes)


def _granite_scales(c: Config) -> dict[str, Any]:
    return {
        "embedding_scale": c.real("embedding_multiplier", default=1.0),
        "residual_scale": c.real("residual_multiplier", default=1.0),
        "attention.scale": c.real("attention_multiplier", default=1.0),
        "logit_scale": c.real("logits_scaling", default=1.0),
    }


def granite(c: Config) -> Model:
    model = of_llama(c, "granite")
    model.keys |= _granite_scales(c)
    return model


def granitemoe(c: Config) -> Model:
    """Also with an expert that every token takes, and the hybrids that have attention alone, dense or mixed."""
    d = read_dims(c)
    kinds = c.get("layer_types", "layers_block_type") or []
    if any(kind not in ("attention", "full_attention") for kind in kinds):
        raise UsageError("Granite models with Mamba layers are not known to the engine; those of attention alone are.")
    n, shared = (
        c.size("num_local_experts", default=0, zero=True),
        c.size("shared_intermediate_size", default=0, zero=True),
    )
    rope = read_rope(c, d.head)
    values = keys(c, d, rope) | _granite_scales(c)
    if c.get("model_type") == "granitemoehybrid" and c.get("position_embedding_type") != "rope":
        values = {k: v for k, v in values.items() if not k.startswith("rope.")} | {"rope.scaling.finetuned": False}
    parts = [*ends(c, d, tied=True), *attention(d, turned=True), *two_norms(d)]
    if n == 0:
        values["feed_forward_length"] = shared
        parts += split_ffn(d, f"{AT}.shared_mlp", "", shared)
        return Model("granite", d.layers, values, parts, rope.tensors, rope.notes)
    at = f"{AT}.block_sparse_moe"
    parts += experts(
        d,
        n,
        d.ffn,
        at=at,
        router=("router.layer.weight", "router.weight"),
    )
    stored = {  # as checkpoints have them, which transformers renames
        f"{BLK}.ffn_gate_exps.weight": Source(f"{at}.input_linear.weight", pick=share(0, 2, n)),
        f"{BLK}.ffn_up_exps.weight": Source(f"{at}.input_linear.weight", pick=share(1, 2, n)),
        f"{BLK}.ffn_down_exps.weight": Source(f"{at}.output_linear.weight"),
    }
    parts = [Part(p.target, p.shape, (stored[p.target], *p.sources)) if p.target in stored else p for p in parts]
    values |= {"expert_count": n, "expert_used_count": c.size("num_experts_per_tok", default=2)}
    if shared:
        values["expert_shared_feed_forward_length"] = shared
        parts += split_ffn(d, f"{AT}.shared_mlp", "_shexp", shared)
    return Model("granitemoe", d.layers, values, parts, rope.tensors, rope.notes)


def smollm3(c: Config) -> Model:
    model = of_llama(c, "smollm3")
    layers = model.n_layers
    turns = c.get("no_rope_layers")
    every = c.size("no_rope_layer_interval", default=4)
    usual = [int((i + 1) % 4 != 0) for i in range(layers)]
    if (turns is None and every != 4) or (turns is not None and turns != usual):
        raise UsageError(f"{c.file}: layers without positions other than each fourth are not known to the engine.")
    d = read_dims(c)
    model.parts = [*ends(c, d, tied=True), *attention(d, turned=True), *gated_ffn(d), *two_norms(d)]
    return model


def arcee(c: Config) -> Model:
    expect_act(c, "relu2")
    return of_llama(c, "arcee", gated=False)


def seed_oss(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    parts = [*ends(c, d), *attention(d), *gated_ffn(d), *two_norms(d, "post_attention_norm")]
    return Model("seed_oss", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def hunyuan(c: Config) -> Model:
    d = read_dims(c)
    rope = read_rope(c, d.head)
    names = ("query_layernorm", "key_layernorm")
    parts = [
        *ends(c, d, tied=True),
        *attention(d, norms="heads", norm_names=names),
        *gated_ffn(d),
        *two_norms(d),
    ]
    return Model("hunyuan-dense", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def glm(c: Config) -> Model:
    """GLM 4 of 2024, and with norms around its blocks that of 2025."""
    four = c.get("model_type") == "glm4"
    d = read_dims(c)
    rope = read_rope(c, int(d.head * rope_part(c, 0.5)))
    parts = [*ends(c, d), *attention(d, o="o_proj"), *joined_ffn(d), *two_norms(d)]
    if four:
        parts += norm(f"{AT}.post_self_attn_layernorm", f"{BLK}.post_attention_norm", d.dim)
        parts += norm(f"{AT}.post_mlp_layernorm", f"{BLK}.post_ffw_norm", d.dim)
    return Model("glm4" if four else "chatglm", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def chatglm(c: Config) -> Model:
    """ChatGLM 2 to GLM 4 as they were published, before transformers had them."""
    expect(c, "multi_query_attention", True, default=True)
    expect(c, "rmsnorm", True, default=True)
    d = read_dims(c)
    base = 10000.0 * c.real("rope_ratio", default=1.0)
    rope = read_rope(Config({**c.values, "rope_theta": base}, c.file), d.head // 2)
    at = "transformer.encoder.layers.{i}"
    qkv = (d.heads + 2 * d.kv) * d.head
    parts = [
        *ends(
            c,
            d,
            "transformer.embedding.word_embeddings",
            "transformer.encoder.final_layernorm",
            "transformer.output_layer",
        ),
        *linear(f"{at}.self_attention.query_key_value", f"{BLK}.attn_qkv", qkv, d.dim),
        *linear(f"{at}.self_attention.dense", f"{BLK}.attn_output", d.dim, d.heads * d.head),
        *linear(f"{at}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", 2 * d.ffn, d.dim),
        *linear(f"{at}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", d.dim, d.ffn),
        *norm(f"{at}.input_layernorm", f"{BLK}.attn_norm", d.dim),
        *norm(f"{at}.post_attention_layernorm", f"{BLK}.ffn_norm", d.dim),
    ]
    values = keys(c, d, rope, eps=("rms_norm_eps", "layernorm_epsilon"))
    return Model("chatglm", d.layers, values, parts, other=(r"transformer\.rotary_pos_emb\.inv_freq",))


def ernie(c: Config) -> Model:
    """Its pairs are neighbours already."""
    return of_llama(c, "ernie4_5", turned=False)


def xverse(c: Config) -> Model:
    return of_llama(c, "xverse")
