"""A home that has moved, is damaged, may not be written, or is full."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .package import PATIENCE, Package, facts, make_wheel


def test_a_moved_home_and_a_damaged_pointer_need_no_build(package: Package) -> None:
    package.setup()
    package.home = package.home.rename(package.home.with_name("elsewhere"))
    assert "creating" not in package.run("x", PATH="/nonexistent").stderr
    [pointer] = [p for p in package.envs.iterdir() if p.suffix == ".json"]
    for damage in ("", "{", "null", "[]", "{}", '{"format": 2}', '{"format": 1, "key": "../../../etc"}'):
        pointer.write_text(damage)
        done = package.run("x", PATH="/nonexistent")
        assert facts(done)["argv"] == ["x"]
        assert done.stderr == ""
    pointer.unlink()
    assert facts(package.run("x", PATH="/nonexistent"))["argv"] == ["x"]
    assert pointer.is_file()


def test_an_environment_whose_python_is_gone_is_made_anew(package: Package) -> None:
    package.setup()
    [environment] = package.environments()
    python = environment / "venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3.11")
    assert "creating" in package.setup().stderr
    package.assert_sound()


def test_force_makes_it_anew(package: Package) -> None:
    package.setup("--with", "convert")
    [environment] = package.environments()
    (environment / "marker").touch()
    package.setup("--force")
    assert not (environment / "marker").exists()
    package.assert_sound()


def test_a_package_that_moves_is_found_again(package: Package, tmp_path: Path) -> None:
    package.setup()
    package.root = package.root.rename(tmp_path / "moved")
    assert facts(package.run("x"))["env"]["PYTHONPATH"] == str(package.root / "py")
    python = package.environments()[0] / "venv" / "bin" / "python"
    done = subprocess.run(
        [python, "-c", "import pocketllama; print(pocketllama.__file__)"],
        capture_output=True,
        text=True,
        env=package.environ(),
    )
    assert done.stdout.startswith(str(package.root))


def test_a_file_where_the_home_should_be(package: Package, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        done = package.run("Once", POCKETLLAMA_HOME=str(home))
        assert done.returncode == 5
        assert str(home) in done.stderr and "a file where a folder is needed" in done.stderr
        assert "POCKETLLAMA_HOME" in done.stderr and "    at " not in done.stderr


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A folder that every user can enter; pytest's own is private."""
    folder = Path(tempfile.mkdtemp(prefix="pocketllama-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_home(for_all: Path) -> None:
    package = Package(for_all)
    package.home.mkdir()
    package.home.chmod(0o555)
    as_nobody = []
    if os.geteuid() == 0:  # root may write anywhere
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("root without setpriv cannot be refused")
        as_nobody = [setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    done = subprocess.run(
        [*as_nobody, *package.command("Once")],
        env=package.environ(),
        capture_output=True,
        encoding="utf-8",
        cwd="/",
        timeout=PATIENCE,
    )
    package.home.chmod(0o755)
    assert done.returncode == 5, done.stderr
    assert str(package.home) in done.stderr and "not writable for you" in done.stderr
    assert "POCKETLLAMA_HOME" in done.stderr and "    at " not in done.stderr


@pytest.mark.parametrize("size", ["16k", "300k"])
def test_a_full_disk(package: Package, size: str) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root, to mount a small disk")
    package.home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", package.home], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let tests mount")
    try:
        # Enough for the venv's own files, or not even for that; in no case for the package.
        (package.home / "ballast").write_bytes(b"x" * (4096 if size == "16k" else 100_000))
        wheel = make_wheel(package.wheels, "tiny", {"tiny.py": "NAME = 'tiny'\n", "big.py": "#" * 600_000 + "\n"})
        (package.root / "py" / "locks" / "base.txt").write_text(wheel)
        done = package.run("setup", "--wheelhouse", str(package.wheels))
        assert done.returncode == 5, done.stderr
        assert "full" in done.stderr and "POCKETLLAMA_HOME" in done.stderr and "    at " not in done.stderr
        assert [p.name for p in package.home.rglob(".tmp-*")] == []
    finally:
        subprocess.run(["umount", package.home], check=True)
