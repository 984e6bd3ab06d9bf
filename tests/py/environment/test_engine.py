"""The engine is built at the first run that needs it, once; where that fails, one line says so and life goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .package import NODE, PATIENCE, Package, facts, make_wheel

SETTINGS: dict[str, Any] = {"FAKE_BUILD": "well"}


@pytest.fixture
def sources(package: Package) -> Package:
    """A copy that has sources, and an environment. What `build` does there is for $FAKE_BUILD to say."""
    package.add_sources()
    package.setup(POCKETLLAMA_BUILD="0")
    return package


def builds(package: Package) -> int:
    log = package.home / "builds"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_the_first_run_builds_and_later_ones_do_not(sources: Package) -> None:
    first = sources.run("Once", **SETTINGS)
    assert facts(first)["argv"] == ["Once"]  # and nothing else on standard output
    assert first.stderr.splitlines()[0] == "pocketllama: building the engine with fake …"
    assert "the engine is built" in first.stderr
    for argv in (["Once"], ["rpc"], ["tokenize", "x"]):
        warm = sources.run(*argv, PATH="/nonexistent", FAKE_BUILD="badly")
        assert (facts(warm)["argv"], warm.stderr) == (argv, "")
    assert builds(sources) == 1
    sources.assert_sound()


def test_setup_builds_too(package: Package) -> None:
    package.add_sources()
    assert "the engine is built" in package.setup(**SETTINGS).stderr
    assert package.run("Once", FAKE_BUILD="badly").stderr == ""


def test_changed_sources_and_a_library_that_is_gone_are_built_again(sources: Package) -> None:
    sources.run("Once", **SETTINGS)
    (sources.root / "native" / "src" / "abi.cc").write_text("int changed;\n")
    assert "the engine is built" in sources.run("Once", **SETTINGS).stderr
    shutil.rmtree(sources.home / "native" / "fake")
    assert "the engine is built" in sources.run("Once", **SETTINGS).stderr
    for path in (sources.home / "native").glob("*.json"):
        path.write_text("{")
    assert "the engine is built" in sources.run("Once", **SETTINGS).stderr
    assert builds(sources) == 4 and sources.run("Once").stderr == ""


def test_a_failure_is_one_line_and_is_remembered(sources: Package) -> None:
    first = sources.run("Once", FAKE_BUILD="badly")
    assert facts(first)["argv"] == ["Once"]
    warnings = [line for line in first.stderr.splitlines() if not line.endswith("…")]
    assert len(warnings) == 1 and "abi.cc could not be compiled (no such header)" in warnings[0]
    assert warnings[0].endswith("(try again: pocketllama build)")
    assert sources.run("Once", **SETTINGS).stderr == ""
    assert sources.run("--offline", "Once", **SETTINGS).stderr == ""
    assert builds(sources) == 1
    # Who asks for it gets another attempt, and from then on the engine.
    again = sources.run("build", FAKE_BUILD="badly")
    assert again.returncode == 6 and again.stderr.count("could not be compiled") == 1
    assert sources.run("build", **SETTINGS).returncode == 0
    assert sources.run("Once", FAKE_BUILD="badly").stderr == ""


def test_what_needs_no_engine_and_who_wants_none_does_not_build(sources: Package) -> None:
    for argv in (["list"], ["pull", "x"], ["show", "x"], ["rm", "x"], ["version"], ["run", "--help"], ["build", "-h"]):
        assert sources.run(*argv, **SETTINGS).stderr == "", argv
    assert sources.run("Once", POCKETLLAMA_BUILD="0", **SETTINGS).stderr == ""
    assert sources.run("Once", POCKETLLAMA_LIB="avx2", **SETTINGS).stderr == ""
    assert builds(sources) == 0
    assert "the engine is built" in sources.run("run", "--", "--help", **SETTINGS).stderr


def test_without_a_compiler_zig_is_brought(sources: Package) -> None:
    zig = make_wheel(sources.wheels, "ziglang", {"ziglang/__init__.py": ""})
    (sources.root / "py" / "locks" / "zig.txt").write_text(zig)
    wheels: dict[str, Any] = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(sources.wheels), "FAKE_BUILD": "zig"}
    for attempt in range(2):  # offline it is said once, and tried again when there is a network
        offline = sources.run("--offline", "Once", **wheels)
        assert facts(offline)["argv"] == ["Once"]
        assert offline.stderr.count("No C++20 compiler could be used (none)") == 1 - attempt
        assert "zig" not in offline.stderr
    first = sources.run("Once", **wheels)
    assert "bringing what 'zig' needs (ziglang; about 100 MB to download, once)" in first.stderr
    assert "the engine is built" in first.stderr and facts(first)["argv"] == ["Once"]
    assert sources.run("Once", **wheels).stderr == ""
    sources.assert_sound()


def test_zig_that_cannot_be_brought_is_one_line(sources: Package) -> None:
    (sources.root / "py" / "locks" / "zig.txt").write_text(f"ziglang==1.0 \\\n    --hash=sha256:{'0' * 64}\n")
    nowhere: dict[str, Any] = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(sources.wheels), "FAKE_BUILD": "zig"}
    first = sources.run("Once", **nowhere)
    warnings = [line for line in first.stderr.splitlines() if not line.endswith("…")]
    assert len(warnings) == 1 and "zig could not be brought: The package index" in warnings[0]
    assert facts(first)["argv"] == ["Once"] and sources.run("Once", **nowhere).stderr == ""
    sources.assert_sound()


def test_eight_first_runs_build_once(sources: Package) -> None:
    processes = [sources.start("Once", FAKE_BUILD="slowly") for _ in range(8)]
    ends = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, ends
    assert builds(sources) == 1
    assert sum("waiting for another pocketllama (process " in err for _, err in ends) == 7
    sources.assert_sound()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_stopped_leaves_nothing_in_the_way(sources: Package, number: signal.Signals) -> None:
    process = sources.start("Once", FAKE_BUILD="forever")
    assert process.stderr
    assert any("building" in line for line in process.stderr)
    pid = int((sources.home / "builds").read_text())
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if number == signal.SIGKILL:
        os.kill(pid, number)  # nobody was left to do it
    assert "the engine is built" in sources.run("Once", **SETTINGS).stderr
    sources.assert_sound()


def test_a_home_where_nothing_can_be_built(sources: Package) -> None:
    (sources.home / "native").touch()
    done = sources.run("Once", **SETTINGS)
    assert facts(done)["argv"] == ["Once"]
    assert [line for line in done.stderr.splitlines() if "could not be built" in line and "NotADirectoryError" in line]


def test_a_javascript_program_gets_the_engine(sources: Package) -> None:
    program = """
        import { runnerCommand } from "./js/command.js";
        const steps = [];
        const { command } = await runnerCommand({}, { onSetup: (step) => steps.push(step) });
        console.log(JSON.stringify({ steps, command }));
    """
    told = []
    for _ in range(2):
        done = subprocess.run(
            [str(NODE), "--input-type=module", "-e", program],
            cwd=sources.root,
            env=sources.environ(**SETTINGS),
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    assert [step["steps"] for step in told] == [["building the engine with fake"], []]
    assert Path(told[0]["command"][0]).is_relative_to(sources.environments()[0])
