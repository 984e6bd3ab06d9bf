"""`pocketllama bench`: what is measured, what the limits are of, and what is printed. No test is about a speed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pocketllama.bench import plot
from pocketllama.bench.plan import Case, plan
from pocketllama.bench.work import work_of
from pocketllama.errors import EngineError, UsageError

from ..bench import peers_report, workers
from ..e2e.processes import cli
from .library import Library


def test_the_tests_of_some_lists() -> None:
    names = [test.name for test in plan("512, 64", "128", "1,8", "4096")]
    assert names == ["pp512", "pp64", "tg128", "tg128@8", "pp512 d4096", "pp64 d4096", "tg128 d4096"]
    assert plan("0", "16", "3,3") == [Case("tg", 16, 3)]


@pytest.mark.parametrize("given", [("-1",), ("x",), ("1.5",), (str(1 << 21),), ("0", "0"), ("1", "1", "257"), ("²",)])
def test_what_is_no_list_of_numbers(given: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        plan(*given)


def test_the_work_of_a_token(tales: Path) -> None:
    work = work_of((tales,), kv_bytes=100)
    matrices = 6 * (256 * 256 * 2 + 256 * 128 * 2 + 256 * 768 * 3)  # q o, k v, gate up down
    assert (work.layer_macs, work.layer_bytes) == (matrices, matrices // 32 * 34)
    assert (work.head_macs, work.head_bytes) == (256 * 4096, 256 * 4096 // 32 * 34)
    assert work.macs(Case("pp", 10)) == 10 * work.layer_macs + work.head_macs
    assert work.macs(Case("tg", 10, 8)) == 80 * (work.layer_macs + work.head_macs)
    # Eight texts share the weights, and each has its cache.
    weights = 10 * (work.layer_bytes + work.head_bytes)
    assert work.bytes_read(Case("tg", 10, 8, 50)) == weights + 10 * 8 * 100 * 55


def test_one_object_with_every_figure(library: Library) -> None:
    done = cli("bench", *"-p 8 -n 2 -b 1,2 -d 4 -r 2 -t 1 --json".split(), POCKETLLAMA_LIB=str(library.path))
    assert done.returncode == 0 and done.stderr == "", done.stderr
    figures = json.loads(done.stdout)
    results = {r["test"]: r for r in figures["results"]}
    assert list(results) == ["pp8", "tg2", "tg2@2", "pp8 d4", "tg2 d4"]
    for result in results.values():
        assert result["tokens_per_second"] > 0 and len(result["runs"]) == 2 and result["int8_share"] > 0
        assert (result["bandwidth_share"] is None) == (result["kind"] == "pp")
    for key in ("bandwidth_bytes_per_second", "int8_macs_per_second", "load_seconds", "peak_rss_bytes"):
        assert figures[key] > 0, key
    assert figures["first_token_seconds"] > figures["load_seconds"]
    assert figures["machine"]["threads"] == 1 and figures["library"]["isa"] == library.isa


def test_a_table(library: Library) -> None:
    done = cli("bench", *"-p 8 -n 2 -b 1 -r 1".split(), POCKETLLAMA_LIB=str(library.path))
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith("tales: llama, ")
    assert [line.split()[0] for line in lines[4:]] == ["test", "pp8", "tg2"]


def test_what_is_wrong_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for words in (["-r", "0"], ["-t", "0"], ["-p", "many"]):
        assert cli("bench", *words).returncode == UsageError.exit_code
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    with pytest.raises(EngineError) as info:
        plot.check(tmp_path / "out.png")
    assert "bench" in str(info.value.remedy)


def test_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError):
        plot.check(tmp_path / "out.txt")
    result = {"test": "pp8", "tokens_per_second": 5.0, "spread": 0.1, "bandwidth_share": None, "int8_share": 0.5}
    figures = {
        "version": "0",
        "model": {"name": "tales"},
        "machine": {"cpu": "a processor", "threads": 2},
        "bandwidth_bytes_per_second": 1e9,
        "int8_macs_per_second": 1e9,
        "results": [result],
    }
    plot.check(tmp_path / "out.png")
    plot.draw(figures, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_worker_does_as_it_is_told(library: Library, tales: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))
    with workers.ours() as worker:
        assert worker.ask("about")["features"] == library.isa
        assert worker.ask("load", model=str(tales), cases=[["pp", 8], ["tg", 2, 2], ["tg", 2, 1, 4]], threads=1) == [""]
        for case in (["pp", 8], ["tg", 2, 2], ["tg", 2, 1, 4]):
            assert worker.ask("run", variant="", case=case) > 0
        started = worker.start(tales, 1)
    assert 0 < started["load"] < started["load_to_first"] < started["process_to_first"]


def test_the_table_beside_a_peer() -> None:
    test = {"test": "pp8", "ours": 3.0, "peer": 2.0, "peer_variant": "flash", "ratio": 1.5, "ratios": [1.4, 1.6]}
    test |= {"bandwidth_share": None, "int8_share": 0.25}
    start = {"load": 0.1, "load_to_first": 0.5, "process_to_first": 1.0, "peak_rss": 3e6}
    file = {"file": "m.gguf", "bandwidth": 2e9, "int8": 3e9, "tests": [test]}
    file["start"] = {"ours": start, "llama.cpp": {key: 2 * value for key, value in start.items()}}
    sides = {"version": "x 1", "features": "CPU : SSE3 = 1 | AVX = 1 | AVX512_VNNI = 1 | "}
    found = {"date": "2026-01-01", "cpu": "a processor", "threads": 2, "rounds": 2, "ours": sides, "peer": sides}
    lines = peers_report.markdown({**found, "files": [file, file]}).splitlines()
    assert "x 1 (AVX AVX512_VNNI)." in lines[1]
    assert "| prompt of 8 | **1.50** (3) | **1.50** (3) |" in lines
    assert "| process to first token, of llama.cpp's | **0.50** (1.00 s) | **0.50** (1.00 s) |" in lines
    assert "| pp8 | 3.0 | 2.0 (flash) | **1.50** | 1.40, 1.60 |  | 25% |" in lines
    assert "| load to first token, s | 0.50 | 1.00 | 0.50 | | | |" in lines
