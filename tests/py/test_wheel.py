"""The wheel: its name, what is in it, and that it runs where there is no compiler."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pocketllama.engine import build

from ..conftest import REPO

pytest.importorskip("scikit_build_core")

BUILD = "import sys; from scikit_build_core.build import build_wheel; build_wheel(sys.argv[1])"


def make(out: Path, **env: str) -> Path:
    """The wheel that pip would make of this checkout, whose build folder is left alone."""
    shutil.copytree(REPO, out / "source", ignore=shutil.ignore_patterns(".*", "node_modules", "build", "tests"))
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=out / "source",
        env={**os.environ, **env},
        capture_output=True,
        encoding="utf-8",
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = out.glob("*.whl")
    return wheel


STORY = """
import { load } from "pocketllama";
const llm = await load("tales");
const pieces = [];
for await (const piece of llm.complete(%s, { maxTokens: %d, temperature: 0 })) pieces.push(piece);
process.stdout.write(JSON.stringify(pieces));
await llm.close();
"""


def unpacked(wheel: Path, folder: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        return set(archive.namelist())


def run(site: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The command from the unpacked wheel, with nothing on PATH."""
    folders = [p for p in sys.path if p and Path(p).resolve() != REPO / "py"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *folders]), "PATH": str(site)}
    env.pop("POCKETLLAMA_LIB", None)
    command = [sys.executable, "-m", "pocketllama", *argv]
    return subprocess.run(command, cwd=site, env=env, capture_output=True, encoding="utf-8", timeout=120)


@pytest.mark.slow
def test_the_wheel_carries_the_engine(tmp_path: Path, golden: dict[str, Any]) -> None:
    if not shutil.which("cmake") or not (shutil.which("c++") or os.environ.get("CXX")):
        pytest.skip("a wheel with the engine takes cmake and a C++ compiler")
    wheel = make(tmp_path)
    assert "-py3-none-" in wheel.name and not wheel.name.endswith("-any.whl")
    names = unpacked(wheel, tmp_path / "site")
    assert f"pocketllama/lib/{build.library_name()}" in names
    assert not {name for name in names if "__pycache__" in name or name.startswith(("native", "tests"))}
    done = run(tmp_path / "site", "run", golden["prompt"], "-n", str(golden["max_tokens"]), "--temp", "0")
    assert (done.stdout, done.stderr) == (golden["text"] + "\n", "")
    report = json.loads(run(tmp_path / "site", "doctor", "--json").stdout)
    assert report["library"]["kind"] == "native" and report["engine"]["built"] == "came with the package"


def test_without_a_compiler_the_wheel_is_one_that_runs(tmp_path: Path, golden: dict[str, Any]) -> None:
    if not shutil.which("cmake"):
        pytest.skip("scikit-build-core would fetch cmake")
    wheel = make(tmp_path, CXX="/nonexistent/c++")
    assert wheel.name.endswith("-py3-none-any.whl")
    names = unpacked(wheel, tmp_path / "site")
    assert not {name for name in names if name.startswith("pocketllama/lib")}
    page = REPO / "py" / "pocketllama" / "serve" / "static"
    assert {f"pocketllama/serve/static/{p.relative_to(page)}" for p in page.rglob("*") if p.is_file()} <= names
    done = run(tmp_path / "site", "run", golden["prompt"], "-n", str(golden["max_tokens"]), "--temp", "0")
    assert (done.stdout, done.stderr) == (golden["text"] + "\n", "")
    assert "where there is a C++ compiler" in run(tmp_path / "site", "doctor").stdout
    script = tmp_path / "story.mjs"
    script.write_text(STORY % (json.dumps(golden["prompt"]), golden["max_tokens"]))
    done = run(tmp_path / "site", "js", str(script))
    assert "".join(json.loads(done.stdout)) == golden["text"], done.stderr
