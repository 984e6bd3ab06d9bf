"""Which template is chosen, what the built-in ones write, and what a conversation must look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pocketllama.chat import NAMES, Facts, Template, builtin, choose
from pocketllama.errors import ModelInvalid, UsageError

LLAMA = Facts(tokens={"bos_token": "<s>", "eos_token": "</s>"}, specials={"<s>": 1, "</s>": 2})
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "Three?"},
]

# What the models were trained on, as their authors describe it.
EXPECTED = {
    "alpaca": "Be brief.\n\n### Instruction:\nOne?\n\n### Response:Two.</s>"
    "\n\n### Instruction:\nThree?\n\n### Response:",
    "vicuna": "Be brief. USER: One? ASSISTANT: Two.</s>USER: Three? ASSISTANT:",
    "llama-2": "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nOne? [/INST] Two. </s><s>[INST] Three? [/INST]",
    "llama-3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nOne?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\nTwo.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nThree?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nOne?<|im_end|>\n"
    "<|im_start|>assistant\nTwo.<|im_end|>\n<|im_start|>user\nThree?<|im_end|>\n<|im_start|>assistant\n",
    "mistral": "<s>[INST] Be brief.\n\nOne? [/INST] Two.</s>[INST] Three? [/INST]",
    "gemma": "<s><start_of_turn>user\nBe brief.\n\nOne?<end_of_turn>\n<start_of_turn>model\nTwo.<end_of_turn>\n"
    "<start_of_turn>user\nThree?<end_of_turn>\n<start_of_turn>model\n",
    "phi-3": "<|system|>\nBe brief.<|end|>\n<|user|>\nOne?<|end|>\n<|assistant|>\nTwo.<|end|>\n"
    "<|user|>\nThree?<|end|>\n<|assistant|>\n",
    "zephyr": "<|system|>\nBe brief.</s>\n<|user|>\nOne?</s>\n<|assistant|>\nTwo.</s>\n"
    "<|user|>\nThree?</s>\n<|assistant|>\n",
}


def test_every_built_in_template_is_held_to_its_text() -> None:
    assert set(EXPECTED) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_built_in(name: str) -> None:
    assert builtin(name).render(TALK, facts=LLAMA).text == EXPECTED[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_conversation_grows_at_its_end(name: str) -> None:
    # Or else nothing of it could be kept in the cache.
    asked = builtin(name).render(TALK[:2], facts=LLAMA).text
    assert builtin(name).render(TALK, facts=LLAMA).text.startswith(asked)


@pytest.mark.parametrize("name", NAMES)
def test_without_the_beginning_of_an_answer(name: str) -> None:
    template = builtin(name)
    whole = template.render(TALK, facts=LLAMA).text
    assert whole.startswith(template.render(TALK, add_generation_prompt=False, facts=LLAMA).text)


def test_alpaca_with_input_and_without() -> None:
    alpaca = builtin("alpaca")
    assert alpaca.render([{"role": "user", "content": "Name a colour."}]).text == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName a colour.\n\n### Response:"
    )
    assert alpaca.render([{"role": "user", "content": "Translate.", "input": "Hund"}]).text == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nTranslate.\n\n### Input:\nHund\n\n### Response:"
    )


@pytest.mark.parametrize("name", ["llama2", "LLAMA-2", "llama_2", "Llama 2"])
def test_names_are_read_generously(name: str) -> None:
    assert builtin(name).name == "llama-2"


def test_a_name_that_is_none() -> None:
    with pytest.raises(UsageError, match="no chat template 'gpt-9'") as e:
        choose(Facts(), "gpt-9")
    assert "vicuna" in str(e.value.remedy)


# ---- choosing ----------------------------------------------------------------------------------------------------


def facts(**metadata: Any) -> Facts:
    return Facts.from_metadata({key.replace("__", "."): value for key, value in metadata.items()})


def with_tokens(*control: str) -> Facts:
    names = ["<unk>", "a", *control]
    return Facts.from_metadata(
        {"tokenizer.ggml.tokens": names, "tokenizer.ggml.token_type": [2, 1, *[3] * len(control)]}
    )


def test_the_models_own_template_comes_first() -> None:
    model = facts(tokenizer__chat_template="{{ messages[0].content }}!", general__name="Vicuna")
    chosen = choose(model)
    assert (chosen.origin, chosen.render([{"role": "user", "content": "Hi"}]).text) == ("model", "Hi!")


def test_errors_name_the_model() -> None:
    model = facts(tokenizer__chat_template="{{ raise_exception('no') }}", general__name="Tiny", general__basename="T")
    with pytest.raises(UsageError, match="template of Tiny does not take"):
        choose(model).render([{"role": "user", "content": "Hi"}])


def test_the_one_asked_for_comes_before_it(tmp_path: Path) -> None:
    model = facts(tokenizer__chat_template="{{ messages[0].content }}!")
    assert choose(model, "vicuna").name == "vicuna"
    mine = tmp_path / "mine.jinja"
    mine.write_text("<{{ messages[0].content }}>")
    assert choose(model, str(mine)).render([{"role": "user", "content": "Hi"}]).text == "<Hi>"


def test_a_template_for_tools_is_used_with_tools() -> None:
    model = facts(tokenizer__chat_template="plain", tokenizer__chat_template__tool_use="{{ tools[0].function.name }}")
    chosen, hi = choose(model), [{"role": "user", "content": "Hi"}]
    assert chosen.render(hi).text == "plain"
    assert chosen.render(hi, [{"type": "function", "function": {"name": "clock"}}]).text == "clock"


@pytest.mark.parametrize(
    ("control", "name"),
    [
        (["<|im_start|>", "<|im_end|>"], "chatml"),
        (["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"], "llama-3"),
        (["<start_of_turn>", "<end_of_turn>"], "gemma"),
        (["<|user|>", "<|assistant|>", "<|end|>"], "phi-3"),
        (["<|im_end|>"], "alpaca"),
    ],
)
def test_by_control_tokens(control: list[str], name: str) -> None:
    assert choose(with_tokens(*control)).name == name


def test_ordinary_tokens_of_such_names_do_not_count() -> None:
    names = ["<|im_start|>", "<|im_end|>"]
    model = Facts.from_metadata({"tokenizer.ggml.tokens": names, "tokenizer.ggml.token_type": [1, 1]})
    assert choose(model).name == "alpaca" and not model.specials


@pytest.mark.parametrize(
    ("model", "name", "origin"),
    [
        ("wizard-vicuna-13b", "vicuna", "built-in"),
        ("chavinlo_gpt4-x-alpaca", "alpaca", "built-in"),
        ("TheBloke_Llama-2-7b-Chat", "llama-2", "built-in"),
        ("Llama-2-7b", "alpaca", "fallback"),
        ("mistralai_Mistral-7B-Instruct-v0.1", "mistral", "built-in"),
        ("mistralai_Mistral-7B-v0.1", "alpaca", "fallback"),
        ("HuggingFaceH4_zephyr-7b-beta", "zephyr", "built-in"),
        ("tales", "alpaca", "fallback"),
    ],
)
def test_by_name(model: str, name: str, origin: str) -> None:
    chosen = choose(facts(general__name=model))
    assert (chosen.name, chosen.origin) == (name, origin)


def test_hostile_metadata_is_passed_over() -> None:
    strange = facts(
        tokenizer__chat_template=7,
        tokenizer__ggml__tokens="abc",
        tokenizer__ggml__token_type={"a": 1},
        tokenizer__ggml__bos_token_id=10**9,
        general__name=[1],
    )
    assert choose(strange).name == "alpaca" and not strange.specials
    numbers = facts(tokenizer__ggml__tokens=[1, [2], None, "</s>"], tokenizer__ggml__token_type=[3, 4, [3], 3])
    assert numbers.specials == {"</s>": 3} and not numbers.marks


def test_a_template_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="at most"):
        choose(facts(tokenizer__chat_template="x" * (1 << 21)))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        choose(Facts(), str(tmp_path / "none.jinja"))
    (tmp_path / "latin.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8"):
        choose(Facts(), str(tmp_path / "latin.jinja"))


# ---- conversations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], "at least one"),
        ("Hi", "must be a list"),
        ([1], r"messages\[0\] must be an object"),
        ([{"content": "x"}], r"messages\[0\].role"),
        ([{"role": 1, "content": "x"}], "role"),
        ([{"role": "user"}], r"messages\[0\] has no content"),
        ([{"role": "user", "content": 1}], "content must be a string"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "only text"),
        ([{"role": "user", "content": "\ud800"}], "lone surrogate"),
        ([{"role": "user", "content": "x", "more": object()}], "only JSON values"),
        ([{"role": "user", "content": "x", "more": {1: 2}}], "no string"),
        ([{"role": "assistant", "content": None, "tool_calls": [1]}], "list of calls"),
    ],
)
def test_what_is_no_conversation(messages: Any, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        builtin("chatml").render(messages)


@pytest.mark.parametrize("tools", ["x", [1], [{"type": "function"}], [{"type": "search", "function": {"name": "x"}}]])
def test_what_are_no_tools(tools: Any) -> None:
    with pytest.raises(UsageError, match="tools"):
        builtin("chatml").render([{"role": "user", "content": "x"}], tools)


def test_nesting_has_an_end() -> None:
    deep: Any = "x"
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(UsageError, match="deep"):
        builtin("chatml").render([{"role": "user", "content": "x", "more": deep}])


def test_parts_and_arguments_come_as_templates_expect_them() -> None:
    show = Template(
        "show", "{{ messages[-1].content }}|{{ messages[0].tool_calls[0].function.arguments.city }}", "file"
    )
    call = {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "user", "content": parts}]
    assert show.render(messages).text == "a\nb|Ulm"
    assert call["function"]["arguments"] == '{"city": "Ulm"}'  # type: ignore[index]  # the caller's own is as it was


def test_a_template_may_refuse() -> None:
    no_system = Template("strict", "{{ raise_exception('System role not supported') }}", "model")
    with pytest.raises(UsageError, match="System role not supported"):
        no_system.render(TALK)


def test_a_template_that_is_none() -> None:
    with pytest.raises(ModelInvalid, match="line 2"):
        Template("broken", "a\n{% for x %}", "model").render(TALK)


def test_further_variables() -> None:
    template = Template("thinks", "{{ 'think' if enable_thinking else 'answer' }}", "model")
    assert template.render(TALK, enable_thinking=True).text == "think"
    assert template.render(TALK).text == "answer"
    with pytest.raises(UsageError, match="JSON"):
        template.render(TALK, enable_thinking=object())


@pytest.mark.parametrize("name", NAMES)
def test_a_role_that_a_built_in_template_does_not_know(name: str) -> None:
    template = builtin(name)
    with pytest.raises(
        UsageError, match=r"messages\[1\]\.role is 'asistant'; .* knows system, user, assistant and tool"
    ):
        template.render([{"role": "user", "content": "A"}, {"role": "asistant", "content": "B"}])
    told = [
        template.render([{"role": r, "content": "A"}, {"role": "user", "content": "B"}])
        for r in ("developer", "system")
    ]
    assert told[0] == told[1]


def test_a_developer_is_whoever_the_template_knows() -> None:
    messages = [{"role": "developer", "content": "A"}]
    for source, text in [
        ("{{ messages[0].role }}", "system"),
        ("{% if messages[0].role == 'developer' %}own{% endif %}", "own"),
    ]:
        assert Template("t", source, "file").render(messages).text == text
