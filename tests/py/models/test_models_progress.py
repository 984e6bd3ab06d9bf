"""The progress bar: a bar on a terminal, few lines elsewhere, and never a reason to fail."""

from __future__ import annotations

import io

import pytest

from pocketllama.models import ProgressEvent, progress
from pocketllama.units import human_size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with progress.bar(stream) as report:
        for done in range(0, 1001, 100):
            report(ProgressEvent("sub/model.gguf", done, 1000))
    last = stream.getvalue().rstrip().rpartition("\r")[2]
    assert "model.gguf: 100%" in last and "1.00k/1.00k" in last and "sub/" not in last


def test_a_bar_that_starts_over_and_several_files() -> None:
    stream = Terminal()
    with progress.bar(stream) as report:
        report(ProgressEvent("a.gguf", 900, 1000))
        report(ProgressEvent("a.gguf", 10, 1000))
        report(ProgressEvent("a.gguf", 1000, 1000))
        report(ProgressEvent("b.gguf", 5, None))
        report(ProgressEvent("b.gguf", 50, 50))
    assert "a.gguf: 100%" in stream.getvalue() and "b.gguf" in stream.getvalue()


def test_a_pipe_gets_a_line_at_each_quarter() -> None:
    stream = io.StringIO()
    with progress.bar(stream) as report:
        for done in range(0, 4_000_001, 10_000):
            report(ProgressEvent("m.gguf", done, 4_000_000))
        report(ProgressEvent("n.gguf", 10, None))
    assert stream.getvalue().splitlines() == [f"m.gguf: {n}% of 4.0 MB" for n in (0, 25, 50, 75, 100)] + [
        "n.gguf: 10 B"
    ]


def test_a_note_stands_where_the_bar_was_until_bytes_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    with progress.bar(stream) as report:
        report(ProgressEvent("m.gguf", 0, None, "asking example.org"))
        assert stream.getvalue() == "\r\x1b[Km.gguf: asking example.org"
        report(ProgressEvent("m.gguf", 0, 1000))
        report(ProgressEvent("m.gguf", 500, 1000, "trying again (2 of 6): the connection to example.org failed"))
        shown = stream.getvalue().rpartition("\x1b[K")[2]
        assert shown == "m.gguf: trying again (2 of 6): the con…"
        report(ProgressEvent("m.gguf", 1000, 1000))
    assert "m.gguf: 100%" in stream.getvalue().rpartition("\x1b[K")[2]


def test_a_pipe_gets_each_note_on_a_line() -> None:
    stream = io.StringIO()
    with progress.bar(stream) as report:
        report(ProgressEvent("m.gguf", 0, None, "asking example.org"))
        report(ProgressEvent("m.gguf", 0, 1000))
    assert stream.getvalue() == "m.gguf: asking example.org\nm.gguf: 0% of 1.0 kB\n"


def test_a_broken_stream_ends_the_drawing_only() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Broken(), closed):
        with progress.bar(stream) as report:
            report(ProgressEvent("m.gguf", 1, 2))
            report(ProgressEvent("m.gguf", 2, 2))


def test_sizes_read_well() -> None:
    assert [human_size(n) for n in (0, 999, 1000, 999_949, 999_999, 1_500_000, 2_497_280_256, 10**15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.0 MB",
        "1.0 MB",
        "1.5 MB",
        "2.5 GB",
        "1000 TB",
    ]
