"""The native loader and the Python reader: one idea of what a valid GGUF file is."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "gguf")]

from bad_files import BAD  # noqa: E402
from handmade import GOOD, GOOD_HEADER_SIZE, U32, scalar, whole  # noqa: E402
from native_build import program  # noqa: E402

from pocketllama import gguf  # noqa: E402
from pocketllama.errors import ModelInvalid  # noqa: E402

SOURCES = ["file.cc", "gguf.cc", "gguf_parse.cc", "gguf_names.cc", "gguf_split.cc", "utf8_check.cc"]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program("gguf_check", SOURCES, tmp_path_factory.mktemp("gguf_check"), sanitized=True)


def native_says(check: Path, files: list[Path]) -> list[str]:
    """A line for each file, beginning with "ok" or "error KIND"."""
    lines: list[str] = []
    for i in range(0, len(files), 500):
        ran = subprocess.run([check, *files[i : i + 500]], capture_output=True, encoding="utf-8", timeout=60)
        assert ran.returncode in (0, 1) and not ran.stderr, (ran.returncode, ran.stderr)
        lines += ran.stdout.splitlines()
    assert len(lines) == len(files)
    return lines


def python_says(file: Path) -> str:
    try:
        gguf.read(file).close()
    except ModelInvalid as e:
        return f"error: {e}"
    return "ok"


def test_bad_files_are_bad_in_the_same_words(check: Path, tmp_path: Path) -> None:
    files = []
    for i, (data, _) in enumerate(BAD.values()):
        files.append(tmp_path / f"{i}.gguf")
        files[-1].write_bytes(data)
    for (name, (_, words)), line in zip(BAD.items(), native_says(check, files), strict=True):
        assert line.startswith(("error 4:", "error 5:")), (name, line)
        if name not in DIFFERENT_WORDS:
            assert words in line, (name, line)
        assert len(line) < 400 and line.isprintable(), (name, line)


# Files that both refuse, for another reason or under another name.
DIFFERENT_WORDS = {
    "alignment: 2^31",  # beyond the native limit of 1 MiB
}


def test_flipped_bytes_are_judged_alike(check: Path, tmp_path: Path) -> None:
    rng = random.Random(5)
    files = []
    for i in range(2000):
        data = bytearray(GOOD)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(GOOD_HEADER_SIZE)] = rng.randrange(256)
        files.append(tmp_path / f"{i}.gguf")
        files[-1].write_bytes(data)
    differ = [
        (line, says)
        for line, says in zip(native_says(check, files), map(python_says, files), strict=True)
        if line[:2] != says[:2]
    ]
    assert not differ, differ[:5]


def test_the_largest_alignment(check: Path, tmp_path: Path) -> None:
    file = tmp_path / "aligned.gguf"
    file.write_bytes(whole([scalar("general.alignment", U32, 1 << 20)]))
    assert native_says(check, [file])[0].startswith("ok") and python_says(file) == "ok"
