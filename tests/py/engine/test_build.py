"""What the engine is built of: tests/e2e/test_golden.py builds it and runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pocketllama.engine import build, cpu

KERNELS = build.SOURCES / "src" / "kernels"


def built(machine: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.setattr(cpu, "machine", lambda: machine)
    return {file.name for file in KERNELS.glob("*.cc") if build._wanted(file)}


def test_each_family_of_processors_gets_its_own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    x86, arm, other = (built(machine, monkeypatch) for machine in ("x86_64", "aarch64", "riscv64"))
    assert "avx2.cc" in x86 and {"neon.cc", "neon_dotprod.cc", "neon_i8mm.cc"} <= arm
    assert x86 & arm == other >= {"scalar.cc", "select.cc"}
    assert x86 | arm == {file.name for file in KERNELS.glob("*.cc")}


def test_flags_as_zig_spells_them() -> None:
    flags = build.isa_flags(KERNELS / "neon_dotprod.cc")
    assert flags == ["-march=armv8.2-a+dotprod"]
    zig = ["python", "-m", "ziglang", "c++", "-mcpu=baseline"]
    assert [build._spelled(flag, zig) for flag in flags] == ["-mcpu=baseline+dotprod"]
    assert [build._spelled(flag, ["g++"]) for flag in flags] == flags
    assert build._spelled("-mavx2", zig) == "-mavx2"


def test_flags_that_an_older_compiler_may_not_know(tmp_path: Path) -> None:
    assert build.isa_flags(KERNELS / "avx_vnni.cc")[-1] == "-mavxvnni?"
    compiler, out = build.find_compiler(tmp_path), tmp_path / "a.o"
    assert build._known("-O2?", compiler, out) == "-O2"
    assert build._known("-mno-such-flag?", compiler, out) is None
    assert build._known("-mno-such-flag", compiler, out) == "-mno-such-flag"


def test_a_file_without_flags_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.cc").write_text("// Compiled with love\n")
    assert build.isa_flags(tmp_path / "a.cc") == []
