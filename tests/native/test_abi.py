"""The C API: what it exports, what it does with what nobody means (R6), and ctransformers' own class on it."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from ctypes import byref, c_float, c_int32
from pathlib import Path
from typing import Any

import pytest

from . import abi
from .models import write

USAGE, OVERFLOW, INVALID, UNSUPPORTED, MEMORY, IO, CANCELLED = -2, -3, -4, -5, -6, -7, -8
GUARD = 0x5AA5
TEXTS = (
    "", " ", "Once upon a time", "3", "café", "你好", "🦙👩\u200d👩\u200d👧", "ខ្មែរ", "a\u0300\u0323", "\u2581x",
    "\ufeff", "<s></s>", "\n\t\r", "x" * 300, "   spaces   ",
)  # fmt: skip


def random_texts(n: int) -> list[str]:
    """Characters of every length in UTF-8, and of the vocabulary's."""
    r = random.Random(7)
    pools = ["abc the king ", "éßñ", "你好ខ្មែ", "🦙👧𝔘", "\x00\x01\x7f\u200d\ufffd"]
    return ["".join(r.choice(r.choice(pools)) for _ in range(r.randrange(40))) for _ in range(n)]


@pytest.fixture
def llm(lib: Any, tales: Path) -> Iterator[int]:
    handle = abi.load(lib, tales, context_length=128, n_seqs=2)
    yield handle
    lib.pl_free(handle)


def evaluate(lib: Any, llm: int, tokens: list[int], first: int = 0, abort: Any = None) -> int:
    return int(lib.pl_eval(llm, abi.items(tokens, first=first), len(tokens), abort))


# ---- what is exported


def test_every_function_of_ctransformers_has_its_signature(path: str) -> None:
    from ctransformers import llm as stock

    theirs = stock.load_library(path)
    names = [n for n in vars(theirs) if n.startswith("ctransformers_llm_")]
    assert len(names) == 17
    assert set(names) == {n for n in abi.FUNCTIONS if n.startswith("ctransformers_")}
    same = {stock.ConfigStruct: abi.Config}
    for name in names:
        result, arguments = abi.FUNCTIONS[name]
        function = getattr(theirs, name)
        assert [same.get(t, t) for t in function.argtypes] == [kind for _, _, kind in arguments], name
        assert function.restype == result, name
    assert stock.ConfigStruct._fields_ == abi.Config._fields_


def test_nothing_else_is_exported(path: str) -> None:
    if sys.platform != "linux" or shutil.which("nm") is None:
        pytest.skip("takes nm")
    listed = subprocess.run(["nm", "-D", "--defined-only", path], capture_output=True, text=True, check=True).stdout
    assert {line.split()[-1] for line in listed.splitlines()} == set(abi.FUNCTIONS)


# ---- R6


def test_no_argument_crashes_it_and_every_failure_has_words(path: str, tales: Path) -> None:
    ran = abi.child(Path(abi.__file__).with_name("abi_sweep.py"), path, tales)
    lines = ran.stdout.splitlines()
    findings = [line for line in lines if line.startswith("FINDING")]
    assert ran.returncode == 0, (ran.returncode, findings[:20], lines[-3:], ran.stderr[-500:])
    assert int(lines[-1].split()[0]) > 800


def test_a_freed_handle_never_comes_back(lib: Any, tales: Path) -> None:
    old = abi.load(lib, tales, vocab_only=1)
    lib.pl_free(old)
    # Memory is used again at once; handles are not.
    fresh = [abi.load(lib, tales, vocab_only=1) for _ in range(4)]
    assert old not in fresh and lib.pl_vocab_size(old) == USAGE
    for handle in fresh:
        lib.pl_free(handle)


def test_words_are_utf8_and_short(lib: Any) -> None:
    assert not lib.pl_load(b"/\xff\xfe" + b"x" * 100_000, None)
    kind, words = abi.error(lib)  # decodes
    assert kind == IO and len(words) < 3000


@pytest.mark.parametrize("vocab_only", [0, 1], ids=["model", "vocabulary"])
def test_files_that_are_none(lib: Any, tales: Path, tmp_path: Path, vocab_only: int) -> None:
    whole = tales.read_bytes()

    def refusal(path: Path, data: bytes | None = None, **members: int) -> tuple[int, str]:
        if data is not None:
            path.write_bytes(data)
        made = abi.options(**{"threads": 1, "vocab_only": vocab_only, **members})
        handle = lib.pl_load(os.fsencode(path), byref(made))
        assert not handle
        return abi.error(lib)

    for mmap in (0, 1):
        missing = refusal(tmp_path / "nothing", no_mmap=mmap)
        assert missing[0] == IO and str(tmp_path / "nothing") in missing[1]
        assert refusal(tmp_path, no_mmap=mmap)[0] == IO
        file = tmp_path / "x.gguf"
        assert refusal(file, b"", no_mmap=mmap)[0] == INVALID
        assert refusal(file, os.urandom(1000), no_mmap=mmap)[0] == INVALID
        for cut in (3, 8, 23, 24, 1000, len(whole) // 2, len(whole) - 1):
            assert refusal(file, whole[:cut], no_mmap=mmap)[0] == INVALID, cut
    if not vocab_only:
        write(tmp_path / "odd.gguf", "nosuch", {}, {})
        kind, words = refusal(tmp_path / "odd.gguf")
        assert kind == UNSUPPORTED and '"nosuch"' in words and "llama" in words
        kind, words = refusal(tales, None, context_length=2**31 - 1, n_seqs=4096)
        assert kind == MEMORY and "needs" in words and "available" in words
        assert refusal(tales, None, n_seqs=4097)[0] == USAGE and refusal(tales, None, threads=-1)[0] == USAGE


# ---- sized functions


def test_nothing_is_written_beyond_a_capacity(lib: Any, llm: int) -> None:
    for text in (*TEXTS, *random_texts(150)):
        raw = text.encode()
        ids = abi.tokenize(lib, llm, raw, 1)
        for capacity in {0, 1, len(ids) // 2, len(ids), len(ids) + 1}:
            out = (c_int32 * (len(ids) + 3))(*[GUARD] * (len(ids) + 3))
            assert lib.pl_tokenize(llm, raw, len(raw), 1, out, capacity) == len(ids)
            written = min(capacity, len(ids))
            assert out[:written] == ids[:written] and set(out[written:]) == {GUARD}
        # The old ABI gives no capacity: its callers allot an int for each character and one more.
        room = len(text) + 1
        out = (c_int32 * (room + 8))(*[GUARD] * (room + 8))
        n = lib.ctransformers_llm_tokenize(llm, raw.replace(b"\0", b""), True, out)
        assert n <= room and set(out[room:]) == {GUARD}
        guarded_bytes(lambda out, n, ids=ids: lib.pl_detokenize(llm, (c_int32 * len(ids))(*ids), len(ids), 0, out, n))
        for token in ids[:3]:
            guarded_bytes(lambda out, n, token=token: lib.pl_piece(llm, token, 2, out, n))


def test_which_tokens_end_a_text(lib: Any, llm: int) -> None:
    ends = [t for t in range(lib.pl_vocab_size(llm)) if lib.pl_is_end(llm, t) == 1]
    assert ends and lib.pl_eos(llm) in ends
    for capacity in range(len(ends) + 2):
        out = (c_int32 * (len(ends) + 3))(*[GUARD] * (len(ends) + 3))
        assert lib.pl_ends(llm, out, capacity) == len(ends)
        written = min(capacity, len(ends))
        assert out[:written] == ends[:written] and set(out[written:]) == {GUARD}
    assert lib.pl_ends(llm, None, 0) == len(ends)


def guarded_bytes(call: Callable[[Any, int], int]) -> None:
    n = call(None, 0)
    assert n >= 0
    for capacity in {0, n // 2, n, n + 2}:
        out = ctypes.create_string_buffer(b"\xa5" * (n + 4), n + 4)
        assert call(out, capacity) == n
        assert set(out.raw[min(capacity, n) :]) == {0xA5}


def test_results_are_copied_up_to_a_capacity(lib: Any, llm: int) -> None:
    assert evaluate(lib, llm, [1, 5, 6]) == 0
    for function, n in ((lib.pl_logits, lib.pl_vocab_size(llm)), (lib.pl_hidden, lib.pl_embedding_size(llm))):
        assert function(llm, None, 0) == n
        whole = (c_float * n)()
        assert function(llm, whole, n) == n
        for capacity in (0, 1, n - 1, n, n + 5):
            out = (c_float * (n + 8))(*[1e30] * (n + 8))
            assert function(llm, out, capacity) == n
            written = min(capacity, n)
            assert out[:written] == whole[:written] and len(set(out[written:])) == 1
    assert lib.pl_score(llm, (c_int32 * 2)(5, 6), 2, (c_float * 10)(), 10, None) == USAGE  # says so, writes nothing


def test_text_is_bytes_with_a_length(lib: Any, llm: int) -> None:
    texts = [t.encode() for t in (*TEXTS, *random_texts(100))]
    for raw in (b"a\0b", b"\0", b"\0\0x\0", b"\xff\xfe\x80 caf\xc3", *texts):
        if "\u2581".encode() in raw:
            continue  # SentencePiece's own mark for a space
        assert abi.detokenize(lib, llm, abi.tokenize(lib, llm, raw)) == raw
        assert abi.detokenize(lib, llm, abi.tokenize(lib, llm, raw, 1)) == raw
    # The names of control tokens are text, unless it is said that they are not.
    assert lib.pl_eos(llm) not in abi.tokenize(lib, llm, b"</s>")
    assert abi.tokenize(lib, llm, b"</s>", 2) == [lib.pl_eos(llm)]


# ---- evaluation


def test_the_context_is_a_limit(lib: Any, tales: Path) -> None:
    llm = abi.load(lib, tales, context_length=16)
    assert lib.pl_context_length(llm) == 16
    room = 16
    assert evaluate(lib, llm, [5] * (room + 1)) == OVERFLOW and "16" in abi.error(lib)[1]
    assert lib.pl_cached(llm, 0) == 0 and lib.pl_logits(llm, None, 0) == 0
    assert evaluate(lib, llm, [5] * (room - 1)) == 0
    assert evaluate(lib, llm, [5], first=room - 1) == 0 and lib.pl_cached(llm, 0) == room
    last = abi.logits(lib, llm)
    assert evaluate(lib, llm, [5], first=room) == OVERFLOW and lib.pl_cached(llm, 0) == room
    assert evaluate(lib, llm, [5] * room) == 0 and abi.logits(lib, llm) == last
    wide = (c_float * ((room + 1) * lib.pl_vocab_size(llm)))()
    assert lib.pl_score(llm, (c_int32 * (room + 1))(*[5] * (room + 1)), room + 1, wide, len(wide), None) == OVERFLOW
    tokens = (c_int32 * 2)(5, 5)
    assert not lib.ctransformers_llm_batch_eval(llm, tokens, 2, room - 1, 8, 1) and abi.error(lib)[0] == OVERFLOW
    assert lib.ctransformers_llm_batch_eval(llm, tokens, 1, room - 1, 8, 1)
    lib.pl_free(llm)


def test_sequences_do_not_meet(lib: Any, llm: int) -> None:
    a, b = abi.tokenize(lib, llm, b"Once upon a time", 1), abi.tokenize(lib, llm, b"The fox said to the wolf", 1)
    alone = []
    for text in (a, b):
        assert evaluate(lib, llm, text) == 0
        alone.append(abi.logits(lib, llm))
    assert lib.pl_truncate(llm, 0, 0) == 0
    for seq, text in ((0, a), (1, b)):
        head = text[:-1]
        assert lib.pl_eval(llm, abi.items(head, seq), len(head), None) == 0
    both = (abi.Item * 2)(abi.Item(b[-1], 1, len(b) - 1, 1), abi.Item(a[-1], 0, len(a) - 1, 1))
    assert lib.pl_eval(llm, both, 2, None) == 0
    width = lib.pl_vocab_size(llm)
    found = abi.logits(lib, llm)
    assert found[width:] == alone[0] and found[:width] == alone[1]
    assert (lib.pl_cached(llm, 0), lib.pl_cached(llm, 1)) == (len(a), len(b))
    assert lib.pl_truncate(llm, 1, 2) == 0 and lib.pl_cached(llm, 1) == 2 and lib.pl_cached(llm, 0) == len(a)


def test_a_failed_evaluation_leaves_no_results(lib: Any, llm: int) -> None:
    for tokens, first in (([], 0), ([-1], 0), ([5], 99)):
        assert evaluate(lib, llm, [1, 5]) == 0 and lib.pl_logits(llm, None, 0) > 0
        assert evaluate(lib, llm, tokens, first) == USAGE
        assert lib.pl_logits(llm, None, 0) == 0 and not lib.ctransformers_llm_logits_data(llm)
    assert evaluate(lib, llm, [1, 5]) == 0
    lib.ctransformers_llm_reset(llm)  # the next text finds nothing of this one
    assert lib.pl_logits(llm, None, 0) == 0 and lib.ctransformers_llm_embeddings_size(llm) == 0
    assert lib.ctransformers_llm_sample(llm, (c_int32 * 1)(), 0, 40, 0.9, 0.8, 1.1, 1) == -1


def hidden(lib: Any, llm: int) -> list[float]:
    out = (c_float * lib.pl_hidden(llm, None, 0))()
    lib.pl_hidden(llm, out, len(out))
    return list(out)


def test_hidden_states_without_logits(lib: Any, llm: int) -> None:
    tokens = abi.tokenize(lib, llm, b"Once upon a time there was", 1)
    wanted = [1] * len(tokens)
    for pattern in (wanted, [2] * len(tokens), [i % 3 for i in range(len(tokens))]):
        items = (abi.Item * len(tokens))(*(abi.Item(t, 1, i, pattern[i]) for i, t in enumerate(tokens)))
        assert lib.pl_eval(llm, items, len(items), None) == 0
        if pattern is wanted:
            all_logits, all_hidden = abi.logits(lib, llm), hidden(lib, llm)
        width, dim = lib.pl_vocab_size(llm), lib.pl_embedding_size(llm)
        rows = [(w, all_logits[i * width : (i + 1) * width], all_hidden[i * dim : (i + 1) * dim])
                for i, w in enumerate(pattern)]  # fmt: skip
        assert abi.logits(lib, llm) == [x for w, row, _ in rows if w == 1 for x in row]
        assert hidden(lib, llm) == [x for w, _, row in rows if w for x in row]


@pytest.mark.parametrize("n", [1, 5, 600])
def test_embeddings(lib: Any, tales: Path, n: int) -> None:
    """Across the chunks of an evaluation, too."""
    llm = abi.load(lib, tales, context_length=n)
    tokens = [5 + 7 * i % 900 for i in range(n)]
    items = (abi.Item * n)(*(abi.Item(t, 0, i, 2) for i, t in enumerate(tokens)))
    assert lib.pl_eval(llm, items, n, None) == 0
    dim = lib.pl_embedding_size(llm)
    states = hidden(lib, llm)
    means = [sum(states[i::dim]) / n for i in range(dim)]
    for pooling, expected in ((0, states[-dim:]), (1, means)):
        out = (c_float * (dim + 3))(*[7e7] * (dim + 3))
        assert lib.pl_embed(llm, (c_int32 * n)(*tokens), n, pooling, out, dim, None) == 0
        assert out[:dim] == pytest.approx(expected, rel=1e-6, abs=1e-6) and out[dim:] == [7e7] * 3
    assert lib.pl_embed(llm, (c_int32 * n)(*tokens), n, 0, out, dim - 1, None) == USAGE
    assert lib.pl_embed(llm, (c_int32 * n)(*tokens), n, 0, out, dim, byref(c_int32(1))) == CANCELLED
    assert lib.pl_embed(llm, (c_int32 * (n + 1))(*[5] * (n + 1)), n + 1, 0, out, dim, None) == OVERFLOW
    lib.pl_free(llm)


def test_a_long_prefill_is_cancelled(lib: Any, tales: Path) -> None:
    n = 4096
    llm = abi.load(lib, tales, context_length=n)
    tokens = [5 + i % 900 for i in range(n)]
    assert evaluate(lib, llm, tokens, abort=byref(c_int32(1))) == CANCELLED and lib.pl_cached(llm, 0) == 0
    abort = c_int32(0)
    results: list[tuple[int, float]] = []

    def prefill() -> None:
        results.append((evaluate(lib, llm, tokens, abort=byref(abort)), time.monotonic()))

    thread = threading.Thread(target=prefill)
    thread.start()
    time.sleep(0.3)
    abort.value, at = 1, time.monotonic()
    thread.join()
    result, ended = results[0]
    done = lib.pl_cached(llm, 0)
    assert result == CANCELLED and ended - at < 1.0 and 0 <= done < n
    # What was complete is kept: going on from there gives what going on from nothing gives.
    end = min(done + 300, n)
    assert evaluate(lib, llm, tokens[done:end], first=done) == 0
    resumed = abi.logits(lib, llm)
    assert evaluate(lib, llm, tokens[:end]) == 0 and abi.logits(lib, llm) == resumed
    lib.pl_free(llm)


# ---- sampling


def story(lib: Any, llm: int, sampler: int, n: int = 24, company: Callable[[], object] = lambda: None) -> list[int]:
    tokens = abi.tokenize(lib, llm, b"Once upon a time", 1)
    assert evaluate(lib, llm, tokens) == 0
    for _ in range(n):
        token = lib.pl_sample(llm, sampler, -1, (c_int32 * len(tokens))(*tokens), len(tokens))
        assert token >= 0, abi.error(lib)
        assert evaluate(lib, llm, [token], first=len(tokens)) == 0
        tokens.append(token)
        company()
    return tokens


def test_a_seed_gives_one_text(lib: Any, llm: int, tales: Path) -> None:
    other = abi.load(lib, tales, context_length=64)
    assert evaluate(lib, other, [1, 5]) == 0

    def sampler(seed: int) -> int:
        return int(lib.pl_sampler_new(byref(abi.sampling(lib, seed=seed, temperature=1.0))))

    first = story(lib, llm, sampler(3))
    assert story(lib, llm, sampler(3)) == first
    noise = sampler(99)
    assert story(lib, llm, sampler(3), company=lambda: lib.pl_sample(other, noise, -1, None, 0)) == first
    assert len({tuple(story(lib, llm, sampler(seed))) for seed in range(4)}) > 1
    greedy = lib.pl_sampler_new(byref(abi.sampling(lib, temperature=0.0)))
    assert story(lib, llm, greedy) == story(lib, llm, greedy)
    lib.pl_free(other)


def test_models_beside_each_other(lib: Any, llm: int, tales: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(tales, tmp_path / "copy.gguf"))
    second = abi.load(lib, copy, context_length=32, no_mmap=1)
    vocabulary = abi.load(lib, copy, vocab_only=1)
    tokens = abi.tokenize(lib, vocabulary, b"Once upon a time", 1)
    assert evaluate(lib, llm, tokens) == 0 and evaluate(lib, second, tokens) == 0
    assert abi.logits(lib, llm) == abi.logits(lib, second)
    assert evaluate(lib, vocabulary, tokens) == USAGE and "vocabulary" in abi.error(lib)[1]
    copy.unlink()  # what is loaded stays
    lib.pl_free(second)
    assert evaluate(lib, second, tokens) == USAGE
    assert abi.tokenize(lib, vocabulary, b"Once upon a time", 1) == tokens and len(abi.logits(lib, llm)) > 0
    lib.pl_free(vocabulary)


# ---- ctransformers' own class


@pytest.fixture
def stock(path: str, tales: Path) -> Any:
    from ctransformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(tales), lib=path, threads=1)


def test_the_golden_text(stock: Any, golden: dict[str, Any]) -> None:
    prompt = stock.tokenize(golden["prompt"])
    assert list(prompt) == golden["prompt_tokens"]
    settings = {"top_k": 1, "repetition_penalty": golden["repetition_penalty"], "seed": 1}
    settings["last_n_tokens"] = golden["repetition_window"]
    for temperature in (1.0, 0.0):
        generator = stock.generate(prompt, temperature=temperature, **settings)
        tokens = list(itertools.islice(generator, golden["max_tokens"]))
        assert tokens == golden["tokens"]
        assert stock.detokenize(tokens) == golden["text"]
    assert stock(golden["prompt"], max_new_tokens=golden["max_tokens"], **settings) == golden["text"]


def test_its_errors(stock: Any, path: str, tmp_path: Path) -> None:
    from ctransformers import LLM

    with pytest.raises(RuntimeError):
        stock.eval([-1])
    with pytest.raises(RuntimeError):
        stock.eval([])
    with pytest.raises(RuntimeError):
        stock.eval([5] * (stock.context_length + 1))
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(40))
    with pytest.raises(RuntimeError):
        LLM(str(bad), lib=path)
