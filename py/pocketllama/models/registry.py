"""The aliases: short names for a handful of small instruct models. registry.json says what of them is certain."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("registry.json")


@dataclass(frozen=True)
class Alias:
    """One entry. `size` is in bytes and rounded: the hub is asked for the true one."""

    name: str
    repo: str
    licence: str
    parameters: str
    size: int
    architecture: str  # as in the GGUF's general.architecture: an engine may not know it
    good_for: str
    quant: str | None = None
    file: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=1)
def aliases() -> dict[str, Alias]:
    """Every alias by its name, in the order of the file (small to large)."""
    entries = json.loads(_FILE.read_text(encoding="utf-8"))["models"]
    return {name: Alias(name=name, **facts) for name, facts in entries.items()}


def did_you_mean(name: str, known: tuple[str, ...] = ()) -> list[str]:
    """Names close to a mistyped one, best first, at most three."""
    names = [*known, *aliases()]
    plain = {re.sub(r"[^a-z0-9]", "", each.lower()): each for each in names}
    asked = re.sub(r"[^a-z0-9]", "", name.lower())[:64]
    if not asked:
        return []
    close = [plain[match] for match in get_close_matches(asked, plain, n=3, cutoff=0.7)]
    close += [each for key, each in plain.items() if len(asked) >= 3 and asked in key and each not in close]
    return close[:3]
