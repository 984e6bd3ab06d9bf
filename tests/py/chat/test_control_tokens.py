"""Only what a template itself writes becomes a control token (R10)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketllama import Tokenizer, gguf
from pocketllama.chat import NAMES, Facts, Template, builtin, choose

from ...conftest import SHARED

# Read before any test's own environment is made.
NAMED = os.environ.get("POCKETLLAMA_NATIVE_LIB")

SPECIALS = [
    *("<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|eot_id|>"),
    *("<|end_header_id|>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"),
    *("[INST]", "[/INST]", "<|", "<|im_end|>\n", "[TOOL_CALLS]", "<｜Assistant｜>", "<|tool|>"),
]
FACTS = Facts(
    specials={name: 1000 + i for i, name in enumerate(SPECIALS)}, tokens={"bos_token": "<s>", "eos_token": "</s>"}
)

# As templates of models write them: literal, from the role, concatenated, by macro, by namespace, by block, by filter.
WAYS = {
    "literal": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
    "plus": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>' }}"
    "{% endfor %}",
    "tilde": "{% for m in messages %}{{ '<|' ~ m.role ~ '|>' ~ m.content ~ '<|end|>' }}{% endfor %}",
    "macro": "{% macro turn(m) %}<|im_start|>{{ m.content }}<|im_end|>{% endmacro %}"
    "{% for m in messages %}{{ turn(m) }}{% endfor %}",
    "namespace": "{% set n = namespace(t='') %}"
    "{% for m in messages %}{% set n.t = n.t + '[INST]' + m.content %}{% endfor %}{{ n.t }}",
    "block": "{% set t %}{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}{% endset %}{{ t | trim }}",
    "split": "{% for m in messages %}{{ m.content.split('|')[0] ~ '|' ~ m.content.split('|')[-1] }}<|eot_id|>"
    "{% endfor %}",
    "joined": "{{ messages | map(attribute='content') | join('<|im_end|>') }}",
    "joined by nothing": "{{ messages | map(attribute='content') | join }}<|im_end|>",
    "json": "{{ messages | tojson }}<|im_end|>",
    "replaced": "{% for m in messages %}{{ m.content.replace('x', '<') }}<|im_end|>{% endfor %}",
    "call block": "{% macro wrap() %}<s>{{ caller() }}</s>{% endmacro %}"
    "{% for m in messages %}{% call wrap() %}{{ m.content }}{% endcall %}{% endfor %}",
    "filter block": "{% for m in messages %}{% filter trim %}<s>{{ m.content }}</s>{% endfilter %}{% endfor %}",
    "sides": "{% for m in messages %}<{{ m.content }}>|im_end|>{{ m.content }}<|{% endfor %}",
    "variables": "{% for m in messages %}{{ bos_token + m.content + eos_token }}{% endfor %}",
    "generation": "{% for m in messages %}<|im_start|>{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% endfor %}",
}


def control(template: Template, contents: Iterable[str]) -> tuple[str, list[int]]:
    """The text, and the control tokens that come of it."""
    prompt = template.render([{"role": "user", "content": c} for c in contents], facts=FACTS)
    return prompt.text, [t for t in prompt.tokens(FACTS, lambda text: [0] * len(text)) if t]


ALL = {**{way: Template(way, source, "model") for way, source in WAYS.items()}, **{n: builtin(n) for n in NAMES}}


@pytest.mark.parametrize("name", ALL)
def test_a_message_of_every_control_token_adds_none(name: str) -> None:
    _, harmless = control(ALL[name], ["a", "b"])
    assert control(ALL[name], ["".join(SPECIALS), " ".join(SPECIALS)])[1] == harmless
    assert harmless or name in ("alpaca", "vicuna")  # these have control tokens only behind answers


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=20)
@given(contents=st.lists(st.text("<|im_endstaruy>\n/[INS] x｜", max_size=12), min_size=2, max_size=2))
def test_no_pieces_of_names_come_together(name: str, contents: list[str]) -> None:
    _, harmless = control(ALL[name], ["a", "b"])
    assert control(ALL[name], contents)[1] == harmless


@pytest.mark.parametrize("name", ["literal", "plus", "tilde", "macro", "namespace", "block", "variables", "generation"])
def test_all_that_the_template_writes_are_control_tokens(name: str) -> None:
    text, found = control(ALL[name], ["a", "b"])
    longest = "|".join(re.escape(s) for s in sorted(SPECIALS, key=len, reverse=True))
    assert found == [FACTS.specials[m] for m in re.findall(longest, text)]


def test_a_role_of_ones_own_is_no_part_of_a_token() -> None:
    template = ALL["tilde"]
    for role, expected in (("user", "<|user|>"), ("im_end", None), ("end", None), ("|><|user", None)):
        prompt = template.render([{"role": role, "content": "x"}])
        tokens = prompt.tokens(FACTS, lambda text: [])
        wanted = [FACTS.specials[expected]] if expected else [FACTS.specials["<|"]]
        assert tokens == [*wanted, FACTS.specials["<|end|>"]]


def test_marks_that_are_user_defined_tokens() -> None:
    """As DeepSeek's models have them: tokenizers find these in any text."""
    names = ["<unk>", "</s>", "<｜User｜>", "<｜Assistant｜>", "<think>", "word"]
    facts = Facts.from_metadata({"tokenizer.ggml.tokens": names, "tokenizer.ggml.token_type": [2, 3, 4, 4, 4, 1]})
    assert facts.marks == {"<｜User｜>": 2, "<｜Assistant｜>": 3} and set(facts.specials) == {"<unk>", "</s>"}

    def encode(text: str) -> list[int]:
        """Finds user-defined tokens, as tokenizers do; -1 for each other character."""
        found = re.compile("<｜User｜>|<｜Assistant｜>|<think>|.", re.DOTALL).findall(text)
        return [names.index(piece) if piece in names else -1 for piece in found]

    template = Template(
        "wide", "{% for m in messages %}{{ '<｜User｜>' + m.content + '<｜Assistant｜>' }}{% endfor %}", "model"
    )
    for said in ("x", "<｜Assistant｜>", "<<｜User｜><｜User｜>｜User｜>", "<｜Us", "er｜>", "</s>"):
        prompt = template.render([{"role": "user", "content": said}, {"role": "user", "content": said}])
        assert [t for t in prompt.tokens(facts, encode) if t >= 0] == [2, 3, 2, 3]
    thinking = template.render([{"role": "assistant", "content": "<think>"}])
    assert thinking.tokens(facts, encode) == [2, 4, 3]  # words that models say themselves stay what they are


VOCABULARIES = ("llama-spm", "llama-bpe", "qwen2", "gpt-2")


@pytest.fixture(scope="module")
def native_library(request: pytest.FixtureRequest) -> Path:
    named = os.environ.get("POCKETLLAMA_NATIVE_LIB") or NAMED
    return Path(named) if named else request.getfixturevalue("engine")


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_vocabularies_of_models(vocabulary: str, native_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every control token of a model's vocabulary, said by the user, in each template."""
    file = SHARED / "vocab" / f"ggml-vocab-{vocabulary}.gguf"
    if not file.exists():
        pytest.skip("the vocabularies are not here")
    monkeypatch.setenv("POCKETLLAMA_LIB", str(native_library))
    with gguf.read(file) as read:
        facts = Facts.from_metadata(read.metadata, vocabulary)
    assert facts.specials
    names = sorted(facts.specials)
    with Tokenizer(file) as tokenizer:
        for template in (builtin("chatml"), builtin("llama-3"), choose(facts, "llama-2")):

            def tokens(content: str, template: Template = template) -> tuple[str, list[int]]:
                talk = [{"role": role, "content": content} for role in ("system", "user", "assistant", "user")]
                prompt = template.render(talk, facts=facts)
                return prompt.text, prompt.tokens(facts, tokenizer.encode)

            # What nobody could mistake is tokenized as the tokenizer itself does it.
            text, harmless = tokens("Hello, wörld! 🦙")
            assert harmless == tokenizer.encode(text, special=True)
            expected = [t for t in harmless if t in facts.special_ids]
            for said in ("".join(names), " ".join(names), names[0], names[-1]):
                _, found = tokens(said)
                assert [t for t in found if t in facts.special_ids] == expected


def test_names_of_tools_and_their_words_are_nobodys_tokens() -> None:
    template = Template("tools", "{{ tools | tojson }}{{ tools[0].function.name }}<|im_end|>", "model")
    tools = [{"type": "function", "function": {"name": "<|im_start|>", "description": "<s>"}}]
    prompt = template.render([{"role": "user", "content": "x"}], tools)
    assert prompt.tokens(FACTS, lambda text: []) == [FACTS.specials["<|im_end|>"]]


def test_the_beginning_of_a_text_is_there_once() -> None:
    plain = builtin("alpaca").render([{"role": "user", "content": "<s>"}], facts=FACTS)
    assert plain.tokens(FACTS, lambda text: [7], bos=1000) == [1000, 7]
    written = builtin("llama-2").render([{"role": "user", "content": "x"}], facts=FACTS)
    assert written.tokens(FACTS, lambda text: [7], bos=1000).count(1000) == 1


def test_white_space_behind_control_tokens_of_phi() -> None:
    phi = Facts(
        specials={"<|user|>": 5, "<|end|>": 6, "<s>": 1}, tokens={"bos_token": "<s>"}, space_after_specials=True
    )
    prompt = Template("phi", "<s> a<|user|>\n{{ messages[0].content }}<|end|>\n", "model").render(
        [{"role": "user", "content": " b "}]
    )
    seen: list[str] = []
    assert prompt.tokens(phi, lambda text: seen.append(text) or []) == [1, 5, 6]  # type: ignore[func-returns-value]
    assert seen == [" a", "b "]
