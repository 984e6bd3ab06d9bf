"""The native library for the tests beside this file: the one that is named, or one built for the session."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .cases import CASES
from .library import Library
from .models import F32

NATIVE = Path(__file__).resolve().parents[2] / "native"
# Read before any test's own environment is made.
NAMED = os.environ.get("POCKETLLAMA_NATIVE_LIB")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """$POCKETLLAMA_NATIVE_LIB, or else what CMake makes of native/; skips where there is no CMake or no compiler."""
    if NAMED:
        return Library(Path(NAMED))
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if shutil.which("cmake") is None or compiler is None:
        pytest.skip("building the native library takes cmake and a C++ compiler")
    build = tmp_path_factory.mktemp("native")
    configure = ["cmake", "-S", str(NATIVE), "-B", str(build), f"-DCMAKE_CXX_COMPILER={compiler}"]
    for command in (configure, ["cmake", "--build", str(build), "--target", "pocketllama", "-j2"]):
        ran = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=1200)
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    found = [
        p
        for pattern in ("libpocketllama.so", "libpocketllama.dylib", "**/*pocketllama.dll")
        for p in build.glob(pattern)
    ]
    assert found, "the build made no library"
    return Library(found[0])


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The GGUF file of each case."""
    folder = tmp_path_factory.mktemp("models")
    return {name: case.write(folder / f"{name}.gguf") for name, case in CASES.items()}


@pytest.fixture(scope="session")
def goldens() -> dict[str, F32]:
    """What Hugging Face transformers computes for each case's prompt: (N_PROMPT, N_VOCAB); see make_goldens.py."""
    with np.load(Path(__file__).parent / "goldens.npz") as stored:
        return {name: stored[name] for name in stored.files if name != "versions"}
