"""The C API as its header declares it: ctypes signatures read out of native/include/pocketllama.h.

Nothing is written down twice, so a function that is added is seen by the tests at once. Imports no NumPy and none of
the project: the children that measure memory and may crash use it too.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from ctypes import (
    POINTER,
    c_bool,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

HEADER = Path(__file__).resolve().parents[2] / "native" / "include" / "pocketllama.h"

_VALUES: dict[str, Any] = {
    "void": None, "bool": c_bool, "int": c_int, "int32_t": c_int32, "int64_t": c_int64, "uint32_t": c_uint32,
    "uint64_t": c_uint64, "uint8_t": c_uint8, "float": c_float, "double": c_double,
}  # fmt: skip


def _without_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def _type(words: str) -> Any:
    """The ctypes type of a C type such as "const int32_t*"."""
    words = words.replace("const", "").strip()
    if words.endswith("*"):
        name = words[:-1].strip()
        if name in ("pl_llm", "pl_sampler", "char"):
            # What is written to is a buffer of the caller's; what is read is bytes. Both pass as addresses.
            return c_void_p if name != "char" else c_char_p
        return POINTER(_VALUES.get(name) or STRUCTS[name])
    return _VALUES[words] if words in _VALUES else STRUCTS[words]


def _structs() -> dict[str, type[ctypes.Structure]]:
    found: dict[str, type[ctypes.Structure]] = {}
    for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", _text, flags=re.DOTALL):
        fields: list[tuple[str, Any]] = []
        for line in filter(None, (part.strip() for part in body.split(";"))):
            kind, _, names = line.replace("const ", "").partition(" ")
            base = POINTER(_VALUES[kind[:-1]]) if kind.endswith("*") else _VALUES[kind]
            fields += [(n.strip(), base) for n in names.split(",")]
        found[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return found


_text = _without_comments(HEADER.read_text(encoding="utf-8"))
STRUCTS = _structs()
Options, Item, Sampling = STRUCTS["pl_options"], STRUCTS["pl_item"], STRUCTS["pl_sampling"]
Config, Requantization = STRUCTS["ctransformers_config"], STRUCTS["pl_requantization"]


def _functions() -> dict[str, tuple[Any, list[tuple[str, str, Any]]]]:
    found: dict[str, tuple[Any, list[tuple[str, str, Any]]]] = {}
    for result, name, arguments in re.findall(r"PL_API ([\w\s]+?\*?)\s*(\w+)\(([^)]*)\);", _text):
        parts = [" ".join(a.split()) for a in arguments.split(",") if a.strip() not in ("", "void")]
        split = [re.fullmatch(r"(.*?\*?)\s*(\w+)", part) for part in parts]
        found[name] = (_type(result), [(m[2], m[1].strip(), _type(m[1])) for m in split if m])
    return found


# name → (result, [(argument's name, its C type, its ctypes type)])
FUNCTIONS = _functions()


def bind(path: str | Path) -> Any:
    """The library with the header's signatures."""
    lib = ctypes.CDLL(str(path))
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, [kind for _, _, kind in arguments]
    return lib


def options(**members: int) -> Any:
    return Options(size=ctypes.sizeof(Options), **members)


def sampling(lib: Any, **members: Any) -> Any:
    """The defaults with these changes."""
    out = Sampling()
    lib.pl_sampling_defaults(ctypes.byref(out))
    for name, value in members.items():
        setattr(out, name, value)
    return out


def error(lib: Any) -> tuple[int, str]:
    """Kind and words of this thread's last failure."""
    return lib.pl_last_error_kind(), lib.pl_last_error().decode()


def load(lib: Any, model: str | Path, **members: int) -> int:
    """A handle; RuntimeError with the library's words."""
    handle = lib.pl_load(str(model).encode(), ctypes.byref(options(**{"threads": 1, **members})))
    if not handle:
        raise RuntimeError(error(lib))
    return int(handle)


def tokenize(lib: Any, llm: int, text: bytes, flags: int = 0) -> list[int]:
    n = lib.pl_tokenize(llm, text, len(text), flags, None, 0)
    assert n >= 0, error(lib)
    out = (c_int32 * n)()
    assert lib.pl_tokenize(llm, text, len(text), flags, out, n) == n
    return list(out)


def detokenize(lib: Any, llm: int, tokens: list[int], flags: int = 0) -> bytes:
    ids = (c_int32 * len(tokens))(*tokens)
    n = lib.pl_detokenize(llm, ids, len(ids), flags, None, 0)
    assert n >= 0, error(lib)
    out = ctypes.create_string_buffer(n + 1)
    assert lib.pl_detokenize(llm, ids, len(ids), flags, out, n) == n
    return out.raw[:n]


def items(tokens: list[int], seq: int = 0, first: int = 0) -> Any:
    """Items for pl_eval: the tokens from position `first` on; the last one's logits are wanted."""
    last = len(tokens) - 1
    return (Item * len(tokens))(*(Item(t, seq, first + i, i == last) for i, t in enumerate(tokens)))


def logits(lib: Any, llm: int) -> list[float]:
    n = lib.pl_logits(llm, None, 0)
    assert n >= 0, error(lib)
    out = (c_float * n)()
    lib.pl_logits(llm, out, n)
    return list(out)


def child(*arguments: str | Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, which can import this file as `abi`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment, timeout=timeout,
        errors="replace", check=False,
    )  # fmt: skip
