"""The vocabulary, special tokens and chat templates of a folder in Hugging Face's layout.

tokenizer.json            byte-level BPE, or sentencepiece's BPE with its merges
tokenizer.model           sentencepiece, or tiktoken's ranks
vocab.json, merges.txt    byte-level BPE of before tokenizer.json
tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json, chat_template.jinja
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelInvalid, ModelNotFound, StorageError, UsageError
from ..gguf import TokenType
from .byte_level import from_old_files, from_tokenizer_json
from .config import Config, read_json
from .pretokenizers import dict_of
from .sentencepiece_model import read_sentencepiece
from .special import set_special_tokens
from .spm_json import from_spm_json
from .tiktoken import is_tiktoken, read_tiktoken
from .vocabulary import DEFAULT_TEMPLATE, Vocabulary

_MAX_TEMPLATE = 1 << 20  # bytes
_MAX_TEMPLATES = 50


@dataclass(frozen=True)
class Added:
    """A token beyond the base vocabulary, or one of it with a meaning of its own."""

    id: int
    text: str
    special: bool


def read_vocabulary(folder: Path, config: Config, model_type: str) -> Vocabulary:
    """ModelNotFound where there is no tokenizer, ModelInvalid or UsageError where it cannot be converted."""
    tokenizer = _optional(folder / "tokenizer.json")
    settings = _optional(folder / "tokenizer_config.json")
    vocabulary = _base(folder, tokenizer, settings, model_type)
    _add(vocabulary, list(_added(folder, tokenizer, settings)))
    set_special_tokens(vocabulary, folder, config, tokenizer, settings)
    vocabulary.templates = _templates(folder, settings)
    return vocabulary


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _base(folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any], model_type: str) -> Vocabulary:
    model = folder / "tokenizer.model"
    if tokenizer and _is_byte_level(tokenizer):
        return from_tokenizer_json(tokenizer, model_type)
    if model.is_file():
        with model.open("rb") as f:
            ranks = is_tiktoken(f.read(2000))
        if not ranks:
            return read_sentencepiece(model)
        if model_type == "chatglm":
            return read_tiktoken(model, "chatglm-bpe", [])
        raise UsageError(f"{model.name} has tiktoken's ranks, and how {model_type} finds words is not known.")
    if tokenizer:
        return from_spm_json(tokenizer)
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return from_old_files(folder, model_type)
    raise ModelNotFound(
        f"{folder} has no tokenizer.json and no tokenizer.model.",
        remedy="Download the tokenizer's files too; a model is of no use without them.",
    )


def _is_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Whether bytes are letters: a step ByteLevel is among those before or behind the model."""

    def among(value: object, depth: int = 0) -> bool:
        step = dict_of(value)
        inner = step.get("pretokenizers", step.get("decoders", []))
        return step.get("type") == "ByteLevel" or (
            depth < 4 and isinstance(inner, list) and any(among(s, depth + 1) for s in inner)
        )

    return among(tokenizer.get("pre_tokenizer")) or among(tokenizer.get("decoder"))


def _added(folder: Path, tokenizer: dict[str, Any], settings: dict[str, Any]) -> Iterator[Added]:
    """Added tokens of all files; what tokenizer_config.json says of one counts most, and comes last."""
    for text, i in _optional(folder / "added_tokens.json").items():
        yield _checked(i, text, False)
    entries = tokenizer.get("added_tokens")
    for entry in map(dict_of, entries if isinstance(entries, list) else []):
        yield _checked(entry.get("id"), entry.get("content"), entry.get("special") is True)
    for key, value in dict_of(settings.get("added_tokens_decoder")).items():
        entry = dict_of(value)
        yield _checked(
            int(key) if key.isdigit() and len(key) < 10 else None, entry.get("content"), entry.get("special") is True
        )


def _checked(i: object, text: object, special: bool) -> Added:
    if type(i) is not int or not 0 <= i < 1 << 24 or type(text) is not str or len(text) > 1 << 16:
        raise ModelInvalid(f"The tokenizer's files add a token {ascii(text)[:60]} as {ascii(i)[:20]}.")
    return Added(i, text, special)


def _add(vocabulary: Vocabulary, added: list[Added]) -> None:
    v = vocabulary
    highest = max((a.id for a in added), default=-1)
    if highest >= len(v.tokens) + 100_000:
        raise ModelInvalid(f"The tokenizer's files add a token {highest} to a vocabulary of {len(v.tokens)}.")
    for i in range(len(v.tokens), highest + 1):
        v.tokens.append(f"[PAD{i}]")
        v.scores.append(-10000.0)
        v.types.append(TokenType.UNUSED)
    for a in added:
        if v.types[a.id] in (TokenType.UNKNOWN, TokenType.BYTE):
            continue
        v.tokens[a.id] = a.text
        v.types[a.id] = TokenType.CONTROL if a.special else TokenType.USER_DEFINED


def _templates(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """Chat templates by name: files of their own count more than tokenizer_config.json."""
    out: dict[str, str] = {}
    stated = settings.get("chat_template")
    if isinstance(stated, str):
        out[DEFAULT_TEMPLATE] = stated
    for entry in map(dict_of, stated if isinstance(stated, list) else []):
        name, template = entry.get("name"), entry.get("template")
        if isinstance(name, str) and isinstance(template, str) and len(out) < _MAX_TEMPLATES:
            out[name[:60]] = template
    other = _optional(folder / "chat_template.json").get("chat_template")
    if isinstance(other, str):
        out[DEFAULT_TEMPLATE] = other
    files = [(DEFAULT_TEMPLATE, folder / "chat_template.jinja")]
    files += [(p.stem[:60], p) for p in sorted((folder / "additional_chat_templates").glob("*.jinja"))[:_MAX_TEMPLATES]]
    for name, path in files:
        if path.is_file():
            out[name] = _text(path)
    for name, template in out.items():
        if len(template) > _MAX_TEMPLATE:
            raise ModelInvalid(f"The chat template {name!r} has {len(template)} characters, {_MAX_TEMPLATE} at most.")
    return out


def _text(path: Path) -> str:
    try:
        with path.open("rb") as f:
            return f.read(4 * _MAX_TEMPLATE + 1).decode("utf-8-sig")
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise ModelInvalid(f"{path.name} is not UTF-8.") from e
