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


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("There is no file at /x.gguf.", "There is no file at /x.gguf."),
        ("the context length must not be negative", "/x.gguf: the context length must not be negative."),
    ],
)
def test_an_error_names_its_file_once_and_ends_once(words: str, shown: str) -> None:
    lib = SimpleNamespace(pl_last_error=words.encode, pl_last_error_kind=lambda: 1)
    assert str(own.error(lib, "/x.gguf")).splitlines()[0] == shown
