"""Models for mixes.py: of the architectures and shapes that a quantizer tells apart, headers over nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pocketllama.gguf import GGMLType, TensorSpec, ValueType, writer

Shape = tuple[int, ...]  # columns, rows, matrices
_VOCAB = 1024


@dataclass(frozen=True)
class Model:
    """What a quantizer looks at: some keys, and the matrices of a layer."""

    architecture: str
    block: dict[str, Shape]
    layers: int = 32
    heads: int = 8
    kv_heads: int = 8
    keys: dict[str, int | float | bool] = field(default_factory=dict)
    tied: bool = False  # the token embedding is the output matrix too
    others: dict[str, Shape] = field(default_factory=dict)
    first: dict[str, Shape] | None = None  # the first layer, where it differs

    @property
    def dim(self) -> int:
        return self.block["attn_output"][1]

    def _shapes(self) -> Iterator[tuple[str, Shape]]:
        yield "token_embd.weight", (self.dim, _VOCAB)
        yield from self.others.items()
        for i in range(self.layers):
            yield f"blk.{i}.attn_norm.weight", (self.dim,)
            inside = self.first if i == 0 and self.first else self.block
            for name, shape in inside.items():
                yield f"blk.{i}.{name}.weight", shape
        if not self.tied:
            yield "output.weight", (self.dim, _VOCAB)

    def tensors(self) -> list[TensorSpec]:
        return [TensorSpec(n, s, GGMLType.F16 if len(s) > 1 else GGMLType.F32) for n, s in self._shapes()]

    def metadata(self) -> dict[str, tuple[Any, Any]]:
        keys = {
            "context_length": 2048,
            "embedding_length": self.dim,
            "block_count": self.layers,
            "feed_forward_length": 768,
            "attention.head_count": self.heads,
            "attention.head_count_kv": self.kv_heads,
            "attention.layer_norm_epsilon": 1e-5,
            "attention.layer_norm_rms_epsilon": 1e-5,
            "vocab_size": _VOCAB,
            **self.keys,
        }
        kinds = {bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
        typed = {f"{self.architecture}.{key}": (kinds[type(value)], value) for key, value in keys.items()}
        return {"general.architecture": (ValueType.STRING, self.architecture), **typed}

    def write(self, path: Path) -> None:
        """The file, whose weights take no room on the disk."""
        tensors = self.tensors()
        header = writer.encode_header(self.metadata(), tensors)
        with path.open("wb") as out:
            out.write(header)
            out.truncate(len(header) + sum(-(-t.nbytes // 32) * 32 for t in tensors))


def _ffn(dim: int, ffn: int, suffix: str = "", *experts: int) -> dict[str, Shape]:
    into, out = (dim, ffn, *experts), (ffn, dim, *experts)
    return {f"ffn_gate{suffix}": into, f"ffn_up{suffix}": into, f"ffn_down{suffix}": out}


def _attention(dim: int, kv: int) -> dict[str, Shape]:
    return {"attn_q": (dim, dim), "attn_k": (dim, kv), "attn_v": (dim, kv), "attn_output": (dim, dim)}


def _llama(dim: int = 512, kv: int = 512, ffn: int = 768) -> dict[str, Shape]:
    return _attention(dim, kv) | _ffn(dim, ffn)


def _joined(dim: int = 512, ffn: int = 768) -> dict[str, Shape]:
    """Queries, keys and values are one matrix."""
    return {"attn_qkv": (dim, 3 * dim), "attn_output": (dim, dim), "ffn_up": (dim, ffn), "ffn_down": (ffn, dim)}


def _experts(number: int, *, shared: bool = False) -> dict[str, Shape]:
    block = _attention(512, 128) | {"ffn_gate_inp": (512, number)} | _ffn(512, 768, "_exps", number)
    return block | ({"ffn_gate_inp_shexp": (512, 1)} | _ffn(512, 768, "_shexp") if shared else {})


_LATENT: dict[str, Shape] = {  # DeepSeek's attention
    "attn_q_a": (512, 256),
    "attn_q_b": (256, 768),
    "attn_kv_a_mqa": (512, 320),
    "attn_k_b": (128, 256, 8),
    "attn_v_b": (256, 128, 8),
    "attn_kv_b": (256, 2048),
    "attn_output": (1024, 512),
}
_LATENT_KEYS: dict[str, int | float | bool] = {
    "leading_dense_block_count": 1,
    "attention.q_lora_rank": 256,
    "attention.kv_lora_rank": 256,
    "expert_count": 16,
    "expert_used_count": 4,
    "expert_shared_count": 1,
    "expert_feed_forward_length": 256,
    "expert_weights_scale": 1.0,
    "rope.dimension_count": 64,
}
MODELS = {
    "llama": Model("llama", _llama()),
    "llama, 22 layers, 4 heads share": Model("llama", _llama(kv=128), layers=22, kv_heads=2),
    "llama, 2 heads share": Model("llama", _llama(kv=256), kv_heads=4),
    "llama, 80 layers, 8 heads share": Model("llama", _llama(kv=64), layers=80, kv_heads=1),
    "llama, tied": Model("llama", _llama(kv=128), layers=16, kv_heads=2, tied=True),
    "llama, rows of 288": Model("llama", _llama(288, 288, 800), layers=6),
    "llama, rows of 576": Model("llama", _llama(576, 192, 1536), layers=30, heads=9, kv_heads=3, tied=True),
    "llama, rows of 80": Model("llama", _llama(80, 80, 208), layers=4),
    "qwen2, rows of 896": Model("qwen2", _llama(896, 128, 4864), layers=24, heads=14, kv_heads=2, tied=True),
    "qwen2, 80 layers": Model("qwen2", _llama(kv=64), layers=80, kv_heads=1),
    "qwen3": Model("qwen3", _llama(kv=256), layers=28, heads=16, kv_heads=8, tied=True),
    "gemma2": Model("gemma2", _llama(kv=256), layers=26, kv_heads=4, tied=True),
    "llama, 8 experts": Model("llama", _experts(8), kv_heads=2, keys={"expert_count": 8, "expert_used_count": 2}),
    "qwen2moe, 60 experts": Model(
        "qwen2moe",
        _experts(60, shared=True),
        layers=24,
        keys={"expert_count": 60, "expert_used_count": 4, "expert_feed_forward_length": 768},
    ),
    "deepseek2": Model(
        "deepseek2",
        _LATENT | {"ffn_gate_inp": (512, 16)} | _ffn(512, 256, "_exps", 16) | _ffn(512, 256, "_shexp"),
        layers=27,
        keys=_LATENT_KEYS,
        first=_LATENT | _ffn(512, 768),
    ),
    "falcon": Model("falcon", _joined(), kv_heads=1),
    "falcon, tied, rows of 576": Model("falcon", _joined(576, 2304), kv_heads=1, tied=True),
    "gpt2": Model("gpt2", _joined(), layers=12, tied=True, others={"position_embd.weight": (512, 1024)}),
    "gptneox": Model("gptneox", _joined(), keys={"use_parallel_residual": True}),
    "bloom": Model("bloom", _joined(), layers=24, tied=True),
    "phi3": Model("phi3", {**_joined(), "ffn_up": (512, 1536)}, kv_heads=8),
}
