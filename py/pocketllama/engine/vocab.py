"""What a GGUF says about its vocabulary that the bundled library does not tell: which tokens begin and end a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Tokens that end a generation, under the names that models give them. A model has one eos id in its metadata and often
# ends its turns with another of these.
_END_NAMES = frozenset(
    {
        "</s>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|im_end|>",
        "<|end|>",
        "<|end_of_text|>",
        "<|endoftext|>",
        "<|return|>",
        "<|call|>",
        "<end_of_turn>",
        "<EOT>",
        "_<EOT>",
        "<|end_of_turn|>",
        "<｜end▁of▁sentence｜>",
    }
)
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
_CONTROL = 3  # the token type of control tokens, tokenizer.ggml.token_type


@dataclass(frozen=True)
class Vocab:
    """The facts of one vocabulary. `ends` are all end-of-generation ids, `nul` is the id that stands for byte 0."""

    size: int
    bos: int | None
    add_bos: bool
    add_space_prefix: bool
    ends: frozenset[int]
    nul: int | None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Vocab:
        """From a GGUF's metadata; nothing in it is trusted to be in range."""

        def get(key: str, default: Any = None) -> Any:
            return metadata.get(f"tokenizer.ggml.{key}", default)

        tokens = get("tokens") or []
        types = get("token_type") or []
        sentencepiece = get("model") == "llama"

        def token_id(key: str) -> int | None:
            value = get(key)
            return value if isinstance(value, int) and 0 <= value < len(tokens) else None

        # A normal token that happens to be spelled like an end is text; where types are known, only control tokens end.
        ends = {
            i for i, token in enumerate(tokens) if token in _END_NAMES and (i >= len(types) or types[i] == _CONTROL)
        }
        ends |= {i for key in _END_KEYS if (i := token_id(key)) is not None}
        nul_name = "<0x00>" if sentencepiece else "Ā"  # byte-level BPE spells byte 0 as U+0100
        bos = token_id("bos_token_id")
        return cls(
            size=len(tokens),
            bos=bos,
            add_bos=bool(get("add_bos_token", sentencepiece)) and (bos is not None or sentencepiece),
            add_space_prefix=bool(get("add_space_prefix", sentencepiece)),
            ends=frozenset(ends),
            nul=next((i for i, token in enumerate(tokens) if token == nul_name), None),
        )

    @classmethod
    def unknown(cls, size: int, bos: int, eos: int, llama: bool) -> Vocab:
        """For the GGML files of 2023, which say nothing: what their library assumes."""
        return cls(size, bos, llama, llama, frozenset({eos}), None)
