"""Builds that are killed, stopped, or run side by side."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .package import NODE, PATIENCE, Package, facts


def test_eight_first_runs_at_once(package: Package) -> None:
    processes = [package.start("setup", "--wheelhouse", str(package.wheels)) for _ in range(8)]
    ends = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, ends
    built = [err for _, err in ends if "creating" in err]
    assert len(built) == 1
    assert sum("waiting for another pocketllama (process " in err for _, err in ends) >= 1
    package.assert_sound()


def build_seconds(package: Package) -> float:
    started = time.monotonic()
    package.setup()
    seconds = time.monotonic() - started
    shutil.rmtree(package.home)
    return seconds


def kill_at(package: Package, delay: float) -> None:
    """Start a build and kill Node, and Node alone, after a while."""
    process = package.start("setup", "--wheelhouse", str(package.wheels))
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()
    process.communicate(timeout=PATIENCE)


def settled(package: Package) -> None:
    """An orphaned pip may still write into its folder; the next runs remove what is left."""
    deadline = time.monotonic() + PATIENCE
    while package.leftovers():
        assert time.monotonic() < deadline, package.leftovers()
        package.setup("--force")


def test_killed_again_and_again_it_recovers(package: Package) -> None:
    whole = build_seconds(package)
    for i in range(8):
        kill_at(package, whole * (i + 1) / 10)
        for path in package.environments() if package.envs.exists() else []:
            assert (path / "READY").is_file()  # a name that exists is complete
    package.setup()
    settled(package)
    package.assert_sound()


@pytest.mark.slow
def test_killed_at_fifty_points_the_next_run_recovers(package: Package) -> None:
    whole = build_seconds(package)
    for i in range(50):
        kill_at(package, whole * (i + 1) / 50)
        package.setup()
        assert facts(package.run("x"))["argv"] == ["x"]
        settled(package)
        package.assert_sound()
        shutil.rmtree(package.home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_build_and_leaves_nothing(package: Package, number: signal.Signals) -> None:
    process = package.start("setup", "--wheelhouse", str(package.wheels))
    assert process.stderr
    assert any("installing" in line for line in process.stderr)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert "    at " not in err
    assert list(package.envs.iterdir()) == []


def test_what_other_machines_and_living_processes_left_is_not_touched(package: Package) -> None:
    package.setup()
    [own] = [p for p in package.envs.iterdir() if p.suffix == ".json"]
    ours = package.start("wait")
    host = subprocess.run(
        [str(NODE), "--input-type=module", "-e", "import {ownerId} from './js/lock.js'; console.log(ownerId())"],
        cwd=package.root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("-")[0]
    started = Path(f"/proc/{ours.pid}/stat")
    if not started.exists():
        ours.terminate()
        pytest.skip("this system has no /proc")
    ticks = started.read_text().rpartition(")")[2].split()[19]
    living = package.envs / f".tmp-{host}-{ours.pid}-{ticks}-aaaaaaaa"
    reused = package.envs / f".tmp-{host}-{ours.pid}-1-aaaaaaaa"  # the pid lives, and is another process
    foreign = package.envs / ".tmp-00000000-1-1-aaaaaaaa"
    ancient = package.envs / ".tmp-00000000-1-1-bbbbbbbb"
    for path in (living, reused, foreign, ancient):
        path.mkdir()
    os.utime(ancient, (0, 0))
    own.unlink()
    package.setup()
    assert sorted(package.leftovers()) == sorted([living.name, foreign.name])
    ours.terminate()
    ours.communicate()


def test_a_dead_holders_lock_is_taken_over(package: Package) -> None:
    package.setup()
    [pointer] = [p for p in package.envs.iterdir() if p.suffix == ".json"]
    for holder in ("", "nonsense", "00000000-1-1"):
        pointer.unlink()
        lock = package.envs / f".lock-{pointer.stem}"
        lock.write_text(holder)
        os.utime(lock, (0, 0))
        package.setup()
        package.assert_sound()
