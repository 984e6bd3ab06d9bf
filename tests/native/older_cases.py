"""The table's models from before LLaMA: GPT-2, GPT-J, GPT-NeoX and Falcon."""

from __future__ import annotations

from .models import N_VOCAB, Case, Part, groups_together, heads_together, same
from .parts import BLK, CTX, DIM, EPS, FFN, HEAD, HEADS, causal, conv1d, hf_config, layer_norm_keys, linear, norm


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
    metadata = layer_norm_keys(3, 4 * DIM, kv=HEADS)
    for absent in ("rope.freq_base", "rope.dimension_count", "attention.head_count_kv"):
        del metadata[absent]
    return Case("gpt2", ("GPT2LMHeadModel", "GPT2Config"), config, "gpt2", metadata, 3, parts)


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
        gptneox("gptneox", parallel=True),
        gptneox("gptneox-sequential", parallel=False),
        falcon("falcon-7b", 1),
        falcon("falcon-11b", 2),
        falcon("falcon-40b", 2, two=True),
    ]
