"""Texts of what goes wrong in tokenizers."""

from __future__ import annotations

import random
import unicodedata

_WORDS = (
    "the of and Hello world I'm we've they'll 'RE 'S 'ſ it's don't DON'T camelCase XMLHttpRequest über naïve Straße "
    "нещо на Български Ελληνικά ΣΊΣΥΦΟΣ עברית العربية हिन्दी ไทย កាន់តែ 中文分词 日本語テキスト カタカナ 한국어 ㄅㄆㄇ "
    "3.14 1,000,000 ２３４ ٣٤٥ ½ Ⅻ x² e=mc² __init__ foo_bar() a->b; /* c */ http://x.y/z?q=1&r=2 \\n </s> <|im_end|> "
    "ǅ ﬁ ﬆ İstanbul ı ǆ K Å 🦙 😶‍🌫️ 👩‍👩‍👧‍👦 🇩🇪 ✅ … “quoted” — – • © ™ € ₿ ± ≠ ∑ "
    "\u200b \u200d \u2028 \u0085 \u00a0 \u3000 ▁ ▁▁"
).split(" ")
_PIECES = [
    " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u3000", "'", "''", '"', "!", "?!",
    "...", "-", "/", "//", "\u0301", "\u0308\u0301", "\u0e33", "\u094d", "\u200d", "\ufe0f", "\x00", "\x1c", "\x7f",
    "\ufffd", "\ufeff",
]  # fmt: skip
_RANGES = ((0, 0x24F), (0x250, 0x2FFF), (0x3000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x10FFFF))


def random_texts(count: int, seed: int) -> list[str]:
    """Texts of what goes wrong: scripts, emoji, marks, digits, spaces, line ends, contractions, any code point."""
    rng = random.Random(seed)
    texts = []
    for _ in range(count):
        parts = []
        for _ in range(rng.randint(0, 12)):
            kind = rng.random()
            if kind < 0.45:
                parts.append(rng.choice(_WORDS))
            elif kind < 0.75:
                parts.append(rng.choice(_PIECES) * rng.choice((1, 1, 1, 2, 3, 9)))
            elif kind < 0.83:
                parts.append("".join(rng.choice("0123456789") for _ in range(rng.randint(1, 9))))
            elif kind < 0.92:
                parts.append("".join(chr(rng.randint(32, 126)) for _ in range(rng.randint(1, 8))))
            else:
                low, high = rng.choice(_RANGES)
                parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 4))))
            if rng.random() < 0.4:
                parts.append(" ")
        texts.append("".join(parts))
    return texts


def every_category(each: int = 40) -> list[str]:
    """Characters of every general category, beside those whose neighbourhood matters. Only characters of Unicode 3.2:
    what came later is another category's in some library."""
    rng = random.Random(1)
    of: dict[str, list[str]] = {}
    for c in map(chr, range(0x110000)):
        category = unicodedata.ucd_3_2_0.category(c)
        if category not in ("Cn", "Cs") and category == unicodedata.category(c):
            of.setdefault(category, []).append(c)
    chosen = [c for some in of.values() for c in rng.sample(some, min(each, len(some)))]
    return [text for c in chosen for text in (c, f"a{c}B {c}1{c} {c}{c} \n{c}'s", f"{c}x{rng.choice(chosen)}9 {c}\n")]
