"""tokenizer.model of Meta's releases: sentencepiece until LLaMA 2, tiktoken's ranks since LLaMA 3."""

from __future__ import annotations

from pathlib import Path

from ..errors import StorageError
from .sentencepiece_model import read_sentencepiece
from .tiktoken import is_tiktoken, read_tiktoken
from .vocabulary import Vocabulary

# The control tokens of LLaMA 3, which Meta's code puts behind the ranks; {n} counts what is reserved. 3.1 gave names to
# three of the reserved ones.
_LLAMA3 = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|reserved_special_token_2|>",
    "<|reserved_special_token_3|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|reserved_special_token_4|>",
    "<|eot_id|>",
)
_LLAMA31 = (
    *_LLAMA3[:4],
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_SPECIAL = 256


def read_vocabulary(path: Path, scaled_rope: bool) -> Vocabulary:
    """The vocabulary at `path`; `scaled_rope` tells LLaMA 3.1 and later from LLaMA 3."""
    try:
        with path.open("rb") as f:
            start = f.read(2000)
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    if not is_tiktoken(start):
        return read_sentencepiece(path)
    named = _LLAMA31 if scaled_rope else _LLAMA3
    first = 3 if scaled_rope else 5
    reserved = [f"<|reserved_special_token_{first + i}|>" for i in range(_SPECIAL - len(named))]
    vocabulary = read_tiktoken(path, "llama-bpe", [*named, *reserved])
    at = len(vocabulary.tokens) - _SPECIAL
    vocabulary.bos, vocabulary.eos, vocabulary.eot = at, at + 1, at + named.index("<|eot_id|>")
    if scaled_rope:
        vocabulary.eom, vocabulary.pad = at + named.index("<|eom_id|>"), at + named.index("<|finetune_right_pad_id|>")
    return vocabulary
