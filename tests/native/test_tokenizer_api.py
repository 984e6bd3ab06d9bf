"""`Tokenizer` and `LLM`'s text functions on our library: texts come back whole, streamed or not, and only `special`
makes control tokens of their names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketllama import LLM, Tokenizer
from pocketllama.engine.text import Utf8Stream

from ..conftest import SHARED
from .library import Library

MARK = "\u2581"  # sentencepiece's own for a space
# Each with the name of a control token.
VOCABULARIES = {
    "tales": "<s>", "llama-spm": "</s>", "llama-bpe": "<|eot_id|>", "qwen2": "<|im_end|>", "gpt-2": "<|endoftext|>",
}  # fmt: skip
texts = st.text(st.characters(exclude_characters=MARK, exclude_categories=["Cs"]))
# One tokenizer for all examples, and no state in it.
same = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=VOCABULARIES)
def vocabulary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def tokenizer(
    vocabulary: str, library: Library, tales: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tokenizer]:
    file = tales if vocabulary == "tales" else SHARED / "vocab" / f"ggml-vocab-{vocabulary}.gguf"
    if not file.exists():
        pytest.skip("the vocabularies are not here")
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))
    with Tokenizer(file) as tokenizer:
        yield tokenizer


@same
@given(text=texts)
def test_a_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(tokenizer.encode(text, bos=True)) == text


@same
@given(pieces=st.lists(texts))
def test_special_names_are_text_unless_asked_for(tokenizer: Tokenizer, vocabulary: str, pieces: list[str]) -> None:
    name = VOCABULARIES[vocabulary]
    [token] = tokenizer.encode(name, special=True)
    written = name.join(pieces)
    plain = tokenizer.encode(written)
    assert token not in plain and tokenizer.decode(plain) == written
    found = tokenizer.encode(written, special=True)
    assert found.count(token) == max(len(pieces) - 1, 0)
    assert tokenizer.decode(found) == "".join(pieces)


@pytest.fixture
def llm(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LLM]:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))
    with LLM.from_pretrained("tales") as llm:
        yield llm


@same
@given(text=texts)
def test_streamed_pieces_are_the_whole(llm: LLM, text: str) -> None:
    """A character spread over several tokens is shown when its last byte is there, and none is lost."""
    stream = Utf8Stream()
    shown = [stream.feed(llm.detokenize([token], decode=False)) for token in llm.encode(text)]
    shown.append(stream.flush())
    assert "".join(shown) == (" " + text if text else "")
    assert "\ufffd" not in "".join(shown) or "\ufffd" in text
