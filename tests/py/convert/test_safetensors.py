"""safetensors files, right and wrong, and folders of several."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hf_folders import folder, safetensors
from tests.native.cases import CASES
from torchfiles import checkpoint

from pocketllama import gguf
from pocketllama.convert import convert
from pocketllama.convert.safetensors import SafeTensors
from pocketllama.convert.tensor import whole
from pocketllama.errors import ModelInvalid, ModelNotFound, UnsafeFile

CASE = CASES["llama"]
CONFIG = CASE.config | {"model_type": "llama"}
A = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.float64])
def test_reads_what_was_written(kind: type, path: Path) -> None:
    path.write_bytes(safetensors({"a": A.astype(kind), "b": A[0].astype(kind)}))
    with SafeTensors(path) as f:
        assert np.array_equal(whole(f.tensors["a"]), A) and np.array_equal(whole(f.tensors["b"]), A[0])
        assert np.array_equal(f.tensors["a"].read(1, 2), A[1:2])


def test_bfloat16(path: Path) -> None:
    path.write_bytes(safetensors({"a": (A.view(np.uint32) >> 16).astype(np.uint16)}))
    with SafeTensors(path) as f:
        assert np.array_equal(whole(f.tensors["a"]), A)


def test_integers_are_no_weights(path: Path) -> None:
    path.write_bytes(safetensors({"a": np.arange(4)}))
    with SafeTensors(path) as f, pytest.raises(ModelInvalid, match="holds i64, not floats"):
        whole(f.tensors["a"])


def entry(dtype: Any = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_ENTRIES: dict[str, Any] = {
    "a type that is none": entry("F31"),
    "no type": {"shape": [4], "data_offsets": [0, 16]},
    "a shape that is none": entry() | {"shape": 4},
    "a negative dimension": entry(shape=[-4]),
    "a dimension that is no number": entry(shape=["4"]),
    "a dimension that is true": entry(shape=[True], offsets=(0, 4)),
    "2^50 elements": entry(shape=[2**25, 2**25], offsets=(0, 2**52)),
    "nine dimensions": entry(shape=[1] * 8 + [4]),
    "three offsets": entry(offsets=(0, 16, 32)),
    "an end before the beginning": entry(offsets=(16, 0)),
    "more bytes than elements": entry(offsets=(0, 20)),
    "beyond the end": entry(offsets=(40, 56)),
    "another's bytes": entry(offsets=(8, 24)),
    "a text": "F32",
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_bad_entries(name: str, path: Path) -> None:
    path.write_bytes(safetensors({"a": A}, bad=BAD_ENTRIES[name]))
    with pytest.raises(ModelInvalid, match="is damaged"):
        SafeTensors(path)


def header(text: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(64)


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "seven bytes": (bytes(7), "it has 7 bytes"),
    "a table beyond the end": (header(b"{}", 1000), "its table would have 1000 bytes"),
    "a table of 2^63": (header(b"{}", 2**63), "its table would have"),
    "no JSON": (header(b"{"), "no JSON object"),
    "a list": (header(b"[]"), "no JSON object"),
    "a deep one": (header(b"[" * 100_000), "no JSON object"),
    "no UTF-8": (header(b'{"\xff": 1}'), "no JSON object"),
    "a name twice": (header(json.dumps({"a": entry()})[:-1].encode() + b', "a": 1}'), "has a name twice"),
    "git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "pointer of git-lfs"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, path: Path) -> None:
    data, words = BAD_FILES[name]
    path.write_bytes(data)
    with pytest.raises(ModelInvalid, match=words):
        SafeTensors(path)


def test_every_cut_is_refused(path: Path) -> None:
    data = safetensors({"a": A, "b": A})
    for n in range(len(data)):
        path.write_bytes(data[:n])
        with pytest.raises(ModelInvalid):
            SafeTensors(path)


# ---- several files


def sharded(path: Path, kind: str = "safetensors") -> Path:
    """The case's weights in three files and an index."""
    source = folder(path, CONFIG, {})
    (source / "model.safetensors").unlink()
    weights, table = list(CASE.weights().items()), {}
    stem = "model" if kind == "safetensors" else "pytorch_model"
    for i in range(3):
        some = dict(weights[i::3])
        name = f"{stem}-{i + 1:05}-of-00003.{kind}"
        data = safetensors(some) if kind == "safetensors" else checkpoint(some, "FloatStorage")
        (source / name).write_bytes(data)
        table |= dict.fromkeys(some, name)
    (source / f"{stem}.{kind}.index.json").write_text(json.dumps({"weight_map": table}))
    return source


def tensors(path: Path) -> list[bytes]:
    with gguf.read(path) as f:
        return [bytes(f.tensor_bytes(t)) for t in f.tensors]


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_files_with_an_index(kind: str, tmp_path: Path) -> None:
    one = convert(folder(tmp_path / "one", CONFIG, CASE.weights()), tmp_path)
    assert tensors(convert(sharded(tmp_path / "three", kind), tmp_path)) == tensors(one)


def test_files_whose_index_is_not_there(tmp_path: Path) -> None:
    source = sharded(tmp_path / "m")
    with_index = tensors(convert(source, tmp_path))
    (source / "model.safetensors.index.json").unlink()
    assert tensors(convert(source, tmp_path)) == with_index
    (source / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"Of 3 files .* 2 are there"):
        convert(source, tmp_path)


def test_safetensors_are_taken_before_a_pickle(tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    (source / "pytorch_model.bin").write_bytes(b"a program")
    convert(source, tmp_path)


def test_a_pickle_that_runs_something(tmp_path: Path) -> None:
    from torchfiles import with_pickle

    source = folder(tmp_path / "m", CONFIG, CASE.weights())
    (source / "model.safetensors").unlink()
    with_pickle(source / "pytorch_model.bin", b"\x80\x02cos\nsystem\n(X\x09\x00\x00\x00touch rantR.")
    with pytest.raises(UnsafeFile, match=r"os\.system"):
        convert(source, tmp_path / "o.gguf")
    assert not (tmp_path / "o.gguf").exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a\\b", "c:x", "sub/x"])
def test_an_index_that_leaves_its_folder(name: str, tmp_path: Path) -> None:
    source = sharded(tmp_path / "m")
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UnsafeFile, match="outside of its folder"):
        convert(source, tmp_path)


@pytest.mark.parametrize("table", [None, [], {}, {"a": 1}, {"a": None}])
def test_an_index_that_is_none(table: Any, tmp_path: Path) -> None:
    source = sharded(tmp_path / "m")
    (source / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    with pytest.raises(ModelInvalid, match="no weight_map"):
        convert(source, tmp_path)


def test_an_index_and_files_that_do_not_go_together(tmp_path: Path) -> None:
    source = sharded(tmp_path / "m")
    index = source / "model.safetensors.index.json"
    table = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": table | {"more": "model-00001-of-00003.safetensors"}}))
    with pytest.raises(ModelInvalid, match="no tensor 'more', which the index says"):
        convert(source, tmp_path)
    index.write_text(json.dumps({"weight_map": table | {"more": "model-00004-of-00003.safetensors"}}))
    with pytest.raises(ModelNotFound, match="no model-00004-of-00003"):
        convert(source, tmp_path)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    source = folder(tmp_path / "m", CONFIG, {})
    (source / "model.safetensors").unlink()
    with pytest.raises(ModelNotFound, match=r"no model\.safetensors or pytorch_model\.bin"):
        convert(source, tmp_path)
