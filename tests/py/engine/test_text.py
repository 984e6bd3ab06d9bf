"""Pieces of bytes become the same text, however they are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pocketllama.engine.text import StopStrings, Utf8Stream


def decoded(pieces: list[bytes]) -> str:
    stream = Utf8Stream()
    return "".join(map(stream.feed, pieces)) + stream.flush()


@given(st.text(), st.integers(1, 5))
def test_utf8_in_pieces(text: str, size: int) -> None:
    data = text.encode()
    assert decoded([data[i : i + size] for i in range(0, len(data), size)]) == text


def test_no_character_waits_for_the_next() -> None:
    stream = Utf8Stream()
    assert stream.feed("你".encode()[:2]) == "" and stream.feed("你".encode()[2:] + b"a") == "你a"


def test_what_never_becomes_a_character_is_shown() -> None:
    assert decoded([b"caf", b"\xc3"]) == "caf\N{REPLACEMENT CHARACTER}"


def stopped(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stop = StopStrings(stops)
    text = "".join(map(stop.feed, pieces))
    return (text if stop.found else text + stop.flush()), stop.found


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_a_text_ends_at_the_first_stop_string_completed(text: str, stops: list[str]) -> None:
    # The definition: read character by character; the first stop string that is complete ends the text where it begins.
    expected, found = text, False
    for end in range(len(text) + 1):
        starts = [text[:end].find(s) for s in stops if s in text[:end]]
        if starts:
            expected, found = text[: min(starts)], True
            break
    assert stopped(list(text), stops) == (expected, found)


@given(st.text("abc", max_size=20), st.text("abc", min_size=1, max_size=4), st.integers(1, 7))
def test_where_pieces_are_cut_does_not_matter(text: str, stop: str, size: int) -> None:
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    assert stopped(pieces, [stop]) == stopped(list(text), [stop])


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    stop = StopStrings(["END"])
    assert [stop.feed(p) for p in ("xE", "N", "x", "E")] == ["x", "", "ENx", ""]
    assert stop.flush() == "E"
