"""Building the engine, with compilers that are scripts: what is remembered, and what a person is told."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pocketllama import doctor
from pocketllama.engine import build, files, native
from pocketllama.errors import EngineError, ModelInvalid, StorageError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the compilers here are shell scripts")

Compiler = Callable[[str], None]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    """Puts a `c++` that does this, after its last argument is $out, on an otherwise empty PATH."""
    for name in ("CXX", "POCKETLLAMA_LIB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)  # no zig either
    folder = tmp_path / "bin"
    folder.mkdir()
    tools = {name: shutil.which(name) for name in ("sh", "cp", "touch", "sleep")}
    monkeypatch.setenv("PATH", str(folder))

    def write(does: str) -> None:
        for name, path in tools.items():
            does = does.replace(f"{name} ", f"{path} ") if path else does
        script = folder / "c++"
        script.write_text(
            f'#!{tools["sh"]}\nfor out; do :; done\ncase "$1" in --version) echo fake 1.0; exit;; esac\n{does}\n'
        )
        script.chmod(0o755)

    return write


def native_folder() -> list[str]:
    place = build._place()
    assert place
    return sorted(p.name.replace(place.name, "PLACE") for p in place.parent.iterdir() if p.name != ".lock")


def test_no_compiler(compiler: Compiler) -> None:
    with pytest.raises(EngineError, match=r"No C\+\+20 compiler could be used \(none was found on PATH\)") as e:
        build.build()
    assert "apt install g++" in str(e.value.remedy)
    assert build.failure() == "No C++20 compiler could be used (none was found on PATH)"
    assert native_folder() == ["PLACE.failed"]


def test_a_compiler_that_is_too_old(compiler: Compiler) -> None:
    compiler("echo \"c++: error: unrecognized option '-std=c++20'\" >&2; exit 1")
    with pytest.raises(EngineError, match=r"could be used \(c\+\+: c\+\+: error: unrecognized option '-std=c\+\+20'\)"):
        build.build()


def test_a_compiler_that_fails_is_quoted_and_what_had_not_begun_is_left(compiler: Compiler, tmp_path: Path) -> None:
    compiler(
        'case "$*" in *probe*) exit 0;; esac; echo "In file included:" >&2; echo "x.h:1: error: no span" >&2; exit 1'
    )
    with pytest.raises(EngineError, match=r"\w+\.cc could not be compiled \(x.h:1: error: no span\):\nIn file"):
        build.build()
    assert native_folder() == ["PLACE.failed"]
    report = doctor.examine()
    assert report["engine"]["failure"].endswith(".cc could not be compiled (x.h:1: error: no span)")
    assert "pocketllama build" in doctor.render(report)
    [problem] = [p for p in report["problems"] if "engine" in p["what"]]
    assert "no span" in problem["what"]


def test_what_cannot_be_loaded_is_not_kept(compiler: Compiler) -> None:
    compiler('touch "$out"')
    with pytest.raises(EngineError, match="was built and cannot be loaded"):
        build.build()
    assert build.find() is None and native_folder() == ["PLACE.failed"]


def test_after_a_failure_and_a_killed_build_comes_a_good_one(compiler: Compiler, engine: Path) -> None:
    compiler("exit 1")
    with pytest.raises(EngineError):
        build.build()
    place = build._place()
    assert place
    (place.parent / ".building-killed" / "zig").mkdir(parents=True)
    place.mkdir()  # and somebody has deleted the library alone
    compiler(f'case "$*" in *-shared*) cp {engine} "$out";; *) touch "$out";; esac')
    said: list[str] = []
    path = build.build(said.append)
    assert path == build.find() == native.find_own() and native_folder() == ["PLACE"]
    assert (build.failure(), build.how()) == (None, "built here by fake 1.0")
    assert said[0] == "building the engine with c++ (once, about a minute)"
    assert build.build(said.append) == path and said[-1].endswith(" files")


def test_two_at_once_build_once(compiler: Compiler, engine: Path) -> None:
    log = Path(os.environ["PATH"]) / "log"
    compiler(f'case "$*" in *libpocketllama*) echo >> {log}; cp {engine} "$out";; *) touch "$out"; sleep 0.01;; esac')
    threads = [threading.Thread(target=build.build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert build.find() and len(log.read_text().splitlines()) == 1


def test_a_file_where_the_folder_should_be(compiler: Compiler) -> None:
    place = build._place()
    assert place
    place.parent.parent.mkdir(parents=True, exist_ok=True)
    place.parent.touch()
    with pytest.raises(StorageError, match="could not be built in"):
        build.build()


def test_who_needs_the_engine_is_told_of_the_build(compiler: Compiler) -> None:
    bundled = native.Library(Path("x"), "bundled", "avx2")
    with pytest.raises(ModelInvalid) as e:
        files.check_architecture("new.gguf", "qwen3", bundled)
    assert e.value.remedy == "Build pocketllama's own engine: pocketllama build"
    with pytest.raises(EngineError):
        build.build()
    with pytest.raises(ModelInvalid) as e:
        files.check_architecture("new.gguf", "qwen3", bundled)
    assert "it failed here: No C++20 compiler" in str(e.value.remedy)


def test_without_sources_it_is_said_how_they_come(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SOURCES", Path(sys.prefix) / "nowhere")
    assert "Install pocketllama where there is a C++ compiler" in build.advice()
    with pytest.raises(EngineError, match="no sources"):
        build.build()
