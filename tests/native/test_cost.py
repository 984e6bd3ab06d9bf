"""Perplexity, divergence, importance: against NumPy, from the same model's logits."""

from __future__ import annotations

import json
import struct
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketllama import LLM, errors, gguf
from pocketllama.cli import execute
from pocketllama.cost import compare as comparison
from pocketllama.cost.imatrix import imatrix
from pocketllama.cost.perplexity import perplexity
from pocketllama.cost.windows import cut
from pocketllama.quantize import importance, quantize

from ..py.native.quant_reference import dequantize
from .library import Library

TEXT = (
    "Once upon a time there was a king who had three daughters, and the youngest of them was so beautiful that the "
    "sun itself was astonished whenever it shone upon her face. By the castle lay a great dark forest, and under an "
    "old lime tree was a well; and when the day was warm the king's child went out into the wood and sat by the cool "
    "fountain. "
) * 3


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


def log_probabilities(llm: LLM, tokens: list[int]) -> Any:
    logits = np.asarray(llm.score(tokens), np.float64)
    top = logits.max(axis=1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


@pytest.mark.parametrize("stride", [None, 24])
def test_against_numpy(tmp_path: Path, tales: Path, stride: int | None) -> None:
    small = quantize(tales, tmp_path / "small.gguf", "Q3_K_S").path
    kept = tmp_path / "base.logits"
    base = perplexity(tales, TEXT, n_ctx=64, stride=stride, save_base=kept)
    found = perplexity(small, TEXT, n_ctx=64, stride=stride, base=kept)
    losses: list[list[float]] = [[], []]
    kl: list[float] = []
    same: list[bool] = []
    with LLM(str(tales)) as one, LLM(str(small)) as other:
        for window in cut(one.encode(TEXT), 64, stride, 1):
            p, q = (log_probabilities(llm, window.tokens)[window.first : -1] for llm in (one, other))
            rows = np.arange(len(window.scored))
            losses[0] += (-p[rows, window.scored]).tolist()
            losses[1] += (-q[rows, window.scored]).tolist()
            kl += (np.exp(p) * (p - q)).sum(axis=1).tolist()
            same += (p.argmax(axis=1) == q.argmax(axis=1)).tolist()
    n = len(losses[0])
    assert base["scored"] == found["scored"] == n
    for figures, expected in ((base, losses[0]), (found, losses[1])):
        assert figures["perplexity"] == pytest.approx(np.exp(np.mean(expected)), rel=1e-5)
        error = figures["perplexity"] * np.std(expected, ddof=1) / n**0.5
        assert figures["standard_error"] == pytest.approx(error, rel=1e-4)
    divergence = found["divergence"]
    assert divergence["mean"] == pytest.approx(np.mean(kl), rel=1e-3) and divergence["mean"] > 0.01
    assert divergence["quantiles"]["0.9"] == pytest.approx(np.quantile(kl, 0.9, method="inverted_cdf"), rel=1e-2)
    assert divergence["same_top"] == np.mean(same) < 1
    ratio = np.exp(np.mean(losses[1]) - np.mean(losses[0]))
    assert divergence["perplexity_ratio"] == pytest.approx(ratio, rel=1e-4)


def test_a_model_is_no_distance_from_itself(tmp_path: Path, tales: Path) -> None:
    kept = tmp_path / "base.logits"
    perplexity(tales, TEXT, n_ctx=32, save_base=kept)
    d = perplexity(tales, TEXT, n_ctx=32, base=kept)["divergence"]
    assert d["mean"] < 1e-6 and d["same_top"] == 1 and d["perplexity_ratio"] == pytest.approx(1, abs=1e-4)


def test_bases_of_something_else(tmp_path: Path, tales: Path) -> None:
    kept = tmp_path / "base.logits"
    perplexity(tales, TEXT, n_ctx=32, limit=2, save_base=kept)
    assert perplexity(tales, TEXT, n_ctx=32, base=kept)["windows"] == 2
    for words, options in ((TEXT + "!", {"n_ctx": 32}), (TEXT, {"n_ctx": 64}), (TEXT, {"n_ctx": 32, "stride": 8})):
        with pytest.raises(errors.UsageError, match="are of another"):
            perplexity(tales, words, base=kept, **options)
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1])
    with pytest.raises(errors.ModelInvalid, match="cut short"):
        perplexity(tales, TEXT, n_ctx=32, base=kept)
    kept.write_bytes(whole.partition(b"\n")[0] + b"\n" + b"\xff" * (len(whole)))
    with pytest.raises(errors.UsageError, match="damaged"):
        perplexity(tales, TEXT, n_ctx=32, base=kept)
    kept.write_text("{}")
    with pytest.raises(errors.ModelInvalid, match="holds no logits"):
        perplexity(tales, TEXT, n_ctx=32, base=kept)
    assert [p.name for p in tmp_path.iterdir()] == ["base.logits"]


def test_logits_replace_logits_alone(tmp_path: Path, tales: Path) -> None:
    kept = tmp_path / "base.logits"
    for _ in range(2):
        perplexity(tales, TEXT, n_ctx=32, limit=2, save_base=kept)
    model = tmp_path / "model.gguf"
    model.write_bytes(b"GGUF and what belongs to it")
    with pytest.raises(errors.UsageError, match="not overwritten"):
        perplexity(tales, TEXT, n_ctx=32, limit=2, save_base=model)
    assert model.read_bytes() == b"GGUF and what belongs to it"
    with pytest.raises(errors.UsageError, match="is a folder"):
        perplexity(tales, TEXT, n_ctx=32, limit=2, save_base=tmp_path)


def test_contexts_longer_than_the_model_was_trained_with(
    tmp_path: Path, text: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    long = tmp_path / "long.txt"
    long.write_text(TEXT * 4)
    said = "trained on contexts of 512 tokens"
    for n, expected in ((512, False), (513, True)):
        for words in (["perplexity"], ["imatrix", "-o", str(tmp_path / "i.gguf")]):
            execute([*words, "-f", str(long), "-c", str(n), "--contexts", "1"])
            assert (said in capfd.readouterr().out) is expected


def test_places_that_are_not_there_are_named_before_the_work(tmp_path: Path, text: Path) -> None:
    words = ["compare-quants", "tales", "-f", str(text), "-c", "32", "--quality-only"]
    for option in ("--markdown", "--temp"):
        with pytest.raises(errors.StorageError, match="There is no folder"):
            execute([*words, option, str(tmp_path / "no" / "place")])
    with pytest.raises(errors.UsageError, match="is a folder"):
        execute([*words, "--markdown", str(tmp_path)])


def test_an_importance_matrix(tmp_path: Path, tales: Path) -> None:
    out = tmp_path / "i.gguf"
    made = imatrix((tales,), TEXT, out, n_ctx=32, limit=4, dataset="a text")
    assert importance.read(out) == made
    with gguf.read(tales) as file:
        tensors = {t.name: t for t in file.tensors}
        matrices = {n for n, t in tensors.items() if len(t.shape) > 1} - {"token_embd.weight", "output.weight"}
        assert set(made.sums) == matrices
        table, norm = (
            dequantize(tensors[name].type.name, bytes(file.tensor_bytes(tensors[name])))
            for name in ("token_embd.weight", "blk.0.attn_norm.weight")
        )
        eps = file.metadata["llama.attention.layer_norm_rms_epsilon"]
    # What the first layer's queries are made of: normalized embeddings.
    with LLM(str(tales)) as llm:
        tokens = [t for window in cut(llm.encode(TEXT), 32, None, 1)[:4] for t in window.tokens]
    x = table.reshape(-1, len(norm))[tokens].astype(np.float64)
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + eps) * norm
    for name in ("blk.0.attn_q.weight", "blk.0.attn_v.weight"):
        assert made.sums[name].counts == array("f", [len(tokens)])
        np.testing.assert_allclose(np.array(made.sums[name].squares), (x**2).sum(axis=0), rtol=1e-3)


def test_the_commands(
    tmp_path: Path, text: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    execute(["perplexity", "-f", str(text), "-c", "32", "--contexts", "2", "--kl-base", "b"])
    assert capfd.readouterr().out.startswith("perplexity  ")
    execute(["perplexity", "-f", str(text), "-c", "32", "--contexts", "2", "--kl", "b", "--json"])
    assert json.loads(capfd.readouterr().out)["divergence"]["same_top"] == 1
    execute(["perplexity", "-f", str(text), "-c", "32", "--contexts", "2", "--kl", "b"])
    told = capfd.readouterr().out
    assert "quantiles   0.5 " in told and max(map(len, told.splitlines())) <= 80
    execute(["imatrix", "-f", str(text), "-c", "32", "--contexts", "2", "-o", "i.gguf"])
    assert "42 matrices, 2 contexts of 32 tokens" in capfd.readouterr().out
    execute(["compare-quants", "tales", "-f", str(text), "-c", "32", "--contexts", "4", "--types", "Q6_K,Q2_K",
             "--imatrix", "i.gguf", "--quality-only", "--markdown", "t.md", "--json", "--temp", "."])  # fmt: skip
    told = json.loads(capfd.readouterr().out)
    six, two = told["types"]
    assert (six["type"], two["type"]) == ("Q6_K", "Q2_K") and told["base"]["type"] == "Q8_0"
    assert six["divergence"]["mean"] < two["divergence"]["mean"] and six["bytes"] > two["bytes"]
    table = (tmp_path / "t.md").read_text().splitlines()
    assert table[0].startswith("| type | size |") and table[3].startswith("| Q6_K | ") and "prefill" not in table[0]
    assert comparison.render(told).splitlines()[1].startswith("Q8_0 ")
    for row in (told["base"], *told["types"]):
        row.update(prefill_tokens_per_second=12832.1, decode_tokens_per_second=2997.4, peak_rss_bytes=38_000_000)
    shown = comparison.render(told).splitlines()
    assert "12832" in shown[1] and max(map(len, shown)) <= 80
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b", "i.gguf", "t.md"]
    for words in (
        ["perplexity"],
        ["perplexity", "-f", "none"],
        ["compare-quants", "tales", "-f", str(text), "--types", "Q9"],
    ):
        with pytest.raises(errors.UsageError):
            execute(words)


@pytest.mark.parametrize("speed", [False, True])
def test_the_picture(tmp_path: Path, tales: Path, speed: bool) -> None:
    pytest.importorskip("matplotlib")
    from pocketllama.cost import plot

    figures = comparison.compare(
        "tales", TEXT, types=["Q6_K", "Q2_K"], n_ctx=32, limit=2, speed=speed, repeats=1, threads=1
    )
    plot.draw(figures, tmp_path / "out.png")
    png = (tmp_path / "out.png").read_bytes()
    assert png.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", png[16:24])
    assert width / height > 1.5 if speed else width / height < 1.5  # with the panels of speed, or without


def test_names_of_neighbours_lie_on_nothing() -> None:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    from pocketllama.cost import plot

    figure = Figure(figsize=(6, 5))
    axis = figure.add_subplot()
    points = [(4.0, 1.5), (4.15, 1.52), (4.3, 1.6), (7.4, 0.1)]
    axis.plot(*zip(*points, strict=True), "o")
    figure.draw_without_rendering()
    plot.name_points(axis, points, ["IQ4_XS", "Q4_K_S", "Q4_K_M", "Q8_0"])
    names = [text.get_window_extent() for text in axis.texts]
    assert len(names) == 4
    for i, name in enumerate(names):
        assert not any(name.overlaps(other) for other in names[:i])
        assert not any(name.contains(*at) for at in axis.transData.transform(points))
