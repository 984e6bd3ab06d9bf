"""Build our library from its sources (native/) with whatever C++ compiler there is, and find it again.

The result lies under the data directory, in a folder named after the sources' hash: a changed source is another
library, and an old one is never taken for it. CMake is what developers and wheels use; here one compiler is all that is
asked for, because a machine that has a compiler need not have more.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from .._version import __version__
from ..errors import EngineError, StorageError
from ..paths import PACKAGE, data_dir
from . import cpu

SOURCES = PACKAGE.parent.parent / "native"
FLAGS = [
    *("-std=c++20", "-O2", "-DNDEBUG", "-fPIC", "-pthread"),
    *("-fvisibility=hidden", "-fvisibility-inlines-hidden", "-ffp-contract=off"),
]
# The first line of a file for one instruction set, which CMakeLists.txt reads too.
_FLAGS_LINE = "// Compiled with: "
# What a compiler must be able to do: C++20 of GCC 10 and Clang 12, threads, and a shared library.
_PROBE = "#include <span>\n#include <thread>\nint f(std::span<const int> s) { return (s.size() <=> 1u) < 0; }\n"

Report = Callable[[str], None]


def library_name() -> str:
    """The library's file name on this system."""
    if sys.platform == "win32":
        return "pocketllama.dll"
    return "libpocketllama.dylib" if sys.platform == "darwin" else "libpocketllama.so"


def _files() -> list[Path]:
    patterns = ("include/*.h", "src/**/*.h", "src/**/*.cc", "src/exports.*")
    return sorted(file for pattern in patterns for file in SOURCES.glob(pattern))


@cache
def _place() -> Path | None:
    """The folder of the library that these sources make; None where there are no sources."""
    if not (SOURCES / "src" / "abi.cc").is_file():
        return None
    digest = hashlib.sha256(f"{__version__} {FLAGS}".encode())
    for file in _files():
        digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
    return data_dir() / "native" / f"{sys.platform}-{cpu.machine()}-{digest.hexdigest()[:12]}"


def find() -> Path | None:
    """The library, if it has been built from these very sources."""
    place = _place()
    path = place / library_name() if place else None
    return path if path and path.is_file() else None


def build(report: Report = lambda line: None) -> Path:
    """Build the library, unless it is there. `report` is told each step. EngineError says what was tried in vain."""
    if (there := find()) is not None:
        return there
    place = _place()
    if place is None:
        raise EngineError(f"There are no sources of the engine to build ({SOURCES}).")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=place.parent) as folder:
            done = Path(folder) / "done"
            done.mkdir()
            compiler = _compiler(Path(folder))
            report(f"building the engine with {' '.join(compiler)} (once, about a minute) …")
            _compile(compiler, Path(folder), done / library_name(), report)
            _check(done / library_name())
            try:
                done.rename(place)
            except OSError:
                if find() is None:  # otherwise another process was quicker, and its library is as good
                    raise
    except OSError as e:
        raise StorageError(f"The engine could not be built in {place.parent}: {e}.") from e
    report("the engine is built")
    return place / library_name()


def _candidates() -> Iterator[list[str]]:
    if wish := os.environ.get("CXX"):
        yield wish.split()
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            yield [path]
    if importlib.util.find_spec("ziglang"):
        # Zig would use all that this processor has; only the files that say so may.
        yield [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline"]


def _compiler(folder: Path) -> list[str]:
    """The first compiler that can do what is needed."""
    probe = folder / "probe.cc"
    probe.write_text(_PROBE)
    failures = []
    for command in _candidates():
        why = _run([*command, *FLAGS, "-shared", str(probe), "-o", str(folder / "probe.so")])
        if why is None:
            return command
        failures.append(f"{' '.join(command)}: {why.splitlines()[0] if why else 'it failed'}")
    tried = "; ".join(failures) or "none was found on PATH"
    raise EngineError(
        f"No C++20 compiler (GCC 10, Clang 12 or newer) could be used: {tried}.",
        remedy="Install one (Debian: apt install g++), or: pip install ziglang",
    )


def _run(command: list[str]) -> str | None:
    """Run a compiler; None, or what it complained of."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=600)
    except (OSError, subprocess.SubprocessError) as e:
        return str(e)
    return None if done.returncode == 0 else done.stderr[-4000:] or f"exit code {done.returncode}"


def _compile(compiler: list[str], folder: Path, out: Path, report: Report) -> None:
    sources = [f for f in _files() if f.suffix == ".cc" and _wanted(f)]
    objects = [folder / f"{i}.o" for i in range(len(sources))]

    def one(source: Path, target: Path) -> str | None:
        version = f'-DPL_VERSION="{__version__}"'
        flags = [_spelled(flag, compiler) for flag in isa_flags(source)]
        return _run([*compiler, *FLAGS, *flags, version, "-c", str(source), "-o", str(target)])

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for i, why in enumerate(pool.map(one, sources, objects)):
            if why is not None:
                raise EngineError(f"{sources[i].name} could not be compiled:\n{why}")
            if (i + 1) % 10 == 0:
                report(f"building the engine: {i + 1} of {len(sources)} files …")
    why = _run([*compiler, *FLAGS, "-shared", *_export_flags(), *map(str, objects), "-o", str(out)])
    if why is not None:
        raise EngineError(f"The engine could not be linked:\n{why}")


def _export_flags() -> list[str]:
    """Only the C functions leave the library, nothing of the C++ runtime's."""
    if sys.platform == "darwin":
        return [f"-Wl,-exported_symbols_list,{SOURCES / 'src' / 'exports.macos'}"]
    return [] if sys.platform == "win32" else [f"-Wl,--version-script={SOURCES / 'src' / 'exports.map'}"]


def isa_flags(source: Path) -> list[str]:
    """The flags that a file for one instruction set asks for in its first line."""
    with source.open(encoding="utf-8") as f:
        first = f.readline()
    return first.removeprefix(_FLAGS_LINE).split() if first.startswith(_FLAGS_LINE) else []


def _spelled(flag: str, compiler: list[str]) -> str:
    """Zig takes -march for the name of a processor; the features behind it are given to the baseline's."""
    if "ziglang" not in compiler or not flag.startswith("-march="):
        return flag
    return "-mcpu=baseline+" + flag.partition("+")[2]


def _wanted(source: Path) -> bool:
    """Whether this processor's family can have the file: kernels are named after their instruction set."""
    family = {"avx": "x86_64", "neon": "aarch64"}
    return all(machine == cpu.machine() or not source.name.startswith(isa) for isa, machine in family.items())


def _check(library: Path) -> None:
    """That the library can be loaded, in a process of its own: what was just built may do anything."""
    program = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).pl_version"
    why = _run([sys.executable, "-c", program, str(library)])
    if why is not None:
        raise EngineError(f"The engine was built and cannot be loaded: {why}")
