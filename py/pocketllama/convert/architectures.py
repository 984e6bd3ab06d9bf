"""What GGUF calls the parts of each architecture: which tensors of which shapes, and which metadata keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..gguf import ArrayOf, TokenType, ValueType
from .checkpoint import Hyperparameters
from .tokenizer import Vocabulary

Metadata = dict[str, tuple[ValueType | ArrayOf, Any]]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Architecture:
    """`tensors` gives the names and shapes (torch's order) in the order they are written; `metadata` the keys."""

    tensors: Callable[[Hyperparameters], Shapes]
    metadata: Callable[[Hyperparameters], Metadata]


def _llama_tensors(h: Hyperparameters) -> Shapes:
    q, kv = h.n_head * h.head_dim, h.n_head_kv * h.head_dim
    shapes: Shapes = {"token_embd.weight": (h.n_vocab, h.n_embd)}
    for i in range(h.n_layer):
        layer: Shapes = {
            "attn_norm": (h.n_embd,),
            "attn_q": (q, h.n_embd),
            "attn_k": (kv, h.n_embd),
            "attn_v": (kv, h.n_embd),
            "attn_output": (h.n_embd, q),
            "ffn_norm": (h.n_embd,),
            "ffn_gate": (h.n_ff, h.n_embd),
            "ffn_down": (h.n_embd, h.n_ff),
            "ffn_up": (h.n_ff, h.n_embd),
        }
        shapes |= {f"blk.{i}.{part}.weight": shape for part, shape in layer.items()}
    return shapes | {"output_norm.weight": (h.n_embd,), "output.weight": (h.n_vocab, h.n_embd)}


def _llama_metadata(h: Hyperparameters) -> Metadata:
    return {
        "llama.context_length": (ValueType.UINT32, h.n_ctx),
        "llama.embedding_length": (ValueType.UINT32, h.n_embd),
        "llama.block_count": (ValueType.UINT32, h.n_layer),
        "llama.feed_forward_length": (ValueType.UINT32, h.n_ff),
        "llama.rope.dimension_count": (ValueType.UINT32, h.head_dim),
        "llama.rope.freq_base": (ValueType.FLOAT32, h.rope_base),
        "llama.attention.head_count": (ValueType.UINT32, h.n_head),
        "llama.attention.head_count_kv": (ValueType.UINT32, h.n_head_kv),
        "llama.attention.layer_norm_rms_epsilon": (ValueType.FLOAT32, h.norm_eps),
    }


ARCHITECTURES = {"llama": Architecture(_llama_tensors, _llama_metadata)}


def tokenizer_metadata(v: Vocabulary, n_vocab: int) -> Metadata:
    """The keys of a sentencepiece vocabulary, filled up to the embedding's `n_vocab` rows with unused tokens."""
    spare = range(len(v.tokens), n_vocab)
    metadata: Metadata = {
        "tokenizer.ggml.model": (ValueType.STRING, "llama"),
        "tokenizer.ggml.tokens": (ArrayOf(ValueType.STRING), v.tokens + [f"[PAD{i}]" for i in spare]),
        "tokenizer.ggml.scores": (ArrayOf(ValueType.FLOAT32), v.scores + [-10000.0 for _ in spare]),
        "tokenizer.ggml.token_type": (ArrayOf(ValueType.INT32), v.types + [TokenType.UNUSED for _ in spare]),
    }
    for key, token in (("bos", v.bos), ("eos", v.eos), ("unknown", v.unk)):
        if token is not None:
            metadata[f"tokenizer.ggml.{key}_token_id"] = (ValueType.UINT32, token)
    metadata["tokenizer.ggml.add_bos_token"] = (ValueType.BOOL, v.bos is not None)
    metadata["tokenizer.ggml.add_eos_token"] = (ValueType.BOOL, False)
    metadata["tokenizer.ggml.add_space_prefix"] = (ValueType.BOOL, v.add_space_prefix)
    return metadata
