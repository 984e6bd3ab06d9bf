"""Hugging Face tokenizers made from a GGUF file's vocabulary: what our tokenizer must agree with.

`tokenizers` is no dependency of the project: tests import this module after pytest.importorskip("tokenizers").
The pre-tokenizers are put together as the models' own tokenizer.json files have them, not as native/ does.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Split
from tokenizers.pre_tokenizers import Sequence as Steps

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)

_I = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = _I + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _WS
_QWEN2 = _I + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _WS
_QWEN35 = _I + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _WS
_U, _L = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_PRE = r"[^\r\n\p{L}\p{N}]?"
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _WS
_GPT4O = f"{_PRE}{_U}*{_L}+{_I}?|{_PRE}{_U}+{_L}*{_I}?" + r"|\p{N}{1,3}" + _TAIL
_TEKKEN = f"{_PRE}{_U}*{_L}+|{_PRE}{_U}+{_L}*" + r"|\p{N}" + _TAIL
_HAN_U, _HAN_L = _U[:-1] + r"&&[^\p{Han}]]", _L[:-1] + r"&&[^\p{Han}]]"
_KIMI = (
    rf"[\p{{Han}}]+|{_PRE}{_HAN_U}*{_HAN_L}+{_I}?|{_PRE}{_HAN_U}+{_HAN_L}*{_I}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _WS
)
_BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
_SEED = _I + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + _WS
_EXAONE_MOE = (
    _I + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
    r"|\s*[\r\n]|\s+(?!\S)|\s+"
)
_JAIS2 = (
    _I
    + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    + "|".join(rf"\s{{{n}}}(?!\S)" for n in (512, 256, 128, 64, 32, 16, 8, 4))
    + r"|\s{1,2}(?!\S)|\s{1}"
)
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _WS
)
_BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
_CJK3 = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def _split(*patterns: str) -> list[PreTokenizer]:
    return [Split(Regex(p), "isolated") for p in patterns]


def _bytes(regex: bool) -> PreTokenizer:
    return ByteLevel(add_prefix_space=False, use_regex=regex)


def pre_tokenizer(name: str) -> PreTokenizer:
    """The pre-tokenizer that `tokenizer.ggml.pre` names."""
    one = {
        "llama-bpe": _LLAMA3, "dbrx": _LLAMA3, "qwen2": _QWEN2, "qwen35": _QWEN35, "gpt-4o": _GPT4O, "tekken": _TEKKEN,
        "kimi-k2": _KIMI, "bailingmoe": _BAILING, "seed-coder": _SEED, "exaone-moe": _EXAONE_MOE, "jais-2": _JAIS2,
        "bloom": _BLOOM,
    }  # fmt: skip
    many: dict[str, list[PreTokenizer]] = {
        "gpt-2": [_bytes(True)],
        "starcoder": [Digits(True), _bytes(True)],
        # Falcon's own file has the bytes' step second, so that Digits also cuts at bytes whose letter is ² or ½: its
        # vocabulary, trained so, does not show it. Its Punctuation is that of an old Unicode, and of ASCII.
        "falcon": [*_split(r"[\p{P}$+<=>^~|`]+", _GPT2), Digits(False), *_split("[0-9]{3}"), _bytes(False)],
        "deepseek-coder": [*_split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_CJK), Digits(True), _bytes(False)],
        "deepseek-v3": [*_split(r"\p{N}{1,3}", _CJK3, _DEEPSEEK3), _bytes(False)],
        "viking": [*_split(_BLOOM), Digits(True), _bytes(False)],
        "superbpe": [*_split(r"\p{N}+", r"(?=(\d{3})+(?!\d))"), _bytes(False)],
        "tiny_aya": [*_split(r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O), _bytes(False)],
    }
    return Steps(many[name] if name in many else [*_split(one[name]), _bytes(False)])


PRE_TOKENIZERS = (
    "gpt-2 llama-bpe dbrx qwen2 qwen35 gpt-4o tekken kimi-k2 bailingmoe seed-coder exaone-moe jais-2 bloom starcoder"
    " falcon deepseek-coder deepseek-v3 viking superbpe tiny_aya"
).split()


def bpe(tokens: Sequence[str], types: Sequence[int], merges: Sequence[str], pre: str, whole_words: bool) -> Tokenizer:
    """A byte-level BPE tokenizer without its control tokens."""
    pairs = [(a, b) for a, _, b in (m.partition(" ") for m in merges)]
    vocab = {t: i for i, t in reversed(list(enumerate(tokens))) if types[i] not in (CONTROL, UNKNOWN)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=pairs, ignore_merges=whole_words))
    tokenizer.pre_tokenizer = pre_tokenizer(pre)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def bert(tokens: Sequence[str], lowercase: bool = True) -> Tokenizer:
    """A WordPiece tokenizer; `tokens` with ## as in vocab.txt."""
    from tokenizers.pre_tokenizers import BertPreTokenizer

    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    return tokenizer


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
