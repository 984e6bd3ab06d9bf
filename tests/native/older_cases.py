"""The table's models from before LLaMA: GPT-2, GPT-J, StarCoder, MPT, BLOOM, GPT-NeoX and Falcon."""

from __future__ import annotations

from typing import Any

from .models import N_VOCAB, Case, Part, groups_together, heads_together, same
from .parts import BLK, CTX, DIM, EPS, FFN, HEAD, HEADS, causal, conv1d, ends, hf_config, layer_norm_keys, linear, norm


def gptj() -> Case:
    at = "transformer.h.{i}"
    qkvo = [("q_proj", "attn_q"), ("k_proj", "attn_k"), ("v_proj", "attn_v"), ("out_proj", "attn_output")]
    parts = [
        Part("transformer.wte.weight", (N_VOCAB, DIM), "token_embd.weight", std=0.5),
        *norm("transformer.ln_f", "output_norm", bias=True),
        *linear("lm_head", "output", N_VOCAB, DIM, bias=True),
        *norm(f"{at}.ln_1", f"{BLK}.attn_norm", bias=True),
        *(p for hf, to in qkvo for p in linear(f"{at}.attn.{hf}", f"{BLK}.{to}", DIM, DIM)),
        *linear(f"{at}.mlp.fc_in", f"{BLK}.ffn_up", 4 * DIM, DIM, bias=True),
        *linear(f"{at}.mlp.fc_out", f"{BLK}.ffn_down", DIM, 4 * DIM, bias=True),
    ]
    config = {
        "vocab_size": N_VOCAB,
        "n_positions": CTX,
        "n_embd": DIM,
        "n_layer": 3,
        "n_head": HEADS,
        "rotary_dim": 8,
        "layer_norm_epsilon": EPS,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    metadata = layer_norm_keys(3, 4 * DIM, kv=HEADS) | {"rope.dimension_count": 8}
    return Case("gptj", causal("GPTJ"), config, "gptj", metadata, 3, parts)


def without_rope(ffn: int, **more: Any) -> dict[str, Any]:
    metadata = layer_norm_keys(3, ffn, **more)
    for absent in ("rope.freq_base", "rope.dimension_count", "attention.head_count_kv"):
        del metadata[absent]
    return metadata


def gpt2() -> Case:
    at = "transformer.h.{i}"
    parts = [
        Part("transformer.wte.weight", (N_VOCAB, DIM), "token_embd.weight", std=0.5),
        Part("transformer.wpe.weight", (CTX, DIM), "position_embd.weight", std=0.3),
        *norm("transformer.ln_f", "output_norm", bias=True),
        *norm(f"{at}.ln_1", f"{BLK}.attn_norm", bias=True),
        *norm(f"{at}.ln_2", f"{BLK}.ffn_norm", bias=True),
        *conv1d(f"{at}.attn.c_attn", f"{BLK}.attn_qkv", 3 * DIM, DIM),
        *conv1d(f"{at}.attn.c_proj", f"{BLK}.attn_output", DIM, DIM),
        *conv1d(f"{at}.mlp.c_fc", f"{BLK}.ffn_up", 4 * DIM, DIM),
        *conv1d(f"{at}.mlp.c_proj", f"{BLK}.ffn_down", DIM, 4 * DIM),
    ]
    config = {
        "vocab_size": N_VOCAB,
        "n_positions": CTX,
        "n_embd": DIM,
        "n_layer": 3,
        "n_head": HEADS,
        "layer_norm_epsilon": EPS,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    metadata = without_rope(4 * DIM)
    return Case("gpt2", ("GPT2LMHeadModel", "GPT2Config"), config, "gpt2", metadata, 3, parts)


def starcoder() -> Case:
    """GPT-2 whose heads share one key and one value, and whose linear layers are as everywhere else."""
    at = "transformer.h.{i}"
    parts = [
        p if "attn.c_" not in p.hf and "mlp.c_" not in p.hf else Part(p.hf, p.shape[::-1], p.gguf, same, p.mean, p.std)
        for p in gpt2().parts
        if "c_attn" not in p.hf
    ]
    parts += linear(f"{at}.attn.c_attn", f"{BLK}.attn_qkv", DIM + 2 * HEAD, DIM, bias=True)
    metadata = gpt2().metadata | {"attention.head_count_kv": 1}
    return Case("starcoder", causal("GPTBigCode"), gpt2().config, "starcoder", metadata, 3, parts)


def mpt() -> Case:
    at = "transformer.blocks.{i}"
    parts = [
        *ends("transformer.wte", "transformer.norm_f", tied=True),
        *norm(f"{at}.norm_1", f"{BLK}.attn_norm"),
        *norm(f"{at}.norm_2", f"{BLK}.ffn_norm"),
        *linear(f"{at}.attn.Wqkv", f"{BLK}.attn_qkv", 3 * DIM, DIM),
        *linear(f"{at}.attn.out_proj", f"{BLK}.attn_output", DIM, DIM),
        *linear(f"{at}.ffn.up_proj", f"{BLK}.ffn_up", 4 * DIM, DIM),
        *linear(f"{at}.ffn.down_proj", f"{BLK}.ffn_down", DIM, 4 * DIM),
    ]
    config = {
        "vocab_size": N_VOCAB,
        "d_model": DIM,
        "n_heads": HEADS,
        "n_layers": 3,
        "max_seq_len": CTX,
        "attn_config": {"alibi": True, "clip_qkv": 1.5},
        "layer_norm_epsilon": EPS,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    metadata = without_rope(4 * DIM, attention__max_alibi_bias=8.0, attention__clamp_kqv=1.5)
    return Case("mpt", causal("Mpt"), config, "mpt", metadata, 3, parts)


def bloom() -> Case:
    """Of six heads: where they are no power of two, their slopes follow another rule."""
    at, heads = "transformer.h.{i}", 6
    dim = heads * HEAD
    parts = [
        Part("transformer.word_embeddings.weight", (N_VOCAB, dim), "token_embd.weight", std=0.5),
        *norm("transformer.word_embeddings_layernorm", "token_embd_norm", dim, bias=True),
        *norm("transformer.ln_f", "output_norm", dim, bias=True),
        *norm(f"{at}.input_layernorm", f"{BLK}.attn_norm", dim, bias=True),
        *norm(f"{at}.post_attention_layernorm", f"{BLK}.ffn_norm", dim, bias=True),
        *linear(
            f"{at}.self_attention.query_key_value",
            f"{BLK}.attn_qkv",
            3 * dim,
            dim,
            bias=True,
            change=heads_together(heads),
        ),
        *linear(f"{at}.self_attention.dense", f"{BLK}.attn_output", dim, dim, bias=True),
        *linear(f"{at}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", 4 * dim, dim, bias=True),
        *linear(f"{at}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", dim, 4 * dim, bias=True),
    ]
    config = {
        "vocab_size": N_VOCAB,
        "hidden_size": dim,
        "n_head": heads,
        "n_layer": 3,
        "layer_norm_epsilon": EPS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    metadata = without_rope(4 * dim) | {"embedding_length": dim, "attention.head_count": heads}
    return Case("bloom", causal("Bloom"), config, "bloom", metadata, 3, parts)


def gptneox(name: str, parallel: bool) -> Case:
    at = "gpt_neox.layers.{i}"
    parts = [
        Part("gpt_neox.embed_in.weight", (N_VOCAB, DIM), "token_embd.weight", std=0.5),
        *norm("gpt_neox.final_layer_norm", "output_norm", bias=True),
        *linear("lm_head", "output", N_VOCAB, DIM),
        *norm(f"{at}.input_layernorm", f"{BLK}.attn_norm", bias=True),
        *norm(f"{at}.post_attention_layernorm", f"{BLK}.ffn_norm", bias=True),
        *linear(
            f"{at}.attention.query_key_value",
            f"{BLK}.attn_qkv",
            3 * DIM,
            DIM,
            bias=True,
            change=heads_together(HEADS),
        ),
        *linear(f"{at}.attention.dense", f"{BLK}.attn_output", DIM, DIM, bias=True),
        *linear(f"{at}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", FFN, DIM, bias=True),
        *linear(f"{at}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", DIM, FFN, bias=True),
    ]
    config = hf_config(
        3, use_parallel_residual=parallel, rope={"partial_rotary_factor": 0.25}, layer_norm_eps=EPS, hidden_act="gelu"
    )
    metadata = layer_norm_keys(3, FFN, kv=HEADS, use_parallel_residual=parallel) | {"rope.dimension_count": HEAD // 4}
    return Case(name, causal("GPTNeoX"), config, "gptneox", metadata, 3, parts)


def falcon(name: str, kv: int, *, two: bool = False) -> Case:
    """One key-value head and one norm as the 7 B model, several and two as the 40 B, several and one as the 11 B."""
    at = "transformer.h.{i}"
    norms = (
        [*norm(f"{at}.ln_mlp", f"{BLK}.attn_norm", bias=True), *norm(f"{at}.ln_attn", f"{BLK}.attn_norm_2", bias=True)]
        if two
        else norm(f"{at}.input_layernorm", f"{BLK}.attn_norm", bias=True)
    )
    parts = [
        Part("transformer.word_embeddings.weight", (N_VOCAB, DIM), "token_embd.weight", std=0.5),
        *norm("transformer.ln_f", "output_norm", bias=True),
        *linear("lm_head", "output", N_VOCAB, DIM),
        *norms,
        *linear(
            f"{at}.self_attention.query_key_value",
            f"{BLK}.attn_qkv",
            (HEADS + 2 * kv) * HEAD,
            DIM,
            change=groups_together(HEADS, kv) if kv > 1 else same,
        ),
        *linear(f"{at}.self_attention.dense", f"{BLK}.attn_output", DIM, DIM),
        *linear(f"{at}.mlp.dense_h_to_4h", f"{BLK}.ffn_up", 4 * DIM, DIM),
        *linear(f"{at}.mlp.dense_4h_to_h", f"{BLK}.ffn_down", DIM, 4 * DIM),
    ]
    config = {
        "vocab_size": N_VOCAB,
        "hidden_size": DIM,
        "num_hidden_layers": 3,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CTX,
        "layer_norm_epsilon": EPS,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    if kv > 1:
        config |= {"new_decoder_architecture": True, "num_kv_heads": kv, "num_ln_in_parallel_attn": 1 + two}
    metadata = layer_norm_keys(3, 4 * DIM, kv=kv)
    for absent in ("rope.freq_base", "rope.dimension_count"):
        del metadata[absent]
    return Case(name, causal("Falcon"), config, "falcon", metadata, 3, parts)


def older_cases() -> list[Case]:
    return [
        gptj(),
        gpt2(),
        starcoder(),
        mpt(),
        bloom(),
        gptneox("gptneox", parallel=True),
        gptneox("gptneox-sequential", parallel=False),
        falcon("falcon-7b", 1),
        falcon("falcon-11b", 2),
        falcon("falcon-40b", 2, two=True),
    ]
