"""Every function of the C API with every argument that nobody means (R6), in a process that may crash.

    python abi_sweep.py LIBRARY MODEL

Each call is announced before it is made, so that the last line says what a crash was. Of each function one argument at
a time is hostile and the others are right; then every handle that is none, or is a vocabulary alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import c_char_p, c_double, c_float, c_int32, c_int64, c_uint32, c_void_p
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import abi

INT_MIN, INT_MAX = -(2**31), 2**31 - 1
INTS = [INT_MIN, -1, 0, INT_MAX]
LONGS = [-(2**63), *INTS, 2**63 - 1]
FLOATS = [float("nan"), float("inf"), float("-inf"), -1.0, 0.0, 3e38, 1e-40]
ROOM = 1 << 16
MARK = "-12345"  # in the words of the failure that is brought about before each call
FREES = {"pl_free", "pl_sampler_free", "ctransformers_llm_delete"}
# Functions whose failure is a value like any other, or that cannot fail.
NO_WORDS = {
    "pl_last_error_kind",
    "pl_bos",
    "pl_eos",
    "ctransformers_llm_bos_token_id",
    "ctransformers_llm_eos_token_id",
}


class Sweep:
    def __init__(self, library: str, model: str) -> None:
        self.lib, self.model = abi.bind(library), model
        self.calls, self.findings = 0, 0
        self.llm = abi.load(self.lib, model, context_length=64)
        self.vocab = abi.load(self.lib, model, vocab_only=1)
        self.freed = abi.load(self.lib, model, vocab_only=1)
        self.lib.pl_free(self.freed)
        self.params = abi.sampling(self.lib)
        self.sampler = self.lib.pl_sampler_new(ctypes.byref(self.params))
        self.freed_sampler = self.lib.pl_sampler_new(ctypes.byref(self.params))
        self.lib.pl_sampler_free(self.freed_sampler)
        self.ids = (c_int32 * ROOM)(*[5] * 16)
        self.out = (c_int32 * ROOM)()
        self.items = abi.items([5, 6])
        self.mask = (c_uint32 * ROOM)(*[2**32 - 1] * 1024)
        self.floats = (c_float * ROOM)()
        self.bytes = ctypes.create_string_buffer(ROOM)
        self.abort = c_int32(0)
        self.importance = (c_float * 64)(*[1.0] * 64)

    def work(self, **members: Any) -> Any:
        """Four rows of float32 into Q8_0."""
        address = ctypes.addressof
        right = {
            "size": ctypes.sizeof(abi.Requantization), "from": 0, "to": 8, "threads": 1, "rows": 4, "cols": 64,
            "src": address(self.floats), "src_bytes": 4 * 64 * 4, "dst": address(self.bytes), "dst_bytes": 4 * 2 * 34,
            "importance": self.importance, "n_importance": 64,
        }  # fmt: skip
        out = abi.Requantization()
        for name, value in (right | members).items():
            setattr(out, name, value)
        return out

    def right(self, function: str, name: str, words: str) -> Any:
        """An argument as it should be."""
        if words == "pl_llm*":
            return self.freed if function in FREES else self.llm
        if words == "pl_sampler*":
            return self.freed_sampler if function in FREES else self.sampler
        by_name: dict[str, Any] = {
            "path": self.model.encode(), "type": b"gguf", "text": b"Once", "n_bytes": 4, "options": abi.options(),
            "params": self.params, "work": self.work(), "items": self.items, "tokens": self.ids, "history": self.ids,
            "last_tokens": self.ids, "capacity": ROOM, "abort": self.abort,
            "config": abi.Config(64, 0, True, False), "row": -1, "token": 5,
            "batch_size": 8, "n_tokens": 2, "n_last": 2, "top_k": 40, "top_p": 0.9, "temperature": 0.8, "threads": 1,
            "repetition_penalty": 1.1, "seed": 1, "n": 2, "seq": 0, "from": 0, "flags": 0, "pooling": 1, "what": 1,
            "n_past": 0, "add_bos": True, "keep": 1, "discard": 1,
            "first": 0, "base": None, "base_bytes": 0, "on": 1, "tensor": b"token_embd.weight", "sums": self.floats,
            "counts": (c_int64 * ROOM)(), "n_counts": ROOM, "mask": self.mask, "n_top": 3,
            "n_vocab": self.lib.pl_vocab_size(self.llm),
        }  # fmt: skip
        if name == "out":
            if words == "uint8_t*":
                return (ctypes.c_uint8 * ROOM)()
            if words == "pl_loss*":
                return (abi.STRUCTS["pl_loss"] * ROOM)()
            return {"char*": self.bytes, "float*": self.floats, "pl_sampling*": abi.Sampling()}.get(words, self.out)
        return by_name[name]

    def hostile(self, name: str, words: str, kind: Any) -> list[Any]:
        """What else an argument might be."""
        if words == "pl_llm*":
            # 2**64 - 2**31 is what INT_MIN becomes as an address.
            return [None, 2**64 - 1, 2**64 - 2**31, INT_MAX, self.freed, self.sampler, self.vocab]
        if words == "pl_sampler*":
            return [None, 2**64 - 1, INT_MAX, self.freed_sampler, self.llm]
        if name == "path":
            return [
                None,
                b"",
                b"/",
                b"/dev/null",
                b"/nonexistent",
                b"\xff\xfe",
                b"/" + b"x" * 100_000,
                self.model.encode() + b"/",
            ]
        if words == "const char*":
            return [None, b"", b"\xff\x80", "🦙\u2581".encode()]
        if name == "abort":
            return [None, c_int32(1), c_int32(INT_MIN)]
        if name == "options":
            return [None, *self.structs(abi.options), *(abi.Options(size=n) for n in (0, 3, 5, 4097, 2**32 - 1))]
        if name == "params":
            sizes = [abi.Sampling(size=n) for n in (0, 4, 4097, 2**32 - 1)]
            return [None, *self.structs(lambda **m: abi.sampling(self.lib, **m)), *sizes]
        if name == "work":
            sizes = [self.work(size=n) for n in (0, 3, 4, 4097, 2**32 - 1)]
            nothing = [self.work(src=None), self.work(dst=None), self.work(importance=None)]
            wrong = [self.work(importance=(c_float * 64)(*[value] * 64)) for value in FLOATS]
            huge = [self.work(rows=2**62, cols=256), self.work(rows=2**31, cols=2**31, src_bytes=0, dst_bytes=0)]
            return [None, *self.structs(self.work), *sizes, *nothing, *wrong, *huge]
        if name == "config":
            return [abi.Config(n, n, bool(n % 2), True) for n in INTS]
        if name == "items":
            members = [m for m, _ in abi.Item._fields_]
            return [None, *((abi.Item * 2)(abi.Item(**{m: n}), abi.Item(5, 0, 1, 1)) for m in members for n in INTS)]
        if name == "add_bos":
            return [False]
        if kind is c_float:
            return FLOATS
        if kind is c_int64:
            return LONGS
        return INTS if kind in (c_int32, ctypes.c_int) else [None]

    def structs(self, make: Any) -> list[Any]:
        """A struct with one member wrong, for each member."""
        right = make()
        out = []
        for member, kind in right._fields_:
            if member == "size" or kind is c_void_p or not issubclass(kind, ctypes._SimpleCData):
                continue
            for value in FLOATS if kind is c_float else INTS:
                out.append(make(**{member: value}))
        for pointer, count in (("dry_breakers", "n_dry_breakers"), ("bias_tokens", "n_bias")):
            if hasattr(right, pointer):  # an array that is there, of a length that is not
                out += [
                    make(**{pointer: self.ids, "bias_values": self.floats, count: n}) for n in (INT_MIN, -1, INT_MAX)
                ]
        return out

    def call(self, name: str, arguments: list[Any], about: str) -> None:
        lib, (result, _) = self.lib, abi.FUNCTIONS[name]
        lib.pl_piece(self.llm, int(MARK), 0, None, 0)
        os.write(1, f"{name}: {about}\n".encode())
        found = getattr(lib, name)(*arguments)
        self.calls += 1
        kind, words = abi.error(lib)
        wrong = found is None and result is not None and result is not c_char_p
        wrong |= result in (c_int32, c_int64, ctypes.c_int, c_double) and found is not None and found < 0
        if wrong and name not in NO_WORDS and (not words or MARK in words):
            self.find(f"{name} failed without words: {about}")
        ours = name.startswith("pl_") and result in (c_int32, c_int64, c_double) and name not in NO_WORDS
        if wrong and ours and kind != found:
            self.find(f"{name} gave {found} and its kind is {kind}: {about}")
        if name in ("pl_load", "ctransformers_llm_create") and found:
            lib.pl_free(found)
        if name == "pl_sampler_new" and found:
            lib.pl_sampler_free(found)

    def find(self, words: str) -> None:
        self.findings += 1
        print("FINDING", words, flush=True)

    def check_handles(self, name: str) -> None:
        """A function of a handle that is none says so."""
        arguments = [self.right(name, n, words) for n, words, _ in abi.FUNCTIONS[name][1]]
        for none in (None, 2**64 - 1, self.freed, self.sampler):
            found = getattr(self.lib, name)(none, *arguments[1:])
            if name.startswith("pl_") and name not in FREES and found != -2:
                self.find(f"{name} of the handle {none} gave {found}")

    def run(self) -> None:
        before = self.state()
        for name, (_, arguments) in abi.FUNCTIONS.items():
            right = [self.right(name, n, words) for n, words, _ in arguments]
            self.call(name, right, "as it should be")
            for i, (n, words, kind) in enumerate(arguments):
                for value in self.hostile(n, words, kind):
                    given = c_void_p(value) if words == "pl_llm*" and value else value
                    self.call(name, [*right[:i], given, *right[i + 1 :]], f"{n} = {value}")
            if arguments and arguments[0][1] == "pl_llm*":
                self.check_handles(name)
                for i, (n, words, kind) in enumerate(arguments[1:], 1):
                    if name in FREES:
                        continue
                    for value in self.hostile(n, words, kind):
                        self.call(name, [self.vocab, *right[1:i], value, *right[i + 1 :]], f"vocabulary, {n} = {value}")
        if self.state() != before:
            self.find("the model is not what it was before")
        print(f"{self.calls} calls, {self.findings} findings", flush=True)

    def state(self) -> bytes:
        """What the model computes: all logits of a text."""
        width = self.lib.pl_vocab_size(self.llm)
        out = (c_float * (8 * width))()
        assert self.lib.pl_score(self.llm, self.ids, 8, out, len(out), None) == 0, abi.error(self.lib)
        return bytes(out)


if __name__ == "__main__":
    sweep = Sweep(sys.argv[1], sys.argv[2])
    sweep.run()
    sys.exit(sweep.findings != 0)
