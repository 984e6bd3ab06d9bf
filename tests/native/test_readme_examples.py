"""Every example of ctransformers 0.2.27's README, on our library and on the one that package brings: the same text.

Left out are those that only a GPU or the network can run: the Colabs, CUDA, ROCm, Metal, and GPTQ, which is another
library altogether. Greedy is top_k=1 here, because the bundled library divides by a temperature of 0.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .library import Library

PROMPT = "AI is going to"
# What a README of 2023 says of transformers holds for the transformers of 2023. Since 4.34 a tokenizer's constructor
# asks for the vocabulary before ctransformers' has one, since 4.50 a PreTrainedModel has no generate(): with its own
# library as with ours.
NEWEST_TRANSFORMERS = (4, 33)
of_their_time = pytest.mark.filterwarnings("ignore")  # what was new to them is deprecated now


@pytest.fixture(scope="module", params=["ours", "bundled"])
def lib(request: pytest.FixtureRequest, library: Library) -> str | None:
    """What `lib=` is: a path, or None for ctransformers' choice."""
    if request.param == "ours":
        return str(library.path)
    from ctransformers.lib import find_library

    if not Path(find_library()).is_file():
        pytest.skip("ctransformers brings no library for this machine")
    return None


@pytest.fixture(scope="module")
def llm(lib: str | None, tales: Path) -> Any:
    from ctransformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(tales), model_type="llama", lib=lib, threads=1)


@pytest.fixture
def greedy(golden: dict[str, Any]) -> dict[str, Any]:
    return {
        "top_k": 1,
        "seed": 1,
        "max_new_tokens": golden["max_tokens"],
        "repetition_penalty": golden["repetition_penalty"],
        "last_n_tokens": golden["repetition_window"],
    }


@pytest.fixture
def folder(tales: Path, tmp_path: Path) -> Path:
    """A model's folder as the hub has them: a config, and several files."""
    settings = {"top_k": 1, "repetition_penalty": 1.1, "last_n_tokens": 64}
    config = {"model_type": "llama", "task_specific_params": {"text-generation": settings}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(tales, tmp_path / "ggml-model.gguf")
    (tmp_path / "bigger.gguf").write_bytes(tales.read_bytes() + bytes(1))
    return tmp_path


# ---- usage


def test_a_file(llm: Any, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    assert llm(golden["prompt"], **greedy) == golden["text"]
    text = llm(PROMPT)  # as it stands: 256 tokens at a temperature of 0.8
    assert isinstance(text, str) and len(llm.tokenize(text)) > 32


def test_a_model_type(files: dict[str, Path], library: Library) -> None:
    """`model_type="gpt2"`, with a model that is one. (The bundled library has no GPT-2 in a GGUF file.)"""
    from ctransformers import AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_pretrained(str(files["gpt2"]), model_type="gpt2", lib=str(library.path))
    assert llm.model_type == "gpt2"
    llm.eval([3, 5, 7])
    assert 0 <= llm.sample() < llm.vocab_size == len(llm.logits)


def test_streaming(llm: Any, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    pieces = list(llm(golden["prompt"], stream=True, **greedy))
    assert len(pieces) == golden["max_tokens"] and "".join(pieces) == golden["text"]


def test_a_folder_and_a_model_file(
    lib: str | None, folder: Path, golden: dict[str, Any], greedy: dict[str, Any]
) -> None:
    from ctransformers import AutoModelForCausalLM

    named = AutoModelForCausalLM.from_pretrained(str(folder), model_file="ggml-model.gguf", lib=lib, threads=1)
    assert named(golden["prompt"], **greedy) == golden["text"]
    smallest = AutoModelForCausalLM.from_pretrained(str(folder), lib=lib, threads=1, seed=1)
    assert smallest.model_path == named.model_path and smallest.config.top_k == 1
    assert smallest(golden["prompt"], max_new_tokens=golden["max_tokens"]) == golden["text"]


FROM_THE_HUB = """
import sys
from ctransformers import AutoModelForCausalLM
for how in ({"model_file": "ggml-model.gguf"}, {"local_files_only": True, "revision": "main"}):
    llm = AutoModelForCausalLM.from_pretrained("marella/tales-ggml", lib=sys.argv[1] or None, threads=1, **how)
    print(llm(sys.argv[2], top_k=1, max_new_tokens=int(sys.argv[3]), seed=1))
"""


def test_a_name_on_the_hub(
    lib: str | None, folder: Path, golden: dict[str, Any], own_home: Path, tmp_path: Path
) -> None:
    """From the hub's cache, as after a download."""
    revision = "0" * 40
    model = own_home / "hf" / "hub" / "models--marella--tales-ggml"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(revision)
    shutil.copytree(folder, model / "snapshots" / revision)
    ran = subprocess.run(
        [sys.executable, "-c", FROM_THE_HUB, lib or "", golden["prompt"], str(golden["max_tokens"])],
        capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout == f"{golden['text']}\n" * 2


def test_gpu_layers_without_a_gpu(
    library: Library, tales: Path, golden: dict[str, Any], greedy: dict[str, Any]
) -> None:
    from ctransformers import AutoModelForCausalLM

    llm = AutoModelForCausalLM.from_pretrained(str(tales), gpu_layers=50, lib=str(library.path), threads=1)
    assert llm(golden["prompt"], **greedy) == golden["text"]


# ---- the documentation: Config, and each method and property of LLM


def test_config(lib: str | None, tales: Path, golden: dict[str, Any]) -> None:
    from ctransformers import LLM
    from ctransformers.llm import Config

    every = Config(
        top_k=1, top_p=0.95, temperature=0.8, repetition_penalty=1.1, last_n_tokens=64, seed=1, batch_size=3,
        threads=1, max_new_tokens=golden["max_tokens"], stop=["never"], stream=True, reset=False, context_length=100,
        gpu_layers=0, mmap=False, mlock=False,
    )  # fmt: skip
    llm = LLM(str(tales), "llama", config=every, lib=lib)
    assert llm.config is every and llm.context_length == 100 and llm.model_path == str(tales)
    assert "".join(llm(golden["prompt"])) == golden["text"]


def test_the_properties(llm: Any, tales: Path) -> None:
    assert llm.model_type == "llama" and llm.model_path == str(tales)
    assert (llm.bos_token_id, llm.eos_token_id, llm.pad_token_id) == (1, 2, 2)
    assert llm.vocab_size == 4096 and llm.context_length == 512
    assert llm.is_eos_token(2) and not llm.is_eos_token(1)


def test_tokenize_and_detokenize(llm: Any, golden: dict[str, Any]) -> None:
    ids = llm.tokenize(golden["prompt"])
    assert list(ids) == golden["prompt_tokens"] == list(llm.tokenize(golden["prompt"], add_bos_token=True))
    assert list(llm.tokenize(golden["prompt"], add_bos_token=False)) == golden["prompt_tokens"][1:]
    assert llm.detokenize(ids) == golden["prompt"]
    assert llm.detokenize(golden["tokens"]) == golden["text"]
    assert llm.detokenize(ids, decode=False) == b" " + golden["prompt"].encode()
    assert llm.detokenize(ids[1]) == " Once" == llm.detokenize([ids[1]])


def test_generate(llm: Any, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    count = greedy.pop("max_new_tokens")
    tokens = llm.tokenize(golden["prompt"])
    for how in ({}, {"batch_size": 1, "threads": 1}, {"top_p": 0.5, "temperature": 0.3, "reset": True}):
        assert list(itertools.islice(llm.generate(tokens, **greedy, **how), count)) == golden["tokens"]
    text = ""
    for token in itertools.islice(llm.generate(llm.tokenize(PROMPT), top_k=40, temperature=0.8), 16):
        text += llm.detokenize(token)
    assert text


def test_eval_and_sample(llm: Any, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    """generate() by hand, without `reset()` and with it."""
    count = greedy.pop("max_new_tokens")
    for again in (False, True):
        if again:
            with pytest.warns(UserWarning, match="deprecated"):
                llm.reset()
        tokens = llm.prepare_inputs_for_generation(llm.tokenize(golden["prompt"]))
        found: list[int] = []
        while len(found) < count:
            llm.eval(tokens, batch_size=2, threads=1)
            found.append(llm.sample(**greedy))
            tokens = [found[-1]]
        assert found == golden["tokens"]


def test_stop_and_seed(llm: Any, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    assert llm(golden["prompt"], stop=["king"], **greedy) == golden["text"][: golden["text"].index("king")]
    settings: dict[str, Any] = {"max_new_tokens": 24, "top_k": 40, "top_p": 0.95, "temperature": 0.8}
    assert llm(PROMPT, seed=4, **settings) == llm(PROMPT, seed=4, **settings)
    assert len({llm(PROMPT, seed=seed, **settings) for seed in range(6)}) > 1


def test_callers_may_change_the_logits(llm: Any) -> None:
    llm.eval(llm.prepare_inputs_for_generation(llm.tokenize(PROMPT)))
    llm.logits[7] = 1e9
    assert llm.sample(top_k=1, repetition_penalty=1.0) == 7


def test_logits_and_embeddings_are_those_of_the_bundled_library(library: Library, tales: Path) -> None:
    from ctransformers import AutoModelForCausalLM

    vectors: list[tuple[list[float], ...]] = []
    for lib in (str(library.path), None):
        llm = AutoModelForCausalLM.from_pretrained(str(tales), lib=lib, threads=1)
        embedded = llm.embed(PROMPT, batch_size=4, threads=1)
        assert list(embedded) == list(llm.embed(llm.tokenize(PROMPT))) == list(llm.embeddings)
        vectors.append((list(llm.logits), list(embedded)))
    for ours, theirs in zip(*vectors, strict=True):
        a, b = np.array(ours, np.float64), np.array(theirs, np.float64)
        assert a.shape == b.shape and a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.999


# ---- 🤗 Transformers


@pytest.fixture
def hugging_face(lib: str | None, tales: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """(model, tokenizer) of `hf=True`."""
    pytest.importorskip("torch", reason="torch is not installed")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    if version > NEWEST_TRANSFORMERS:
        pytest.skip(f"ctransformers' `hf=True` works on no transformers after {NEWEST_TRANSFORMERS}, with any library")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from ctransformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(tales), hf=True, lib=lib, threads=1)
    yield model, AutoTokenizer.from_pretrained(model)


@of_their_time
def test_transformers_generate(hugging_face: tuple[Any, Any], golden: dict[str, Any]) -> None:
    model, tokenizer = hugging_face
    inputs = tokenizer(golden["prompt"], return_tensors="pt")
    assert inputs["input_ids"].tolist() == [golden["prompt_tokens"]]
    made = model.generate(
        inputs["input_ids"], do_sample=False, max_new_tokens=golden["max_tokens"], repetition_penalty=1.1
    )
    assert made[0].tolist() == golden["prompt_tokens"] + golden["tokens"]
    assert tokenizer.decode(made[0]) == golden["prompt"] + golden["text"]
    assert tokenizer.decode([*golden["tokens"], 2], skip_special_tokens=True) == golden["text"]


@of_their_time
def test_transformers_pipeline(hugging_face: tuple[Any, Any], golden: dict[str, Any]) -> None:
    from transformers import pipeline

    model, tokenizer = hugging_face
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    found = pipe(golden["prompt"], max_new_tokens=golden["max_tokens"], repetition_penalty=1.1)
    assert found == [{"generated_text": golden["prompt"] + golden["text"]}]
    assert pipe(PROMPT, max_new_tokens=256)[0]["generated_text"].startswith(PROMPT)
    sampled = pipe(PROMPT, max_new_tokens=256, do_sample=True, temperature=0.8, repetition_penalty=1.1)
    assert sampled[0]["generated_text"].startswith(PROMPT) and len(sampled[0]["generated_text"]) > 2 * len(PROMPT)


# ---- LangChain


def test_langchain(lib: str | None, tales: Path, folder: Path, golden: dict[str, Any], greedy: dict[str, Any]) -> None:
    llms = pytest.importorskip("langchain_community.llms", reason="langchain-community is not installed")
    greedy["threads"] = 1
    llm = llms.CTransformers(model=str(tales), model_type="llama", lib=lib, config=greedy)
    assert llm.invoke(golden["prompt"]) == golden["text"]
    assert "".join(llm.stream(golden["prompt"])) == golden["text"]
    assert llm.invoke(golden["prompt"], stop=["king"]) == golden["text"][: golden["text"].index("king")]
    assert llm.batch([golden["prompt"]] * 2) == [golden["text"]] * 2
    llm = llms.CTransformers(model=str(folder), model_file="ggml-model.gguf", lib=lib, config=greedy)
    assert llm.invoke(golden["prompt"]) == golden["text"]
