"""`LLM` on the embedded model: texts, tokens, limits, threads, cancellation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketllama import errors, gguf
from pocketllama.engine import LLM, Sampling, native
from pocketllama.engine.generation import Chunks
from pocketllama.engine.turn import PATIENCE_S, Turn

from .variants import variant


@pytest.fixture(scope="module")
def llm(tales: Path) -> Iterator[LLM]:
    with LLM(str(tales)) as llm:
        yield llm


def test_the_golden_text(llm: LLM, golden: dict[str, Any]) -> None:
    result = llm.complete(golden["prompt"], max_tokens=golden["max_tokens"], temperature=0).result()
    assert result.text == golden["text"] and list(result.tokens) == golden["tokens"]
    assert (result.finish_reason, result.prompt_tokens, result.completion_tokens) == ("length", 5, golden["max_tokens"])
    assert llm(golden["prompt"], max_new_tokens=golden["max_tokens"], temperature=0) == golden["text"]
    assert (
        "".join(llm(golden["prompt"], max_new_tokens=golden["max_tokens"], temperature=0, stream=True))
        == golden["text"]
    )


def test_old_code(tales: Path) -> None:
    """What programs written for ctransformers do with an LLM."""
    llm = LLM(str(tales), model_type="llama")
    tokens = llm.tokenize("Once upon a time")
    text = ""
    for i, token in enumerate(llm.generate(tokens, top_k=1)):
        text += str(llm.detokenize(token))
        if i == 4:
            break
    assert text == " there lived a king who"
    llm.reset()
    llm.eval(tokens)
    assert llm.sample(top_k=1) == max(range(llm.vocab_size), key=list(llm.logits).__getitem__)
    assert llm.bos_token_id == 1 and llm.eos_token_id == 2 and llm.is_eos_token(2) and llm.model_type == "llama"
    assert len(llm.embeddings) == 256


# U+2581 is how the vocabulary writes a space; such a text comes back with one.
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0▁"), max_size=60))
def test_decode_undoes_encode(llm: LLM, text: str) -> None:
    tokens = llm.encode(text)
    assert llm.decode(tokens) == text
    assert all(0 <= t < llm.vocab_size for t in tokens)


# ---- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "new"), [(510, 3), (511, 2), (512, 1)])
def test_a_full_context_ends_the_text(llm: LLM, prompt: int, new: int) -> None:
    result = llm.complete([1] + [300] * (prompt - 1), max_tokens=10, temperature=0).result()
    assert (result.finish_reason, result.completion_tokens) == ("length", new)


def test_a_prompt_too_long_is_refused_before_anything_is_computed(llm: LLM) -> None:
    with pytest.raises(errors.ContextOverflow) as e:
        llm.complete([1] + [300] * 512)
    assert e.value.data == {"prompt_tokens": 513, "context_length": 512}


def test_an_empty_prompt_after_a_secret_one(llm: LLM) -> None:
    fresh = llm.complete("", max_tokens=8, temperature=0).text()
    llm.complete("The secret word is swordfish", max_tokens=8).text()
    assert llm.complete("", max_tokens=8, temperature=0).text() == fresh
    with pytest.raises(errors.UsageError, match="empty"):
        llm.complete([])


@pytest.mark.parametrize("length", [64, 512])
def test_the_context_that_was_asked_for(tales: Path, length: int) -> None:
    with LLM.from_pretrained("tales", context_length=length) as llm:
        assert llm.context_length == length


def test_from_pretrained(tales: Path) -> None:
    with LLM.from_pretrained(str(tales), temperature=0, max_new_tokens=5) as llm:
        assert llm("Once upon a time") == " there lived a king who"
    with pytest.raises(errors.UsageError, match="no option 'contxt_length'"):
        LLM.from_pretrained("tales", contxt_length=5)
    with pytest.raises(errors.ModelNotFound):
        LLM.from_pretrained("nonsuch-model")


def test_max_tokens_zero_only_evaluates(llm: LLM) -> None:
    result = llm.complete("Once upon a time", max_tokens=0).result()
    assert (result.text, result.finish_reason, result.prompt_tokens) == ("", "length", 5)


# ---- one seed, one text ----------------------------------------------------------------------------------------------


def test_one_seed_one_text(llm: LLM) -> None:
    def text(seed: int) -> str:
        return llm.complete("The king", max_tokens=30, seed=seed).text()

    first = text(5)
    assert text(6) != first
    llm.complete("Another prompt altogether", max_tokens=10).text()
    assert text(5) == first
    assert len({text(-1) for _ in range(4)}) > 1


def test_sampling_options_change_the_text(llm: LLM) -> None:
    def text(**values: Any) -> str:
        return llm.complete("The king", max_tokens=30, seed=5, **values).text()

    assert text(top_k=1) == text(temperature=0) == text(top_p=0.0) != text()
    assert text(repetition_penalty=1.0, temperature=0) != text(repetition_penalty=1.5, temperature=0)


def test_stop_strings(llm: LLM) -> None:
    whole = llm.complete("Once upon a time", max_tokens=32, temperature=0)
    assert " son, and" in whole.text()
    cut = llm.complete("Once upon a time", max_tokens=32, temperature=0, stop=["son, a", "never"])
    assert "".join(cut) == cut.text() == whole.text()[: whole.text().index("son, a")]
    assert cut.result().finish_reason == "stop"


# ---- cancellation and threads ----------------------------------------------------------------------------------------


def test_cancel_in_prefill_and_in_decode(tales: Path) -> None:
    with LLM(str(tales)) as llm:
        asked = 0

        def after(n: int) -> Any:
            nonlocal asked
            asked = 0

            def cancel() -> bool:
                nonlocal asked
                asked += 1
                return asked > n

            return cancel

        result = llm.complete([1] + [300] * 400, cancel=after(3), max_tokens=5).result()
        assert (result.finish_reason, result.completion_tokens) == ("cancelled", 0)
        assert 0 < len(llm._context) < 400  # some chunks were evaluated, and what is left is valid:
        wanted = llm.complete([1] + [300] * 60, max_tokens=5, temperature=0).text()
        result = llm.complete("Once upon a time", cancel=after(12), max_tokens=50, temperature=0).result()
        assert result.finish_reason == "cancelled" and 0 < result.completion_tokens < 50
    with LLM(str(tales)) as fresh:
        assert fresh.complete([1] + [300] * 60, max_tokens=5, temperature=0).text() == wanted


def test_an_abandoned_stream_is_cancelled_and_harmless(llm: LLM, golden: dict[str, Any]) -> None:
    generation = llm.complete("The king", max_tokens=100)
    next(iter(generation))
    generation.close()
    assert generation.result().finish_reason == "cancelled"
    assert llm.complete(golden["prompt"], max_tokens=32, temperature=0).text() == golden["text"]


def test_a_suspended_stream_keeps_nobody_waiting_and_loses_nothing(llm: LLM, golden: dict[str, Any]) -> None:
    stream = llm.complete(golden["prompt"], max_tokens=32, temperature=0)
    pieces = [next(stream)]
    texts: list[str] = []
    thread = threading.Thread(target=lambda: texts.append(llm.complete("The king", max_tokens=4).text()))
    thread.start()
    thread.join(30)
    assert len(texts) == 1
    assert "".join([*pieces, *stream]) == golden["text"]


def test_many_threads(llm: LLM, golden: dict[str, Any]) -> None:
    texts: list[str] = []
    faults: list[BaseException] = []

    def work(i: int) -> None:
        try:
            if i % 3 == 0:
                assert llm.decode(llm.encode("Once 🎉")) == "Once 🎉"
                llm.embed("a king")
            elif i % 3 == 1:
                texts.append("".join(llm.complete(golden["prompt"], max_tokens=32, temperature=0)))
            else:
                texts.append(llm(golden["prompt"], max_new_tokens=32, temperature=0))
        except BaseException as e:
            faults.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults and set(texts) == {golden["text"]} and len(texts) == 6


def test_closed(tales: Path) -> None:
    llm = LLM(str(tales))
    stream = llm.complete("Once")
    next(stream)
    llm.close()
    llm.close()
    for call in (lambda: llm.tokenize("x"), lambda: llm.eval([1]), lambda: next(stream), lambda: llm.embed("x")):
        with pytest.raises(errors.EngineClosed):
            call()


def test_a_prefix_is_not_evaluated_twice(llm: LLM) -> None:
    llm.complete("Once upon a time there was", max_tokens=2).text()
    again = llm.complete("Once upon a time there was a king", max_tokens=2).result()
    assert again.timings.prompt_tokens_evaluated < again.prompt_tokens


def test_chunks_grow_and_cover_everything() -> None:
    chunks = Chunks()
    tokens = list(range(3000))
    sizes = []
    got: list[int] = []
    for chunk in chunks.cut(tokens):
        sizes.append(len(chunk))
        got += chunk
    assert got == tokens and sizes[0] == Chunks.FIRST and max(sizes) <= Chunks.LARGEST


def test_a_turn_goes_back_when_its_owner_sleeps() -> None:
    turn, first, second = Turn(), object(), object()
    with turn.step(first), turn.step(first):  # the same thread, twice
        pass
    entered = threading.Event()

    def other() -> None:
        with turn.step(second):
            entered.set()

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(PATIENCE_S * 100)
    thread.join()
    turn.leave(first)  # no longer the owner: nothing happens
    turn.leave(second)
    with turn.step():
        pass


# ---- files and libraries ---------------------------------------------------------------------------------------------


def test_an_architecture_that_the_library_does_not_know(tales: Path, tmp_path: Path) -> None:
    changes = {"general.architecture": (gguf.ValueType.STRING, "qwen9")}
    with pytest.raises(errors.ModelInvalid, match=r"'qwen9'.*llama"):
        LLM(str(variant(tales, tmp_path / "m.gguf", changes)), lib="avx2")


def test_an_alias_that_cannot_run_is_refused_before_it_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(errors.ModelInvalid, match="'qwen3'"):
        LLM.from_pretrained("qwen3-0.6b", lib="avx2")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, data in {
        "a.gguf": b"GGUF",
        "b.gguf": b"GGUF\x03\0\0\0" + b"\xff" * 100,
        "c.gguf": b"",
        "d.bin": b"ggjt",
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(errors.ModelInvalid):
            LLM(str(tmp_path / name))
    for missing in (tmp_path, tmp_path / "none.gguf", tmp_path / "a.gguf" / "x"):
        with pytest.raises(errors.ModelNotFound):
            LLM(str(missing))


U32, F32 = gguf.ValueType.UINT32, gguf.ValueType.FLOAT32


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.attention.head_count", (U32, 0)),
        ("llama.attention.head_count", (U32, 3)),
        ("llama.attention.head_count_kv", (U32, 0)),
        ("llama.attention.head_count_kv", (U32, 8)),
        ("llama.embedding_length", (U32, 128)),
        ("llama.embedding_length", (None, None)),
        ("llama.block_count", (U32, 7)),
        ("llama.block_count", (U32, 4_000_000_000)),
        ("llama.feed_forward_length", (U32, 1)),
        ("llama.rope.dimension_count", (U32, 4096)),
        ("llama.attention.layer_norm_rms_epsilon", (F32, float("nan"))),
        ("tokenizer.ggml.tokens", (gguf.ArrayOf(gguf.ValueType.STRING), ["a", "b"])),
        ("tokenizer.ggml.tokens", (U32, 1)),
        ("tokenizer.ggml.scores", (gguf.ArrayOf(F32), [0.0])),
        ("tokenizer.ggml.eos_token_id", (U32, 4096)),
    ],
)
def test_headers_that_contradict_the_tensors(tales: Path, tmp_path: Path, key: str, value: tuple[Any, Any]) -> None:
    with pytest.raises(errors.ModelInvalid, match="contradicts itself"):
        LLM(str(variant(tales, tmp_path / "m.gguf", {key: value})), lib="avx2")


def test_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.find("basic").isa == "basic"
    monkeypatch.setenv("POCKETLLAMA_LIB", "avx")
    assert native.find().isa == "avx"
    monkeypatch.setenv("POCKETLLAMA_LIB", str(tmp_path / "none.so"))
    with pytest.raises(errors.UsageError, match=r"none\.so"):
        native.find()
    (tmp_path / "none.so").write_bytes(b"not a library")
    with pytest.raises(errors.EngineError, match="cannot be loaded"):
        native.load(native.find())


def test_a_library_that_is_no_engine() -> None:
    import ctypes.util

    name = ctypes.util.find_library("m")
    assert name
    with pytest.raises(errors.EngineError, match="no function"):
        native.load(native.Library(Path(name), "custom", ""))


@pytest.mark.parametrize(
    "values",
    [{"temperature": float("nan")}, {"temperature": float("inf")}, {"top_p": 1.01}, {"max_tokens": -1}, {"seed": -2},
     {"top_k": -1}, {"repetition_penalty": 0}, {"stop": ("",)}, {"max_tokens": True}, {"last_n_tokens": -2}],
)  # fmt: skip
def test_options_are_checked(values: dict[str, Any]) -> None:
    with pytest.raises(errors.UsageError, match=next(iter(values))):
        Sampling.of(**values)


def test_importing_the_engine_leaves_ctransformers_whole() -> None:
    import ctransformers

    assert issubclass(LLM, ctransformers.LLM)
    assert ctransformers.AutoModelForCausalLM.__module__ == "ctransformers.hub"
    with pytest.raises(AttributeError):
        ctransformers.nonsense  # noqa: B018


def test_threads(tales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_THREADS", "3")
    with LLM.from_pretrained("tales") as llm, LLM.from_pretrained("tales", threads=2) as told:
        assert (llm.threads, told.threads) == (3, 2)
    monkeypatch.setenv("POCKETLLAMA_THREADS", "many")
    with pytest.raises(errors.UsageError, match="POCKETLLAMA_THREADS"), LLM.from_pretrained("tales") as llm:
        llm.complete("x", max_tokens=1).text()
