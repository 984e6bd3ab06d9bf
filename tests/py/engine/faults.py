"""The faults of ctransformers 0.2.27, one check each, that `LLM` passes and the stock class fails.

    python -m tests.py.engine.faults NAME MODEL      runs one check on the stock class; exit code 0 if it passes

Each check gets a class with the stock constructor and the path of the embedded model.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Check = Callable[[Any, Path], None]
CHECKS: dict[str, Check] = {}


def check(f: Check) -> Check:
    CHECKS[f.__name__] = f
    return f


class Script:
    """Stands before a native library: says which tokens are "sampled", and records what the library is told."""

    def __init__(self, lib: Any, tokens: Sequence[int] | None = None) -> None:
        self._lib, self._tokens = lib, None if tokens is None else iter(tokens)
        self.sampled: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lib, name)

    def ctransformers_llm_sample(self, *args: Any) -> int:
        self.sampled.append(args)
        return int(self._lib.ctransformers_llm_sample(*args)) if self._tokens is None else next(self._tokens)


def scripted(llm: Any, tokens: Sequence[int] | None = None) -> Script:
    llm._lib = Script(llm._lib, tokens)
    return llm._lib  # type: ignore[no-any-return]


EOS = 2
BYTE_0 = 3  # the id of <0x00>; the other 255 bytes follow


def byte_tokens(text: str) -> list[int]:
    return [BYTE_0 + b for b in text.encode()]


def refuses(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as e:
        assert type(e).__module__ == "pocketllama.errors", e
        return
    raise AssertionError("it was accepted")


@check
def byte_fallback_fits_its_buffer(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    for text in ("3", "🎉", "ក្ខ"):
        tokens = llm.tokenize(text)
        assert (
            tokens[0] == 1 and b"".join(llm.detokenize([t], decode=False) for t in tokens[1:]) == b" " + text.encode()
        )


@check
def characters_of_several_bytes_are_streamed(cls: Any, model: Path) -> None:
    for text in ("你好", "café", "🎉!"):
        llm = cls(str(model), lib="avx2")
        scripted(llm, [*byte_tokens(text), EOS])
        assert "".join(llm("Once", stream=True)) == text


@check
def the_rest_of_a_broken_character_is_not_lost(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    scripted(llm, [*byte_tokens("a"), BYTE_0 + 0xE4, EOS])
    assert llm("Once") == "a\N{REPLACEMENT CHARACTER}"


@check
def a_nul_does_not_cut_a_text(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    assert llm.detokenize([BYTE_0], decode=False) == b"\0"
    refuses(lambda: llm.tokenize("a\0b"))


@check
def a_seed_is_a_stream_and_not_one_number(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    script = scripted(llm)
    llm("Once upon a time", seed=7, max_new_tokens=8)
    seeds = [args[-1] for args in script.sampled]
    assert len(set(seeds)) == len(seeds)


@check
def temperature_zero_is_greedy(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    script = scripted(llm)
    llm.eval([1, 440])
    for token in (3, 500, 4095):
        logits = llm.logits  # the library's own buffer
        for i in range(llm.vocab_size):
            logits[i] = -10.0  # negative, so that dividing by zero makes them all the same
        logits[token] = -1.0
        assert {llm.sample(temperature=0, repetition_penalty=1.0, seed=seed) for seed in range(5)} == {token}
    # The library divides by it. That the result of 0/0 falls on the likeliest token is one C++ library's accident.
    assert all(temperature > 0 for *_, temperature, _, _ in script.sampled)


@check
def too_many_tokens_are_an_error(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    refuses(lambda: llm.eval([5] * 600))


@check
def the_file_says_whether_bos_comes_first(cls: Any, model: Path) -> None:
    from pocketllama import gguf

    from .variants import variant

    with tempfile.TemporaryDirectory() as folder:
        changes = {"tokenizer.ggml.add_bos_token": (gguf.ValueType.BOOL, False)}
        llm = cls(str(variant(model, Path(folder) / "m.gguf", changes)), lib="avx2")
        assert llm.tokenize("Once") != [1, *llm.tokenize("Once")[1:]]


@check
def every_end_of_generation_token_ends(cls: Any, model: Path) -> None:
    from pocketllama import gguf

    from .variants import variant

    with tempfile.TemporaryDirectory() as folder:
        changes = {"tokenizer.ggml.eot_token_id": (gguf.ValueType.UINT32, 300)}
        llm = cls(str(variant(model, Path(folder) / "m.gguf", changes)), lib="avx2")
        scripted(llm, [*byte_tokens("a"), 300, *byte_tokens("b"), EOS])
        assert llm("Once") == "a"


@check
def nothing_cannot_be_evaluated(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    llm.eval([1, 440])
    refuses(lambda: llm.eval([]))
    refuses(lambda: llm.embed([]))


@check
def nothing_evaluated_cannot_be_sampled(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    refuses(llm.sample)


@check
def a_batch_of_nothing_is_refused(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    refuses(lambda: llm.eval([1], batch_size=0))  # the stock class never comes back from here


@check
def ids_outside_the_vocabulary_are_refused(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    for token in (-1, 4096, 2**31 - 1):
        refuses(lambda token=token: llm.eval([token]))  # type: ignore[misc]
        refuses(lambda token=token: llm.detokenize([token]))  # type: ignore[misc]


@check
def two_streams_do_not_mix(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    prompts = ("Once upon a time", "The king said to his daughter")
    alone = [llm(p, top_k=1, max_new_tokens=12) for p in prompts]
    streams = [llm(p, top_k=1, max_new_tokens=12, stream=True) for p in prompts]
    together = ["", ""]
    for pieces in zip(*streams, strict=False):
        together = [t + p for t, p in zip(together, pieces, strict=True)]
    assert together == alone


@check
def a_prompt_is_evaluated_in_large_batches(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    batches: list[int] = []
    evaluate = llm._lib.ctransformers_llm_batch_eval
    script = scripted(llm)

    def record(*args: Any) -> Any:
        batches.append(args[4])
        return evaluate(*args)

    script.ctransformers_llm_batch_eval = record  # type: ignore[attr-defined]
    llm.eval([5] * 300)
    assert min(batches) > 8


@check
def no_recent_tokens_means_none(cls: Any, model: Path) -> None:
    llm = cls(str(model), lib="avx2")
    script = scripted(llm)
    llm("Once upon a time", last_n_tokens=0, max_new_tokens=2)
    assert [args[2] for args in script.sampled] == [0, 0]


@check
def choosing_a_library_does_not_ask_cpuinfo(cls: Any, model: Path) -> None:
    sys.modules.pop("cpuinfo", None)
    cls(str(model))
    assert "cpuinfo" not in sys.modules


@check
def a_path_with_cuda_in_it_is_only_a_path(cls: Any, model: Path) -> None:
    from ctransformers import llm as stock
    from ctransformers.lib import find_library

    asked: list[bool] = []
    stock.load_cuda = lambda: asked.append(True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuda.so"
        path.symlink_to(find_library("avx2"))
        cls(str(model), lib=str(path))
    assert not asked


def main() -> None:
    import ctransformers.llm  # noqa: F401  (before anything of ours: the stock class as everybody gets it)
    from ctransformers import LLM

    with contextlib.redirect_stdout(sys.stderr):
        CHECKS[sys.argv[1]](LLM, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
