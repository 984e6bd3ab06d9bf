"""Which model a chat is with where none was named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pocketllama import errors, models
from pocketllama.engine import native
from pocketllama.models.model import Model
from pocketllama.terminal import choose
from pocketllama.terminal.choose import Choice

EMBEDDED = Model("tales", Path("tales.gguf"), (), 1, "embedded")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[Model]:
    there = [EMBEDDED]
    monkeypatch.setattr(models, "list_models", lambda: there)
    monkeypatch.setattr(choose, "total_memory", lambda: 16e9)
    monkeypatch.setattr(native, "find", lambda lib: native.Library(Path("x"), "native", ""))
    return there


def pulled(monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> list[str]:
    names: list[str] = []

    def pull(name: str, **options: Any) -> None:
        names.append(name)
        if error:
            raise error

    monkeypatch.setattr(models, "pull", pull)
    return names


def test_the_one_that_is_here(here: list[Model], said: list[str]) -> None:
    here.append(Model("hf:a/b:Q8_0", Path("b.gguf"), (), 1, "hub"))
    assert choose.choose(said.append, None) == Choice("hf:a/b:Q8_0") and said == []


def test_of_several_the_recommended_or_the_last(here: list[Model], said: list[str], tmp_path: Path) -> None:
    for i, name in enumerate(["old", "new", "middle"]):
        file = tmp_path / name
        file.touch()
        os.utime(file, (1000, [1000, 3000, 2000][i]))
        here.append(Model(name, file, (file,), 1, "file"))
    assert choose.choose(said.append, None) == Choice("new")
    assert "3 models" in said[0]
    here.append(Model("hf:Qwen/Qwen3-1.7B-GGUF:Q8_0", tmp_path / "old", (), 1, "hub"))
    assert choose.choose(said.append, None) == Choice("hf:Qwen/Qwen3-1.7B-GGUF:Q8_0")


def test_one_is_offered_with_size_and_licence(
    here: list[Model], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = pulled(monkeypatch)
    assert choose.choose(said.append, lambda question: True) == Choice("qwen3-1.7b") and names == ["qwen3-1.7b"]
    text = "\n".join(said)
    assert "1.8 GB" in text and "apache-2.0" in text


def test_no_is_no(here: list[Model], said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = pulled(monkeypatch)
    assert choose.choose(said.append, lambda question: False) == Choice("tales", story=True) and names == []
    assert "pocketllama list --known" in "\n".join(said)


def test_nobody_to_ask(here: list[Model], said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = pulled(monkeypatch)
    assert choose.choose(said.append, None) == Choice("tales", story=True) and names == []
    assert "pocketllama pull qwen3-1.7b" in said[0]


def test_offline(here: list[Model], said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_OFFLINE", "1")
    assert choose.choose(said.append, lambda question: pytest.fail("asked")) == Choice("tales", story=True)
    assert "POCKETLLAMA_OFFLINE" in said[0]


@pytest.mark.parametrize(
    "error", [errors.DownloadError("no network"), errors.StorageError("disk full"), KeyboardInterrupt()]
)
def test_a_download_that_fails(
    here: list[Model], said: list[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    pulled(monkeypatch, error)
    assert choose.choose(said.append, lambda question: True) == Choice("tales", story=True)
    assert str(error) in "\n".join(said)


def test_what_is_recommended_fits_the_machine(here: list[Model], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "total_memory", lambda: 3e9)
    assert choose.recommended().name == "qwen3-0.6b"
    monkeypatch.setattr(choose, "total_memory", lambda: None)
    assert choose.recommended().name == "qwen3-0.6b"
    monkeypatch.setattr(choose, "total_memory", lambda: 16e9)
    monkeypatch.setattr(native, "find", lambda lib: native.Library(Path("x"), "bundled", ""))
    assert choose.recommended().architecture == "llama"


def test_every_recommendation_is_an_alias() -> None:
    assert {name for name, _ in choose._RECOMMENDED} <= set(models.aliases())
