"""Small native programs, compiled for a test with whatever C++ compiler there is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).resolve().parents[3] / "native"
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def program(name: str, sources: list[str], folder: Path, *, sanitized: bool = False) -> Path:
    """native/tests/NAME.cc with `sources` (relative to native/src, with their flags if they have any), compiled into
    `folder`, `sanitized` where the compiler can; skips the test on a machine without a compiler."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    out = folder / name
    common = [compiler, "-std=c++20", "-O1", "-ffp-contract=off"]
    if sanitized and _links(compiler, folder):
        common += SANITIZE
    objects = []
    for source in [f"../tests/{name}.cc", "error.cc", "types.cc", *sources]:
        path, *flags = source.split()
        target = folder / (Path(path).stem + ".o")
        subprocess.run([*common, *flags, "-c", str(NATIVE / "src" / path), "-o", str(target)], check=True)
        objects.append(str(target))
    subprocess.run([*common, *objects, "-o", str(out)], check=True)
    return out


def _links(compiler: str, folder: Path) -> bool:
    """Whether the sanitizers' libraries are there."""
    source = folder / "empty.cc"
    source.write_text("int main() {}\n")
    command = [compiler, *SANITIZE, str(source), "-o", str(folder / "empty")]
    return subprocess.run(command, capture_output=True).returncode == 0
