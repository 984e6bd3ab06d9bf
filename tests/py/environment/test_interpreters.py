"""Which Python is taken, and what is said where none will do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .package import BASE, PATIENCE, Package, facts

STORE_STUB = "echo 'Python was not found; run without arguments to install from the Microsoft Store' >&2; exit 49"
SHIM = "echo 'pyenv: version `3.99` is not installed' >&2; exit 127"


def pretend(**found: object) -> str:
    """A Python that answers the probe like this."""
    answer = {
        "version": [3, 12, 0],
        "implementation": "cpython",
        "bits": 64,
        "freeThreaded": False,
        "base": "/nonexistent",
    }
    return f"echo '{json.dumps({**answer, 'venv': True, 'ensurepip': True, 'pip': '24.0', **found})}'"


BROKEN = {
    "store": (STORE_STUB, "exited with 49: Python was not found"),
    "shim": (SHIM, "exited with 127: pyenv"),
    "old": (pretend(version=[3, 9, 18]), "is Python 3.9.18; 3.10 or newer is needed"),
    "two": ("echo '{\"version\": [2, 7, 18]}'", "is Python 2.7.18; 3.10 or newer is needed"),
    "pypy": (pretend(implementation="pypy"), "is pypy; CPython is needed"),
    "small": (pretend(bits=32), "32-bit"),
    "threads": (pretend(freeThreaded=True), "free-threaded"),
    "debian": (pretend(ensurepip=False, pip=None), "sudo apt install python3-venv"),
    "old pip": (pretend(ensurepip=False, pip="20.3.4"), "sudo apt install python3-venv"),
    "chatter": ("echo hello; echo '{'", "did not answer as Python does"),
    "null": ("echo null", "exited with 0"),
    "crash": ("kill -SEGV $$", "was killed by SIGSEGV"),
}


def test_broken_pythons_are_passed_over(package: Package) -> None:
    """The first that works is taken, be it a second one of the same name."""
    for i, (text, _) in enumerate(BROKEN.values()):
        folder = package.bin / str(i)
        folder.mkdir()
        package.script(f"{i}/python3", text)
    path = os.pathsep.join([*(str(package.bin / str(i)) for i in range(len(BROKEN))), str(package.bin)])
    package.setup(PATH=path)
    package.assert_sound()


@pytest.mark.parametrize("which", BROKEN)
def test_without_a_usable_python_the_error_lists_what_was_tried(package: Package, which: str) -> None:
    text, why = BROKEN[which]
    broken = package.script("python3", text)
    for done in (package.run("Once"), package.run("Once", POCKETLLAMA_PYTHON=str(broken))):
        assert done.returncode == 7
        assert why in done.stderr and str(broken) in done.stderr
        assert done.stdout == ""
        assert "    at " not in done.stderr  # no stack trace
    assert package.leftovers() == []


def test_no_python_at_all(package: Package) -> None:
    (package.bin / "python3").unlink()
    done = package.run("Once")
    assert done.returncode == 7
    assert "python3, python: not on PATH" in done.stderr and "uv: not on PATH" in done.stderr
    assert "POCKETLLAMA_PYTHON" in done.stderr and "astral.sh/uv" in done.stderr

    doctor = package.run("doctor", "--json")
    report = json.loads(doctor.stdout)
    assert doctor.returncode == 1
    assert report["python"] is None and report["environment"]["ready"] is False
    assert report["node"]["path"] and report["version"]
    assert [set(problem) for problem in report["problems"]] == [{"what", "remedy"}]
    assert "No Python" in package.run("doctor").stdout


@pytest.mark.slow
def test_a_python_that_hangs_is_given_up(package: Package) -> None:
    package.script("python3", "exec /bin/sleep 1000")
    done = package.run("Once")
    assert done.returncode == 7 and "did not answer in time" in done.stderr


def test_the_named_python_and_no_other(package: Package) -> None:
    done = package.run("Once", POCKETLLAMA_PYTHON="/nonexistent/python")
    assert done.returncode == 7
    assert "POCKETLLAMA_PYTHON names /nonexistent/python, which is not there." in done.stderr
    assert package.environments() == []

    # By name it is looked up on PATH; an environment that another start has made from the same Python will do.
    (package.bin / "python3").rename(package.bin / "mine")
    package.setup(POCKETLLAMA_PYTHON="mine")
    assert facts(package.run("x", POCKETLLAMA_PYTHON="mine"))["argv"] == ["x"]
    assert facts(package.run("x"))["argv"] == ["x"]
    package.assert_sound()
    # Taken away, it is missed: the other environment does not stand in for it.
    (package.bin / "mine").unlink()
    assert package.run("x", POCKETLLAMA_PYTHON="mine").returncode == 7


def other_python() -> str | None:
    """A second Python of this machine, of another version."""
    clean = {"PATH": os.environ["PATH"]}  # this Python's own path would be of no use to another
    roots = [Path.home() / ".pyenv" / "versions", Path("/usr/bin")]
    found = [p for root in roots for p in [*root.glob("3.1?.*/bin/python3"), *root.glob("python3.1?")]]
    for python in map(str, found):
        if os.path.realpath(python) == BASE:
            continue
        question = "import venv, pip, sys; print(sys.version_info[:2])"
        done = subprocess.run([python, "-c", question], capture_output=True, text=True, env=clean)
        if done.returncode == 0 and done.stdout.strip() not in (str(sys.version_info[:2]), "(3, 14)"):
            return python
    return None


def test_another_python_has_its_own_environment(package: Package) -> None:
    other = other_python()
    if other is None:
        pytest.skip("this machine has one Python")
    package.setup()
    package.setup(POCKETLLAMA_PYTHON=other)
    package.assert_sound(environments=2)
    assert facts(package.run("x"))["version"] == list(sys.version_info[:2])
    assert facts(package.run("x", POCKETLLAMA_PYTHON=other))["version"] != list(sys.version_info[:2])


@pytest.mark.slow
def test_a_python_without_pip_uses_ensurepip(package: Package, tmp_path: Path) -> None:
    """As a venv without pip, which has ensurepip from its base."""
    subprocess.run([BASE, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True, timeout=PATIENCE)
    package.setup("--with", "convert", POCKETLLAMA_PYTHON=str(tmp_path / "bare" / "bin" / "python"))
    package.assert_sound()
    assert (package.environments()[0] / "venv" / "bin" / "pip").exists()


@pytest.mark.slow
def test_uv_where_nothing_else_can(package: Package) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed")
    package.link("uv", uv)
    package.script("python3", pretend(base=BASE, ensurepip=False, pip=None))
    package.setup("--with", "convert")
    package.assert_sound()
    assert package.run("convert").stdout == "extra tiny\n"
