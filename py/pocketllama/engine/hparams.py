"""Does a model's header agree with its tensors? ctransformers' library divides and indexes by what the header says, and
dies of a number that is zero or too large; so the two are compared before it sees the file."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from ..errors import ModelInvalid
from ..gguf import GGUF

_MOST = 1 << 20  # no dimension of any model comes near this


def check_bundled(file: GGUF, architecture: str) -> None:
    """ModelInvalid unless the llama or falcon in `file` holds together; names the first thing that does not."""
    header = _Header(file, architecture)
    dim, layers = header.count("embedding_length"), header.count("block_count")
    heads = header.count("attention.head_count")
    kv_heads = header.count("attention.head_count_kv", heads)
    ffn, n_ctx = header.count("feed_forward_length", 4 * dim), header.count("context_length")
    if layers > 1000 or dim % heads or heads % kv_heads:
        header.fail(
            f"{layers} layers, {dim} dimensions, {heads} heads and {kv_heads} key-value heads do not go together"
        )
    head_dim = dim // heads
    if header.count("rope.dimension_count", head_dim) > head_dim or n_ctx < 1:
        header.fail(f"rope turns more than the {head_dim} dimensions of a head")
    for key in (
        "attention.layer_norm_rms_epsilon",
        "attention.layer_norm_epsilon",
        "rope.freq_base",
        "rope.scale_linear",
    ):
        header.positive(key)
    vocab = _check_vocabulary(header)
    header.shape("token_embd.weight", (dim, vocab))
    header.shape("output_norm.weight", (dim,))
    header.shape("output.weight", (dim, vocab))
    if architecture != "llama":
        return
    kv = kv_heads * head_dim
    for i in range(layers):
        for name, shape in {
            "attn_norm": (dim,),
            "attn_q": (dim, dim),
            "attn_k": (dim, kv),
            "attn_v": (dim, kv),
            "attn_output": (dim, dim),
            "ffn_norm": (dim,),
            "ffn_gate": (dim, ffn),
            "ffn_up": (dim, ffn),
            "ffn_down": (ffn, dim),
        }.items():
            header.shape(f"blk.{i}.{name}.weight", shape)


def _check_vocabulary(header: _Header) -> int:
    meta = header.file.metadata
    tokens = meta.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not tokens or not isinstance(tokens[0], str):
        header.fail("it has no vocabulary (tokenizer.ggml.tokens)")
    for key in ("scores", "token_type"):
        values = meta.get(f"tokenizer.ggml.{key}")
        if values is not None and (not isinstance(values, list) or len(values) != len(tokens)):
            header.fail(f"tokenizer.ggml.{key} does not have a value for each of the {len(tokens)} tokens")
    for key in ("bos_token_id", "eos_token_id", "unknown_token_id"):
        value = meta.get(f"tokenizer.ggml.{key}", 0)
        if not isinstance(value, int) or not 0 <= value < len(tokens):
            header.fail(f"tokenizer.ggml.{key} is {value!r}, outside the vocabulary of {len(tokens)}")
    if meta.get("tokenizer.ggml.model") == "llama":
        missing = {f"<0x{byte:02X}>" for byte in range(256)} - set(tokens)
        if missing:
            header.fail(f"its vocabulary has no token for the byte {min(missing)}")
    return len(tokens)


class _Header:
    def __init__(self, file: GGUF, architecture: str) -> None:
        self.file, self.architecture = file, architecture
        self.tensors = {t.name: t for t in file.tensors}

    def fail(self, why: str) -> NoReturn:
        raise ModelInvalid(f"{self.file.path.name} contradicts itself: {why}.", remedy="Fetch or convert it again.")

    def count(self, key: str, default: int | None = None) -> int:
        value: Any = self.file.metadata.get(f"{self.architecture}.{key}", default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MOST:
            self.fail(f"{self.architecture}.{key} is {value!r}, and must be a number from 1 to {_MOST}")
        return value

    def positive(self, key: str) -> None:
        value: Any = self.file.metadata.get(f"{self.architecture}.{key}", 1.0)
        if not isinstance(value, float | int) or not math.isfinite(value) or value <= 0:
            self.fail(f"{self.architecture}.{key} is {value!r}, and must be a number above 0")

    def shape(self, name: str, expected: tuple[int, ...]) -> None:
        tensor = self.tensors.get(name)
        if tensor is None:
            self.fail(f"it has no tensor {name}")
        if tuple(tensor.shape) != expected:
            self.fail(f"{name} has the shape {list(tensor.shape)}, and the header wants {list(expected)}")
