"""Any Unicode text through tokenize and back (R5): nothing is written beyond the tokens, the text comes back, and the
ids are sentencepiece's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import c_int32
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from . import abi
from .library import Library

TRAINED = Path(__file__).resolve().parents[3] / "shared" / "data" / "tales" / "tokenizer.model"
GUARD = 0x5AA5
MARK = "\u2581"  # how a vocabulary writes a space: a text's own cannot be told from it
# Whatever Unicode has (surrogates are no text), and much of what the vocabulary knows.
TEXT = st.text(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("the king and  \n\t\0é你🦙</s>")))


@pytest.fixture(scope="module")
def model(library: Library, tales: Path) -> Iterator[tuple[Any, int]]:
    lib = abi.bind(library.path)
    handle = abi.load(lib, tales, vocab_only=1)
    yield lib, handle
    lib.pl_free(handle)


@pytest.fixture(scope="module")
def reference() -> Callable[[str], list[int]] | None:
    if not TRAINED.exists():
        return None
    import sentencepiece

    encode: Callable[[str], list[int]] = sentencepiece.SentencePieceProcessor(model_file=str(TRAINED)).encode
    return encode


@pytest.mark.parametrize("n", [1_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_any_text(model: tuple[Any, int], reference: Callable[[str], list[int]] | None, n: int) -> None:
    lib, llm = model

    @settings(max_examples=n, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(TEXT)
    def check(text: str) -> None:
        raw = text.encode()
        count = lib.pl_tokenize(llm, raw, len(raw), 0, None, 0)
        guarded = (c_int32 * (count + 4))(*[GUARD] * (count + 4))
        inner = c_int32.from_buffer(guarded, 8)  # two words before and two behind
        assert lib.pl_tokenize(llm, raw, len(raw), 0, inner, count) == count
        assert guarded[:2] == guarded[count + 2 :] == [GUARD] * 2
        ids = guarded[2 : count + 2]
        if MARK not in text:
            assert abi.detokenize(lib, llm, ids) == raw
        if reference:
            assert ids == reference(text)

    check()
