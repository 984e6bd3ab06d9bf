"""The copies of the package that the tests run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .package import NODE, Package


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    why = "no Node on PATH" if NODE is None else "uses POSIX signals and links" if os.name != "posix" else None
    for item in items:
        if why and item.path.is_relative_to(here):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return Package(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """One that is set up, for tests that change nothing."""
    package = Package(tmp_path_factory.mktemp("ready"))
    package.setup()
    return package
