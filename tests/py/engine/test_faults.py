"""Every repaired fault: our class passes its check, and the stock class does not (or the check would show nothing)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pocketllama.engine import LLM

from ...conftest import REPO
from .faults import CHECKS


@pytest.mark.parametrize("name", CHECKS)
def test_ours_passes(name: str, tales: Path) -> None:
    CHECKS[name](LLM, tales)


@pytest.mark.parametrize("name", CHECKS)
def test_the_stock_class_fails(name: str, tales: Path) -> None:
    # In a process of its own, for it may crash or hang; both are failures.
    command = [sys.executable, "-m", "tests.py.engine.faults", name, str(tales)]
    process = subprocess.Popen(command, cwd=REPO, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert process.wait(5) != 0
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
