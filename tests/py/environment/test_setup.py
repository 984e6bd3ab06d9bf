"""`setup`, `doctor`, the layers, and working without a network."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from .package import Package, facts, make_wheel


def test_a_layer_comes_when_it_is_needed(package: Package) -> None:
    package.setup()
    assert package.run("import", "extra").returncode != 0
    wheels: dict[str, Any] = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(package.wheels),
    }  # pip's own settings are honoured
    first = package.run("convert", **wheels)
    assert (first.stdout, first.returncode) == ("extra tiny\n", 0), first.stderr
    assert "bringing what 'convert' needs (extra)" in first.stderr
    again = package.run("convert", PATH="/nonexistent")
    assert (again.stdout, again.stderr) == ("extra tiny\n", "")
    package.assert_sound()


def test_the_test_verb_runs_pytest_in_a_checkout(package: Package) -> None:
    package.setup("--with", "test")
    done = package.run("test", "-k", "x")
    assert done.returncode == 2 and "no tests" in done.stderr
    (package.root / "tests").mkdir()
    done = package.run("test", "-k", "x")
    assert (done.stdout, done.returncode) == (f"pytest ['-k', 'x'] {package.root}\n", 6)


def test_offline(package: Package) -> None:
    for args, variable in ((["--offline", "x"], None), (["x"], "1"), (["setup", "--offline"], None)):
        done = package.run(*args, POCKETLLAMA_OFFLINE=variable)
        assert done.returncode == 4
        assert "not set up yet" in done.stderr and "setup --offline --wheelhouse DIR" in done.stderr
    assert package.run("doctor", "--offline", "--json").returncode == 1
    package.setup("--offline")
    assert facts(package.run("--offline", "x"))["argv"] == ["x"]
    done = package.run("convert", "--offline")
    assert done.returncode == 4 and "--with convert" in done.stderr


@pytest.mark.parametrize(
    "args",
    [["--frce"], ["x"], ["--wheelhouse"], ["--with", "nonsense"], ["--wheelhouse", "/nonexistent"], ["--force=1"]],
    ids=str,
)
def test_setup_names_what_it_does_not_know(package: Package, args: list[str]) -> None:
    done = package.run("setup", *args)
    assert done.returncode == 2, done.stderr
    assert args[-1].split("=")[0] in done.stderr and "    at " not in done.stderr


def test_setup_help(package: Package) -> None:
    done = package.run("setup", "--help")
    assert done.returncode == 0 and "--wheelhouse DIR" in done.stdout
    assert not package.home.exists()


def test_a_wheelhouse_that_lacks_a_wheel_or_holds_another(package: Package) -> None:
    wheel = package.wheels / "tiny-1.0-py3-none-any.whl"
    kept = wheel.read_bytes()
    make_wheel(package.wheels, "tiny", {"tiny.py": "NAME = 'another'\n"})
    done = package.run("setup", "--wheelhouse", str(package.wheels))
    assert done.returncode == 4 and "not what its lock promises" in done.stderr
    wheel.unlink()
    done = package.run("setup", "--wheelhouse", str(package.wheels))
    assert done.returncode == 4 and "missing in" in done.stderr and "pip download" in done.stderr
    assert list(package.envs.iterdir()) == []
    wheel.write_bytes(kept)
    package.setup()


def test_an_index_that_cannot_be_reached(package: Package) -> None:
    env: dict[str, Any] = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    done = package.run("Once", **env)
    assert done.returncode == 4, done.stderr
    assert "index cannot be reached" in done.stderr and "--wheelhouse" in done.stderr


def test_doctor_hands_python_what_node_knows(package: Package) -> None:
    done = package.run("doctor", "--json", "--no-setup")
    assert done.returncode == 1 and json.loads(done.stdout)["problems"][0]["remedy"] == "pocketllama setup"
    assert not package.home.exists()
    package.setup()
    told = facts(package.run("doctor", "--json", "--no-setup"))
    assert told["argv"] == ["doctor", "--json"]
    found = json.loads(told["env"]["POCKETLLAMA_DOCTOR"])
    assert found["node"]["version"].startswith("v")
    environment = found["environment"]
    assert environment["ready"] is True and Path(environment["path"]) == package.environments()[0]
    assert environment["lock_sha256"] == hashlib.sha256((package.root / "py/locks/base.txt").read_bytes()).hexdigest()
    assert environment["key"] == package.environments()[0].name and environment["size_bytes"] > 10_000
