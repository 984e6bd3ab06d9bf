"""find, list, show, remove and verify: what is on this machine, and nothing outside the cache."""

from __future__ import annotations

import threading
from pathlib import Path

import filelock
import huggingface_hub
import pytest
from lying_hub import MAIN, LyingHub, gguf_bytes, short

from pocketllama import models, paths
from pocketllama.errors import (
    Busy,
    Cancelled,
    DownloadCorrupt,
    DownloadError,
    ModelInvalid,
    ModelNotFound,
    StorageError,
    UsageError,
)
from pocketllama.models import env

TINY = "hf:owner/tiny-GGUF"


@pytest.fixture
def embedded(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "package-data"
    folder.mkdir()
    (folder / "tales.gguf").write_bytes(gguf_bytes(100, licence="MIT"))
    monkeypatch.setattr(paths, "EMBEDDED", folder)
    return folder / "tales.gguf"


def test_the_embedded_model(embedded: Path) -> None:
    model = models.find("tales")
    assert (model.path, model.source, model.size) == (embedded, "embedded", embedded.stat().st_size)
    assert models.pull("tales") == model and models.list_models() == [model]
    with pytest.raises(UsageError, match="stays"):
        models.remove("tales")
    assert embedded.is_file()
    embedded.unlink()
    with pytest.raises(ModelNotFound, match="embedded") as missing:
        models.find("tales")
    assert "install" in str(missing.value.remedy)


def test_show_reads_the_header(embedded: Path) -> None:
    shown = models.show("tales")
    assert shown | {"files": [], "path": ""} == {
        **models.find("tales").as_json(),
        "files": [],
        "path": "",
        "licence": "MIT",
        "sha256": [None],
        "format": "gguf",
        "title": None,
        "architecture": "llama",
        "parameters": 100,
        "layers": None,
        "context_length": 256,
        "embedding_length": None,
        "quantization": {"F32": {"tensors": 1, "bytes": 400}},
        "tokenizer": None,
        "vocab_size": None,
        "chat_template": False,
        "kv_bytes_per_token": None,
        "weight_bytes_per_token": 400,
        "downloaded": True,
    }
    embedded.write_bytes(embedded.read_bytes()[:60])
    with pytest.raises(ModelInvalid):
        models.show("tales")


def test_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    (home / "x.gguf").write_bytes(gguf_bytes(10))
    (home / "bare").write_bytes(gguf_bytes(10))
    for name in ("x.gguf", "./x.gguf", str(home / "x.gguf"), "bare"):
        model = models.find(name)
        assert model.source == "file" and model.path.is_absolute() and model.name == name
        with pytest.raises(UsageError, match="your own file"):
            models.remove(name)
    assert not models.verify("x.gguf")[0].recorded
    (home / "folder.gguf").mkdir()
    with pytest.raises(ModelInvalid, match="no file"):
        models.find("folder.gguf")
    for verb in (models.find, models.pull, models.show, models.remove, models.verify):
        with pytest.raises(ModelNotFound, match="there is no file"):
            verb("y.gguf")


def test_a_split_path_needs_all_parts(home: Path) -> None:
    parts = [home / f"x-0000{n}-of-00002.gguf" for n in (1, 2)]
    parts[1].write_bytes(gguf_bytes(10))
    with pytest.raises(ModelNotFound, match=r"x-00001-of-00002\.gguf is missing"):
        models.find(str(parts[1]))
    parts[0].write_bytes(gguf_bytes(20))
    model = models.find(str(parts[1]))
    assert model.files == tuple(parts) and model.path == parts[0]


def test_an_unknown_name_gets_help() -> None:
    with pytest.raises(ModelNotFound) as typo:
        models.find("qwen3-0.6")
    assert "qwen3-0.6b" in str(typo.value.remedy)
    with pytest.raises(ModelNotFound) as repo:
        models.pull("owner/tiny-GGUF")
    assert "hf:owner/tiny-GGUF" in str(repo.value.remedy)
    with pytest.raises(ModelNotFound) as remote:
        models.find("https://example.org/a b'.gguf".replace(" ", "%20"))
    assert remote.value.remedy == "pocketllama pull 'https://example.org/a%20b'\"'\"'.gguf'"


def test_names_that_mean_nothing_are_refused_everywhere() -> None:
    for verb in (models.find, models.pull, models.show, models.remove, models.verify):
        for name in ("", "a\0b", "hf:../x", "hf:o/r:../x.gguf"):
            with pytest.raises(UsageError):
                verb(name)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "/a"},
        {"HF_HOME": "~/a"},
        {"HF_HOME": "$HOME/a"},
        {"XDG_CACHE_HOME": "/b"},
        {"HUGGINGFACE_HUB_CACHE": "/c"},
        {"HF_HUB_CACHE": "/d", "HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/a"},
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    import importlib.util

    monkeypatch.delenv("HF_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.find_spec("huggingface_hub.constants")
    assert spec is not None and spec.loader is not None
    fresh = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fresh)
    assert str(env.hub_cache()) == str(Path(fresh.HF_HUB_CACHE).absolute())


def test_rm_takes_what_only_the_model_used(hub: LyingHub, cache: Path) -> None:
    kept = models.pull(f"{TINY}:Q8_0")
    gone = models.pull(f"{TINY}:Q4_K_M")
    blob = gone.path.resolve()
    assert models.remove(f"{TINY}:Q4_K_M") == [gone.path, blob]
    assert not blob.exists() and kept.path.is_file()
    assert not huggingface_hub.scan_cache_dir(cache).warnings
    with pytest.raises(ModelNotFound):
        models.remove(f"{TINY}:Q4_K_M")
    models.remove(f"{TINY}:Q8_0")
    assert not (cache / "models--owner--tiny-GGUF").exists()
    assert not huggingface_hub.scan_cache_dir(cache).warnings


def test_rm_leaves_a_blob_that_another_snapshot_links_to(hub: LyingHub, cache: Path) -> None:
    first = models.pull(TINY)
    hub.repos["owner/tiny-GGUF"].commit = "b" * 40
    hub.repos["owner/tiny-GGUF"].revisions = ("v2",)
    second = models.pull(f"{TINY}@v2")
    assert models.remove(f"{TINY}@v2") == [second.path]
    assert first.path.is_file() and not second.path.parent.exists()
    assert not (cache / "models--owner--tiny-GGUF" / "refs" / "v2").exists()
    assert not huggingface_hub.scan_cache_dir(cache).warnings


def test_rm_drops_what_an_interrupted_download_left(hub: LyingHub, cache: Path) -> None:
    hub.lie("cdn", short(70_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    (gone,) = models.remove(TINY)
    assert gone.name.endswith(".incomplete") and not list(cache.rglob("*.incomplete"))


def test_rm_does_not_pull_a_download_from_under_its_process(hub: LyingHub, cache: Path) -> None:
    hub.lie("cdn", short(70_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    (part,) = cache.rglob("*.incomplete")
    digest = part.name.partition(".")[0]
    lock = filelock.FileLock(cache / ".locks" / "models--owner--tiny-GGUF" / f"{digest}.lock")
    with lock, pytest.raises(Busy, match="being downloaded"):
        models.remove(TINY)
    assert part.is_file()


def test_rm_never_follows_a_link_out_of_the_cache(hub: LyingHub, home: Path) -> None:
    model = models.pull(TINY)
    precious = home / "precious" / "blobs" / "file"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    model.path.unlink()
    model.path.symlink_to(precious)
    assert models.remove(TINY) == [model.path]
    assert precious.read_text() == "mine"


def test_a_folder_that_leads_out_of_the_cache_is_not_deleted_in(hub: LyingHub, home: Path, cache: Path) -> None:
    models.pull(TINY)
    outside = home / "outside"
    (cache / "models--owner--tiny-GGUF").rename(outside)
    (cache / "models--owner--tiny-GGUF").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    with pytest.raises(UsageError, match="leads out of the cache"):
        models.remove(TINY)
    assert sorted(outside.rglob("*")) == before


@pytest.mark.parametrize("where", ["", "blobs", "snapshots", "refs", f"snapshots/{MAIN}"])
def test_nothing_is_written_through_a_link_out_of_the_cache(hub: LyingHub, home: Path, cache: Path, where: str) -> None:
    outside = home / "outside"
    outside.mkdir()
    link = cache / "models--owner--tiny-GGUF" / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(outside)
    with pytest.raises(StorageError, match="leads out of the cache"):
        models.pull(TINY)
    assert not list(outside.iterdir())


def test_a_planted_link_in_place_of_the_partial_file(hub: LyingHub, home: Path, cache: Path) -> None:
    hub.lie("cdn", short(70_000))
    hub.lie("cdn", always=short(0))
    with pytest.raises(DownloadError):
        models.pull(TINY)
    hub.honest()
    (part,) = cache.rglob("*.incomplete")
    precious = home / "precious"
    precious.write_text("mine")
    part.unlink()
    part.symlink_to(precious)
    with pytest.raises(StorageError, match="symbolic link"):
        models.pull(TINY)
    assert precious.read_text() == "mine"


def test_a_cache_behind_a_link_works(hub: LyingHub, home: Path) -> None:
    (home / "big-disk").mkdir()
    (home / "hf").symlink_to(home / "big-disk")
    model = models.pull(TINY)
    assert model.path.resolve().is_relative_to(home / "big-disk")
    assert models.remove(TINY)
    assert not list((home / "big-disk" / "hub").glob("models--*"))


def test_a_dangling_link_and_foreign_things_are_no_models(hub: LyingHub, cache: Path) -> None:
    model = models.pull(TINY)
    model.path.resolve().unlink()
    for name in ("models--no-name", "models--a--b--c", "models--..--..", "datasets--a--b"):
        (cache / name / "snapshots" / MAIN).mkdir(parents=True)
        (cache / name / "snapshots" / MAIN / "x.gguf").write_bytes(b"GGUF")
    (cache / "models--a--b" / "snapshots" / "not-a-commit").mkdir(parents=True)
    (cache / "models--a--b" / "refs").mkdir()
    (cache / "models--a--b" / "refs" / "main").write_bytes(b"\xff../../..")
    assert [each for each in models.list_models() if each.source == "hub"] == []
    for name in (TINY, "hf:a/b"):
        with pytest.raises(ModelNotFound):
            models.find(name)
    assert models.pull(TINY).path.is_file()


def test_verify_finds_one_flipped_bit(hub: LyingHub) -> None:
    model = models.pull(TINY)
    checked = models.verify(TINY)
    assert [(each.size, each.recorded) for each in checked] == [(model.size, True)]
    assert models.show(TINY)["sha256"] == [checked[0].sha256]
    data = bytearray(model.path.read_bytes())
    data[-1] ^= 1
    model.path.resolve().write_bytes(data)
    with pytest.raises(DownloadCorrupt, match="is damaged") as corrupt:
        models.verify(TINY)
    assert corrupt.value.data["path"] == str(model.path)
    assert corrupt.value.remedy == f"pocketllama rm {TINY} && pocketllama pull {TINY}"
    models.remove(TINY)
    models.pull(TINY)
    assert models.verify(TINY) == checked


def test_verify_can_be_cancelled(hub: LyingHub) -> None:
    models.pull(TINY)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        models.verify(TINY, cancel=stop.is_set)


def test_without_symbolic_links_the_snapshot_holds_the_file(
    hub: LyingHub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    model = models.pull(TINY)
    assert not model.path.is_symlink() and not list((cache / "models--owner--tiny-GGUF" / "blobs").iterdir())
    assert models.pull(TINY).path == model.path
    assert not models.verify(TINY)[0].recorded
    where = {"repo_id": "owner/tiny-GGUF", "filename": model.path.name, "cache_dir": cache}
    assert huggingface_hub.try_to_load_from_cache(**where) == str(model.path)
    assert models.remove(TINY) == [model.path]
