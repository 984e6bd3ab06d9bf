"""The model that ships with the package: that it is what the converter makes, and that it still tells its story."""

from __future__ import annotations

import hashlib
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from machine import has_avx2

from pocketllama import gguf
from pocketllama.convert import convert

DATA = Path(__file__).resolve().parents[3] / "py" / "pocketllama" / "data"
TALES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "tales"


@pytest.mark.skipif(not TALES.exists(), reason="the tales checkpoint is not here")
def test_converting_again_gives_the_same_bytes(tmp_path: Path, tales: Path) -> None:
    out = convert(TALES, tmp_path / "again.gguf", type="q8_0")
    assert hashlib.sha256(out.read_bytes()).hexdigest() == hashlib.sha256(tales.read_bytes()).hexdigest()


def test_the_readme_has_its_sha256_and_size(tales: Path) -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"[0-9a-f]{64}", readme) == [hashlib.sha256(tales.read_bytes()).hexdigest()]
    assert f"{tales.stat().st_size:,} bytes" in readme
    assert tales.stat().st_size <= 8_000_000


def test_what_it_is(tales: Path) -> None:
    with gguf.read(tales) as f:
        m = f.metadata
        assert (m["general.architecture"], m["general.name"]) == ("llama", "tales")
        assert m["llama.context_length"] == 512
        assert m.length("tokenizer.ggml.tokens") == 4096
        assert len(f.tensors) == 57
        assert 6.7e6 < sum(t.n_elements for t in f.tensors) < 6.9e6


@pytest.mark.skipif(not has_avx2(), reason="ctransformers' avx2 library runs on x86-64 with AVX2")
def test_the_golden_text(golden: dict[str, Any], tales: Path) -> None:
    """By stock ctransformers, greedy: the one candidate that top_k=1 leaves has probability 1."""
    from ctransformers import LLM

    llm = LLM(str(tales), lib="avx2")
    assert llm.tokenize(golden["prompt"]) == golden["prompt_tokens"]
    generator = llm.generate(
        golden["prompt_tokens"],
        top_k=1,
        temperature=1.0,
        repetition_penalty=golden["repetition_penalty"],
        last_n_tokens=golden["repetition_window"],
        threads=2,
    )
    tokens = list(itertools.islice(generator, golden["max_tokens"]))
    assert tokens == golden["tokens"]
    assert "".join(llm.detokenize([t]) for t in tokens) == golden["text"]
    assert golden["text"].startswith(
        " there lived a king who had a son, and he was so beautiful that he could not bear to marry anybody."
    )


@pytest.mark.skipif(not has_avx2(), reason="ctransformers' avx2 library runs on x86-64 with AVX2")
@pytest.mark.skipif(not TALES.exists(), reason="the tales checkpoint is not here")
@pytest.mark.parametrize("type", ["f32", "f16", "q4_0"])
def test_the_other_types_tell_it_too(type: str, tmp_path: Path, golden: dict[str, Any]) -> None:
    """All begin alike; rounding parts them later."""
    from ctransformers import LLM

    llm = LLM(str(convert(TALES, tmp_path, type=type)), lib="avx2")
    generator = llm.generate(golden["prompt_tokens"], top_k=1, temperature=1.0, repetition_penalty=1.1, threads=2)
    assert list(itertools.islice(generator, 12)) == golden["tokens"][:12]
