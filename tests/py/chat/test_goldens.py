"""Rendered text is Hugging Face's, to the letter; see make_goldens.py."""

from __future__ import annotations

import json
import time

import pytest

from pocketllama.chat import Facts, Template
from pocketllama.errors import UsageError

from .cases import CONVERSATIONS, TOKENS, templates
from .make_goldens import FILE

SOURCES = templates()
FACTS = Facts(tokens=TOKENS)
GOLDENS = json.loads(FILE.read_text(encoding="utf-8"))


def test_every_case_has_a_golden() -> None:
    assert GOLDENS.keys() == SOURCES.keys()
    assert all(goldens.keys() == CONVERSATIONS.keys() for goldens in GOLDENS.values())


@pytest.mark.parametrize("name", SOURCES)
def test_text_is_that_of_apply_chat_template(name: str) -> None:
    template = Template(name, SOURCES[name], "model")
    refused = 0
    for case, (messages, tools, variables) in CONVERSATIONS.items():
        options = {"add_generation_prompt": True, **variables}
        expected = GOLDENS[name][case]
        if (tools or "call" in case) and not template.takes_tools:
            # Hugging Face would not tell the model of them at all; see tools.py.
            if expected is not None and tools:
                assert tools[0]["function"]["name"] in template.render(messages, tools, facts=FACTS, **options).text
        elif expected is None:
            refused += 1
            with pytest.raises(UsageError):
                template.render(messages, tools, facts=FACTS, **options)
        else:
            assert template.render(messages, tools, facts=FACTS, **options).text == expected, case
    assert refused < len(CONVERSATIONS) - 2  # most of them say something


@pytest.mark.parametrize("form", ["%Y", "%d %B %Y"])
def test_dates_are_todays(form: str) -> None:
    template = Template("date", "{{ strftime_now('" + form + "') }}", "model")
    before = time.strftime(form)
    assert template.render([{"role": "user", "content": "x"}]).text in (before, time.strftime(form))


def test_arguments_as_objects_and_as_text() -> None:
    looks_in = Template("looks in", "{{ messages[0].tool_calls[0].function.arguments | tojson }}", "model")
    takes_text = Template("takes text", "{{ 'f' + messages[0].tool_calls[0].function.arguments + '!' }}", "model")
    shows = Template("shows", "{{ messages[0].tool_calls[0].function.arguments }}", "model")
    for given in ({"a": 1}, '{"a": 1}'):
        calls = [{"type": "function", "function": {"name": "f", "arguments": given}}]
        message = {"role": "assistant", "content": "", "tool_calls": calls}
        assert looks_in.render([message]).text == '{"a": 1}'
        assert takes_text.render([message]).text == 'f{"a": 1}!'
        assert shows.render([message]).text == (given if isinstance(given, str) else "{'a': 1}")  # as Hugging Face
    message["tool_calls"] = [{"function": {"name": "f", "arguments": "not JSON"}}]
    assert takes_text.render([message]).text == "fnot JSON!"


def test_templates_that_know_only_parts_get_them() -> None:
    parts = Template("parts", "{% for m in messages %}{{ m.content[0].text + '|' }}{% endfor %}", "model")
    assert (
        parts.render([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]).text == "one|two|"
    )
