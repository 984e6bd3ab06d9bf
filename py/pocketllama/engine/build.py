"""Build our library from its sources (native/) with whatever C++ compiler there is, and find it again.

The result lies under the data directory, in a folder named after the sources' hash: a changed source is another
library, and an old one is never taken for it. It is for this machine: kernels for instruction sets that the processor
lacks take half of a build's time and are left out, and a processor that has them builds a library of its own. CMake is
what developers and wheels use; here one compiler is all that is asked for, because a machine that has a compiler need
not have more. Nothing in this package builds by itself: the npx entry calls `pocketllama build` at its first run, and a
person may.

    <data>/native/
      linux-x86_64-<hash>/         the library, and in HOW what built it
      linux-x86_64-<hash>.failed   why these sources could not be built
      .building-…  .lock           a build under way, or what a killed one left: the next one sweeps it
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
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
# Has what a file of kernels would define, where PL_WITHOUT_ and the file's name say that it is left out.
_STUBS = SOURCES / "src" / "kernels" / "left_out.cc"
# Instruction sets that Linux calls otherwise than compilers do.
_LINUX_NAMES = {"avx512vnni": "avx512_vnni", "avxvnni": "avx_vnni", "dotprod": "asimddp"}
# What a compiler must be able to do: C++20 of GCC 10 and Clang 11, threads, and a shared library.
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


def _place() -> Path | None:
    """The folder of the library that these sources make; None where there are no sources."""
    if not (SOURCES / "src" / "abi.cc").is_file():
        return None
    return data_dir() / "native" / f"{sys.platform}-{cpu.machine()}-{_digest()}"


@cache
def _digest() -> str:
    digest = hashlib.sha256(f"{__version__} {FLAGS} {sorted(_left_out())}".encode())
    for file in _files():
        digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def find() -> Path | None:
    """The library, if it has been built from these very sources."""
    place = _place()
    path = place / library_name() if place else None
    return path if path and path.is_file() else None


def how() -> str | None:
    """What built the library that `find` finds: a compiler and its version."""
    library = find()
    return _read(library.with_name("HOW")) if library else None


def failure() -> str | None:
    """Why the last attempt to build these sources failed; None where there was none, or it went well."""
    place = _place()
    return _read(_failed(place)) if place and find() is None else None


def advice() -> str:
    """What to do where the bundled library cannot do something that ours may."""
    if _place() is None:
        return (
            "Install pocketllama where there is a C++ compiler (Debian: apt install g++), and it brings its own engine."
        )
    why = failure()
    return f"Build pocketllama's own engine: pocketllama build{f' (it failed here: {why})' if why else ''}"


def build(report: Report = lambda line: None) -> Path:
    """Build the library, unless it is there. `report` is told each step. EngineError says what was tried in vain."""
    if (there := find()) is not None:
        return there
    place = _place()
    if place is None:
        raise EngineError(f"There are no sources of the engine to build ({SOURCES}).")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone(place.parent, report):
            if find() is None:
                _build_in(place, report)
    except (EngineError, OSError) as e:
        with suppress(OSError):
            _failed(place).write_text(f"{str(e).splitlines()[0].rstrip(':.')}\n", encoding="utf-8")
        if isinstance(e, EngineError):
            raise
        raise StorageError(f"The engine could not be built in {place.parent}: {e}.") from e
    with suppress(OSError):
        _failed(place).unlink(missing_ok=True)
    return place / library_name()


def _build_in(place: Path, report: Report) -> None:
    """The caller holds the lock."""
    for left in place.parent.glob(".building-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=place.parent, ignore_cleanup_errors=True) as folder:
        done = Path(folder) / "done"
        done.mkdir()
        compiler = find_compiler(Path(folder))
        time = "two minutes" if _is_zig(compiler) else "a minute"
        report(f"building the engine with {_short(compiler)} (once, about {time})")
        link(compiler, compile_all(compiler, Path(folder), report), done / library_name())
        _check(done / library_name())
        (done / "HOW").write_text(f"built here by {_version(compiler, Path(folder))}\n", encoding="utf-8")
        if place.exists():  # without its library, or `find` had found it
            shutil.rmtree(place)
        done.rename(place)


@contextmanager
def _alone(folder: Path, report: Report) -> Iterator[None]:
    """One build at a time; the system frees the lock of whoever is killed."""
    import filelock

    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        report("waiting for another pocketllama to build the engine")
        lock.acquire()
    except NotImplementedError:  # a file system without locks: the second of two builds is wasted, and no harm is done
        yield
        return
    try:
        yield
    finally:
        lock.release()


def _failed(place: Path) -> Path:
    return place.with_name(f"{place.name}.failed")


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError):
        return None


def _is_zig(compiler: list[str]) -> bool:
    return "ziglang" in compiler


def _short(compiler: list[str]) -> str:
    """A compiler as a person would name it."""
    return "zig c++" if _is_zig(compiler) else " ".join([Path(compiler[0]).name, *compiler[1:]])


def _version(compiler: list[str], folder: Path) -> str:
    said = subprocess.run([*compiler, "--version"], capture_output=True, text=True, errors="replace", env=_env(folder))
    line = (said.stdout.splitlines() or ["an unknown version"])[0].strip()
    return f"zig c++, {line}" if _is_zig(compiler) else line


def _candidates() -> Iterator[list[str]]:
    if wish := os.environ.get("CXX"):
        yield wish.split()
    for name in ("c++", "g++", "clang++"):
        if path := shutil.which(name):
            yield [path]
    if importlib.util.find_spec("ziglang"):
        # Zig would use all that this processor has; only the files that say so may.
        yield [sys.executable, "-m", "ziglang", "c++", "-mcpu=baseline", "-g0"]


def find_compiler(folder: Path) -> list[str]:
    """The first compiler that can do what is needed; EngineError if there is none. `folder` is for scratch."""
    probe = folder / "probe.cc"
    probe.write_text(_PROBE)
    failures = []
    for command in _candidates():
        why = _run([*command, *FLAGS, *_probe_flags(command), str(probe), "-o", str(folder / "probe.o")], folder)
        if why is None:
            return command
        failures.append(f"{_short(command)}: {_gist(why)}")
    tried = "; ".join(failures) or "none was found on PATH"
    # js/engine.js knows the first words, and brings zig.
    raise EngineError(
        f"No C++20 compiler could be used ({tried}).",
        remedy="Install GCC 10, Clang 11 or newer (Debian: apt install g++), or: pip install ziglang",
    )


def _probe_flags(compiler: list[str]) -> list[str]:
    # Zig's first link builds its C++ runtime, most of a minute on one core: not before the rest can go on beside it.
    return ["-c"] if _is_zig(compiler) else ["-shared"]


def _env(folder: Path) -> dict[str, str]:
    """The environment of a compiler. Zig's caches are large, and go when the build is done."""
    return {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(folder / "zig"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}


def _run(command: list[str], folder: Path) -> str | None:
    """Run a compiler; None, or what it complained of."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=1800, env=_env(folder))
    except (OSError, subprocess.SubprocessError) as e:
        return str(e)
    return None if done.returncode == 0 else done.stderr[-4000:].strip() or f"exit code {done.returncode}"


def _gist(why: str) -> str:
    """The one line of a compiler's complaint that says most."""
    lines = why.splitlines()
    return next((line for line in lines if "error" in line.lower()), lines[0]).strip()[:200]


def compile_all(compiler: list[str], folder: Path, report: Report = lambda line: None) -> list[Path]:
    """The object files of every source, in `folder`."""
    left_out = _left_out()
    sources = [f for f in _files() if f.suffix == ".cc" and _wanted(f) and f.stem not in left_out]
    sources.sort(key=lambda f: not isa_flags(f))  # kernels take longest: begun last, they would keep one core alone
    stubs = [f"-DPL_WITHOUT_{stem.upper()}" for stem in sorted(left_out)]
    objects = [folder / f"{i}.o" for i in range(len(sources))]

    def one(source: Path, target: Path) -> str | None:
        version = f'-DPL_VERSION="{__version__}"'
        flags = [_spelled(f, compiler) for flag in isa_flags(source) if (f := _known(flag, compiler, target))]
        if source == _STUBS:
            flags += stubs
        return _run([*compiler, *FLAGS, *flags, version, "-c", str(source), "-o", str(target)], folder)

    pool = ThreadPoolExecutor(max_workers=cpu.usable_cores())
    try:
        if _is_zig(compiler):  # whether it went well, the real link tells
            pool.submit(
                _run, [*compiler, *FLAGS, "-shared", str(folder / "probe.o"), "-o", str(folder / "warm.so")], folder
            )
        compiled = {pool.submit(one, *files): files[0].name for files in zip(sources, objects, strict=True)}
        for n, future in enumerate(as_completed(compiled), 1):
            if (why := future.result()) is not None:
                raise EngineError(f"{compiled[future]} could not be compiled ({_gist(why)}):\n{why}")
            if n % 10 == 0:
                report(f"building the engine: {n} of {len(sources)} files")
    finally:
        pool.shutdown(cancel_futures=True)  # after a failure or Ctrl-C, what has not begun need not
    return objects


def link(compiler: list[str], objects: list[Path], out: Path) -> None:
    """The shared library of these objects."""
    command = [*compiler, *FLAGS, "-shared", *_export_flags(), *map(str, objects), "-o", str(out)]
    why = _run(command, objects[0].parent)
    if why is not None:
        raise EngineError(f"The engine could not be linked ({_gist(why)}):\n{why}")


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


def _known(flag: str, compiler: list[str], target: Path) -> str | None:
    """A flag that this compiler takes: those that end in "?" may be left out, and older ones do not know them.

    What it makes of nothing, to find out, goes to `target`.
    """
    if not flag.endswith("?"):
        return flag
    flag = flag.removesuffix("?")
    test = [*compiler, flag, "-x", "c++", "-c", os.devnull, "-o", str(target)]
    return flag if _run(test, target.parent) is None else None


def _spelled(flag: str, compiler: list[str]) -> str:
    """Zig takes -march for the name of a processor; the features behind it are given to the baseline's."""
    if not _is_zig(compiler) or not flag.startswith("-march="):
        return flag
    return "-mcpu=baseline+" + flag.partition("+")[2]


def _wanted(source: Path) -> bool:
    """Whether this processor's family can have the file: kernels are named after their instruction set."""
    family = {"avx": "x86_64", "neon": "aarch64"}
    return all(machine == cpu.machine() or not source.name.startswith(isa) for isa, machine in family.items())


def _left_out() -> set[str]:
    """The names of files of kernels, without their endings, that this processor cannot run and that have a stub.

    Only Linux names all that a processor has; what it does not name is not here.
    """
    here = cpu.isa_flags() if sys.platform == "linux" else frozenset()
    if not here or not _STUBS.is_file():
        return set()
    stubs = _STUBS.read_text(encoding="utf-8")
    files = [file for file in SOURCES.glob("src/*/*.cc") if f"defined(PL_WITHOUT_{file.stem.upper()})" in stubs]
    return {file.stem for file in files if _wanted(file) and not _needs(file) <= here}


def _needs(source: Path) -> set[str]:
    """The instruction sets that a file is compiled for, by Linux's names."""
    named = {word for flag in isa_flags(source) for word in re.findall(r"(?:-m|\+)([a-z0-9]+)(?=[?+]|$)", flag)}
    return {_LINUX_NAMES.get(name, name) for name in named}


def _check(library: Path) -> None:
    """That the library can be loaded, in a process of its own: what was just built may do anything."""
    program = "import ctypes, sys; ctypes.CDLL(sys.argv[1]).pl_version"
    why = _run([sys.executable, "-c", program, str(library)], library.parent)
    if why is not None:
        raise EngineError(f"The engine was built and cannot be loaded ({why.splitlines()[-1]}):\n{why}")
