"""A second model guesses: the text stays that of the first, whatever the second is and whatever happens to it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, Client, errors, gguf
from pocketllama.engine import Cancel
from pocketllama.engine.pace import Pace
from pocketllama.gguf import ArrayOf, TensorSpec, ValueType

from ..bench import synthetic
from ..e2e.processes import cli
from .library import Library

PROMPT = "Once upon a time there was a king"
ENDLESS = {2: -100.0}


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


def rewrite(source: Path, path: Path, *, layers: int | None = None, token_300: str | None = None) -> Path:
    """tales without its last layers, or with another token."""
    entries = {"tokens": ValueType.STRING, "scores": ValueType.FLOAT32, "token_type": ValueType.INT32}
    with gguf.read(source) as file:
        metadata: dict[str, Any] = {}
        for key in file.metadata:
            entry = entries.get(key.removeprefix("tokenizer.ggml."))
            kind: Any = ArrayOf(entry) if entry is not None else file.metadata.type_of(key)
            metadata[key] = (kind, file.metadata[key])
        kept = file.tensors
        if layers is not None:
            metadata["llama.block_count"] = (ValueType.UINT32, layers)
            gone = tuple(f"blk.{i}." for i in range(layers, file.metadata["llama.block_count"]))
            kept = [tensor for tensor in kept if not tensor.name.startswith(gone)]
        if token_300 is not None:
            tokens = list(file.metadata["tokenizer.ggml.tokens"])
            tokens[300] = token_300
            metadata["tokenizer.ggml.tokens"] = (ArrayOf(ValueType.STRING), tokens)
        with gguf.Writer(path, metadata, [TensorSpec(t.name, t.shape, t.type) for t in kept]) as out:
            for tensor in kept:
                out.write(file.tensor_bytes(tensor))
    return path


@pytest.fixture(scope="module")
def shallow(tales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tales without its last layer, which says much the same."""
    return rewrite(tales, tmp_path_factory.mktemp("draft") / "shallow.gguf", layers=5)


@pytest.fixture
def llm(own_library: None, shallow: Path) -> Iterator[LLM]:
    with LLM.from_pretrained("tales", context_length=64, draft=str(shallow)) as llm:
        yield llm


@pytest.fixture(autouse=True)
def without_a_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """From none to five guesses at a time."""
    lengths = itertools.cycle([3, 5, 0, 1, 4])
    monkeypatch.setattr(Pace, "choose", lambda self, chances, each=0.0: min(next(lengths), len(list(chances))))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0},
        {"seed": 3, "temperature": 1.0},
        {"seed": 4, "mirostat": 2, "xtc_probability": 0.3},
        {"seed": 5, "stop": [" the"], "frequency_penalty": 0.5, "last_n_tokens": -1},
        {"seed": 6, "logit_bias": ENDLESS, "max_tokens": 1000},
        {"seed": 7, "logit_bias": ENDLESS, "max_tokens": 150, "context_shift": True},
    ],
    ids=str,
)
def test_the_text_is_the_same(llm: LLM, options: dict[str, Any]) -> None:
    options = {"max_tokens": 40, **options}
    plain = llm.complete(PROMPT, **options, speculate="off").result()
    guessed = llm.complete(PROMPT, **options).result()  # "auto": it has a draft
    assert (guessed.text, guessed.tokens, guessed.finish_reason) == (plain.text, plain.tokens, plain.finish_reason)
    assert plain.timings.drafted_tokens == 0
    if plain.completion_tokens > 30:
        assert guessed.timings.drafted_tokens > guessed.timings.accepted_tokens > 5
    assert llm.complete(PROMPT, **options, speculate="draft").result().tokens == plain.tokens
    assert llm.complete(PROMPT, **options, speculate="ngram").result().tokens == plain.tokens


def test_a_perfect_draft_is_right_all_the_time_also_beyond_its_context(tales: Path) -> None:
    with LLM.from_pretrained("tales", context_length=256) as llm, LLM(str(tales)) as draft:
        options: dict[str, Any] = {"temperature": 0, "max_tokens": 200, "logit_bias": ENDLESS}
        plain = llm.complete(PROMPT, **options).result()
        llm.use_draft(draft)
        guessed = llm.complete(PROMPT, **options).result()
        assert guessed.tokens == plain.tokens
        assert guessed.timings.accepted_tokens == guessed.timings.drafted_tokens > 100
        with LLM.from_pretrained("tales", context_length=32) as short:
            llm.use_draft(short)
            guessed = llm.complete(PROMPT, **options).result()
            assert guessed.tokens == plain.tokens and guessed.timings.accepted_tokens > 20
            assert len(short._context) <= 32
        llm.use_draft(None)
        assert llm.complete(PROMPT, **options).result().timings.drafted_tokens == 0


def test_a_bad_draft_with_another_number_of_tokens(tmp_path: Path) -> None:
    random = synthetic.write(tmp_path / "random.gguf", "test", "q4_0")
    with LLM.from_pretrained("tales", context_length=64, draft=str(random)) as llm:
        assert llm.draft and llm.draft.vocab_size > llm.vocab_size
        for options in ({"temperature": 0}, {"seed": 5}):
            plain = llm.complete(PROMPT, max_tokens=40, **options, speculate="off").result()  # type: ignore[arg-type]
            guessed = llm.complete(PROMPT, max_tokens=40, **options).result()  # type: ignore[arg-type]
            assert guessed.tokens == plain.tokens
    with LLM(str(random)) as llm, LLM.from_pretrained("tales") as draft:
        llm.use_draft(draft)
        # Its tokens beyond those of tales are chosen too, and then there is no guess.
        options = {"temperature": 2.0, "seed": 1, "top_k": 0, "top_p": 1.0, "max_tokens": 60}
        plain = llm.complete(PROMPT, **options, speculate="off").result()
        assert max(plain.tokens) >= draft.vocab_size
        assert llm.complete(PROMPT, **options).result().tokens == plain.tokens


def test_what_others_do_with_both_models_meanwhile(llm: LLM) -> None:
    options: dict[str, Any] = {"seed": 5, "logit_bias": ENDLESS, "max_tokens": 120, "context_shift": True}
    plain = llm.complete(PROMPT, **options, speculate="off").result()
    draft = llm.draft
    assert draft
    stream = llm.complete(PROMPT, **options)
    for i, _ in enumerate(stream):
        if i % 9 == 2:
            draft.complete("The wolf", max_tokens=3).text()
        if i % 9 == 5:
            llm.complete("The wolf", max_tokens=3).text()
        if i % 9 == 7:
            draft.reset()
    assert stream.result().tokens == plain.tokens


def test_cancelled_while_the_draft_guesses(llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = llm.complete(PROMPT, temperature=0, max_tokens=40, speculate="off").result().tokens
    assert llm.draft
    evaluate = llm.draft._backend.evaluate
    for last in range(5):
        cancel, count = Cancel(), itertools.count()

        def evaluating(*arguments: Any, last: int = last, count: Any = count, cancel: Cancel = cancel) -> None:
            if next(count) == last:
                cancel.set()  # as another thread does while this one computes
            evaluate(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(llm.draft._backend, "evaluate", evaluating)
            result = llm.complete(PROMPT, temperature=0, max_tokens=40, cancel=cancel).result()
        assert result.finish_reason == "cancelled" and result.tokens == plain[: result.completion_tokens]
        assert 0 < result.completion_tokens < 40
        assert llm.complete(PROMPT, temperature=0, max_tokens=40).result().tokens == plain


def test_what_cannot_be_a_draft(tales: Path, tmp_path: Path, shallow: Path) -> None:
    other = rewrite(tales, tmp_path / "other.gguf", token_300="▁wrong")
    with pytest.raises(errors.UsageError, match=r"other.gguf cannot be the draft of tales.gguf.*token 300 is '▁wrong'"):
        LLM.from_pretrained("tales", draft=str(other))
    with pytest.raises(errors.ModelNotFound):
        LLM.from_pretrained("tales", draft=str(tmp_path / "none.gguf"))
    with LLM.from_pretrained("tales") as llm, LLM(str(shallow)) as draft:
        with pytest.raises(errors.UsageError, match="has no draft"):
            llm.complete(PROMPT, speculate="draft")
        with pytest.raises(errors.UsageError, match="its own draft"):
            llm.use_draft(llm)
        llm.use_draft(draft)
        with pytest.raises(errors.UsageError, match="that has a draft"):
            draft.use_draft(llm)
        with LLM.from_pretrained("tales", lib="avx2") as bundled, pytest.raises(errors.UsageError, match="own library"):
            bundled.use_draft(draft)
        assert llm.draft is draft
    with LLM.from_pretrained("tales", draft=str(shallow)) as llm:
        owned = llm.draft
        assert owned and llm.describe()["draft"]["path"] == str(shallow)
    with pytest.raises(errors.EngineClosed):  # with the model that it was loaded for
        owned.eval([5])
    with pytest.raises(errors.EngineClosed):
        llm.complete([5, 6], max_tokens=4).text()


def test_from_the_command_line_and_over_json_rpc(library: Library, shallow: Path, golden: dict[str, Any]) -> None:
    words = ["run", golden["prompt"], "-n", str(len(golden["tokens"])), "--temp", "0", "--json", "--stats"]
    done = cli(*words, "--draft", str(shallow), POCKETLLAMA_LIB=str(library.path))
    answer = json.loads(done.stdout)
    assert answer["text"] == golden["text"] and answer["timings"]["drafted_tokens"] >= 0, done.stderr
    with Client("tales", draft=str(shallow), env={"POCKETLLAMA_LIB": str(library.path)}) as client:
        for how in ("auto", "off", "ngram", "draft"):
            stream = client.complete(golden["prompt"], max_tokens=len(golden["tokens"]), temperature=0, speculate=how)
            assert stream.text() == golden["text"]
        with pytest.raises(errors.UsageError, match="speculate is one of"):
            client("x", speculate="maybe")
        loaded = client.status()["models"][0]
        assert loaded["draft"]["path"] == str(shallow)
