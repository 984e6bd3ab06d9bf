"""sentencepiece's BPE out of a tokenizer.json, where tokenizer.model is not there.

The converter that made the file wrote pieces as merges. GGUF has scores instead: of two pieces that could be joined
next, the one with the higher score is. So a piece's score is the rank of the first merge that makes it.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import UsageError
from ..gguf import TokenType
from .byte_level import merges_of, tokens_of
from .pretokenizers import dict_of
from .vocabulary import Vocabulary

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def from_spm_json(tokenizer: dict[str, Any]) -> Vocabulary:
    """The base vocabulary; added tokens and special ids are not looked at."""
    model = dict_of(tokenizer.get("model"))
    if model.get("type", "BPE") != "BPE":
        raise UsageError(
            f"The tokenizer is of the kind {ascii(model.get('type'))[:40]}, which no model that the engine runs has.",
            remedy="If the checkpoint has a tokenizer.model, put it beside tokenizer.json.",
        )
    tokens = tokens_of(model.get("vocab"), "tokenizer.json")
    made: dict[str, int] = {}
    for rank, (a, b) in enumerate(merges_of(model, "tokenizer.json")):
        made.setdefault(a + b, rank)
    unk = model.get("unk_token")
    ids = {token: i for i, token in enumerate(tokens)}
    types = [_type(token, i, unk, model["vocab"]) for i, token in enumerate(tokens)]
    # Single characters are made by no merge, and ask for no score; they keep the order that they have.
    scores = [-float(made[token]) if token in made else -float(len(made) + i) for i, token in enumerate(tokens)]
    return Vocabulary(
        tokens=tokens,
        scores=[s if t == TokenType.NORMAL else 0.0 for s, t in zip(scores, types, strict=True)],
        types=types,
        unk=ids.get(unk) if isinstance(unk, str) else None,
        bos=None,
        eos=None,
        add_space_prefix=_space_prefix(tokenizer),
    )


def _type(token: str, i: int, unk: object, vocab: dict[str, int]) -> TokenType:
    if vocab.get(token) != i:
        return TokenType.UNUSED  # a gap
    if token == unk:
        return TokenType.UNKNOWN
    return TokenType.BYTE if _BYTE.fullmatch(token) else TokenType.NORMAL


def _space_prefix(tokenizer: dict[str, Any]) -> bool:
    """Whether a text gets a space before it."""

    def steps(value: object, key: str, depth: int = 0) -> list[dict[str, Any]]:
        step = dict_of(value)
        inner = step.get(key)
        if step.get("type") == "Sequence" and depth < 4 and isinstance(inner, list):
            return [s for each in inner for s in steps(each, key, depth + 1)]
        return [step]

    for step in steps(tokenizer.get("normalizer"), "normalizers"):
        if step.get("type") == "Prepend" and step.get("prepend") == "▁":
            return True
    for step in steps(tokenizer.get("pre_tokenizer"), "pretokenizers"):
        if step.get("type") == "Metaspace":
            scheme = step.get("prepend_scheme")
            return scheme in ("first", "always") if scheme else step.get("add_prefix_space") is not False
    return False
