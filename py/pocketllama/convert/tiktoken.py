"""Vocabularies in tiktoken's format: lines of a token's bytes in base64 and its rank, which is its id.

A text's bytes are joined two by two, those first whose union has the lowest rank. GGUF has the same as merges: each
token's last joint follows from the ranks below its own.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ..errors import ModelInvalid, StorageError
from ..gguf import TokenType
from .vocabulary import Vocabulary

_MAX_SIZE = 64 << 20  # bytes; LLaMA 3's has 2 MB
_MAX_TOKEN = 1 << 10  # bytes of one token; the longest known are of 128 spaces and more


def is_tiktoken(data: bytes) -> bool:
    """Whether a file begins as the format's do."""
    word, _, rank = data[:2000].partition(b"\n")[0].partition(b" ")
    return rank.strip().isdigit() and word.isascii()


def byte_letters() -> list[str]:
    """The letter that stands for each byte in byte-level vocabularies (GPT-2's): itself, or the next beyond U+00FF."""
    letters, beyond = [], 0x100
    for byte in range(256):
        printable = 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE
        letters.append(chr(byte if printable else beyond))
        beyond += not printable
    return letters


def read_tiktoken(path: Path, pre: str, special: Sequence[str]) -> Vocabulary:
    """The vocabulary at `path`, with the control tokens `special` behind it. ModelInvalid, StorageError."""
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_SIZE + 1)
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    ranks = _ranks(path, data)
    letters = byte_letters()
    spelt = ["".join(letters[b] for b in token) for token in ranks]
    merges = []
    for token in ranks:
        parts = _parts(token, ranks)
        if len(parts) == 2:  # others are found as whole words only
            merges.append(" ".join("".join(letters[b] for b in part) for part in parts))
    return Vocabulary(
        tokens=[*spelt, *special],
        scores=[],
        types=[TokenType.NORMAL] * len(spelt) + [TokenType.CONTROL] * len(special),
        unk=None,
        bos=None,
        eos=None,
        add_space_prefix=None,
        model="gpt2",
        pre=pre,
        merges=merges,
    )


def _ranks(path: Path, data: bytes) -> dict[bytes, int]:
    """Token → rank, in the order of ranks, which must have no gap."""
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines()):
        word, _, rank = line.partition(b" ")
        if not line:
            continue
        try:
            token = base64.b64decode(word, validate=True)
        except binascii.Error:
            token = b""
        if not 0 < len(token) <= _MAX_TOKEN or not rank.isdigit() or len(rank) > 9 or token in ranks:
            raise _invalid(path, f"line {number + 1} is no token with a rank, or one that was there before")
        ranks[token] = int(rank)
    if len(data) > _MAX_SIZE or sorted(ranks.values()) != list(range(len(ranks))) or not ranks:
        raise _invalid(path, f"the ranks of its {len(ranks)} tokens have gaps")
    return dict(sorted(ranks.items(), key=lambda item: item[1]))


def _invalid(path: Path, why: str) -> ModelInvalid:
    return ModelInvalid(f"{path.name} is no tiktoken vocabulary: {why}.", remedy="Download it again.")


def _parts(token: bytes, ranks: dict[bytes, int]) -> list[bytes]:
    """What a token's bytes are before its own rank joins them."""
    own, parts = ranks[token], [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        pairs = [ranks.get(a + b, own) for a, b in pairwise(parts)]
        lowest = min(pairs)
        if lowest >= own:
            break
        i = pairs.index(lowest)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts
