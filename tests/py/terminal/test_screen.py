"""What an answer looks like: harmless, wrapped between words, and the same however it was cut into pieces."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketllama.terminal.screen import AnswerWriter, _columns, _fold, harmless


def written(text: str, width: int | None, cuts: tuple[int, ...] = ()) -> str:
    out: list[str] = []
    writer = AnswerWriter(out.append, (lambda: width) if width else None)
    at = [0, *cuts, len(text)]
    for a, b in pairwise(at):
        writer.feed(text[a:b])
    writer.end()
    return "".join(out)


def on_screen(text: str, width: int) -> list[str]:
    """The lines of a terminal that obeys what was written: letters, line feeds, moves to the left, erasure."""
    lines = [""]
    for part in re.findall(r"\x1b\[\d*[a-zA-Z]|.|\n|\r", text):
        if part == "\r":
            lines[-1] = ""  # and what stood there is erased next
        elif part == "\n":
            lines.append("")
        elif part.startswith("\x1b") and part.endswith("D"):
            n = int(part[2:-1])
            assert n < len(lines[-1]) + 1
            lines[-1] = lines[-1][: len(lines[-1]) - n]
        elif not part.startswith("\x1b"):
            lines[-1] += part
            assert _columns(lines[-1]) <= width, "the terminal itself would have broken this line"
    return lines


def test_words_are_not_broken() -> None:
    assert on_screen(written("The king had a daughter.", 10), 10) == ["The king ", "had a ", "daughter.", ""]
    assert on_screen(written("one\n\ntwo", 10), 10) == ["one", "", "two", ""]


def test_a_word_that_is_too_long_is() -> None:
    assert on_screen(written("abc " + "x" * 25, 10), 10) == ["abc ", "x" * 10, "x" * 10, "x" * 5, ""]


@settings(max_examples=150)
@given(text=st.text("abc def.\n漢字🦙é", max_size=80), cut=st.integers(0, 80))
def test_pieces_do_not_matter_and_nothing_is_lost(text: str, cut: int) -> None:
    whole = written(text, 12)
    assert written(text, 12, (min(cut, len(text)),)) == whole
    shown = "".join(on_screen(whole, 12))
    assert shown.split() == text.split() or "".join(shown.split()) == "".join(text.split())


def test_white_space_around_an_answer_is_not_shown() -> None:
    assert on_screen(written("\n\n Hello \n", 20), 20) == ["Hello", ""]
    assert written("\n\n Hello \n", None) == "Hello\n" and written("", None) == "\n"


def test_until_the_first_word_there_is_a_sign() -> None:
    out: list[str] = []
    writer = AnswerWriter(out.append, lambda: 20)
    assert "…" in out[0]
    writer.feed(" \n")
    assert len(out) == 1
    writer.end()
    assert on_screen("".join(out), 20) == [""]


def test_code_keeps_its_lines() -> None:
    line = "for x in range(100): print(x)"
    text = f"So:\n```\n{line}\n```\nIt was long ago."
    assert line in written(text, 20)
    assert on_screen(written("```\nx\n```\nIt was longer ago.", 12), 12)[3] == "It was "


def test_thoughts_are_dim() -> None:
    text = written("<think>Hm.</think>\n\nYes.", 40, (3, 9, 12))
    assert on_screen(text, 40) == ["<think>Hm.</think>", "", "Yes.", ""]
    text = text.partition("\r")[2]
    assert text.index("\x1b[2m") < text.index("Hm.") < text.index("\x1b[0m") < text.index("Yes.")
    assert written("<think>Hm.", 40).endswith("\x1b[0m\n")


def test_what_terminals_obey_is_not_written() -> None:
    hostile = "a\x1b]0;title\x07b\x1b[2Jc\r\x08\x9b31md\u202ee"
    for c in harmless(hostile):
        assert c.isprintable()
    shown = written(hostile, 40).partition("\r\x1b[K")[2]  # behind what we write ourselves
    assert shown and "\x1b" not in shown and "\x07" not in shown and "\r" not in shown
    assert written(hostile, None) == hostile + "\n"  # a pipe gets what the model said
    assert harmless("👩\u200d🚀 é\n") == "👩\u200d🚀 é\n"


@pytest.mark.parametrize(
    ("line", "width", "parts"),
    [
        ("one two three", 8, ["one two", "three"]),
        ("  one two three", 8, ["  one", "  two", "  three"]),
        ("verylongword", 4, ["verylongword"]),
        ("", 4, [""]),
        ("any", 0, ["any"]),
    ],
)
def test_notes_are_folded(line: str, width: int, parts: list[str]) -> None:
    assert _fold(line, width) == parts
