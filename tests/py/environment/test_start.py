"""The first run, and the warm ones after it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .package import BASE, NODE, PATIENCE, REPO, Package, facts


def test_the_first_run_says_what_it_does_and_later_ones_say_nothing(package: Package) -> None:
    first = package.setup()
    assert first.stdout == ""
    steps = first.stderr.splitlines()
    assert steps[1].startswith("pocketllama: creating a Python environment (Python 3.")
    assert "\r" not in first.stderr and "\x1b" not in first.stderr
    package.assert_sound()

    # Warm, there is no Python on PATH, and none is needed.
    warm = package.run("Once upon a time", "-n", "3", PATH="/nonexistent")
    assert warm.stderr == ""
    told = facts(warm)
    assert told["argv"] == ["Once upon a time", "-n", "3"]
    assert Path(told["prefix"]) == package.environments()[0] / "venv"
    assert told["env"]["POCKETLLAMA_LAUNCHER"] == "npx"
    assert json.loads(told["env"]["POCKETLLAMA_NODE"])["path"] == os.path.realpath(str(NODE))


def test_a_warm_start_looks_at_one_file_and_runs_one_program(ready: Package) -> None:
    if not (strace := shutil.which("strace")):
        pytest.skip("strace is not installed")
    trace = ready.root.parent / "trace"
    command = [strace, "-f", "-qq", "-e", "trace=execve,openat,connect", "-o", str(trace), *ready.command("leave", "0")]
    done = subprocess.run(command, env=ready.environ(PATH="/nonexistent"), capture_output=True, timeout=PATIENCE)
    if b"ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    calls = trace.read_text(errors="replace").splitlines()
    started = [call for call in calls if "execve(" in call and "= 0" in call]
    assert len(started) == 2  # Node, Python
    before = calls[: calls.index(started[1])]
    opened = [call for call in before if "/envs/" in call and "openat(" in call]
    assert len(opened) == 1 and ".json" in opened[0], opened
    assert not [call for call in calls if "connect(" in call and "AF_INET" in call]


@pytest.mark.parametrize(
    "argv",
    [
        ["run", "-5 degrees"],
        ["42"],
        ["None"],
        ["[1, 2]"],
        [""],
        ["--", "--offline"],
        ["é\n\t'\"$HOME `x` *"],
        ["-m", "x", "y"],
    ],
    ids=str,
)
def test_arguments_arrive_as_they_are(ready: Package, argv: list[str]) -> None:
    assert facts(ready.run(*argv))["argv"] == argv


def test_offline_becomes_a_variable(ready: Package) -> None:
    for argv in (["--offline", "run", "x"], ["run", "--offline", "x"], ["run", "x", "--offline"]):
        told = facts(ready.run(*argv))
        assert (told["argv"], told["env"]["POCKETLLAMA_OFFLINE"]) == (["run", "x"], "1")
    assert "POCKETLLAMA_OFFLINE" not in facts(ready.run("run", "x"))["env"]


def test_the_users_python_settings_and_folder_do_not_reach_ours(ready: Package, tmp_path: Path) -> None:
    for name in ("json", "runpy", "tiny", "sitecustomize", "pocketllama"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    env = {
        "PYTHONHOME": "/nonexistent",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": "/nonexistent",
        "PYTHONIOENCODING": "latin-1",
    }
    told = facts(ready.run("é", cwd=tmp_path, **env))
    assert told["argv"] == ["é"]
    assert told["env"]["PYTHONPATH"] == str(ready.root / "py")
    assert str(tmp_path) not in told["path"] and "" not in told["path"]
    assert ready.run("import", "tiny", cwd=tmp_path, **env).stdout.startswith(str(ready.envs))


def test_the_interpreter_alone_can_import_the_package(ready: Package, tmp_path: Path) -> None:
    """Also where the locale cannot spell the package's path."""
    python = ready.environments()[0] / "venv" / "bin" / "python"
    for locale in ("C", "C.UTF-8"):
        env = ready.environ(LC_ALL=locale, PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
        done = subprocess.run(
            [python, "-c", "import pocketllama, os; os.write(1, os.fsencode(pocketllama.__file__))"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert (done.stdout.decode(), done.stderr) == (str(ready.root / "py" / "pocketllama" / "__init__.py"), b"")


def test_exit_codes_and_signals_are_the_childs(ready: Package) -> None:
    assert ready.run("leave", "0").returncode == 0
    assert ready.run("leave", "7").returncode == 7
    assert ready.run("die", str(signal.SIGKILL.value)).returncode == 137
    assert ready.run("die", str(signal.SIGTERM.value)).returncode == 143


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_node_reaches_python(ready: Package, number: signal.Signals) -> None:
    process = ready.start("wait")
    assert process.stdout
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == (f"signal {number.value}\n", "", 9)


def test_ctrl_c_is_pythons_to_answer(ready: Package) -> None:
    process = ready.start("wait")
    assert process.stdout
    assert process.stdout.readline() == "waiting\n"
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, err, process.returncode) == ("signal 2\n", "", 9)


def test_help_and_version_make_no_environment(package: Package) -> None:
    from pocketllama._version import __version__

    assert package.run("--version").stdout == package.run("version").stdout == f"{__version__}\n"
    assert "pocketllama setup" in package.run("--help").stdout
    assert not package.home.exists()


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["whatever there is", "zig"])
def test_from_nothing_to_the_golden_text(compiler: str, tmp_path: Path, golden: dict[str, Any]) -> None:
    """The real locks and the real engine, from the network, in an empty home; then the same without the network."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "POCKETLLAMA_", "XDG_", "CXX"))}
    env["HOME"] = str(tmp_path / "an émpty home")
    env["CCACHE_DISABLE"] = "1"  # from nothing
    Path(env["HOME"]).mkdir()
    if compiler == "zig":  # nothing on PATH but Python
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "python3").symlink_to(BASE)
        env["PATH"] = str(tmp_path / "bin")
    said, text = [], []
    for extra in ([], ["--offline"]):
        args = [*extra, "run", golden["prompt"], "-n", str(golden["max_tokens"]), "--temp", "0"]
        done = subprocess.run(
            [str(NODE), str(REPO / "bin" / "pocketllama.js"), *args],
            env=env,
            capture_output=True,
            encoding="utf-8",
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr
        text.append(done.stdout)
        said.append(done.stderr)
    assert text == [golden["text"] + "\n"] * 2
    assert "the engine is built" in said[0] and ("with zig c++" in said[0]) == (compiler == "zig") and said[1] == ""
    native = Path(env["HOME"]) / ".local" / "share" / "pocketllama" / "native"
    assert len(list(native.glob("*/*pocketllama*"))) == 1 and not list(native.glob(".building-*"))
