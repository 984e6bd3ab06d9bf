"""docs/server.md names every path, code and metric that there is, and no others."""

from __future__ import annotations

import re

from pocketllama.serve import answers, app
from pocketllama.serve.metrics import Metrics
from pocketllama.serve.settings import Settings

from .conftest import REPO

PAGE = (REPO / "docs" / "server.md").read_text()
SOURCES = "".join(file.read_text() for file in (REPO / "py" / "pocketllama" / "serve").glob("*.py"))


def section(name: str) -> str:
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def test_paths() -> None:
    named = set(re.findall(r"`(?:GET|POST) (/[\w/.]*)", section("Endpoints")))
    known = {path.replace("/{model:path}", "/") for _, path, _ in app.ROUTES} | {"/"}
    assert named == known


def test_codes() -> None:
    rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", section("Errors"), re.MULTILINE)
    named = {(int(status), code) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    raised = re.findall(r'\bHttpError\(\s*(\d{3}),\s*"(\w+)"|__init__\((\d{3}), "(\w+)"', SOURCES)
    known = {(int(a or c), b or d) for a, b, c, d in raised} | {(status, code) for _, status, code in answers.STATUS}
    known |= {(400, "invalid_value"), (404, "not_found")}
    assert named == known


def test_metrics() -> None:
    text = Metrics(lambda: {"x": (0, 0, 1)}).render().decode()
    known = set(re.findall(r"^# TYPE (pocketllama_\w+)", text, re.MULTILINE))
    named = re.findall(r"`(pocketllama_|…_)(\w+)`", section("Metrics"))
    full = {f"pocketllama_{name}" for _, name in named}
    # After an ellipsis, what the name before it has in common is left out.
    full = {name.replace("pocketllama_waiting", "pocketllama_requests_waiting") for name in full}
    assert full == known


def test_limits() -> None:
    limits = Settings()
    text = section("When it is busy")
    assert f"{limits.max_body >> 20} MiB, nested {limits.max_depth} deep" in text
    assert f"within {limits.body_seconds:g} s" in text and f"{limits.max_schema >> 10} KiB" in text
    assert f"| {limits.max_connections} |" in text and f"{limits.max_backlog >> 20} MiB wait" in text
    assert f"may wait ({limits.queue})" in text
