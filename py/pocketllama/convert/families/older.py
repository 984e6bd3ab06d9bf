"""The models from before LLaMA: GPT-2, GPT-J, StarCoder, MPT, BLOOM, GPT-NeoX and Falcon."""

from __future__ import annotations

from typing import Any

from ...errors import UsageError
from ..config import Config
from ..rope import read_rope, rope_part
from .parts import (
    BLK,
    Dims,
    Model,
    Part,
    Source,
    conv1d,
    ends,
    expect,
    expect_act,
    groups_together,
    heads_together,
    keys,
    linear,
    norm,
    read_dims,
)

H = "transformer.h.{i}"
EPS = ("layer_norm_epsilon", "layer_norm_eps", "norm_epsilon")
# Masks and angles that checkpoints of the time carry.
BUFFERS = (
    r".*\.attn(\.attention)?\.(bias|masked_bias)",
    r".*\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
    r".*\.rotary\.inv_freq",
)


def _dims(c: Config) -> Dims:
    return read_dims(c, ffn=4 * c.size("hidden_size", "n_embd", "n_embed", "d_model"))


def _without_rope(c: Config, d: Dims, **more: Any) -> dict[str, Any]:
    return keys(c, d, None, eps=EPS, **more)


def gpt2(c: Config) -> Model:
    expect_act(c, "gelu")
    expect(c, "scale_attn_by_inverse_layer_idx", False, default=False)
    d = _dims(c)
    parts = [
        *_gpt2_ends(c, d),
        *conv1d(f"{H}.attn.c_attn", f"{BLK}.attn_qkv", 3 * d.dim, d.dim),
        *conv1d(f"{H}.attn.c_proj", f"{BLK}.attn_output", d.dim, d.dim),
        *conv1d(f"{H}.mlp.c_fc", f"{BLK}.ffn_up", d.ffn, d.dim),
        *conv1d(f"{H}.mlp.c_proj", f"{BLK}.ffn_down", d.dim, d.ffn),
    ]
    return Model("gpt2", d.layers, _without_rope(c, d), parts, other=BUFFERS)


def _gpt2_ends(c: Config, d: Dims) -> list[Part]:
    return [
        *ends(c, d, "transformer.wte", "transformer.ln_f", tied=True, norm_bias=True),
        Part("position_embd.weight", (d.ctx, d.dim), (Source("transformer.wpe.weight"),)),
        *norm(f"{H}.ln_1", f"{BLK}.attn_norm", d.dim, bias=True),
        *norm(f"{H}.ln_2", f"{BLK}.ffn_norm", d.dim, bias=True),
    ]


def starcoder(c: Config) -> Model:
    """GPT-2 whose heads share one key and one value, and whose linear layers are as everywhere else."""
    expect_act(c, "gelu")
    expect(c, "multi_query", True, default=True)
    d = Dims(**{**vars(_dims(c)), "kv": 1})
    parts = [
        *_gpt2_ends(c, d),
        *linear(f"{H}.attn.c_attn", f"{BLK}.attn_qkv", d.dim + 2 * d.head, d.dim, bias=True),
        *linear(f"{H}.attn.c_proj", f"{BLK}.attn_output", d.dim, d.dim, bias=True),
        *linear(f"{H}.mlp.c_fc", f"{BLK}.ffn_up", d.ffn, d.dim, bias=True),
        *linear(f"{H}.mlp.c_proj", f"{BLK}.ffn_down", d.dim, d.ffn, bias=True),
    ]
    return Model("starcoder", d.layers, _without_rope(c, d), parts, other=BUFFERS)


def gptj(c: Config) -> Model:
    expect_act(c, "gelu")
    d = _dims(c)
    qkvo = [("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("out_proj", "attn_output")]
    parts = [
        *ends(c, d, "transformer.wte", "transformer.ln_f", norm_bias=True, bias=True),
        *norm(f"{H}.ln_1", f"{BLK}.attn_norm", d.dim, bias=True),
        *(p for hf, to in qkvo for p in linear(f"{H}.attn.{hf}", f"{BLK}.{to}", d.dim, d.dim, bias=False)),
        *linear(f"{H}.mlp.fc_in", f"{BLK}.ffn_up", d.ffn, d.dim, bias=True),
        *linear(f"{H}.mlp.fc_out", f"{BLK}.ffn_down", d.dim, d.ffn, bias=True),
    ]
    rope = read_rope(c, c.size("rotary_dim", default=d.head))
    return Model("gptj", d.layers, keys(c, d, rope, eps=EPS), parts, other=BUFFERS)


def mpt(c: Config) -> Model:
    d = read_dims(c, ffn=int(c.real("expansion_ratio", default=4.0) * c.size("d_model")))
    attn = c.sub("attn_config")
    d = Dims(**{**vars(d), "kv": attn.size("kv_n_heads", default=d.heads)})
    expect(attn, "alibi", True, default=True)
    expect(attn, "qk_ln", False, default=False)
    at = "transformer.blocks.{i}"
    parts = [
        *ends(c, d, "transformer.wte", "transformer.norm_f", tied=True, norm_bias=None),
        *norm(f"{at}.norm_1", f"{BLK}.attn_norm", d.dim, bias=None),
        *norm(f"{at}.norm_2", f"{BLK}.ffn_norm", d.dim, bias=None),
        *linear(f"{at}.attn.Wqkv", f"{BLK}.attn_qkv", d.dim + 2 * d.kv * d.head, d.dim),
        *linear(f"{at}.attn.out_proj", f"{BLK}.attn_output", d.dim, d.dim),
        *linear(f"{at}.ffn.up_proj", f"{BLK}.ffn_up", d.ffn, d.dim),
        *linear(f"{at}.ffn.down_proj", f"{BLK}.ffn_down", d.dim, d.ffn),
    ]
    more = {"attention.max_alibi_bias": attn.real("alibi_bias_max", default=8.0)}
    if attn.get("clip_qkv") is not None:
        more["attention.clamp_kqv"] = attn.real("clip_qkv")
    return Model("mpt", d.layers, _without_rope(c, d) | more, parts)


def bloom(c: Config) -> Model:
    d = _dims(c)
    expect(c, "apply_residual_connection_post_layernorm", False, default=False)
    qkv = heads_together(d.heads)
    parts = [
        *ends(c, d, "transformer.word_embeddings", "transformer.ln_f", tied=True, norm_bias=True),
        *norm("transformer.word_embeddings_layernorm", "token_embd_norm", d.dim, bias=True),
        *norm(f"{H}.input_layernorm", f"{BLK}.attn_norm", d.dim, bias=True),
        *norm(f"{H}.post_attention_layernorm", f"{BLK}.ffn_norm", d.dim, bias=True),
        *linear(f"{H}.self_attention.query_key_value", f"{BLK}.attn_qkv", 3 * d.dim, d.dim, bias=True, pick=qkv),
        *linear(f"{H}.self_attention.dense", f"{BLK}.attn_output", d.dim, d.dim, bias=True),
        *linear(f"{H}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", d.ffn, d.dim, bias=True),
        *linear(f"{H}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", d.dim, d.ffn, bias=True),
    ]
    return Model("bloom", d.layers, _without_rope(c, d), parts)


def gptneox(c: Config) -> Model:
    expect_act(c, "gelu")
    d = read_dims(c)
    d = Dims(**{**vars(d), "kv": d.heads})
    at = "gpt_neox.layers.{i}"
    qkv = heads_together(d.heads)
    bias = c.flag("attention_bias", default=True)
    rope = read_rope(c, int(d.head * rope_part(c, 0.25)))
    parts = [
        *ends(c, d, "gpt_neox.embed_in", "gpt_neox.final_layer_norm", "embed_out", norm_bias=True),
        *norm(f"{at}.input_layernorm", f"{BLK}.attn_norm", d.dim, bias=True),
        *norm(f"{at}.post_attention_layernorm", f"{BLK}.ffn_norm", d.dim, bias=True),
        *linear(f"{at}.attention.query_key_value", f"{BLK}.attn_qkv", 3 * d.dim, d.dim, bias=bias, pick=qkv),
        *linear(f"{at}.attention.dense", f"{BLK}.attn_output", d.dim, d.dim, bias=bias),
        *linear(f"{at}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", d.ffn, d.dim, bias=True),
        *linear(f"{at}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", d.dim, d.ffn, bias=True),
    ]
    values = keys(c, d, rope, eps=EPS) | {"use_parallel_residual": c.flag("use_parallel_residual", default=True)}
    return Model("gptneox", d.layers, values, parts, rope.tensors, rope.notes, BUFFERS)


def falcon(c: Config) -> Model:
    """One key-value head and one norm as the 7 B model, several and two as the 40 B, several and one as the 11 B."""
    if c.flag("alibi", default=False):
        raise UsageError("Falcon models with ALiBi are not known to the engine.")
    expect(c, "parallel_attn", True, default=True)
    expect_act(c, "gelu")
    d = _dims(c)
    grouped = c.flag("new_decoder_architecture", default=c.get("model_type") == "RefinedWeb")
    kv = c.size("num_kv_heads", "n_head_kv", default=d.heads) if grouped else 1
    if not grouped and not c.flag("multi_query", default=True):
        raise UsageError(f"{c.file}: Falcon models whose heads share nothing are not known to the engine.")
    d = Dims(**{**vars(d), "kv": kv})
    two = grouped and c.size("num_ln_in_parallel_attn", default=2) == 2
    norms = (
        [
            *norm(f"{H}.ln_mlp", f"{BLK}.attn_norm", d.dim, bias=True),
            *norm(f"{H}.ln_attn", f"{BLK}.attn_norm_2", d.dim, bias=True),
        ]
        if two
        else norm(f"{H}.input_layernorm", f"{BLK}.attn_norm", d.dim, bias=True)
    )
    qkv = groups_together(d.heads, kv) if grouped else None
    rows = (d.heads + 2 * kv) * d.head
    rope = read_rope(c, d.head)
    parts = [
        *ends(c, d, "transformer.word_embeddings", "transformer.ln_f", tied=True, norm_bias=True),
        *norms,
        *linear(f"{H}.self_attention.query_key_value", f"{BLK}.attn_qkv", rows, d.dim, pick=qkv),
        *linear(f"{H}.self_attention.dense", f"{BLK}.attn_output", d.dim, d.dim),
        *linear(f"{H}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", d.ffn, d.dim),
        *linear(f"{H}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", d.dim, d.ffn),
    ]
    values = keys(c, d, rope, eps=EPS)
    return Model("falcon", d.layers, values, parts, rope.tensors, rope.notes, BUFFERS)
