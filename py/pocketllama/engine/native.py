"""Find the shared library behind the engine and bind its C functions: the one seam between our library and the bundled.

Preference: `$POCKETLLAMA_LIB` (a path, or `avx2`, `avx`, `basic` for one of ctransformers' own), then our own
`libpocketllama` (beside this package in a wheel, or built on this machine: see `build`), then the best of the bundled
ones that this processor can run. Our library exports every function of the bundled ABI beside its own.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EngineError, UsageError
from ..paths import PACKAGE
from . import build, cpu

BUNDLED = ("avx2", "avx", "basic")


@dataclass(frozen=True)
class Library:
    """A shared library that speaks ctransformers' ABI."""

    path: Path
    kind: str  # "native": ours; "bundled": ctransformers' own; "custom": the user's
    isa: str  # the instruction set it was built for, as far as its name says

    def as_json(self) -> dict[str, str]:
        return {"path": str(self.path), "kind": self.kind, "isa": self.isa}


def find(wish: str | None = None) -> Library:
    """The library to use: `wish` (a path, or a bundled one's name), else by the preference at the top of this file."""
    wish = wish or os.environ.get("POCKETLLAMA_LIB") or None
    if wish in BUNDLED:
        return _bundled(wish)
    if wish:
        path = Path(wish)
        if not path.is_file():
            raise UsageError(
                f"There is no library at {wish!r}.",
                remedy=f"Name a file, or one of {', '.join(BUNDLED)}; or unset POCKETLLAMA_LIB.",
            )
        return Library(path.absolute(), "custom", "unknown")
    if own := find_own():
        return Library(own, "native", "chosen at load")
    return _bundled(_best_bundled())


def find_own() -> Path | None:
    """Our own library, if it is here."""
    packaged = PACKAGE / "lib" / build.library_name()
    return packaged if packaged.is_file() else build.find()


def require_own() -> Path:
    """Our own library: the file that `$POCKETLLAMA_LIB` names, else `find_own`'s. EngineError if it is nowhere."""
    wish = os.environ.get("POCKETLLAMA_LIB", "")
    path = Path(wish) if wish and wish not in BUNDLED else find_own()
    if path is None or not path.is_file():
        raise EngineError("This needs pocketllama's own library, which is not here.", remedy=build.advice())
    return path


def _best_bundled() -> str:
    flags = cpu.isa_flags()
    # ctransformers' builds by name also use FMA and F16C; a processor without them would die of SIGILL.
    if {"avx2", "fma", "f16c"} <= flags:
        return "avx2"
    return "avx" if {"avx", "f16c"} <= flags else "basic"


def _bundled(name: str) -> Library:
    from .stock import LIBRARY_FOLDER

    file_name = build.library_name().replace("pocketllama", "ctransformers")
    path = LIBRARY_FOLDER / name / file_name
    # The bundled files are for x86-64, except that macOS' basic one is universal.
    runs_here = cpu.machine() == "x86_64" or (sys.platform == "darwin" and name == "basic")
    if not runs_here or not path.is_file():
        raise EngineError(
            f"ctransformers brings no library for {sys.platform} on {cpu.machine()} (looked for {path}).",
            remedy=build.advice(),
        )
    return Library(path, "bundled", name)


class _ConfigStruct(ctypes.Structure):
    """`ctransformers_config`, passed by value to `ctransformers_llm_create`."""

    _fields_ = [
        ("context_length", c_int),
        ("gpu_layers", c_int),
        ("mmap", c_bool),
        ("mlock", c_bool),
    ]


_int_p, _float_p, _llm_p = POINTER(c_int), POINTER(c_float), c_void_p
_SIGNATURES: dict[str, tuple[list[Any], Any]] = {
    "create": ([c_char_p, c_char_p, _ConfigStruct], _llm_p),  # path, model type, config → handle or NULL
    "delete": ([_llm_p], None),
    "tokenize": ([_llm_p, c_char_p, c_bool, _int_p], c_int),  # text, add bos, out (unsized!) → count
    "detokenize": ([_llm_p, c_int], c_char_p),
    "is_eos_token": ([_llm_p, c_int], c_bool),
    "eos_token_id": ([_llm_p], c_int),
    "bos_token_id": ([_llm_p], c_int),
    "vocab_size": ([_llm_p], c_int),
    "context_length": ([_llm_p], c_int),
    "architecture": ([_llm_p], c_char_p),
    "batch_eval": ([_llm_p, _int_p, c_int, c_int, c_int, c_int], c_bool),  # tokens, n, n_past, batch, threads
    "logits_data": ([_llm_p], _float_p),
    "logits_size": ([_llm_p], c_int),
    "embeddings_data": ([_llm_p], _float_p),
    "embeddings_size": ([_llm_p], c_int),
    "sample": ([_llm_p, _int_p, c_int, c_int, c_float, c_float, c_float, c_int], c_int),
    "reset": ([_llm_p], None),
}
FUNCTIONS = frozenset(_SIGNATURES)


def load(library: Library) -> ctypes.CDLL:
    """Load `library` and give its functions their signatures; EngineError says what the system's loader said."""
    try:
        lib = ctypes.CDLL(str(library.path))
    except OSError as e:
        remedy = "Install the C++ runtime: apt install libstdc++6" if "libstdc++" in str(e) else None
        raise EngineError(f"The library {library.path} cannot be loaded: {e}", remedy=remedy) from e
    for name, (argtypes, restype) in _SIGNATURES.items():
        try:
            function = getattr(lib, f"ctransformers_llm_{name}")
        except AttributeError as e:
            raise EngineError(
                f"{library.path} is not an engine: it has no function ctransformers_llm_{name}.",
                remedy="Name another library in POCKETLLAMA_LIB, or unset it.",
            ) from e
        function.argtypes, function.restype = argtypes, restype
    return lib


def address(pointer: Any) -> int:
    """Where a ctypes pointer points to."""
    return ctypes.addressof(pointer.contents)


def seed(wish: int) -> int:
    """A seed that is one: `wish`, or for -1 a new one each time."""
    return wish if wish >= 0 else int.from_bytes(os.urandom(8), "little")


def config_struct(config: Any, context_length: int) -> _ConfigStruct:
    """The ABI's config for a ctransformers `Config`, with the context length that was decided on."""
    return _ConfigStruct(context_length, config.gpu_layers, config.mmap, config.mlock)
