"""One server on our own library for all tests that only ask; those that stop or overload one start their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .server import Server

# Read before any test's own environment is made.
NAMED = os.environ.get("POCKETLLAMA_NATIVE_LIB")
REPO = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def settled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that a server of the tests runs with."""
    library = NAMED or str(request.getfixturevalue("engine"))
    home = tmp_path_factory.mktemp("served")
    return {
        "POCKETLLAMA_LIB": library,
        "POCKETLLAMA_HOME": str(home / "pocketllama"),
        "HF_HOME": str(home / "hf"),
        "POCKETLLAMA_THREADS": "1",
        "PYTHONPATH": str(REPO / "py") + os.pathsep + os.environ.get("PYTHONPATH", ""),
    }


@pytest.fixture(scope="session")
def server(settled: dict[str, str]) -> Iterator[Server]:
    with Server(**settled) as server:
        yield server


@pytest.fixture
def start(settled: dict[str, str]) -> Iterator[Callable[..., Server]]:
    """Starts servers that end with the test."""
    servers: list[Server] = []

    def start(*args: str, **env: str) -> Server:
        servers.append(Server(*args, **{**settled, **env}))
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__(None, None, None)
