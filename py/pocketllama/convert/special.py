"""Which tokens begin, end and part texts, and whether the tokenizer puts them there itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .config import Config, read_json
from .pretokenizers import dict_of
from .vocabulary import Vocabulary

# Tokens that end a turn, by name: where a model has several ends, the others are ends of texts or of messages.
_TURN_ENDS = (
    "<|eot_id|>",
    "<|im_end|>",
    "<end_of_turn>",
    "<|end|>",
    "<|return|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_turn|>",
    "<|user|>",
    "[EOT]",
)
_MESSAGE_ENDS = ("<|eom_id|>",)
# Tokenizers that have always put their bos in front, and say so in tokenizer_config.json if at all.
_WITH_BOS = ("Llama", "Gemma", "CodeLlama", "XGLM", "InternLM", "Baichuan")


def set_special_tokens(
    v: Vocabulary, folder: Path, config: Config, tokenizer: dict[str, Any], settings: dict[str, Any]
) -> None:
    """From tokenizer_config.json, special_tokens_map.json, config.json and generation_config.json, in this order."""
    named = _read(folder / "special_tokens_map.json") | {k: v for k, v in settings.items() if v is not None}
    generation = _read(folder / "generation_config.json")
    ids: dict[str, int] = {}
    for i, token in reversed(list(enumerate(v.tokens))):
        ids[token] = i

    def find(what: str) -> int | None:
        entry = named.get(f"{what}_token")
        text = entry.get("content") if isinstance(entry, dict) else entry
        if isinstance(text, str) and text in ids:
            return ids[text]
        for values in (config.values, dict_of(config.values.get("text_config")), generation):
            for i in _ids(values.get(f"{what}_token_id"), len(v.tokens)):
                return i
        return None

    v.bos = find("bos") if v.bos is None or "bos_token" in named else v.bos
    v.eos = find("eos") if v.eos is None or "eos_token" in named else v.eos
    v.unk = find("unk") if v.unk is None else v.unk
    v.pad = find("pad")
    ends = [i for values in (config.values, generation) for i in _ids(values.get("eos_token_id"), len(v.tokens))]
    _set_ends(v, ends)
    v.add_bos, v.add_eos = _added_by_itself(v, tokenizer, settings)


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _ids(value: object, n: int) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [i for i in values if type(i) is int and 0 <= i < n]


def _set_ends(v: Vocabulary, ends: list[int]) -> None:
    """A file has one end of text, one of a turn and one of a message."""
    others = [i for i in dict.fromkeys(ends) if i != v.eos]
    if v.eos is None and others:
        v.eos = others.pop(0)
    if not others:
        return
    for i in others:
        if v.tokens[i] in _MESSAGE_ENDS:
            v.eom = i
    rest = [i for i in others if i != v.eom]
    both = [i for i in (v.eos, *rest) if i is not None]
    turn = [i for name in _TURN_ENDS for i in both if v.tokens[i] == name]
    v.eot = next(iter(turn or rest), None)


def _added_by_itself(v: Vocabulary, tokenizer: dict[str, Any], settings: dict[str, Any]) -> tuple[bool, bool]:
    """(bos in front, eos behind)."""
    stated = settings.get("add_bos_token"), settings.get("add_eos_token")
    name = settings.get("tokenizer_class")
    own = isinstance(name, str) and name.startswith(_WITH_BOS)
    template = _template(tokenizer.get("post_processor"))
    if template is None or (own and isinstance(stated[0], bool)):
        spm = v.model == "llama" and name is None
        return stated[0] is True or (stated[0] is None and (own or spm)), stated[1] is True
    texts = {t for t in (v.bos, v.eos) if t is not None}
    first, last = template[:1], template[-1:]
    bos = any(v.tokens[i] == t for t in first for i in texts if i == v.bos)
    eos = any(v.tokens[i] == t for t in last for i in texts if i == v.eos)
    return bos, eos and len(template) > 1


def _template(value: object, depth: int = 0) -> list[str] | None:
    """What a tokenizer.json puts around a text: the special tokens' texts, "" for the text; None if it does not say."""
    step = dict_of(value)
    inner = step.get("processors")
    if step.get("type") == "Sequence" and depth < 4 and isinstance(inner, list):
        found = [f for each in inner if (f := _template(each, depth + 1)) is not None]
        return next((f for f in found if f), found[0] if found else None)
    single = step.get("single")
    if step.get("type") != "TemplateProcessing" or not isinstance(single, list):
        return [] if step.get("type") == "ByteLevel" else None
    out = []
    for item in map(dict_of, single):
        special = dict_of(item.get("SpecialToken")).get("id")
        out.append(special if isinstance(special, str) else "")
    return out
