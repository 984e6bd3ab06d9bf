"""The house keeps its floors: imports go downwards only, nothing is imported at start that costs time, one version."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys

import pytest

import pocketllama

from .conftest import REPO

PACKAGE = REPO / "py" / "pocketllama"

# From the ground up. A module may import from its own floor's room and from any room below.
FLOORS: list[set[str]] = [
    {"errors", "paths", "units", "output", "parent", "_version"},
    {"gguf", "argv", "node"},
    {"models", "convert", "chat"},
    {"engine"},
    {"rpc", "client", "doctor", "bench", "terminal", "serve", "quantize"},
    {"cost"},
    {"cli"},
    {"__main__", ""},
]
FLOOR = {room: i for i, rooms in enumerate(FLOORS) for room in rooms}


def rooms_imported(path: str) -> list[tuple[str, str]]:
    """(importing room, imported room) for every import within the package."""
    file = PACKAGE / path
    parts = list(file.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts = [*parts[:-1], ""]
    here = parts[0] if len(parts) > 1 or parts[0] in FLOOR else ""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.ImportFrom) or (node.level == 0 and not str(node.module).startswith("pocketllama")):
            continue
        if node.level:
            base = parts[: len(parts) - node.level]
            target = [*base, *(node.module.split(".") if node.module else [])]
        else:
            target = str(node.module).split(".")[1:]
        # `from .. import models` names rooms; `from ..models import x` names what is in one.
        rooms = [target[0]] if target else [a.name for a in node.names]
        found += [(here, room) for room in rooms if room in FLOOR and room != here]
    return found


@pytest.mark.parametrize("path", sorted(str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py")))
def test_imports_go_down(path: str) -> None:
    for here, there in rooms_imported(path):
        assert FLOOR[there] < FLOOR[here], f"{path}: {here or 'the package'} imports {there}"


def test_every_room_has_a_floor() -> None:
    rooms = {p.stem if p.suffix == ".py" else p.name for p in PACKAGE.iterdir() if p.suffix == ".py" or p.is_dir()}
    assert rooms - {"__init__", "__pycache__", "data", "_node", "lib"} <= set(FLOOR)


def test_a_local_run_imports_no_network() -> None:
    program = (
        "import sys; from pocketllama.engine import LLM; from pocketllama import models; models.find('tales');"
        "print(sorted({'httpx2', 'huggingface_hub', 'ssl', 'cpuinfo', 'numpy', 'tqdm', 'jinja2', 'prompt_toolkit',"
        "              'pocketllama.chat.templates'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_one_version() -> None:
    project = re.search(r'^version = "(.+)"$', (REPO / "pyproject.toml").read_text(), re.MULTILINE)
    package = json.loads((REPO / "package.json").read_text())
    assert project and project[1] == package["version"] == pocketllama.__version__


def test_the_public_names() -> None:
    assert pocketllama.__all__ == ["LLM", "Client", "Session", "Tokenizer", "__version__", "errors", "lib"]
    for name in pocketllama.__all__:
        assert getattr(pocketllama, name) is not None
    with pytest.raises(AttributeError):
        pocketllama.nonsense  # noqa: B018
