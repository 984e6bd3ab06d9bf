"""What the models of the table are made of: tensors that many architectures have in common, configs and keys."""

from __future__ import annotations

from typing import Any

from .models import N_VOCAB, Change, Part, each_half, halves, interleaved, plus_one, same, transposed

DIM, FFN, HEADS, KV, HEAD = 64, 96, 4, 2, 16
CTX = 128
EPS = 1e-5


# ---- parts


def linear(hf: str, to: str, rows: int, cols: int, *, bias: bool = False, change: Change = same) -> list[Part]:
    """A matrix and its bias; `change` works on both."""
    parts = [Part(f"{hf}.weight", (rows, cols), f"{to}.weight", change)]
    return parts + [Part(f"{hf}.bias", (rows,), f"{to}.bias", change)] * bias


def conv1d(hf: str, to: str, rows: int, cols: int) -> list[Part]:
    """GPT-2's linear layer, the transpose of all others."""
    return [
        Part(f"{hf}.weight", (cols, rows), f"{to}.weight", transposed),
        Part(f"{hf}.bias", (rows,), f"{to}.bias"),
    ]


def norm(hf: str, to: str, n: int = DIM, *, bias: bool = False, gemma: bool = False) -> list[Part]:
    weight = Part(f"{hf}.weight", (n,), f"{to}.weight", plus_one if gemma else same, 0.0 if gemma else 1.0, 0.2)
    return [weight] + [Part(f"{hf}.bias", (n,), f"{to}.bias")] * bias


def ends(embd: str = "model.embed_tokens", last: str = "model.norm", *, tied: bool = False, **how: Any) -> list[Part]:
    """The parts outside of the layers; the names are those of all newer models."""
    output = [] if tied else linear("lm_head", "output", N_VOCAB, DIM)
    return [
        Part(f"{embd}.weight", (N_VOCAB, DIM), "token_embd.weight", std=0.5),
        *norm(last, "output_norm", **how),
        *output,
    ]


AT, BLK = "model.layers.{i}", "blk.{i}"


def attention(
    *,
    head: int = HEAD,
    kv: int = KV,
    o: str = "o_proj",
    turned: bool = False,
    bias: bool = False,
    bias_out: bool = False,
    norms: tuple[int, int] | None = None,
    **how: Any,
) -> list[Part]:
    """q, k, v and o. `turned`: rows change places for interleaved rope; `norms`: the sizes of q's and k's."""
    q, k = (interleaved(HEADS), interleaved(kv)) if turned else (same, same)
    return [
        *linear(f"{AT}.self_attn.q_proj", f"{BLK}.attn_q", HEADS * head, DIM, bias=bias, change=q),
        *linear(f"{AT}.self_attn.k_proj", f"{BLK}.attn_k", kv * head, DIM, bias=bias, change=k),
        *linear(f"{AT}.self_attn.v_proj", f"{BLK}.attn_v", kv * head, DIM, bias=bias),
        *linear(f"{AT}.self_attn.{o}", f"{BLK}.attn_output", DIM, HEADS * head, bias=bias_out),
        *(norm(f"{AT}.self_attn.q_norm", f"{BLK}.attn_q_norm", norms[0], **how) if norms else []),
        *(norm(f"{AT}.self_attn.k_norm", f"{BLK}.attn_k_norm", norms[1], **how) if norms else []),
    ]


def gated_ffn(at: str = "mlp", suffix: str = "", ffn: int = FFN) -> list[Part]:
    return [
        *linear(f"{AT}.{at}.gate_proj", f"{BLK}.ffn_gate{suffix}", ffn, DIM),
        *linear(f"{AT}.{at}.up_proj", f"{BLK}.ffn_up{suffix}", ffn, DIM),
        *linear(f"{AT}.{at}.down_proj", f"{BLK}.ffn_down{suffix}", DIM, ffn),
    ]


def plain_ffn(up: str, down: str, **how: Any) -> list[Part]:
    """Without a gate."""
    return [
        *linear(f"{AT}.mlp.{up}", f"{BLK}.ffn_up", FFN, DIM, **how),
        *linear(f"{AT}.mlp.{down}", f"{BLK}.ffn_down", DIM, FFN, **how),
    ]


def joined_ffn() -> list[Part]:
    """Gate and up in one tensor, in the file too."""
    return [
        *linear(f"{AT}.mlp.gate_up_proj", f"{BLK}.ffn_up", 2 * FFN, DIM),
        *linear(f"{AT}.mlp.down_proj", f"{BLK}.ffn_down", DIM, FFN),
    ]


def experts(n: int, ffn: int, *, separate: bool = False, at: str = f"{AT}.mlp", router: str = "gate") -> list[Part]:
    """A router and experts; `separate`: each with tensors of its own, as in files of before April 2024."""
    both: tuple[str, ...] = (f"{BLK}.ffn_gate_exps.weight", f"{BLK}.ffn_up_exps.weight")
    down: tuple[str, ...] = (f"{BLK}.ffn_down_exps.weight",)
    if separate:
        both = tuple(f"{BLK}.ffn_{name}.{e}.weight" for e in range(n) for name in ("gate", "up"))
        down = tuple(f"{BLK}.ffn_down.{e}.weight" for e in range(n))
    return [
        *linear(f"{at}.{router}", f"{BLK}.ffn_gate_inp", n, DIM),
        Part(f"{at}.experts.gate_up_proj", (n, 2 * ffn, DIM), both, each_half if separate else halves(1)),
        Part(f"{at}.experts.down_proj", (n, DIM, ffn), down, list if separate else same),
    ]


def two_norms(second: str = "ffn_norm", **how: Any) -> list[Part]:
    return [
        *norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", **how),
        *norm(f"{AT}.post_attention_layernorm", f"{BLK}.{second}", **how),
    ]


def four_norms() -> list[Part]:
    """Gemma's, before and behind each block."""
    return [
        *two_norms("post_attention_norm", gemma=True),
        *norm(f"{AT}.pre_feedforward_layernorm", f"{BLK}.ffn_norm", gemma=True),
        *norm(f"{AT}.post_feedforward_layernorm", f"{BLK}.post_ffw_norm", gemma=True),
    ]


# ---- configs and keys


def hf_config(layers: int, *, rope: dict[str, Any] | None = None, base: float = 10000.0, **more: Any) -> dict[str, Any]:
    common = {
        "vocab_size": N_VOCAB,
        "hidden_size": DIM,
        "intermediate_size": FFN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV,
        "max_position_embeddings": CTX,
        "rms_norm_eps": EPS,
        "tie_word_embeddings": False,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": base} | (rope or {}),
    }
    return common | more


def keys(
    layers: int, *, kv: int = KV, ffn: int = FFN, head: int = HEAD, base: float = 10000.0, **more: Any
) -> dict[str, Any]:
    """Metadata of models with RMS norms; `more` has underscores_ for the dots of its names."""
    common = {
        "block_count": layers,
        "context_length": CTX,
        "embedding_length": DIM,
        "feed_forward_length": ffn,
        "attention.head_count": HEADS,
        "attention.head_count_kv": kv,
        "attention.layer_norm_rms_epsilon": EPS,
        "rope.freq_base": base,
        "rope.dimension_count": head,
    }
    if head != DIM // HEADS:
        common |= {"attention.key_length": head, "attention.value_length": head}
    return common | {key.replace("__", "."): value for key, value in more.items()}


def layer_norm_keys(layers: int, ffn: int, **more: Any) -> dict[str, Any]:
    """Metadata of models with layer norms."""
    out = keys(layers, ffn=ffn, **more)
    out["attention.layer_norm_epsilon"] = out.pop("attention.layer_norm_rms_epsilon")
    return out


def causal(name: str, config: str | None = None) -> tuple[str, str]:
    return f"{name}ForCausalLM", f"{config or name}Config"
