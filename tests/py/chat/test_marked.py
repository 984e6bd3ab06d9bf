"""Marked strings: the same as plain ones in every operation, and the marks go where the characters go."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketllama.chat import marked
from pocketllama.chat.marked import Marked, cat

# What the template writes is of letters that nobody else uses; so the marks can be told from the text.
OWN, GIVEN = "ABC<|\n", "xyz _"
own = st.text(OWN, max_size=6).map(Marked.own)
given_text = st.text(GIVEN + "\t", max_size=6)
mixed = st.lists(st.one_of(own, given_text), max_size=4).map(cat)

OPERATIONS: dict[str, Callable[[str], Any]] = {
    "strip": lambda s: s.strip(),
    "strip letters": lambda s: s.strip("xA"),
    "lstrip": lambda s: s.lstrip(),
    "rstrip": lambda s: s.rstrip("\n "),
    "slice": lambda s: [s[1:-1], s[:3], s[-2:], s[2:1], s[:]],
    "characters": lambda s: [s[i] for i in range(-len(s), len(s))],
    "split": lambda s: [s.split(), s.split(" "), s.split("A"), s.split(None, 1), s.split("\n", 1)],
    "rsplit": lambda s: [s.rsplit(), s.rsplit("x"), s.rsplit(None, 1), s.rsplit("A", 1)],
    "lines": lambda s: [s.splitlines(), s.splitlines(True)],
    "partition": lambda s: [*s.partition("x"), *s.rpartition("A")],
    "affixes": lambda s: [s.removeprefix("A"), s.removesuffix("x"), s.removeprefix(""), s.removesuffix("")],
    "replace": lambda s: [s.replace("x", "yy"), s.replace("A", ""), s.replace("x", "y", 1), s.replace("x", "z", 0)],
    "times": lambda s: [s * 3, 2 * s, s * 0, s * -1],
    "sum": lambda s: [s + "xyz", "xyz" + s, s + s],
    "lower case of what has none": lambda s: s.lower().upper().lower(),
}


def flat(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [x for part in value for x in flat(part)]


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=50)
@given(text=mixed)
def test_operations_are_those_of_plain_strings(name: str, text: Marked) -> None:
    plain = "".join(iter(text))
    made, expected = flat(OPERATIONS[name](text)), flat(OPERATIONS[name](plain))
    assert made == expected
    if "case" in name:
        return
    for result in made:
        marks = {i for a, b in getattr(result, "spans", ()) for i in range(a, b)}
        # No character that was given is marked; and these operations lose no mark either.
        assert marks == {i for i, c in enumerate(result) if c in OWN}


@given(parts=st.lists(st.one_of(own, given_text), max_size=5), glue=own)
def test_joining(parts: list[str], glue: Marked) -> None:
    joined = glue.join(parts)
    assert joined == "".join(iter(glue)).join("".join(iter(p)) for p in parts)
    assert isinstance(joined, Marked)
    assert {i for a, b in joined.spans for i in range(a, b)} == {i for i, c in enumerate(joined) if c in OWN}


def test_spans_are_in_order_and_do_not_touch() -> None:
    text = cat([Marked.own("AB"), Marked.own("C"), "x", Marked.own(""), Marked.own("A")])
    assert text.spans == ((0, 3), (4, 5))


def test_what_is_not_known_is_not_marked() -> None:
    text = Marked.own("AB{}%s")
    for made in (text.format("x"), text % "x", text.center(9), text.casefold(), text.translate({65: "x"}), text[::-1]):
        assert not getattr(made, "spans", ())


def test_letters_that_become_two_lose_the_marks() -> None:
    assert Marked.own("straße").upper() == "STRASSE"
    assert not getattr(Marked.own("straße").upper(), "spans", ())


def test_it_is_its_plain_string_to_dictionaries_and_pickles() -> None:
    text = Marked.own("role")
    assert {"role": 1}[text] == 1 and {text: 1}["role"] == 1 and text in {"role"}
    again = pickle.loads(pickle.dumps(text))  # noqa: S301
    assert again == text and again.spans == text.spans


def test_what_is_no_text_is_not_joined() -> None:
    for wrong in (lambda: Marked.own("A") + 1, lambda: None + Marked.own("A"), lambda: Marked.own("A").join(["x", 1])):
        with pytest.raises(TypeError):
            wrong()  # type: ignore[no-untyped-call]
    with pytest.raises(IndexError):
        Marked.own("A")[1]


def test_a_text_has_an_end() -> None:
    half = Marked.own("A" * (marked.MAX_TEXT // 2))
    assert len(half * 2) == marked.MAX_TEXT
    for too_much in (lambda: half * 3, lambda: 10**12 * half, lambda: half + half + "x"):
        with pytest.raises(OverflowError):
            too_much()
