"""The JavaScript side: its own tests on every Node there is, its types, and what it must have in common with Python."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketllama import errors, node, paths

REPO = Path(__file__).resolve().parents[2]
JS_TESTS = sorted((REPO / "tests" / "js").glob("*.test.mjs"))
SOURCES = sorted(
    p for p in [*(REPO / "js").iterdir(), *(REPO / "bin").iterdir()] if p.suffix in {".js", ".mjs", ".cjs"}
)

SYSTEM = shutil.which("node")
PACKAGED = node._packaged()
NODES = [
    pytest.param(SYSTEM, id="system", marks=pytest.mark.skipif(SYSTEM is None, reason="no Node on PATH")),
    pytest.param(
        PACKAGED, id="packaged", marks=pytest.mark.skipif(PACKAGED is None, reason="nodejs-bin is not installed")
    ),
]


def run_node(program: str | None, *args: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    assert program
    return subprocess.run(
        [program, *args], cwd=REPO, env={**os.environ, **env}, capture_output=True, encoding="utf-8", timeout=300
    )


def evaluate(source: str, **env: str) -> Any:
    """What a JavaScript expression (an ES module's body that logs JSON) gives."""
    done = run_node(SYSTEM or PACKAGED, "--input-type=module", "-e", source, **env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_node = pytest.mark.skipif(not (SYSTEM or PACKAGED), reason="no Node")


@pytest.mark.parametrize("file", JS_TESTS, ids=lambda p: p.name.removesuffix(".test.mjs"))
@pytest.mark.parametrize("program", NODES)
def test_javascript(program: str, file: Path) -> None:
    done = run_node(program, file, POCKETLLAMA_TEST_PYTHON=sys.executable)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout


@pytest.mark.parametrize("program", NODES)
def test_every_source_is_syntax_that_this_node_knows(program: str) -> None:
    for source in SOURCES:
        done = run_node(program, "--check", source)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("project", ["tests/js", "tests/page"])
def test_types(project: str) -> None:
    tsc = REPO / "node_modules" / "typescript" / "bin" / "tsc"
    if not tsc.is_file() or SYSTEM is None:
        pytest.skip("typescript is not installed: npm ci")
    done = run_node(SYSTEM, tsc, "-p", REPO / project)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_node
def test_errors_are_the_same_on_both_sides() -> None:
    kinds = evaluate('import e from "./js/errors.cjs"; console.log(JSON.stringify(e.KINDS))')
    classes = {
        name: cls
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.PocketllamaError)
    }
    for cls in classes.values():
        kind, exit_code = kinds[str(cls.rpc_code)]
        assert (classes[kind].rpc_code, exit_code) == (cls.rpc_code, cls.exit_code), cls.__name__
    # Only JSON-RPC's "internal error" has no class: it is what a bug becomes.
    assert {kind for kind, _ in kinds.values()} - set(classes) == {"InternalError"}


@needs_node
@pytest.mark.parametrize(
    "settings",
    [
        {"POCKETLLAMA_HOME": "/a b/ünï"},
        {"POCKETLLAMA_HOME": "relative"},
        {"XDG_DATA_HOME": "/data"},
        {"XDG_DATA_HOME": "relative"},
        {"XDG_DATA_HOME": ""},
        {},
    ],
    ids=str,
)
def test_the_data_directory_is_the_same_on_both_sides(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPO)
    for name in ("POCKETLLAMA_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    there = evaluate('import { dataDir } from "./js/paths.js"; console.log(JSON.stringify(dataDir()))')
    assert there == str(paths.data_dir())


@needs_node
def test_the_version_is_the_same_on_both_sides() -> None:
    from pocketllama._version import __version__

    assert evaluate('import { version } from "./js/paths.js"; console.log(JSON.stringify(version()))') == __version__


def test_npm_installs_nothing_and_runs_nothing() -> None:
    package = json.loads((REPO / "package.json").read_text())
    assert not {"dependencies", "optionalDependencies", "peerDependencies", "bundleDependencies"} & set(package)
    assert set(package["scripts"]) == {"test"}
    lock = json.loads((REPO / "package-lock.json").read_text())
    assert all(entry.get("dev") for path, entry in lock["packages"].items() if path)


@pytest.mark.parametrize("program", NODES)
def test_the_wheel_carries_the_javascript_side(program: str, tmp_path: Path, golden: dict[str, Any]) -> None:
    """Laid out as the wheel has it, `pocketllama js` runs a script that imports pocketllama, with no npm in sight."""
    site = tmp_path / "site"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPO / "py" / "pocketllama", site / "pocketllama", ignore=ignore)
    shutil.copytree(REPO / "js", site / "pocketllama" / "_node" / "js")
    shutil.copytree(REPO / "bin", site / "pocketllama" / "_node" / "bin")
    story = tmp_path / "é story.mjs"
    story.write_text(
        """
        import { load } from "pocketllama";
        const llm = await load();
        console.log(await llm.complete(process.argv[2], { maxTokens: Number(process.argv[3]), temperature: 0 }).text());
        await llm.close();
        """
    )
    command = [sys.executable, "-m", "pocketllama", "js", str(story), golden["prompt"], str(golden["max_tokens"])]
    # Besides the packages, only the wheel's layout is on the path, and only this Node.
    folders = [p for p in sys.path if p and Path(p).resolve() != REPO / "py"]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), *folders]),
        "PATH": str(Path(program).parent),
        "POCKETLLAMA_NODE": json.dumps({"path": program}),
    }
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, encoding="utf-8", timeout=120)
    assert (done.stdout, done.returncode) == (golden["text"] + "\n", 0), done.stderr

    # Without Python's word for it, this copy does not know a Python, and says so.
    alone = subprocess.run(
        [program, site / "pocketllama" / "_node" / "bin" / "pocketllama.js", "Once"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert alone.returncode == 7
    assert "came with pip" in alone.stderr and "pocketllama js" in alone.stderr


def test_options_of_a_completion_are_pythons() -> None:
    from dataclasses import fields

    from pocketllama.engine.options import Sampling

    source = (REPO / "js" / "client.js").read_text()
    listed = source.partition("const SAMPLING = [")[2].partition("]")[0]
    names = {re.sub("[A-Z]", lambda m: "_" + m[0].lower(), name) for name in re.findall(r'"(\w+)"', listed)}
    assert names == {f.name for f in fields(Sampling)}
    types = (REPO / "js" / "index.d.cts").read_text()
    assert all(f"  {name}?: " in types for name in re.findall(r'"(\w+)"', listed))
