"""Models with more ids than texts: their vocabulary is shorter than their embedding, or they have none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pocketllama import LLM, errors
from pocketllama.gguf import ValueType

from .cases import CASES
from .library import Library
from .models import F32, N_VOCAB, vocabulary, write

CASE = CASES["llama"]


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


def test_no_vocabulary(tmp_path: Path, goldens: dict[str, F32]) -> None:
    none = {"tokenizer.ggml.model": (ValueType.STRING, "no_vocab")}
    path = write(tmp_path / "none.gguf", CASE.arch, CASE.metadata, CASE.tensors(), none)
    with LLM(str(path), kv_type="f32") as llm:
        assert llm.vocab_size == N_VOCAB
        prompt = CASE.prompt().tolist()
        assert np.allclose(llm.score(prompt), goldens["llama"], atol=1e-3)
        result = llm.complete(prompt, max_tokens=5, temperature=0).result()
        assert len(result.tokens) == 5 and result.text == ""
        for use in (llm.encode, llm.complete):
            with pytest.raises(errors.ModelInvalid, match="has no vocabulary"):
                list(use("text"))


def test_a_vocabulary_shorter_than_the_embedding(tmp_path: Path) -> None:
    rows = N_VOCAB + 40
    tensors = CASE.tensors()
    for name in ("token_embd.weight", "output.weight"):
        tensors[name] = np.concatenate([tensors[name], 2 * tensors[name][:40]])
    path = write(tmp_path / "short.gguf", CASE.arch, CASE.metadata, tensors, vocabulary())
    with LLM(str(path)) as llm:
        assert llm.vocab_size == rows
        result = llm.complete([5], max_tokens=100, temperature=3.0, top_k=0, top_p=1.0, seed=1).result()
        assert max(result.tokens) >= N_VOCAB  # such ids come, and have no text
        assert result.text == llm.decode([t for t in result.tokens if t < N_VOCAB])
