"""The native library for the tests beside this file: the one that is named, or one built for the session."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import abi
from .cases import CASES
from .library import Library
from .models import F32

# Read before any test's own environment is made.
NAMED = os.environ.get("POCKETLLAMA_NATIVE_LIB")


@pytest.fixture(scope="session")
def library(request: pytest.FixtureRequest) -> Library:
    """$POCKETLLAMA_NATIVE_LIB, or else the one that is built for the session; skips where there is no compiler."""
    return Library(Path(NAMED) if NAMED else request.getfixturevalue("engine"))


@pytest.fixture(scope="session")
def path(library: Library) -> str:
    """Where the library is."""
    return str(library.path)


@pytest.fixture(scope="session")
def lib(path: str) -> Any:
    """The library with the signatures of its C header."""
    return abi.bind(path)


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
