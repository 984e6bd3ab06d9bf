"""What the engine is built of: tests/e2e/test_golden.py builds it and runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM
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


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names all that a processor has")
def test_a_build_leaves_out_what_its_processor_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def left_out(machine: str, *flags: str) -> set[str]:
        monkeypatch.setattr(cpu, "machine", lambda: machine)
        monkeypatch.setattr(cpu, "isa_flags", lambda: frozenset(flags))
        return build._left_out()

    avx512 = ["avx512f", "avx512bw", "avx512dq", "avx512vl"]
    haswell = ["sse2", "f16c", "fma", "avx2"]
    everything = {"avx2", "avx_vnni", "avx512", "avx512_vnni", "avx2_quantize", "avx512_quantize"}
    assert left_out("x86_64", "sse2") == everything
    assert left_out("x86_64", *haswell) == everything - {"avx2", "avx2_quantize"}
    assert left_out("x86_64", *haswell, "avx_vnni") == {"avx512", "avx512_vnni", "avx512_quantize"}
    assert left_out("x86_64", *haswell, *avx512) == {"avx_vnni", "avx512_vnni"}
    assert left_out("x86_64", *haswell, *avx512, "avx512_vnni") == {"avx_vnni"}
    assert left_out("aarch64", "fp", "asimd") == {"neon_dotprod", "neon_i8mm"}
    assert left_out("aarch64", "asimd", "asimddp", "i8mm") == left_out("riscv64", "rv64") == set()
    assert left_out("x86_64") == set()  # nothing is known of this one


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names all that a processor has")
def test_another_processor_gets_a_library_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    places = []
    for flags in ({"sse2"}, {"sse2", "pni"}, {"sse2", "avx2", "fma", "f16c"}):
        monkeypatch.setattr(cpu, "machine", lambda: "x86_64")
        monkeypatch.setattr(cpu, "isa_flags", lambda flags=flags: frozenset(flags))
        build._digest.cache_clear()
        places.append(build._place())
    build._digest.cache_clear()
    assert places[0] == places[1] != places[2]


@pytest.mark.slow
def test_a_library_of_common_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golden: dict[str, Any]
) -> None:
    monkeypatch.setattr(cpu, "isa_flags", lambda: frozenset({"fpu"}))
    compiler, library = build.find_compiler(tmp_path), tmp_path / build.library_name()
    build.link(compiler, build.compile_all(compiler, tmp_path), library)
    with LLM.from_pretrained("tales", lib=str(library)) as llm:
        assert llm.library.isa == ("neon" if cpu.machine() == "aarch64" else "scalar")
        text = llm(golden["prompt"], max_new_tokens=8, temperature=0)  # further on two words are nearly equal
        assert text and golden["text"].startswith(text)


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
