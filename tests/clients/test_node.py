"""Runs openai.test.mjs where OpenAI's client for Node is installed: `npm ci` brings it as a development tool."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.py.serve.server import PATIENCE, Server

HERE = Path(__file__).parent
REPO = HERE.parents[1]


def node_version() -> int:
    """The major version of the Node on PATH; 0 if there is none."""
    if shutil.which("node") is None:
        return 0
    return int(subprocess.run(["node", "--version"], capture_output=True, text=True).stdout[1:].split(".")[0])


@pytest.mark.skipif(not (REPO / "node_modules" / "openai").is_dir(), reason="npm ci has not been run")
@pytest.mark.skipif(node_version() < 20, reason="OpenAI's client takes Node 20 or newer")
def test_the_client_for_node(server: Server) -> None:
    env = {**os.environ, "POCKETLLAMA_URL": server.url}
    command = ["node", "--test", str(HERE / "openai.test.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE, env=env, cwd=REPO)
    assert done.returncode == 0, done.stdout + done.stderr
