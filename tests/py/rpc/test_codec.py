"""Framing: whole messages out of bytes cut anywhere, and nothing kept that is too long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketllama.errors import MessageTooLarge, ParseError, ProtocolError
from pocketllama.rpc.codec import Decoder, encode


def decode(data: bytes, size: int = 1 << 20, limit: int = 100) -> list[bytes | ProtocolError]:
    decoder = Decoder(limit)
    out: list[bytes | ProtocolError] = []
    for i in range(0, len(data), size):
        out += decoder.feed(data[i : i + size])
    return out + list(decoder.end())


BODIES = st.lists(st.binary(min_size=1, max_size=40).filter(lambda b: b.strip() and b"\n" not in b), max_size=5)


@given(BODIES, st.integers(1, 30))
def test_headers_in_pieces(bodies: list[bytes], size: int) -> None:
    assert decode(b"".join(encode(b, headers=True) for b in bodies), size) == bodies


@given(BODIES.map(lambda bs: [b"{" + b for b in bs]), st.integers(1, 30))
def test_lines_in_pieces(bodies: list[bytes], size: int) -> None:
    assert decode(b"".join(encode(b, headers=False) for b in bodies), size) == bodies


def test_the_last_line_needs_no_newline_and_blank_ones_do_not_count() -> None:
    assert decode(b"\n\r\n  \n{}\r\n\n[1]") == [b"{}\r", b"[1]"]


def test_header_names_in_any_case_and_beside_others() -> None:
    assert decode(b"content-LENGTH: 2\r\nContent-Type: x\r\n\r\n{}", 1) == [b"{}"]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_too_long_is_skipped_and_told_once(size: int) -> None:
    first, second, *rest = decode(b"x" * 500 + b"\n{}\n", size)
    assert isinstance(first, MessageTooLarge) and second == b"{}" and not rest


def test_a_body_too_long_is_skipped_and_told_once() -> None:
    first, second, *rest = decode(encode(b"x" * 500, True) + encode(b"{}", True), 7)
    assert isinstance(first, MessageTooLarge) and second == b"{}" and not rest


def test_what_is_skipped_is_not_kept() -> None:
    decoder = Decoder(100)
    for _ in range(50):
        list(decoder.feed(b"x" * 1000))
    assert len(decoder._buffer) <= 1000


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: x", b"Content-Length: -1", b"Content-Type: a", b"Content-Length: 1\r\nContent-Length: 2",
     b"Content-Length: " + b"9" * 40, b"Content-Length: " + b" " * 5000],
)  # fmt: skip
def test_headers_that_cannot_be_used_end_the_connection(head: bytes) -> None:
    decoder = Decoder(100)
    out = list(decoder.feed(head + b"\r\n\r\n{}"))
    assert len(out) == 1 and isinstance(out[0], ParseError) and decoder.broken


def test_an_input_that_ends_inside_a_message() -> None:
    (error,) = decode(b"Content-Length: 10\r\n\r\n{}")
    assert isinstance(error, ParseError)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_garbage_is_never_fatal(data: bytes, size: int) -> None:
    decode(data, size)
