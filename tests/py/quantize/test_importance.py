"""Files of importance: ours, llama.cpp's of today and of before, and what is none."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path
from typing import Any

import pytest

from pocketllama import errors, gguf
from pocketllama.gguf import ArrayOf, GGMLType, TensorSpec, ValueType
from pocketllama.quantize import importance
from pocketllama.quantize.importance import Importance, Sums


def floats(*numbers: float) -> array[float]:
    return array("f", numbers)


def write_gguf(path: Path, tensors: dict[str, tuple[tuple[int, ...], array[float]]], kind: str = "imatrix") -> Path:
    """As llama-imatrix writes it."""
    metadata: dict[str, tuple[Any, Any]] = {
        "general.type": (ValueType.STRING, kind),
        "imatrix.datasets": (ArrayOf(ValueType.STRING), ["wiki.txt"]),
        "imatrix.chunk_count": (ValueType.UINT32, 5),
        "imatrix.chunk_size": (ValueType.UINT32, 512),
    }
    specs = [TensorSpec(name, shape, GGMLType.F32) for name, (shape, _) in tensors.items()]
    with gguf.Writer(path, metadata, specs) as out:
        for _, numbers in tensors.values():
            out.write(numbers.tobytes())
    return path


def old(*entries: tuple[bytes, int, list[float]], end: bytes = b"") -> bytes:
    data = struct.pack("<i", len(entries))
    for name, calls, values in entries:
        data += struct.pack(f"<i{len(name)}sii{len(values)}f", len(name), name, calls, len(values), *values)
    return data + end


def test_what_is_written_is_read(tmp_path: Path) -> None:
    sums = {"a.weight": Sums(floats(4, 8), floats(2)), "b.weight": Sums(floats(1, 2, 3, 4, 5, 6), floats(1, 0, 2))}
    known = Importance("x.gguf", sums, 7, 512, ("text.txt",))
    importance.write(tmp_path / "x.gguf", known)
    assert importance.read(tmp_path / "x.gguf") == known
    assert known.of("a.weight", 0, 1, 2) == floats(2, 4) and known.of("c.weight", 0, 1, 2) is None
    assert known.of("b.weight", 2, 3, 2) == floats(2.5, 3) and known.of("b.weight", 1, 3, 2) is None
    for shape in ((1, 3), (2, 2)):
        with pytest.raises(errors.ModelInvalid, match="another model"):
            known.of("a.weight", 0, *shape)
    with gguf.read(tmp_path / "x.gguf") as file:  # the layout, as others look for it
        assert [(t.name, t.shape) for t in file.tensors] == [
            ("a.weight.in_sum2", (2, 1)),
            ("a.weight.counts", (1, 1)),
            ("b.weight.in_sum2", (2, 3)),
            ("b.weight.counts", (1, 3)),
        ]
        assert dict(file.metadata) == {
            "general.type": "imatrix",
            "imatrix.datasets": ["text.txt"],
            "imatrix.chunk_count": 7,
            "imatrix.chunk_size": 512,
        }


def test_one_count_for_all_matrices_of_a_tensor(tmp_path: Path) -> None:
    tensors = {"k.weight.in_sum2": ((6, 1), floats(2, 4, 6, 8, 10, 12)), "k.weight.counts": ((1, 1), floats(2))}
    found = importance.read(write_gguf(tmp_path / "x.gguf", tensors))
    assert [found.of("k.weight", i, 3, 2) for i in range(3)] == [floats(1, 2), floats(3, 4), floats(5, 6)]
    assert (found.chunks, found.chunk_size, found.datasets) == (5, 512, ("wiki.txt",))


def test_older_files(tmp_path: Path) -> None:
    path, name = tmp_path / "old.dat", b"blk.0.attn_q.weight"
    whole = old((name, 4, [8, 16]), (b"blk.0.ffn_down_exps.weight", 2, [2, 4, 6, 8]), (b"x.weight", 0, [3]))
    for end, chunks, datasets in ((b"", 0, ()), (struct.pack("<ii3s", 4, 3, b"abc"), 4, ("abc",))):
        path.write_bytes(whole + end)
        found = importance.read(path)
        assert found.of(name.decode(), 0, 1, 2) == floats(2, 4)
        assert found.of("blk.0.ffn_down_exps.weight", 1, 2, 2) == floats(3, 4)
        assert found.of("x.weight", 0, 1, 1) == floats(3)
        assert (found.chunks, found.datasets) == (chunks, datasets)
    for n in range(len(whole)):
        path.write_bytes(whole[:n])
        with pytest.raises(errors.ModelInvalid):
            importance.read(path)


NAN, HUGE = float("nan"), 2**31 - 1


@pytest.mark.parametrize(
    "data",
    [
        old((b"a", 1, [NAN])),
        old((b"a", 1, [float("inf"), float("-inf")])),
        old((b"a", 1, [1.0, -1.0])),
        old((b"a", 1, [])),
        old((b"a", -1, [1.0])),
        old(),
        struct.pack("<i", -1),
        struct.pack("<i", HUGE),
        struct.pack("<ii", 1, HUGE),
        struct.pack("<iiciii", 1, 1, b"a", 1, HUGE, 0),
        struct.pack("<iiciii", 1, 1, b"a", 1, 1 << 28, 0),
        old((b"a", 1, [1.0]), end=b"\1"),
        old((b"a", 1, [1.0]), end=struct.pack("<ii", 1, HUGE)),
        b"\x80\x04\x95",  # a pickle
    ],
)
def test_older_files_that_are_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.dat").write_bytes(data)
    with pytest.raises(errors.ModelInvalid, match=r"x\.dat is"):
        importance.read(tmp_path / "x.dat")


@pytest.mark.parametrize(
    "tensors",
    [
        {"a.in_sum2": ((2, 1), floats(1, NAN)), "a.counts": ((1, 1), floats(1))},
        {"a.in_sum2": ((2, 1), floats(1, -2)), "a.counts": ((1, 1), floats(1))},
        {"a.in_sum2": ((2, 1), floats(1, 2)), "a.counts": ((1, 1), floats(NAN))},
        {"a.in_sum2": ((2, 1), floats(1, 2)), "a.counts": ((1, 1), floats(-1))},
        {"a.in_sum2": ((2, 1), floats(1, 2))},
        {"a.counts": ((1, 1), floats(1))},
        {"a.weight": ((2, 1), floats(1, 2))},
    ],
)
def test_files_of_today_that_are_none(tmp_path: Path, tensors: dict[str, tuple[tuple[int, ...], array[float]]]) -> None:
    with pytest.raises(errors.ModelInvalid, match=r"x\.gguf is"):
        importance.read(write_gguf(tmp_path / "x.gguf", tensors))


def test_what_is_no_importance_matrix(tmp_path: Path) -> None:
    tensors = {"a.in_sum2": ((2, 1), floats(1, 2)), "a.counts": ((1, 1), floats(1))}
    with pytest.raises(errors.ModelInvalid, match="is a model"):
        importance.read(write_gguf(tmp_path / "x.gguf", tensors, kind="model"))
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(errors.ModelNotFound):
            importance.read(path)
