"""What every test shares: no test touches the user's own files, and slow ones run only where they are asked for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from pocketllama.engine import build
from pocketllama.errors import EngineError

# In CI the same examples each time: what is new there must come from the change that is tested.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("POCKETLLAMA_SLOW") == "1":
        return
    skip = pytest.mark.skip(reason="slow: set POCKETLLAMA_SLOW=1 to run it")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Caches and data go to a folder of the test's own; what the user's shell has set does not reach the tests."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("POCKETLLAMA_", "HF_", "HUGGING_FACE_")) and name != "POCKETLLAMA_SLOW":
            monkeypatch.delenv(name)
    monkeypatch.setenv("POCKETLLAMA_HOME", str(home / "pocketllama"))
    if library := os.environ.get("TEST_LIBRARY"):  # the same tests on another library, such as our own
        monkeypatch.setenv("POCKETLLAMA_LIB", library)
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    # ctransformers' threads spin at barriers; where several tests share two cores, two of them are slower than one.
    monkeypatch.setenv("POCKETLLAMA_THREADS", "1")
    # Child processes find the package as this process does.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPO / "py"), *filter(None, sys.path)]))
    return home


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our library, built once for the session as `pocketllama build` does; skips where there is no compiler."""
    folder = tmp_path_factory.mktemp("engine")
    try:
        compiler = build.find_compiler(folder)
    except EngineError as e:
        pytest.skip(str(e))
    out = tmp_path_factory.mktemp("library") / build.library_name()
    build.link(compiler, build.compile_all(compiler, folder), out)
    return out


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The one greedy text that every way into the project must give."""
    loaded: dict[str, Any] = json.loads((REPO / "tests" / "data" / "golden.json").read_text())
    return loaded


@pytest.fixture(scope="session")
def tales() -> Path:
    """The model that ships with the package."""
    return REPO / "py" / "pocketllama" / "data" / "tales.gguf"
