"""Texts longer than the context, on our own library: the older half is forgotten, only when that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, errors
from pocketllama.engine import Completion

from .cases import CASES
from .library import Library

CONTEXT = 48
LONG: dict[str, Any] = {"max_tokens": 150, "seed": 5, "logit_bias": {2: -100.0}}  # it never ends by itself
PROMPT = "Once upon a time there was a king"


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


def load(**options: Any) -> LLM:
    return LLM.from_pretrained("tales", context_length=CONTEXT, **options)


def complete(llm: LLM, **values: Any) -> Completion:
    return llm.complete(PROMPT, **{**LONG, **values}).result()


def test_a_full_context_ends_the_text_unless_it_may_shift() -> None:
    with load() as llm:
        plain, shifted = complete(llm), complete(llm, context_shift=True)
        assert plain.finish_reason == shifted.finish_reason == "length"
        n = plain.completion_tokens
        assert plain.prompt_tokens + n == CONTEXT + 1 and shifted.completion_tokens == 150
        assert shifted.tokens[:n] == plain.tokens  # nothing is different before
        assert len(llm._context) <= CONTEXT
        kept = complete(llm, context_shift=True, keep=20)
        assert kept.tokens[:n] == plain.tokens and kept.tokens != shifted.tokens
        assert llm._context[:20] == [*llm.tokenize(PROMPT), *kept.tokens][:20]
        with pytest.raises(errors.ContextOverflow):
            llm.complete([5] * (CONTEXT + 1), context_shift=True)


def test_what_else_runs_changes_nothing() -> None:
    """Another generation takes the cache away in the middle, before the first shift and after it."""
    with load() as llm:
        alone = complete(llm, context_shift=True)
        stream = llm.complete(PROMPT, **LONG, context_shift=True)
        for i, _ in enumerate(stream):
            if i in (10, 60, 61, 110):
                llm.complete("The wolf", max_tokens=3).text()
            if i == 80:
                llm.eval([5])  # behind what the generation has in the cache
        assert stream.result().tokens == alone.tokens
    with load() as llm:
        llm._chunks.LARGEST = llm._chunks.size = 7
        assert complete(llm, context_shift=True).tokens == alone.tokens


def test_what_was_shifted_is_not_taken_for_a_text() -> None:
    with load() as llm, load() as fresh:
        complete(llm, context_shift=True)
        context = llm._context[:30]
        found = llm.complete(context, max_tokens=8, temperature=0).result()
        assert found.timings.prompt_tokens_evaluated == 30 - 4  # the kept ones are clean
        wanted = fresh.complete(context, max_tokens=8, temperature=0).result()
        assert found.tokens == wanted.tokens
        assert llm.score(context).tolist() == fresh.score(context).tolist()
        again = llm.complete(context, max_tokens=8, temperature=0).result()
        assert again.timings.prompt_tokens_evaluated == 1 and again.tokens == wanted.tokens


@pytest.mark.parametrize("kv_type", ["f32", "q8_0"])
def test_other_types_of_the_cache(kv_type: str) -> None:
    with load(kv_type=kv_type) as llm:
        assert complete(llm, context_shift=True).completion_tokens == 150


def test_what_cannot_be_shifted_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    with load() as llm:
        with pytest.raises(errors.UsageError, match="keep is 47"):
            llm.complete(PROMPT, context_shift=True, keep=CONTEXT - 1)
        with pytest.raises(errors.UsageError, match="context_shift must be"):
            llm.complete(PROMPT, context_shift=1)
        assert complete(llm, context_shift=True, keep=CONTEXT - 2).completion_tokens == 150
    with LLM(str(CASES["gpt2"].write(tmp_path / "gpt2.gguf"))) as llm:
        with pytest.raises(errors.ModelInvalid, match="learn what each position is"):
            llm.complete([5], context_shift=True).text()
        assert llm.complete([5], max_tokens=2).result().completion_tokens <= 2
    with LLM.from_pretrained("tales", lib="avx2") as bundled, pytest.raises(errors.UsageError, match="context_shift"):
        bundled.complete(PROMPT, context_shift=True).text()
