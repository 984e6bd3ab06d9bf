"""Hugging Face tokenizers made from a GGUF file's vocabulary: what our tokenizer must agree with.

`tokenizers` is no dependency of the project: tests import this module after pytest.importorskip("tokenizers").
The pre-tokenizers are put together as the models' own tokenizer.json files have them, not as native/ does.
"""

from __future__ import annotations

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
# As published: what a library normalizes (U+1F7D, U+1FD3, U+1FDB) would be ranges that end before they begin.
_DEEPSEEK_LETTERS = (
    r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "Ὗ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳ"
    "Ꙁ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
)
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
        # Falcon's own file has the bytes' step second, so that its Digits cuts at ASCII's digits and within ½ or ²: the
        # latter its vocabulary, trained so, does not show. Its Punctuation is that of an old Unicode, and of ASCII.
        "falcon": [*_split(r"[\p{P}$+<=>^~|`]+", _GPT2, "[0-9]+", "[0-9]{3}"), _bytes(False)],
        "deepseek-coder": [*_split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _DEEPSEEK_CJK), Digits(True), _bytes(False)],
        "deepseek-llm": [
            *_split("[\r\n]", _DEEPSEEK_LETTERS, r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", _DEEPSEEK_CJK),
            Digits(True),
            _bytes(False),
        ],
        "chameleon": [
            *_split("<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\t\n]|    |  )"),
            Digits(True),
            *_split(r"[\p{P}!-/:-@\[-`{-~]"),  # Punctuation, but of today's Unicode
            _bytes(True),
        ],
        "deepseek-v3": [*_split(r"\p{N}{1,3}", _CJK3, _DEEPSEEK3), _bytes(False)],
        "viking": [*_split(_BLOOM), Digits(True), _bytes(False)],
        "superbpe": [*_split(r"\p{N}+", r"(?=(\d{3})+(?!\d))"), _bytes(False)],
        "tiny_aya": [*_split(r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O), _bytes(False)],
    }
    return Steps(many[name] if name in many else [*_split(one[name]), _bytes(False)])


PRE_TOKENIZERS = (
    "gpt-2 llama-bpe dbrx qwen2 qwen35 gpt-4o tekken kimi-k2 bailingmoe seed-coder exaone-moe jais-2 bloom starcoder"
    " falcon deepseek-coder deepseek-llm deepseek-v3 viking superbpe tiny_aya chameleon"
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
