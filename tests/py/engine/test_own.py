"""Our own library as Python sees it: what is bound, and what is refused."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import cast

import pytest

from pocketllama.engine import own
from pocketllama.errors import EngineError


def test_a_library_of_another_version_is_named() -> None:
    older = SimpleNamespace(_name="older.so", pl_load=SimpleNamespace())
    with pytest.raises(EngineError, match=r"older\.so is of another version: it has no pl_") as raised:
        own.bind(cast(ctypes.CDLL, older))
    assert raised.value.remedy == "pocketllama build"
