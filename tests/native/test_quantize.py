"""`quantize` from a file to a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pocketllama import LLM, errors, gguf
from pocketllama.cli import execute
from pocketllama.gguf import GGMLType
from pocketllama.quantize import importance, parse_rule, quantize
from pocketllama.quantize.importance import Importance, Sums

from ..py.native.quant_reference import dequantize
from .cases import CASES
from .library import Library
from .models import write


@pytest.fixture(autouse=True)
def own_library(library: Library, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))


def floats(file: gguf.GGUF, name: str) -> Any:
    tensor = next(t for t in file.tensors if t.name == name)
    return dequantize(tensor.type.name, bytes(file.tensor_bytes(tensor)))


def test_a_model_in_fewer_bits(tmp_path: Path, tales: Path) -> None:
    out = tmp_path / "small.gguf"
    seen: list[tuple[str, int, int]] = []
    result = quantize(tales, out, "q4_k_m", progress=lambda *event: seen.append(event))
    assert result.bytes == out.stat().st_size < 0.6 * tales.stat().st_size
    assert seen[-1][1] == seen[-1][2] and len({name for name, _, _ in seen}) == len(result.choices)
    with gguf.read(tales) as before, gguf.read(out) as after:
        changed = {"general.file_type": 15, "general.quantization_version": 2}
        assert dict(after.metadata) == dict(before.metadata) | changed
        assert [t.name for t in after.tensors] == [t.name for t in before.tensors]
        assert {t.name: t.type for t in after.tensors} == {c.tensor.name: c.type for c in result.choices}
        for name in ("blk.0.ffn_up.weight", "output.weight"):
            x, y = floats(before, name), floats(after, name)
            assert np.sqrt(((x - y) ** 2).mean() / (x**2).mean()) < 0.08
    with LLM(str(out)) as llm:
        assert llm.complete("Once upon a time", max_tokens=8, temperature=0).text().startswith(" there lived a")
    # The same bytes whoever makes them, however many do.
    assert quantize(tales, tmp_path / "again.gguf", "Q4_K_M", threads=3).bytes == result.bytes
    assert (tmp_path / "again.gguf").read_bytes() == out.read_bytes()


def test_the_gguf_package_reads_what_is_written(tmp_path: Path, tales: Path) -> None:
    package = pytest.importorskip("gguf")
    for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_1", "IQ4_XS"):
        out = quantize(tales, tmp_path / f"{name}.gguf", name).path
        theirs = package.GGUFReader(out)
        with gguf.read(out) as ours:
            assert [t.name for t in theirs.tensors] == [t.name for t in ours.tensors]
            for tensor in theirs.tensors:
                values = package.dequantize(tensor.data, tensor.tensor_type).reshape(-1)
                np.testing.assert_array_equal(values, floats(ours, tensor.name))


def test_experts_have_an_importance_each(tmp_path: Path) -> None:
    source = CASES["mixtral"].write(tmp_path / "mixtral.gguf")
    with gguf.read(source) as file:
        tensor = next(t for t in file.tensors if t.name == "blk.0.ffn_down_exps.weight")
        cols, _, experts = tensor.shape
    random = np.random.RandomState(0)
    squares = np.exp(2 * random.standard_normal((experts, cols))).astype(np.float32)
    counts = array("f", [10.0] * (experts - 1) + [0.0])  # the last one was never used
    path = tmp_path / "imatrix.gguf"
    importance.write(
        path, Importance("x", {tensor.name: Sums(array("f", squares.reshape(-1)), counts)}, 3, 64, ["a", "b"])
    )
    plain, weighed = (tmp_path / name for name in ("plain.gguf", "weighed.gguf"))
    quantize(source, plain, "IQ4_NL", pure=True)
    result = quantize(source, weighed, "IQ4_NL", pure=True, importance=path)
    assert tensor.name not in result.without_importance and "blk.0.attn_q.weight" in result.without_importance
    with gguf.read(source) as a, gguf.read(plain) as b, gguf.read(weighed) as c:
        assert c.metadata["quantize.imatrix.entries_count"] == 1 and c.metadata["quantize.imatrix.dataset"] == "a, b"
        x, p, w = (floats(file, tensor.name).reshape(experts, -1, cols) for file in (a, b, c))
    errors_of = [(((x - y) ** 2) * squares[:, None, :]).sum(axis=(1, 2)) for y in (p, w)]
    assert (errors_of[1][:-1] < errors_of[0][:-1]).all()
    np.testing.assert_array_equal(p[-1], w[-1])


def test_what_is_refused(tmp_path: Path, tales: Path) -> None:
    small, text = tmp_path / "small.gguf", tmp_path / "text"
    text.write_text("mine")
    quantize(tales, small, "Q4_0")
    kept = small.read_bytes()
    with pytest.raises(errors.UsageError, match="quantized already") as refused:
        quantize(small, tmp_path / "x.gguf", "Q2_K")
    assert refused.value.remedy and "--again" in refused.value.remedy
    quantize(small, tmp_path / "x.gguf", "Q2_K", again=True)
    for out, message in ((small, "the source itself"), (text, "not overwritten"), (tmp_path / "no" / "x", "no folder")):
        with pytest.raises(errors.PocketllamaError, match=message):
            quantize(small, out, "Q2_K", again=True)
    with pytest.raises(errors.UsageError, match="No matrix"):
        quantize(tales, tmp_path / "y.gguf", "Q2_K", rules=[parse_rule("blk.77=q8_0")])
    with pytest.raises(errors.ModelInvalid, match="no importance matrix"):
        quantize(tales, tmp_path / "y.gguf", "Q2_K", importance=tales)
    other = tmp_path / "im.gguf"
    for name in ("blk.0.attn_out.weight", "blk.0.ffn_down.weight"):  # of another architecture, of another width
        importance.write(other, Importance("", {name: Sums(array("f", [1.0]), array("f", [1.0]))}))
        with pytest.raises(errors.ModelInvalid, match=r"im\.gguf is of another model"):
            quantize(tales, tmp_path / "y.gguf", "Q2_K", importance=other)
    assert small.read_bytes() == kept and text.read_text() == "mine"


def test_numbers_that_are_none_leave_nothing(tmp_path: Path) -> None:
    case = CASES["llama"]
    tensors = case.tensors()
    tensors["blk.1.ffn_up.weight"][3, 5] = np.nan
    source = write(tmp_path / "nan.gguf", case.arch, case.metadata, tensors)
    with pytest.raises(errors.ModelInvalid, match=r"blk\.1\.ffn_up\.weight cannot become .* NaN or infinity"):
        quantize(source, tmp_path / "out.gguf", "Q8_0")
    assert [p.name for p in tmp_path.iterdir()] == ["nan.gguf"]


def test_the_command(tmp_path: Path, tales: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.gguf"
    execute(["quantize", "tales", str(out), "Q4_K_S", "--tensor-type", "attn_v=q8_0", "--dry-run"])
    assert not out.exists() and "would take" in capfd.readouterr().out
    execute(["quantize", str(tales), str(out), "Q4_K_S", "--tensor-type", "attn_v=q8_0", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert told["bytes"] == out.stat().st_size and told["tensors"]["blk.3.attn_v.weight"] == "Q8_0"
    assert told["fallbacks"] == {}
    with gguf.read(out) as file:
        assert next(t.type for t in file.tensors if t.name == "blk.3.attn_v.weight") == GGMLType.Q8_0


def test_a_checkpoints_folder_is_sent_to_convert(tmp_path: Path) -> None:
    with pytest.raises(errors.UsageError, match="is a folder") as e:
        execute(["quantize", str(tmp_path), "out.gguf", "Q4_0"])
    assert f"pocketllama convert {tmp_path} -o out.gguf --type Q4_0" in str(e.value.remedy)


def test_fallbacks_are_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    execute(["quantize", str(CASES["llama"].write(tmp_path / "in.gguf")), str(tmp_path / "out.gguf"), "Q4_K_M"])
    assert "Q5_0 for Q4_K, whose blocks do not divide rows of" in (told := capfd.readouterr().out)
    assert max(map(len, told.splitlines()[1:])) <= 80  # the first begins with a path


def test_terminated_it_leaves_nothing(tmp_path: Path, tales: Path, library: Library) -> None:
    program = (
        "import os, signal, sys\n"
        "from pocketllama.cli import execute\n"
        "from pocketllama.engine import requantize\n"
        "requantize.Requantizer.__call__ = lambda *a: os.kill(os.getpid(), signal.SIGTERM)\n"
        "execute(['quantize', sys.argv[1], sys.argv[2], 'Q4_K_M'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tales), str(tmp_path / "out.gguf")])
    assert done.returncode == 128 + signal.SIGTERM and not list(tmp_path.iterdir())
