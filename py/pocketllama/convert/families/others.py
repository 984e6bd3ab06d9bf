"""Gemma, OLMo, Phi, Cohere, StableLM, Nemotron and StarCoder 2."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..config import Config
from ..rope import read_rope, rope_base, rope_part
from .llama import norms_behind, sliding
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
    gated_ffn,
    joined_ffn,
    keys,
    linear,
    norm,
    plain_ffn,
    read_dims,
    two_norms,
)

TANH = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast", "gelu")  # Gemma's "gelu" is the same, as its authors found
LAYER_NORM = ("layer_norm_eps", "norm_eps", "norm_epsilon", "layer_norm_epsilon")


# ---- Gemma: its norms scale by one more than their weight


def gemma(c: Config) -> Model:
    expect_act(c, *TANH)
    d = read_dims(c, head=256)
    rope = read_rope(c, d.head)
    parts = [*ends(c, d, tied=True, plus=1.0), *attention(d), *gated_ffn(d), *two_norms(d, plus=1.0)]
    return Model("gemma", d.layers, keys(c, d, rope), parts, rope.tensors, rope.notes)


def _four_norms(d: Dims) -> list[Part]:
    return [
        *two_norms(d, "post_attention_norm", plus=1.0),
        *norm(f"{AT}.pre_feedforward_layernorm", f"{BLK}.ffn_norm", d.dim, plus=1.0),
        *norm(f"{AT}.post_feedforward_layernorm", f"{BLK}.post_ffw_norm", d.dim, plus=1.0),
    ]


def _scale(c: Config, d: Dims, widest: int) -> dict[str, Any]:
    """Queries are scaled by their heads' size, or in the deepest model by another: readers know that, and no other."""
    scalar = c.real("query_pre_attn_scalar", default=d.head)
    usual = d.dim // d.heads if d.layers == widest else d.head
    return {} if scalar == usual else {"attention.scale": scalar**-0.5}


def gemma2(c: Config) -> Model:
    expect_act(c, *TANH)
    d = read_dims(c, head=256)
    rope = read_rope(c, d.head)
    more = {
        "attn_logit_softcapping": c.real("attn_logit_softcapping", default=50.0),
        "final_logit_softcapping": c.real("final_logit_softcapping", default=30.0),
    }
    parts = [*ends(c, d, tied=True, plus=1.0), *attention(d), *gated_ffn(d), *_four_norms(d)]
    window = sliding(Config({"sliding_window": 4096, **c.values}, c.file), d, 2) | _scale(c, d, 46)
    return Model("gemma2", d.layers, keys(c, d, rope) | window | more, parts, rope.tensors, rope.notes)


def gemma3(c: Config) -> Model:
    expect_act(c, *TANH)
    d = read_dims(c, head=256)
    rope = read_rope(c, d.head, default_base=1e6)
    parts = [
        *ends(c, d, tied=True, plus=1.0),
        *attention(d, norms="heads", plus=1.0),
        *gated_ffn(d),
        *_four_norms(d),
    ]
    values = keys(c, d, rope) | sliding(Config({"sliding_window": 4096, **c.values}, c.file), d, 6) | _scale(c, d, 62)
    local = 10000.0
    if c.get("rope_local_base_freq") is not None:
        local = c.real("rope_local_base_freq")
    elif isinstance(c.sub("rope_parameters").get("sliding_attention"), dict):
        local = rope_base(c, 10000.0, "sliding_attention")
    if local != 10000.0:
        values["rope.freq_base_swa"] = local
    if c.get("final_logit_softcapping") is not None:
        values["final_logit_softcapping"] = c.real("final_logit_softcapping")
    return Model("gemma3", d.layers, values, parts, rope.tensors, rope.notes)


# ---- OLMo


def _clamp(c: Config, key: str = "clip_qkv") -> dict[str, Any]:
    return {} if c.get(key) is None else {"attention.clamp_kqv": c.real(key)}


def olmo(c: Config) -> Model:
    """Its norms have no weights."""
    d = read_dims(c)
    rope = read_rope(c, d.head)
    parts = [
        p for p in (*ends(c, d), *attention(d, turned=True), *gated_ffn(d)) if not p.target.endswith("norm.weight")
    ]
    values = keys(Config({"layer_norm_eps": 1e-5}, c.file), d, rope, eps=("layer_norm_eps",)) | _clamp(c)
    return Model("olmo", d.layers, values, parts, rope.tensors, rope.notes)


def olmo2(c: Config) -> Model:
    """Also OLMo 3, which slides."""
    d = read_dims(c)
    third = c.get("model_type") == "olmo3"
    rope = read_rope(c, d.head, olmo3=third)
    parts = [*ends(c, d), *attention(d, norms="whole"), *gated_ffn(d), *norms_behind(d)]
    values = keys(c, d, rope)
    if third:
        values |= sliding(c, d, 4)
        local = rope_base(c, 10000.0, "sliding_attention")
        if local != rope.base:
            values["rope.freq_base_swa"] = local
    return Model("olmo2", d.layers, values, parts, rope.tensors, rope.notes)


# ---- Phi


def phi2(c: Config) -> Model:
    expect_act(c, *TANH)
    if c.flag("qk_layernorm", default=False):
        raise UsageError(f"{c.file}: norms of queries and keys are not known to the engine's phi2.")
    d = read_dims(c)
    rope = read_rope(c, int(d.head * rope_part(c, 0.5)))
    parts = [
        *ends(c, d, last="model.final_layernorm", norm_bias=True, bias=True),
        *attention(d, bias=True, bias_out=True, o="dense"),
        *plain_ffn(d, "fc1", "fc2", bias=True),
        *norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", d.dim, bias=True),
    ]
    return Model("phi2", d.layers, keys(c, d, rope, eps=LAYER_NORM), parts, rope.tensors, rope.notes)


def phi3(c: Config) -> Model:
    """Also Phi 3.5 and Phi 4."""
    expect_act(c, "silu", "swish")
    d = read_dims(c)
    rope = read_rope(c, int(d.head * rope_part(c)))
    at = f"{AT}.self_attn"
    parts = [
        *ends(c, d),
        *linear(f"{at}.qkv_proj", f"{BLK}.attn_qkv", (d.heads + 2 * d.kv) * d.head, d.dim),
        *linear(f"{at}.o_proj", f"{BLK}.attn_output", d.dim, d.heads * d.head),
        *joined_ffn(d),
        *two_norms(d),
    ]
    values = keys(c, d, rope, eps=("rms_norm_eps",)) | sliding(c, d, 0)
    return Model("phi3", d.layers, values, parts, rope.tensors, rope.notes)


# ---- with layer norms


def _own_norms(d: Dims, each: bool) -> list[Part]:
    """Norms of queries and keys, with weights for each head, in one tensor or in as many as heads."""
    at, parts = f"{AT}.self_attn", []
    for x, n in (("q", d.heads), ("k", d.kv)):
        source = Source(f"{at}.{x}_norm.weight")
        if each:
            source = Source(f"{at}.{x}_layernorm.norms.{{e}}.weight", n)
        parts.append(Part(f"{BLK}.attn_{x}_norm.weight", (n, d.head), (source,)))
    return parts


def stablelm(c: Config) -> Model:
    d = read_dims(c)
    parallel = c.flag("use_parallel_residual", default=False)
    bias = c.flag("use_qkv_bias", default=False)
    rope = read_rope(c, int(d.head * rope_part(c, 0.25)))
    parts = [
        *ends(c, d, norm_bias=True),
        *attention(d, bias=bias or None),
        *(_own_norms(d, each=True) if c.flag("qk_layernorm", default=False) else []),
        *gated_ffn(d),
        *norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", d.dim, bias=True),
        *([] if parallel else norm(f"{AT}.post_attention_layernorm", f"{BLK}.ffn_norm", d.dim, bias=True)),
    ]
    values = keys(c, d, rope, eps=LAYER_NORM) | {"use_parallel_residual": parallel}
    return Model("stablelm", d.layers, values, parts, rope.tensors, rope.notes)


def nemotron(c: Config) -> Model:
    """Its norms scale by one more than their weight."""
    expect_act(c, "relu2")
    d = read_dims(c)
    rope = read_rope(c, int(d.head * rope_part(c, 0.5)))
    plus: dict[str, Any] = {"bias": True, "plus": 1.0}
    parts = [
        *ends(c, d, norm_bias=True, plus=1.0),
        *attention(d),
        *plain_ffn(d, "up_proj", "down_proj"),
        *two_norms(d, **plus),
    ]
    return Model("nemotron", d.layers, keys(c, d, rope, eps=LAYER_NORM), parts, rope.tensors, rope.notes)


def cohere(c: Config) -> Model:
    """Command R; Cohere 2 slides, and turns only where it does."""
    second = c.get("model_type") == "cohere2"
    expect_act(c, "silu", "swish")
    d = read_dims(c)
    rope = read_rope(c, d.head)
    parts = [
        *ends(c, d, tied=True),
        *attention(d),
        *(_own_norms(d, each=False) if c.flag("use_qk_norm", default=False) else []),
        *gated_ffn(d),
        *norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", d.dim),
    ]
    values = keys(c, d, rope, eps=LAYER_NORM) | {"logit_scale": c.real("logit_scale", default=0.0625)}
    if second:
        values |= sliding(c, d, 4)
    return Model("cohere2" if second else "command-r", d.layers, values, parts, rope.tensors, rope.notes)


def starcoder2(c: Config) -> Model:
    expect_act(c, *TANH)
    expect(c, "norm_type", "layer_norm", default="layer_norm")
    d = read_dims(c)
    rope = read_rope(c, d.head)
    bias = c.flag("use_bias", default=True)
    parts = [
        *ends(c, d, tied=True, norm_bias=True),
        *attention(d, bias=bias, bias_out=bias),
        *plain_ffn(d, "c_fc", "c_proj", bias=bias),
        *two_norms(d, bias=True),
    ]
    values = keys(c, d, rope, eps=LAYER_NORM) | sliding(c, d, 0)
    return Model("starcoder2", d.layers, values, parts, rope.tensors, rope.notes)
