"""Which of GGUF's named pre-tokenizers a tokenizer.json describes.

A byte-level tokenizer cuts a text into words before it joins bytes. tokenizer.json has the steps with their regular
expressions, GGUF only a name (tokenizer.ggml.pre). So the steps are brought to one spelling and looked up; what is not
in the table has no name, and a file of it would be read wrongly by everyone.
"""

from __future__ import annotations

from typing import Any

from ..errors import UsageError
from .config import shown

Step = tuple[str, str]

_I = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WS = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_CASED_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _WS
_GPT4O = f"{_BEFORE}{_UPPER}*{_LOWER}+{_I}?|{_BEFORE}{_UPPER}+{_LOWER}*{_I}?" + r"|\p{N}{1,3}" + _CASED_REST
_HAN_UPPER, _HAN_LOWER = _UPPER[:-1] + r"&&[^\p{Han}]]", _LOWER[:-1] + r"&&[^\p{Han}]]"
_BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
_DEEPSEEK3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|" + _WS
)
_CJK = "[一-龥\u0800-一\uac00-\ud7ff]+"
# The letters that DeepSeek's first models cut at, all of Unicode 11's that have a case; known by their beginning.
_CASED_LETTERS = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷ"


def _split(regex: str) -> Step:
    return "split", regex


_BYTES, _DIGIT, _DIGITS = ("bytes", ""), ("digits", "each"), ("digits", "runs")
_WORDS = ("bytes", "words")  # GPT-2's rule is built into the step that makes letters of bytes

# Steps → (name, its name for a model that looks up whole words before it joins bytes).
_NAMED: dict[tuple[Step, ...], tuple[str, str | None]] = {
    (_WORDS,): ("gpt-2", None),
    (_split(_GPT2), _BYTES): ("gpt-2", None),
    (_DIGIT, _WORDS): ("starcoder", None),
    (_split(_I + "|" + _LETTERS + r"|\p{N}{1,3}|" + _SYMBOLS + "|" + _WS), _BYTES): ("dbrx", "llama-bpe"),
    (_split(_I + "|" + _LETTERS + r"|\p{N}|" + _SYMBOLS + "|" + _WS), _BYTES): ("qwen2", None),
    (
        _split(_I + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _WS),
        _BYTES,
    ): ("qwen35", None),
    (_split(_GPT4O), _BYTES): ("gpt-4o", "gpt-4o"),
    (
        _split(f"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*" + r"|\p{N}" + _CASED_REST),
        _BYTES,
    ): ("tekken", "tekken"),
    (
        _split(
            rf"[\p{{Han}}]+|{_BEFORE}{_HAN_UPPER}*{_HAN_LOWER}+{_I}?|{_BEFORE}{_HAN_UPPER}+{_HAN_LOWER}*{_I}?"
            r"|\p{N}{1,3}|" + _SYMBOLS + "|" + _WS
        ),
        _BYTES,
    ): ("kimi-k2", None),
    (
        _split(
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
        _BYTES,
    ): ("bailingmoe", None),
    (_split(_I + "|" + _LETTERS + r"|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|" + _WS), _BYTES): ("seed-coder", None),
    (
        _split(
            _I + r"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"
            r"|\s*[\r\n]|\s+(?!\S)|\s+"
        ),
        _BYTES,
    ): ("exaone-moe", None),
    (_split(_BLOOM), _BYTES): ("bloom", None),
    (_split(_BLOOM), _DIGIT, _BYTES): ("viking", None),
    (("punctuation", ""), _WORDS, _DIGITS, _split("[0-9][0-9][0-9]")): ("falcon", None),
    (
        _split("[\r\n]"),
        _split(r"\s?\p{L}+"),
        _split(r"\s?\p{P}+"),
        _split(_CJK),
        _DIGIT,
        _BYTES,
    ): ("deepseek-coder", None),
    (
        _split(r"\p{N}{1,3}"),
        _split("[一-龥\u3040-ゟ゠-ヿ]+"),
        _split(_DEEPSEEK3),
        _BYTES,
    ): ("deepseek-v3", None),
    (_split(r"\p{N}+"), _split(r"(?=(\d{3})+(?!\d))"), _BYTES): ("superbpe", None),
    (_split(r"\d{1,3}(?=(?:\d{3})*\b)"), _split(_GPT4O), _BYTES): ("tiny_aya", None),
}
# The same cuts under the names that other programs look for, by model_type.
_BY_MODEL = {
    ("dbrx", "glm"): "chatglm-bpe",
    ("llama-bpe", "glm"): "glm4",
    ("llama-bpe", "glm4"): "glm4",
    ("llama-bpe", "glm4_moe"): "glm4",
    ("dbrx", "chatglm"): "chatglm-bpe",
    ("llama-bpe", "smollm3"): "smollm3",
    ("qwen2", "stablelm"): "stablelm2",
    ("deepseek-v3", "hunyuan_v1_dense"): "hunyuan-dense",
    ("starcoder", "cohere"): "command-r",
    ("starcoder", "cohere2"): "command-r",
    ("starcoder", "granite"): "refact",
    ("starcoder", "granitemoe"): "refact",
    ("starcoder", "exaone"): "exaone",
    ("gpt-2", "exaone4"): "exaone4",
    ("gpt-2", "mpt"): "mpt",
    ("gpt-2", "olmo"): "olmo",
    ("gpt-2", "phi"): "phi-2",
}
# For files of before tokenizer.json: vocab.json and merges.txt say nothing of it.
_OF_OLD_FILES = {
    "gpt2": "gpt-2",
    "gptj": "gpt-2",
    "gpt_neox": "gpt-2",
    "phi": "phi-2",
    "olmo": "olmo",
    "mpt": "mpt",
    "gpt_bigcode": "starcoder",
    "starcoder2": "starcoder",
    "granite": "refact",
    "qwen2": "qwen2",
    "qwen2_moe": "qwen2",
    "qwen3": "qwen2",
    "qwen3_moe": "qwen2",
    "smollm3": "smollm3",
}


def of_old_files(model_type: str) -> str:
    """The name for a model that has vocab.json and merges.txt alone."""
    if model_type not in _OF_OLD_FILES:
        raise UsageError(
            f"How {model_type} finds words is in its tokenizer.json, which is not there.",
            remedy="Download tokenizer.json too.",
        )
    return _OF_OLD_FILES[model_type]


def identify(tokenizer: dict[str, Any], model_type: str) -> str:
    """The name for a byte-level tokenizer.json. UsageError where there is none."""
    steps = tuple(_steps(tokenizer.get("pre_tokenizer")))
    whole_words = dict_of(tokenizer.get("model")).get("ignore_merges") is True
    if len(steps) == 7 and steps[1][1].startswith(_CASED_LETTERS):
        return "deepseek-llm"
    names = _NAMED.get(steps)
    name = names[whole_words] if names else None
    if name is None:
        words = ", then ".join(f"{kind} {text}".strip()[:200] for kind, text in steps) or "nothing"
        how = " and looks up whole words" if names else ""
        raise UsageError(
            f"tokenizer.json finds words in a way that has no name in GGUF: {ascii(words)[1:-1]}{how}.",
            remedy="Without it every text would be read wrongly. Tell us about the model.",
        )
    return _BY_MODEL.get((name, model_type), name)


def dict_of(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _steps(value: Any, depth: int = 0) -> list[Step]:
    """The steps in order, in one spelling."""
    step = dict_of(value)
    kind = step.get("type")
    if kind == "Sequence" and depth < 4:
        inner = step.get("pretokenizers")
        return [s for each in (inner if isinstance(inner, list) else []) for s in _steps(each, depth + 1)]
    if kind == "Split":
        pattern = dict_of(step.get("pattern"))
        regex = pattern.get("Regex", pattern.get("String"))
        plain = step.get("behavior") in ("Isolated", "Removed") and step.get("invert") in (True, False)
        # What a pattern matches is kept by itself, or with `invert` and Removed it is what is kept: the same cuts.
        if isinstance(regex, str) and plain and (step["behavior"] == "Isolated" or step["invert"]):
            return [_split(_plain(regex))]
    if kind == "ByteLevel":
        return [_BYTES if step.get("use_regex") is False else _WORDS]
    if kind == "Digits":
        return [_DIGIT if step.get("individual_digits") else _DIGITS]
    if kind == "Punctuation":
        return [("punctuation", "")]
    return [("other", shown(kind))]


def _plain(regex: str) -> str:
    """One spelling: no possessive marks, which only save time here, contractions and digits in one way."""
    for before, after in (
        ("?+", "?"),
        ("++", "+"),
        ("(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", _I),
        ("(?i:'s|'t|'re|'ve|'m|'d|'ll)", _I),
        ("\\p{N}{1}", "\\p{N}"),
        ("[\\p{N}]", "\\p{N}"),
    ):
        regex = regex.replace(before, after)
    return regex
