"""Command lines: a prompt stays the text it is, and a mistake is explained."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketllama.argv import fitted, parse, usage
from pocketllama.cli import VERBS, overview
from pocketllama.errors import UsageError


def values(*argv: str) -> dict[str, object]:
    return dict(parse(argv, VERBS, "run").values)


@pytest.mark.parametrize(
    "prompt",
    ["42", "None", "[1, 2]", "True", "-5 degrees", "-", "--not-an-option-at-all", "a=b", '{"a": 1}', "", "é\n\t"],
)
def test_a_prompt_stays_the_text_it_is(prompt: str) -> None:
    assert values("run", prompt, "-n", "3") == {"prompt": prompt, "max_tokens": 3}


def test_without_a_verb_it_is_run() -> None:
    assert parse(["Once upon a time"], VERBS, "run").verb == "run"
    assert values("-n", "3", "Once upon a time") == {"prompt": "Once upon a time", "max_tokens": 3}


@given(st.text())
def test_any_text_behind_two_dashes(prompt: str) -> None:
    assert values("run", "--", prompt) == {"prompt": prompt}


@given(st.text(min_size=1))
def test_values_reach_fire_as_json(prompt: str) -> None:
    word = next(w for w in parse(["run", "--", prompt], VERBS, "run").for_fire() if w.startswith("--prompt="))
    assert json.loads(word.removeprefix("--prompt=")) == prompt


def test_options() -> None:
    got = values("run", "x", "--temp=0.5", "--stop", "a", "--stop=b", "--json", "-m", "hf:a/b:Q4_0", "--seed", "-1")
    assert got == {
        "prompt": "x", "temperature": 0.5, "stop": ["a", "b"], "as_json": True, "model": "hf:a/b:Q4_0", "seed": -1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "message", "remedy"),
    [
        (["run", "x", "--tmep", "0"], "no option '--tmep'", "--temp"),
        (["run", "--max-token=3"], "no option", "--max-tokens"),
        (["run", "x", "-n", "many"], "a whole number, not 'many'", None),
        (["run", "x", "--temp"], "needs a value", None),
        (["run", "x", "--json=1"], "takes no value", None),
        (["run", "Once", "upon"], "does not know what to do with 'upon'", "--help"),
        (["pull"], "needs MODEL", "--help"),
        (["list", "-x"], "no option '-x'", "--help"),
    ],
)
def test_mistakes_are_explained(argv: list[str], message: str, remedy: str | None) -> None:
    with pytest.raises(UsageError) as e:
        parse(argv, VERBS, "run")
    assert message in str(e.value)
    assert remedy is None or remedy in str(e.value.remedy)


def test_words_behind_a_script_are_its_own() -> None:
    assert values("js", "a.mjs", "--help", "-n", "--", "x") == {"script": "a.mjs", "args": ["--help", "-n", "--", "x"]}


@pytest.mark.parametrize("name", VERBS)
def test_the_table_matches_the_functions(name: str) -> None:
    verb = VERBS[name]
    parameters = inspect.signature(verb.call).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    wanted = [*verb.positional, *(o.name for o in verb.options)]
    if not takes_any:
        assert set(wanted) <= set(parameters)
    required = [p.name for p in parameters.values() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    assert required == list(verb.positional[: len(verb.positional) - verb.optional])


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_help(name: str) -> None:
    text = usage(name, VERBS[name])
    assert text.startswith(f"Usage: pocketllama {name}") and VERBS[name].summary in text
    assert name in overview()
    assert parse([name, "--help"], VERBS, "run").wants_help or VERBS[name].rest


@pytest.mark.parametrize("name", ["", *VERBS])
def test_help_fits_a_terminal_of_80_columns(name: str) -> None:
    """All words are there, in their order, and examples in one line each, which can be copied."""
    text = usage(name, VERBS[name]) if name else overview()
    shown = fitted(text, 80)
    assert fitted(text, None) == text
    assert shown.split() == text.split()
    before, _, examples = shown.partition("\nExamples:\n")
    assert text.endswith(examples)
    assert max(map(len, before.splitlines())) <= 80


def test_help_in_columns_hangs_in_them() -> None:
    text = "Words that go on\nfor two lines.\n\nOptions:\n  -a, --all N  one two three four five six\n"
    assert fitted(text, 30) == (
        "Words that go on for two\nlines.\n\nOptions:\n  -a, --all N  one two three\n               four five six\n"
    )
