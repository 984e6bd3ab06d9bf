"""Our library on real things: the embedded model, its checkpoint's perplexity, and four real vocabularies."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

import pocketllama
from pocketllama import LLM, Tokenizer, errors
from pocketllama.convert import convert

from ..conftest import SHARED
from .heldout import TALES, windows
from .library import Library

needs_shared = pytest.mark.skipif(not TALES.is_dir(), reason="the tales checkpoint and the vocabularies are not here")


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


@pytest.fixture
def llm(own_library: None) -> Iterator[LLM]:
    with LLM.from_pretrained("tales") as llm:
        yield llm


def test_the_golden_text_and_whose_library_it_is(llm: LLM, golden: dict[str, Any], library: Library) -> None:
    assert pocketllama.lib() == str(library.path)
    assert llm.library.kind == "native"
    assert llm.describe()["library"]["isa"] in (
        "scalar",
        "avx2",
        "avx_vnni",
        "avx512",
        "avx512_vnni",
        "neon",
        "neon_dotprod",
        "neon_i8mm",
    )
    assert llm.complete(golden["prompt"], max_tokens=golden["max_tokens"], temperature=0).text() == golden["text"]


@needs_shared
@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_the_perplexity_is_that_of_float32(tmp_path: Path, kv_type: str) -> None:
    stored = json.loads((Path(__file__).parent / "perplexity.json").read_text())
    loss, count = 0.0, 0
    with LLM(str(convert(TALES, tmp_path / "tales.gguf", type="f16")), kv_type=kv_type) as llm:
        texts = windows(llm.encode)
        assert len(texts) == stored["windows"]
        for ids in texts:
            logits = llm.score(ids)[:-1].astype(np.float64)
            top = logits.max(axis=1, keepdims=True)
            log_sum = top[:, 0] + np.log(np.exp(logits - top).sum(axis=1))
            loss += float((log_sum - logits[np.arange(len(ids) - 1), ids[1:]]).sum())
            count += len(ids) - 1
    assert np.exp(loss / count) == pytest.approx(stored["perplexity"], rel=1e-3)


@needs_shared
def test_a_whole_book_is_tokenized_as_sentencepiece_does(llm: LLM) -> None:
    text = (TALES / "heldout.txt").read_text(encoding="utf-8")
    processor = sentencepiece.SentencePieceProcessor(str(TALES / "tokenizer.model"))
    ids = llm.encode(text)
    assert ids == processor.encode(text)
    assert llm.decode(ids) == text


@needs_shared
@pytest.mark.parametrize("name", ["llama-spm", "llama-bpe", "qwen2", "gpt-2"])
def test_real_vocabularies(name: str) -> None:
    file = SHARED / "vocab" / f"ggml-vocab-{name}.gguf"
    texts = Path(f"{file}.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    expected = [[int(i) for i in line.split()] for line in Path(f"{file}.out").read_text().split("\n")]
    with Tokenizer(file) as tokenizer:
        found = [tokenizer.encode(text) for text in texts]
        assert found == expected and len(texts) > 40
        assert [tokenizer.decode(ids) for ids in found] == texts


def test_text_with_a_nul_and_names_of_control_tokens(llm: LLM) -> None:
    assert llm.decode(llm.encode("a\0b")) == "a\0b"
    assert 1 not in llm.encode("<s>x") and llm.encode("<s>x", special=True)[0] == 1


def test_scores(llm: LLM) -> None:
    ids = llm.encode("Once upon a time", bos=True)
    scores = llm.score(ids)
    assert scores.dtype == np.float32 and scores.shape == (len(ids), llm.vocab_size)
    assert llm.complete(ids, max_tokens=1, temperature=0).result().tokens == (int(scores[-1].argmax()),)
    with pytest.raises(errors.ContextOverflow):
        llm.score([1] * 513)
    with pytest.raises(errors.UsageError):
        llm.score([4096])


def test_embeddings(llm: LLM) -> None:
    ids = llm.encode("The wolf and the seven kids", bos=True)
    states = np.array([llm.embed(ids[: i + 1]) for i in range(len(ids))])
    mean = llm.embed(ids, pooling="mean")
    assert mean == pytest.approx(states.mean(axis=0), rel=1e-4, abs=1e-4)
    assert llm.embed("The wolf and the seven kids", pooling="mean") == mean
    assert llm.embed(ids, normalize=True) == pytest.approx(states[-1] / np.linalg.norm(states[-1]), rel=1e-6)
    assert llm.complete(ids, max_tokens=4, temperature=0).result().timings.prompt_tokens_evaluated == 1
    with pytest.raises(errors.UsageError, match='"last" or "mean"'):
        llm.embed(ids, pooling="max")
    with pytest.raises(errors.ContextOverflow):
        llm.embed([5] * 513, pooling="mean")
    with LLM.from_pretrained("tales", lib="avx2") as bundled, pytest.raises(errors.UsageError) as refused:
        bundled.embed(ids, pooling="mean")
    assert refused.value.remedy == "pocketllama build"


def test_types_of_the_cache(golden: dict[str, Any]) -> None:
    for kv_type in ("f16", "f32", "q8_0"):
        with LLM.from_pretrained("tales", kv_type=kv_type) as llm:
            ids = llm.complete(golden["prompt"], max_tokens=8, temperature=0).result().tokens
            assert list(ids) == golden["tokens"][:8]
    with pytest.raises(errors.UsageError, match="f16, f32, q8_0"):
        LLM.from_pretrained("tales", kv_type="q4_0")
    with pytest.raises(errors.UsageError) as refused:
        LLM.from_pretrained("tales", kv_type="q8_0", lib="avx2")
    assert refused.value.remedy == "pocketllama build"


def test_a_file_that_was_read_may_shrink(tmp_path: Path, tales: Path, golden: dict[str, Any]) -> None:
    copy = Path(shutil.copy(tales, tmp_path / "copy.gguf"))
    with LLM.from_pretrained(str(copy), mmap=False) as llm:
        os.truncate(copy, 100)  # a mapped one ends the process here: SIGBUS
        assert llm.complete(golden["prompt"], max_tokens=golden["max_tokens"], temperature=0).text() == golden["text"]


def test_memory_is_told_and_asked_for(llm: LLM) -> None:
    memory = llm.describe()["memory"]
    assert memory["weights"] > memory["cache"] > 0 and memory["arrays"] > 0
    with pytest.raises(errors.OutOfMemory, match=r"needs .* is available") as refused:
        LLM.from_pretrained("tales", context_length=2**31 - 1)
    assert refused.value.remedy and "kv_type" in refused.value.remedy


def test_options_of_our_own(llm: LLM) -> None:
    def text(**values: Any) -> str:
        return llm.complete("Once upon a time", max_tokens=24, seed=3, **values).text()

    plain = text()
    changes: list[dict[str, Any]] = [
        {"min_p": 0.5},
        {"typical_p": 0.2},
        {"mirostat": 2},
        {"frequency_penalty": 2.0},
        {"presence_penalty": 2.0},
        {"xtc_probability": 1.0},
        {"dry_multiplier": 5.0, "repetition_penalty": 1.0},
    ]
    for values in changes:
        assert text(**values) == text(**values) != plain, values
    greedy = llm.complete("Once upon a time", max_tokens=1, temperature=0).result().tokens[0]
    other = llm.complete("Once upon a time", max_tokens=1, temperature=0, logit_bias={greedy: -100}).result().tokens[0]
    assert other != greedy
    with LLM.from_pretrained("tales", lib="avx2") as bundled, pytest.raises(errors.UsageError, match="min_p"):
        bundled.complete("x", min_p=0.5).text()
