from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketllama import gguf
from pocketllama.errors import StorageError, UsageError
from pocketllama.gguf import ArrayOf, GGMLType, TensorSpec, ValueType, Writer, early_sync
from pocketllama.gguf.types import STRUCT_CODES
from pocketllama.units import human_size

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "gguf"
METADATA: dict[str, Any] = {
    "general.architecture": (ValueType.STRING, "llama"),
    "tokens": (ArrayOf(ValueType.STRING), ["a", "é", ""]),
}
SPECS = [TensorSpec("a", (64, 3), GGMLType.Q8_0), TensorSpec("b", (5,), GGMLType.F32)]
DATA = [bytes(i % 256 for i in range(t.nbytes)) for t in SPECS]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def write(path: Path, data: list[bytes] | None = None) -> Writer:
    with Writer(path, METADATA, SPECS) as out:
        for piece in DATA if data is None else data:
            out.write(piece)
    return out


def test_a_written_file_reads_back(tmp_path: Path) -> None:
    out = write(tmp_path / "a.gguf")
    assert names(tmp_path) == ["a.gguf"]
    assert (tmp_path / "a.gguf").stat().st_size == out.nbytes
    with gguf.read(tmp_path / "a.gguf") as f:
        assert dict(f.metadata) == {"general.architecture": "llama", "tokens": ["a", "é", ""]}
        assert [TensorSpec(t.name, t.shape, t.type) for t in f.tensors] == SPECS
        assert [bytes(f.tensor_bytes(t)) for t in f.tensors] == DATA
        assert f.data_offset % 32 == 0


def test_a_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    write(tmp_path / "a.gguf")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "a.gguf").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_data_may_come_in_pieces_and_any_buffer(tmp_path: Path) -> None:
    with Writer(tmp_path / "a.gguf", METADATA, SPECS) as out:
        out.write(DATA[0][i : i + 7] for i in range(0, len(DATA[0]), 7))
        out.write(memoryview(struct.pack("<5f", *range(5))).cast("f"))
    with gguf.read(tmp_path / "a.gguf") as f:
        assert bytes(f.tensor_bytes(f.tensors[0])) == DATA[0]
        assert bytes(f.tensor_bytes(f.tensors[1])) == struct.pack("<5f", *range(5))


def test_memory_is_bounded(tmp_path: Path) -> None:
    spec = TensorSpec("w", (1024, 16 * 1024), GGMLType.F32)  # 64 MiB
    block = bytes(1 << 20)
    tracemalloc.start()
    with Writer(tmp_path / "a.gguf", {}, [spec]) as out:
        out.write(block for _ in range(64))
    assert tracemalloc.get_traced_memory()[1] < 2 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "data",
    [[], DATA[:1], [DATA[0][:-1], DATA[1]], [DATA[0] + b"x", DATA[1]], [*DATA, b""], [*DATA, DATA[1]]],
    ids=["none", "one", "short", "long", "one more, empty", "one more"],
)
def test_wrong_data_leaves_nothing(data: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write(tmp_path / "a.gguf", data)
    assert names(tmp_path) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, StorageError])
def test_an_interruption_leaves_what_was_there(stop: type[BaseException], tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"old")
    with pytest.raises(stop), Writer(tmp_path / "a.gguf", METADATA, SPECS) as out:
        out.write(DATA[0])
        raise stop("now")
    assert names(tmp_path) == ["a.gguf"]
    assert (tmp_path / "a.gguf").read_bytes() == b"old"


class FailingDisk:
    """Lets `good` calls of write, fsync, close and replace pass and fails the next with `code`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, good: int, code: int) -> None:
        self.left, self.code = good, code
        from pocketllama.gguf import writer

        disk = self

        class File(writer.FileIO):
            def write(self, data: Any) -> int:
                disk.step()
                return super().write(memoryview(data)[:100])  # a short write is no error

        fsync, replace = os.fsync, Path.replace
        monkeypatch.setattr(writer, "FileIO", File)
        monkeypatch.setattr(os, "fsync", lambda fd: (self.step(), fsync(fd))[1])
        monkeypatch.setattr(Path, "replace", lambda a, b: (self.step(), replace(a, b))[1])

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_fails_at_any_step(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.gguf"
    size = Writer(path, METADATA, SPECS).nbytes
    steps = 0
    while True:
        path.write_bytes(b"old")
        with monkeypatch.context() as patch:
            FailingDisk(patch, steps, code)
            try:
                write(path)
                break
            except StorageError as e:
                assert os.strerror(code) in str(e) and "a.gguf" in str(e)
                assert e.remedy and (code != errno.ENOSPC or f"Free {human_size(size)} there" in e.remedy)
        assert names(tmp_path) == ["a.gguf"]
        if path.read_bytes() != b"old":
            pytest.fail(f"step {steps} failed and the file is not the old one")
        steps += 1
    assert steps > 8, "every write, the fsync and the rename were failed once"
    with gguf.read(path) as f:
        assert [bytes(f.tensor_bytes(t)) for t in f.tensors] == DATA


def flushes(monkeypatch: pytest.MonkeyPatch, flush: Any) -> None:
    """Every byte that is written makes one due, which is `flush`."""
    monkeypatch.setattr(early_sync, "_STEP", 1)
    monkeypatch.setattr(os, "fdatasync", flush, raising=False)


def test_the_disk_writes_while_more_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = threading.Event()
    flushes(monkeypatch, lambda fd: (os.fsync(fd), flushed.set()))
    with Writer(tmp_path / "a.gguf", METADATA, SPECS) as out:
        out.write(DATA[0])
        assert flushed.wait(60)
        out.write(DATA[1])
    with gguf.read(tmp_path / "a.gguf") as f:
        assert [bytes(f.tensor_bytes(t)) for t in f.tensors] == DATA


def test_an_error_of_an_early_flush_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = threading.Event()

    def fail(fd: int) -> None:
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    flushes(monkeypatch, fail)
    (tmp_path / "a.gguf").write_bytes(b"old")
    with (
        pytest.raises(StorageError, match=os.strerror(errno.EIO)),
        Writer(tmp_path / "a.gguf", METADATA, SPECS) as out,
    ):
        out.write(DATA[0])
        assert failed.wait(60)
        out.write(DATA[1])
    assert names(tmp_path) == ["a.gguf"] and (tmp_path / "a.gguf").read_bytes() == b"old"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        write(tmp_path / "no" / "a.gguf")


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_a_file_that_grows_too_large_for_the_system(tmp_path: Path) -> None:
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, limits[1]))
        with pytest.raises(StorageError, match="too large"):
            write(tmp_path / "a.gguf")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(tmp_path) == []


def test_ctrl_c_in_a_real_process_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pocketllama.gguf import *\n"
        "with Writer(sys.argv[1], {}, [TensorSpec('w', (1024,), GGMLType.F32)]) as out:\n"
        "    print('ready', flush=True); sys.stdin.read()\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "a.gguf")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=env,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"ready"
        assert len(names(tmp_path)) == 1
        child.send_signal(signal.SIGINT)
    assert child.returncode != 0
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "tensors",
    [
        [TensorSpec("", (4,), GGMLType.F32)],
        [TensorSpec("n" * 64, (4,), GGMLType.F32)],
        [TensorSpec("w", (4,), GGMLType.F32)] * 2,
        [TensorSpec("w", (), GGMLType.F32)],
        [TensorSpec("w", (1, 1, 1, 1, 1), GGMLType.F32)],
        [TensorSpec("w", (4, 0), GGMLType.F32)],
        [TensorSpec("w", (33,), GGMLType.Q8_0)],
    ],
)
def test_tensors_that_no_file_can_hold(tensors: list[TensorSpec], tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Writer(tmp_path / "a.gguf", {}, tensors)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ValueType.UINT8, 256),
        (ValueType.INT32, 2**31),
        (ValueType.UINT64, -1),
        (ValueType.FLOAT32, 1e39),
        (ValueType.FLOAT32, "1"),
        (ValueType.BOOL, 1),
        (ValueType.STRING, "\ud800"),
        (ValueType.ARRAY, [1]),
        (ArrayOf(ValueType.INT8), [1, 200]),
    ],
)
def test_values_that_do_not_fit_their_type(kind: Any, value: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Writer(tmp_path / "a.gguf", {"k": (kind, value)}, [])


@pytest.mark.parametrize("value", [0, 3, 48])
def test_alignments_that_are_none(value: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="power of two"):
        Writer(tmp_path / "a.gguf", {"general.alignment": (ValueType.UINT32, value)}, [])


def _scalars(kind: ValueType) -> st.SearchStrategy[Any]:
    if kind == ValueType.BOOL:
        return st.booleans()
    if kind in (ValueType.FLOAT32, ValueType.FLOAT64):
        return st.floats(width=32 if kind == ValueType.FLOAT32 else 64)
    bits = 8 * struct.calcsize(STRUCT_CODES[kind])
    low = -(2 ** (bits - 1)) if kind.name.startswith("INT") else 0
    return st.integers(low, low + 2**bits - 1)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
TYPED = st.one_of(
    [st.tuples(st.just(k), _scalars(k)) for k in STRUCT_CODES]
    + [st.tuples(st.just(ArrayOf(k)), st.lists(_scalars(k), max_size=5)) for k in STRUCT_CODES]
    + [
        st.tuples(st.just(ValueType.STRING), TEXTS),
        st.tuples(st.just(ArrayOf(ValueType.STRING)), st.lists(TEXTS, max_size=5)),
        st.tuples(
            st.just(ArrayOf(ArrayOf(ValueType.INT16))), st.lists(st.lists(_scalars(ValueType.INT16), max_size=3))
        ),
    ]
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda k: k != "general.alignment"
)
SHAPES = st.builds(
    lambda kind, blocks, rest: (kind, (blocks * kind.block_size, *rest)),
    st.sampled_from(list(GGMLType)),
    st.integers(1, 3),
    st.lists(st.integers(1, 3), max_size=3),
)


def same(a: Any, b: Any) -> bool:
    """Equal, and NaN is NaN."""
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and bool(a == b)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(KEYS, TYPED, max_size=8),
    st.lists(SHAPES, max_size=4),
    st.sampled_from([1, 8, 32, 256]),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read(metadata: dict[str, Any], shapes: list[Any], alignment: int, rng: Any) -> None:
    metadata = {**metadata, "general.alignment": (ValueType.UINT32, alignment)}
    specs = [TensorSpec(f"tensor {i}", shape, kind) for i, (kind, shape) in enumerate(shapes)]
    data = [rng.randbytes(t.nbytes) for t in specs]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.gguf"
        with Writer(path, metadata, specs) as out:
            for piece in data:
                out.write(piece)
        with gguf.read(path) as f:
            assert list(f.metadata) == list(metadata)
            for key, (_, value) in metadata.items():
                assert same(f.metadata[key], value)
            assert [(t.name, t.shape, t.type) for t in f.tensors] == [(t.name, t.shape, t.type) for t in specs]
            assert [bytes(f.tensor_bytes(t)) for t in f.tensors] == data
            assert all(t.offset % alignment == 0 for t in f.tensors)


def test_a_file_of_the_reference_implementation() -> None:
    facts = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))
    with gguf.read(GOLDEN / "golden.gguf") as f:
        assert dict(f.metadata) == facts["metadata"]
        assert f.metadata.type_of("test.u16") == ValueType.UINT16
        tensors = {
            t.name: {
                "shape": list(t.shape),
                "type": t.type.name,
                "sha256": hashlib.sha256(f.tensor_bytes(t)).hexdigest(),
            }
            for t in f.tensors
        }
    assert tensors == facts["tensors"]


def test_the_reference_reads_what_is_written_and_knows_the_same_types(tmp_path: Path) -> None:
    reference = pytest.importorskip("gguf.gguf_reader", reason="the gguf package is not installed")
    constants = pytest.importorskip("gguf.constants")
    write(tmp_path / "a.gguf")
    file = reference.GGUFReader(tmp_path / "a.gguf")
    assert file.fields["tokens"].contents() == ["a", "é", ""]
    assert [t.data.tobytes() for t in file.tensors] == DATA
    sizes = {int(t): (t.name, *size) for t, size in constants.GGML_QUANT_SIZES.items()}
    assert sizes == {int(t): (t.name, t.block_size, t.type_size) for t in GGMLType}
    assert {int(t): t.name for t in constants.GGUFValueType} == {int(t): t.name for t in ValueType}
    names = {int(t): t.name.removeprefix("ALL_").removeprefix("MOSTLY_") for t in constants.LlamaFileType}
    del names[1024]  # "guessed": never in a file
    assert names == {int(t): t.name for t in gguf.FileType}
    assert {int(t): t.name for t in constants.TokenType} == {int(t): t.name for t in gguf.TokenType}
