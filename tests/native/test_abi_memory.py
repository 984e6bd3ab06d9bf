"""The C API: what models take of the memory, and what happens where there is too little (R25)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pocketllama import gguf

from . import abi
from .cases import CASES
from .models import write

USAGE = -2


SHORT_OF_MEMORY = """
import ctypes, re, resource, sys, abi
lib = abi.bind(sys.argv[1])
model = sys.argv[2]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
used = int(status["VmSize"].split()[0]) * 1024
def limit(room):
    resource.setrlimit(resource.RLIMIT_AS, (used + room, resource.RLIM_INFINITY))
def refused(**members):
    assert not lib.pl_load(model.encode(), ctypes.byref(abi.options(threads=1, **members)))
    kind, words = abi.error(lib)
    print(kind, words)
    assert kind == -6, (kind, words)
    return words
for room in (1 << 20, 4 << 20):
    limit(room)
    refused()
    refused(no_mmap=1)
# Each room up to the one that is enough: what fails is said; an evaluation's arrays are asked for with the cache.
said, room = set(), 4 << 20
while True:
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    used = int(status["VmSize"].split()[0]) * 1024
    limit(room)
    llm = lib.pl_load(model.encode(), ctypes.byref(abi.options(threads=1, context_length=300)))
    if llm:
        break
    kind, words = abi.error(lib)
    assert kind == -6, (kind, words)
    said.add(re.sub("[0-9.]+ MiB is", "… is", words))
    room += 1 << 20
print(said)
needs = sum(lib.pl_memory(llm, what) for what in (1, 2))
assert f"a context of 300 tokens needs {needs / 2**20:.1f} MiB, … is available" in said, (needs, said)
assert lib.pl_memory(llm, 2) > 1 << 20
# Rows of logits for every token: as many again as the model's own memory.
wide = (abi.Item * 300)(*(abi.Item(5, 0, i, 1) for i in range(300)))
limit(2 << 20)
assert lib.pl_eval(llm, wide, 300, None) == -6, abi.error(lib)
words = abi.error(lib)[1]
assert re.search(r"results of 300 tokens needs [\\d.]+ MiB, [\\d.]+ MiB is available", words), words
assert lib.pl_logits(llm, None, 0) == 0 and lib.pl_cached(llm, 0) == 0
limit(64 << 20)
assert lib.pl_eval(llm, wide, 300, None) == 0 and lib.pl_logits(llm, None, 0) == 300 * lib.pl_vocab_size(llm)
lib.pl_free(llm)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
used = int(status["VmSize"].split()[0]) * 1024
limit(96 << 20)
words = refused(context_length=1 << 20)
needed, available = (float(x) for x in re.findall(r"([\\d.]+) MiB", words))
assert needed > available and available < 100, words
llm = abi.load(lib, model, context_length=64)
before = abi.tokenize(lib, llm, b"Once upon a time")
assert lib.pl_set_threads(llm, 1024) == -6, abi.error(lib)  # a stack each
print(abi.error(lib)[1])
assert lib.pl_eval(llm, abi.items(before), len(before), None) == 0  # on the threads it had
limit(1 << 30)
assert lib.pl_set_threads(llm, 2) == 0 and lib.pl_eval(llm, abi.items(before), len(before), None) == 0
"""


def test_memory_that_is_refused_is_an_error(path: str, tales: Path) -> None:
    """mmap, the cache and threads, under prlimit (R25)."""
    if sys.platform != "linux":
        pytest.skip("takes RLIMIT_AS")
    ran = abi.child("-c", SHORT_OF_MEMORY, path, tales)
    assert ran.returncode == 0, (ran.returncode, ran.stdout[-500:], ran.stderr[-800:])


def test_what_a_model_takes(lib: Any, tales: Path) -> None:
    sizes = {}
    for kv_type, name in enumerate(("f16", "f32", "q8_0")):
        llm = abi.load(lib, tales, context_length=512, kv_type=kv_type, n_seqs=3)
        sizes[name] = lib.pl_memory(llm, 1)
        assert lib.pl_memory(llm, 0) == tales.stat().st_size and lib.pl_memory(llm, 2) > 0
        assert lib.pl_memory(llm, 3) == lib.pl_memory(llm, -1) == USAGE
        lib.pl_free(llm)
    with gguf.read(tales) as file:
        values = 2 * file.metadata["llama.block_count"] * file.metadata["llama.embedding_length"]
        values = values * file.metadata["llama.attention.head_count_kv"] // file.metadata["llama.attention.head_count"]
    assert sizes["f16"] == 2 * values * 512 * 3 and sizes["f32"] == 2 * sizes["f16"]
    assert sizes["q8_0"] * 64 == sizes["f16"] * 34


WITHIN = """
import resource, sys, abi
lib = abi.bind(sys.argv[1])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
resource.setrlimit(resource.RLIMIT_AS, (int(status["VmSize"].split()[0]) * 1024 + (256 << 20), resource.RLIM_INFINITY))
llm = abi.load(lib, sys.argv[2], context_length=64)
assert lib.pl_eval(llm, abi.items([1, 2, 3]), 3, None) == 0
"""


@pytest.mark.parametrize(
    ("case", "more", "lacks"),
    [
        ("qwen3moe", {"feed_forward_length": 1 << 24}, None),
        ("llama", {"expert_feed_forward_length": 1 << 24}, None),
        ("llama", {"expert_feed_forward_length": 1 << 24, "expert_count": 8, "expert_used_count": 3}, "ffn_gate_inp"),
    ],
)
def test_a_width_that_no_tensor_has_takes_no_memory(
    path: str, case: str, more: dict[str, int], lacks: str | None, tmp_path: Path
) -> None:
    """Found by fuzzing: 2^24 in a file of a few kilobytes asked for 16 GiB."""
    if sys.platform != "linux":
        pytest.skip("takes RLIMIT_AS")
    model = CASES[case]
    file = write(tmp_path / "wide.gguf", model.arch, model.metadata | more, model.tensors())
    ran = abi.child("-c", WITHIN, path, file)
    if lacks:
        assert ran.returncode == 1 and lacks in ran.stderr, ran.stderr[-800:]
    else:
        assert ran.returncode == 0, ran.stderr[-800:]


PEAK = """
import sys, abi
lib = abi.bind(sys.argv[1])
llm = abi.load(lib, sys.argv[2], context_length=int(sys.argv[3]), threads=2, no_mmap=int(sys.argv[4]))
n = int(sys.argv[3])
assert lib.pl_eval(llm, abi.items([5] * n), n, None) == 0
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) * 1024)
"""


@pytest.mark.parametrize("no_mmap", [0, 1])
def test_peak_memory(path: str, tales: Path, no_mmap: int) -> None:
    """At most the file, the cache, and 64 MiB, a Python interpreter among them."""
    if sys.platform != "linux":
        pytest.skip("takes /proc")
    n_ctx = 1024
    with gguf.read(tales) as file:
        layers, dim, heads, kv_heads = (
            int(file.metadata[f"llama.{key}"])
            for key in ("block_count", "embedding_length", "attention.head_count", "attention.head_count_kv")
        )
    cache = n_ctx * layers * 2 * kv_heads * (dim // heads) * 2  # keys and values, two bytes each
    ran = abi.child("-c", PEAK, path, tales, str(n_ctx), str(no_mmap))
    assert ran.returncode == 0, ran.stderr[-800:]
    assert int(ran.stdout) <= tales.stat().st_size + cache + (64 << 20)
