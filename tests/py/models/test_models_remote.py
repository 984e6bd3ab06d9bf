"""What a model is, before it is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lying_hub import LyingHub, Repo, gguf_bytes

from pocketllama import gguf, models
from pocketllama._version import __version__
from pocketllama.cost.outlook import outlook
from pocketllama.engine import cpu, native, own
from pocketllama.errors import DownloadError, ModelInvalid, ModelNotFound, OfflineError
from pocketllama.models import remote
from pocketllama.paths import EMBEDDED, data_dir

TALES = (EMBEDDED / "tales.gguf").read_bytes()
NAME = "hf:owner/tales-GGUF:Q8_0"


@pytest.fixture
def tales(hub: LyingHub) -> LyingHub:
    hub.repos["owner/tales-GGUF"] = Repo({"tales-Q8_0.gguf": TALES, "tales-Q4_0.gguf": gguf_bytes(500, seed=1)})
    return hub


@pytest.mark.parametrize("first", [100, 4096, 1 << 20])
def test_the_header_is_enough(tales: LyingHub, cache: Path, monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    monkeypatch.setattr(remote, "_FIRST", first)
    with pytest.raises(ModelNotFound):
        models.show(NAME)
    there = models.show(NAME, remote=True)
    here = models.show("tales")
    own = ("name", "path", "files", "source", "licence", "revision", "sha256", "downloaded")
    assert {k: v for k, v in there.items() if k not in own} == {k: v for k, v in here.items() if k not in own}
    assert there["path"] is None and there["downloaded"] is False and there["licence"] == "apache-2.0"
    assert not list(cache.rglob("*.gguf")) and not list(cache.rglob("blobs/*"))
    with gguf.read(EMBEDDED / "tales.gguf") as file:
        assert file.data_offset < 4096 * 4**3  # so that not all of the file has come
    assert outlook(there, 128)["need"] == outlook(here, 128)["need"] > len(TALES)


def test_what_is_downloaded_is_looked_at_here(tales: LyingHub) -> None:
    models.pull(NAME)
    before = len(tales.seen)
    assert models.show(NAME, remote=True)["downloaded"] is True
    assert len(tales.seen) == before


def test_what_is_no_model(hub: LyingHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["owner/bad-GGUF"] = Repo({"bad-Q8_0.gguf": b"<html>" + bytes(5000), "cut-Q4_0.gguf": TALES[:20_000]})
    for name in ("hf:owner/bad-GGUF:Q8_0", "hf:owner/bad-GGUF:Q4_0"):
        with pytest.raises(ModelInvalid):
            models.show(name, remote=True)
    with pytest.raises((ModelNotFound, DownloadError)):
        models.show("hf:owner/none-GGUF", remote=True)
    monkeypatch.setenv("POCKETLLAMA_OFFLINE", "1")
    with pytest.raises(OfflineError):
        models.show("hf:owner/bad-GGUF:Q8_0", remote=True)


def test_what_to_expect(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = models.show("tales")
    assert facts["kv_bytes_per_token"] == 6 * 2 * 2 * 64 * 2  # layers, keys and values, heads, elements, bytes
    near, far = outlook(facts, 64), outlook(facts)
    assert (near["context_length"], far["context_length"]) == (64, 512)
    assert far["cache"] - near["cache"] == (512 - 64) * facts["kv_bytes_per_token"]
    # What an older way of measuring found is measured again; what this one found is not.
    place = data_dir() / "bandwidth.json"
    monkeypatch.setattr(native, "find", lambda: None)
    monkeypatch.setattr(native, "load", lambda library: None)
    monkeypatch.setattr(own, "bind", lambda library: None)
    monkeypatch.setattr(own, "probe", lambda library, what, threads: 43e9)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({f"{cpu.name()}, 2 threads, {version}": 29e9 for version in (__version__, "probe 1")}))
    assert outlook(facts, threads=2)["bandwidth_bytes_per_second"] == 43e9
    monkeypatch.setattr(own, "probe", lambda library, what, threads: 1e9)
    assert outlook(facts, threads=2)["bandwidth_bytes_per_second"] == 43e9
    for available, total, fits in ((10**12, 10**13, "yes"), (1, 10**12, "tight"), (1, 2, "no"), (None, None, None)):
        monkeypatch.setattr("pocketllama.cost.outlook.available_memory", lambda value=available: value)
        monkeypatch.setattr("pocketllama.cost.outlook.total_memory", lambda value=total: value)
        assert outlook(facts)["fits"] == fits
