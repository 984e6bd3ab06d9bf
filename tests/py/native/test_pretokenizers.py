"""Where the native pre-tokenizers cut texts, against Hugging Face's `tokenizers` with each family's published rules."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from hard_texts import every_category, random_texts  # noqa: E402
from native_build import NATIVE, program  # noqa: E402

reference = pytest.importorskip("tokenizer_reference", reason="`tokenizers` is not installed")


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unicode = sorted(f"unicode/{p.name}" for p in (NATIVE / "src" / "unicode").glob("*.cc"))
    return program("pretokenizer_check", ["tokenizer/pretokenizer.cc", *unicode], tmp_path_factory.mktemp("check"))


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return [*every_category(), *random_texts(3000, seed=3)]


def words(check: Path, pre: str, texts: list[str]) -> list[list[str]]:
    data = [text.encode() for text in texts]
    asked = b"".join(struct.pack("<I", len(text)) + text for text in data)
    ran = subprocess.run([check, pre], input=asked, capture_output=True, timeout=600)
    assert ran.returncode == 0, ran.stderr.decode()
    numbers = list(struct.unpack(f"<{len(ran.stdout) // 4}I", ran.stdout))
    found, at = [], 0
    for text in texts:
        ends = numbers[at + 1 : at + 1 + numbers[at]]
        at += 1 + len(ends)
        found.append([text[a:b] for a, b in zip([0, *ends], ends, strict=False)])
    assert at == len(numbers)
    return found


@pytest.mark.parametrize("pre", reference.PRE_TOKENIZERS)
def test_words(check: Path, pre: str, texts: list[str]) -> None:
    pre_tokenizer = reference.pre_tokenizer(pre)
    for text, found in zip(texts, words(check, pre, texts), strict=True):
        expected = [text[begin:end] for _, (begin, end) in pre_tokenizer.pre_tokenize_str(text)]
        assert found == expected, text
