"""Byte-level BPE: tokenizer.json as `tokenizers` writes it, or vocab.json and merges.txt as GPT-2 had them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ModelInvalid, StorageError, UsageError
from ..gguf import TokenType
from .config import read_json
from .pretokenizers import dict_of, identify, of_old_files
from .vocabulary import Vocabulary

_MAX_TOKENS = 1 << 24
_MAX_MERGES_FILE = 64 << 20  # bytes
_SPACE = "Ġ"  # what byte-level vocabularies have for a space


def from_tokenizer_json(tokenizer: dict[str, Any], model_type: str) -> Vocabulary:
    """The base vocabulary; added tokens and special ids are not looked at."""
    model = dict_of(tokenizer.get("model"))
    _check_normalizer(tokenizer.get("normalizer"))
    return _vocabulary(
        "tokenizer.json", model.get("vocab"), merges_of(model, "tokenizer.json"), identify(tokenizer, model_type)
    )


def from_old_files(folder: Path, model_type: str) -> Vocabulary:
    path = folder / "merges.txt"
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_MERGES_FILE + 1)
        lines = data.decode().splitlines() if len(data) <= _MAX_MERGES_FILE else []
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise ModelInvalid("merges.txt is not UTF-8.") from e
    merges = [line for line in lines if line and not line.startswith("#version")]
    model = {"merges": merges}
    return _vocabulary(
        "vocab.json", read_json(folder / "vocab.json"), merges_of(model, "merges.txt"), of_old_files(model_type)
    )


def tokens_of(vocab: Any, file: str) -> list[str]:
    """The texts in the order of their ids; gaps, where added tokens will be, are filled with names for unused ones."""
    if not isinstance(vocab, dict) or not vocab:
        raise ModelInvalid(f"{file} has no vocabulary of texts and ids.")
    highest = -1
    for i in vocab.values():
        if type(i) is not int or not 0 <= i < _MAX_TOKENS:
            raise ModelInvalid(f"{file} has a token with the id {ascii(i)[:40]}.")
        highest = max(highest, i)
    if highest > 2 * len(vocab) + 100_000:
        raise ModelInvalid(f"{file} has {len(vocab)} tokens and an id {highest}.")
    tokens = [f"[PAD{i}]" for i in range(highest + 1)]
    seen = bytearray(highest + 1)
    for text, i in vocab.items():
        if seen[i]:
            raise ModelInvalid(f"{file} has two tokens with the id {i}.")
        seen[i] = 1
        tokens[i] = text
    return tokens


def merges_of(model: dict[str, Any], file: str) -> list[tuple[str, str]]:
    """Pairs of texts that are joined, the first before all others. Older files have them with a space between."""
    merges = model.get("merges")
    out: list[tuple[str, str]] = []
    for merge in merges if isinstance(merges, list) else [None]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, str) and p for p in pair):
            raise ModelInvalid(f"{file} has no merges, or one that is no pair: {ascii(merge)[:60]}.")
        out.append((pair[0], pair[1]))
    return out


def _vocabulary(file: str, vocab: Any, merges: list[tuple[str, str]], pre: str) -> Vocabulary:
    tokens = tokens_of(vocab, file)
    known = vocab
    types = [TokenType.NORMAL if token in known and known[token] == i else TokenType.UNUSED
             for i, token in enumerate(tokens)]  # fmt: skip
    for a, b in merges:
        if a not in known or b not in known or a + b not in known:
            raise ModelInvalid(f"{file} joins {ascii(a)[:30]} and {ascii(b)[:30]}, of which one is no token.")
    return Vocabulary(
        tokens=tokens,
        scores=[],
        types=types,
        unk=None,
        bos=None,
        eos=None,
        add_space_prefix=None,
        model="gpt2",
        pre=pre,
        merges=[f"{a.replace(' ', _SPACE)} {b.replace(' ', _SPACE)}" for a, b in merges],
    )


def _check_normalizer(value: Any, depth: int = 0) -> None:
    """Composed letters make no difference to most texts; whatever else is done before would be lost."""
    step = dict_of(value)
    inner = step.get("normalizers")
    if step.get("type") == "Sequence" and depth < 4 and isinstance(inner, list):
        for each in inner:
            _check_normalizer(each, depth + 1)
    elif step and step.get("type") not in ("NFC", "NFKC", "NFD", "NFKD"):
        raise UsageError(
            f"tokenizer.json changes texts before it cuts them ({ascii(step.get('type'))[:40]}), which GGUF cannot say."
        )
