"""What a model's file says about conversations: its templates, its name, and the names of its control tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_UNKNOWN, _CONTROL, _USER_DEFINED = 2, 3, 4  # tokenizer.ggml.token_type
_MARK = re.compile(r"<[|｜].+[|｜]>|\[/?[A-Z_]+\]|<(?:start|end)_of_turn>", re.DOTALL)
_KEY = "tokenizer.chat_template"


@dataclass(frozen=True)
class Facts:
    """`name` is the model's, for people; `hints` are all words that tell what it is. `templates` are Jinja sources, ""
    the main one and others by their names ("tool_use"); `specials` are the control tokens by name; `tokens` are those
    that templates know by names of their own (bos_token)."""

    name: str = ""
    hints: str = ""
    templates: Mapping[str, str] = field(default_factory=dict)
    specials: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)  # user-defined tokens that look like control tokens
    tokens: Mapping[str, str] = field(default_factory=dict)  # "bos_token" → "<s>"
    space_after_specials: bool = False  # white space behind a control token's name belongs to it (Phi-3)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], fallback_name: str = "") -> Facts:
        """From a GGUF's metadata, of which nothing is trusted to be what it should be."""
        names = metadata.get("tokenizer.ggml.tokens")
        types = metadata.get("tokenizer.ggml.token_type")
        names = names if isinstance(names, list) else []
        types = types if isinstance(types, list) else []

        def typed(*kinds: int) -> list[tuple[int, str]]:
            known = enumerate(zip(names, types, strict=False))
            return [(i, n) for i, (n, t) in known if t in kinds and isinstance(n, str) and n]

        tokens: dict[str, str] = {}
        specials: dict[str, int] = {}
        for key, name in (
            ("bos", "bos_token"),
            ("eos", "eos_token"),
            ("unknown", "unk_token"),
            ("padding", "pad_token"),
            ("seperator", "sep_token"),  # spelled so in the format
            ("separator", "sep_token"),
        ):
            i = metadata.get(f"tokenizer.ggml.{key}_token_id")
            if isinstance(i, int) and 0 <= i < len(names) and isinstance(names[i], str):
                tokens[name] = names[i]
                if not types and names[i]:
                    specials[names[i]] = i
        specials.update((n, i) for i, n in typed(_UNKNOWN, _CONTROL))
        # Some models (DeepSeek's) have the marks of their turns as such tokens, which tokenizers find in any text.
        marks = {n: i for i, n in typed(_USER_DEFINED) if _MARK.fullmatch(n)}
        templates = {
            key.removeprefix(_KEY).removeprefix("."): value
            for key, value in metadata.items()
            if (key == _KEY or key.startswith(f"{_KEY}.")) and isinstance(value, str) and value
        }
        architecture = metadata.get("general.architecture")
        named = [metadata.get(f"general.{key}") for key in ("name", "basename", "finetune")]
        words = [word for word in (*named, fallback_name) if isinstance(word, str) and word]
        return cls(
            name=words[0] if words else "the model",
            hints=" ".join(words),
            templates=templates,
            specials=specials,
            marks=marks,
            tokens=tokens,
            space_after_specials=metadata.get("tokenizer.ggml.model") == "llama" and architecture in ("phi3", "phimoe"),
        )

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids of the control tokens."""
        return frozenset(self.specials.values())

    @cached_property
    def names(self) -> dict[str, int]:
        """What only a template may say: control tokens, and marks."""
        return {**self.marks, **self.specials}

    @cached_property
    def pattern(self) -> re.Pattern[str] | None:
        """Finds these names, of several at one place the longest; None where there are none."""
        return _any_of(self.names)

    @cached_property
    def marks_pattern(self) -> re.Pattern[str] | None:
        """Finds the marks alone."""
        return _any_of(self.marks)


def _any_of(names: Iterable[str]) -> re.Pattern[str] | None:
    ordered = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None
