from __future__ import annotations

import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchfiles import Entry, archive, checkpoint, members, replace, table, tensor, text

from pocketllama.convert.pth import TorchFile
from pocketllama.convert.tensor import chunks
from pocketllama.errors import ModelInvalid, ModelNotFound, UnsafeFile

TALES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "tales"
DATA = np.arange(8, dtype=np.float16)
PICKLE = table({"w": tensor("0", (2, 4), 8)})
GOOD = members(PICKLE, {"0": DATA.tobytes()})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "consolidated.00.pth"


def values(path: Path, name: str = "w") -> Any:
    with TorchFile(path) as f:
        return np.concatenate(list(chunks(f.tensors[name]))).reshape(f.tensors[name].shape)


@pytest.mark.parametrize("zip64", [False, True])
def test_reads_a_checkpoint(file: Path, zip64: bool) -> None:
    file.write_bytes(archive(GOOD, zip64=zip64))
    assert values(file).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert values(file).dtype == np.float32


def test_wide_numbers_of_a_member_come_from_its_zip64_field(file: Path) -> None:
    data = GOOD[2]
    wide = struct.pack("<HH2Q", 1, 16, len(data.data), len(data.data))
    entries = [*GOOD[:2], replace(data, size=2**32 - 1, packed=2**32 - 1, extra=b"ZZ\0\0" + wide), GOOD[3]]
    file.write_bytes(archive(entries))
    assert values(file)[1, 3] == 7


def test_reads_what_pythons_zipfile_writes(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as z:
        for e in GOOD:
            z.writestr(e.name, e.data)
    assert values(file)[1, 0] == 4


@pytest.mark.parametrize(
    ("cls", "array"),
    [
        ("FloatStorage", np.array([0.1, -2.5, 3e38, 0], np.float32)),
        ("HalfStorage", np.array([0.1, -2.5, 65504, 6e-8], np.float16)),
        ("DoubleStorage", np.array([0.1, -2.5, 1e30, 0], np.float64)),
        ("BFloat16Storage", np.array([0x3F80, 0xC020, 0x7F7F, 1], np.uint16)),
    ],
)
def test_element_types(cls: str, array: Any, file: Path) -> None:
    file.write_bytes(checkpoint({"w": array}, cls))
    bf16 = (array.astype(np.uint32) << 16).view(np.float32) if cls == "BFloat16Storage" else None
    expected = array.astype(np.float32) if bf16 is None else bf16
    assert values(file).tolist() == expected.tolist()


def test_integers_are_no_weights(file: Path) -> None:
    file.write_bytes(checkpoint({"w": np.arange(4)}, "LongStorage"))
    with TorchFile(file) as f, pytest.raises(ModelInvalid, match="holds i64"):
        list(chunks(f.tensors["w"]))


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "expected"),
    [
        ((4, 2), (1, 4), 0, [[0, 4], [1, 5], [2, 6], [3, 7]]),  # transposed
        ((2, 2), (4, 1), 1, [[1, 2], [5, 6]]),  # cut out
        ((2,), (4,), 3, [3, 7]),
        ((1, 4), (99, 1), 4, [[4, 5, 6, 7]]),  # the stride of a dimension of 1 says nothing
        ((2, 3), (2, 1), 0, [[0, 1, 2], [2, 3, 4]]),  # rows that overlap
        ((), (), 5, 5),
    ],
)
def test_views(shape: Any, stride: Any, offset: int, expected: Any, file: Path) -> None:
    pickle = table({"w": tensor("0", shape, 8, offset=offset, stride=stride)})
    file.write_bytes(archive(members(pickle, {"0": DATA.tobytes()})))
    assert values(file).tolist() == expected


def test_two_tensors_may_share_a_storage(file: Path) -> None:
    pickle = table({"v": tensor("0", (4,), 8), "w": tensor("0", (4,), 8, offset=4)})
    file.write_bytes(archive(members(pickle, {"0": DATA.tobytes()})))
    assert values(file, "v").tolist() == [0, 1, 2, 3]
    assert values(file, "w").tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("shape", "stride", "offset", "numel"),
    [
        ((2, 5), (5, 1), 0, 8),
        ((2, 4), (4, 1), 1, 8),
        ((2,), (8,), 0, 8),
        ((2**20, 2**20), (0, 0), 0, 8),  # one element shown 2^40 times
        ((9,), (0,), 0, 8),
        ((2, 4), (2**47, 1), 0, 8),
        ((1,), (1,), 8, 8),
        ((2, 4), (4, 1), 0, 7),
        ((2, 4), (4, 1), 0, 2**40),
        ((2, 4), (4, 1), 0, 0),
    ],
)
def test_a_view_outside_its_storage(shape: Any, stride: Any, offset: int, numel: int, file: Path) -> None:
    pickle = table({"w": tensor("0", shape, numel, offset=offset, stride=stride)})
    file.write_bytes(archive(members(pickle, {"0": DATA.tobytes()})))
    with pytest.raises(ModelInvalid, match="damaged"):
        TorchFile(file)


def test_one_flipped_bit_of_a_tensor_is_found(file: Path) -> None:
    data = bytearray(archive(GOOD))
    data[data.index(DATA.tobytes()) + 5] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelInvalid, match=r"CRC-32 of its member 'consolidated.00/data/0'"):
        values(file)


def crash(name: str) -> Entry:
    return Entry(name, b"x")


UNSAFE: dict[str, tuple[bytes, str]] = {
    "member above": (archive([*GOOD, crash("../evil")]), "leave its folder"),
    "member above, inside": (archive([*GOOD, crash("consolidated.00/../../evil")]), "leave its folder"),
    "absolute": (archive([*GOOD, crash("/etc/passwd")]), "leave its folder"),
    "drive": (archive([*GOOD, crash("C:/evil")]), "leave its folder"),
    "backslash": (archive([*GOOD, crash("..\\evil")]), "leave its folder"),
    "NUL": (archive([*GOOD, crash("a\0b")]), "leave its folder"),
    "dot": (archive([*GOOD, crash("./a")]), "leave its folder"),
    "empty name": (archive([*GOOD, Entry("", b"x", own_name="x")]), "leave its folder"),
    "folder": (archive([*GOOD, crash("a/")]), "leave its folder"),
    "name not UTF-8": (archive([*GOOD, crash("a\udcff")]), "not UTF-8"),
    "twice": (archive([*GOOD, GOOD[2]]), "is there twice"),
    "data.pkl twice": (archive([*GOOD, Entry(GOOD[0].name, b"cos\nsystem\n.")]), "is there twice"),
    "deflated": (archive([*GOOD[:3], replace(GOOD[3], method=8)]), "compressed"),
    "bomb": (archive([*GOOD[:3], replace(GOOD[3], size=2**31)]), "compressed (2 bytes for 2147483648)"),
    "deflated, in the member's header alone": (archive([*GOOD[:3], replace(GOOD[3], own_method=8)]), "after all"),
    "another name in the member's header": (archive([*GOOD[:3], replace(GOOD[3], own_name="x")]), "calls itself"),
    "encrypted": (archive([*GOOD[:3], replace(GOOD[3], flags=1)]), "encrypted"),
    "shared bytes": (
        archive([*GOOD, replace(GOOD[3], name="consolidated.00/other", own_name=GOOD[3].name, offset=0)]),
        "calls itself",
    ),
    "disks": (archive(GOOD)[:-18] + b"\1\0" + archive(GOOD)[-16:], "of several"),
}
LOCAL = archive([Entry("a", b"12345678")])[: 30 + 1 + 10 + 8]  # a member inside another's bytes
OUTER = Entry("o", b"x" * 8 + LOCAL)
UNSAFE["a member inside another"] = (
    archive([OUTER, Entry("a", b"12345678", offset=30 + 1 + 10 + 8)]),
    "share bytes",
)

DAMAGED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "a pointer of git-lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of git-lfs"),
    "text": (b"<html>", "no torch checkpoint of today"),
    "torch before 1.6": (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + bytes(100), "torch before 1.6"),
    "a bare pickle": (b"\x80\x02cos\nsystem\n(X\2\0\0\0lstR.", "torch before 1.6"),
    "only PK": (b"PK", "no zip directory"),
    "cut off": (archive(GOOD)[:-30], "no zip directory"),
    "end cut": (archive(GOOD)[:-1], "no zip directory"),
    "end alone": (archive([]), "it has 0 data.pkl"),
    "no data.pkl": (archive(GOOD[1:]), "it has 0 data.pkl"),
    "two data.pkl": (archive([*GOOD, Entry("b/data.pkl", PICKLE)]), "it has 2 data.pkl"),
    "data.pkl deep": (archive(members(PICKLE, {"0": b""}, "a/b")), "it has 1 data.pkl"),
    "no storage": (archive([*GOOD[:2], GOOD[3]]), "missing"),
    "storage short": (archive([*GOOD[:2], replace(GOOD[2], data=DATA.tobytes()[:-1]), GOOD[3]]), "has 15"),
    "storage long": (archive([*GOOD[:2], replace(GOOD[2], data=DATA.tobytes() + b"x"), GOOD[3]]), "has 17"),
    "storage of another name": (archive(members(table({"w": tensor("../0", (8,), 8)}), {"0": b""})), "missing"),
    "big-endian": (archive([GOOD[0], Entry(GOOD[1].name, b"big"), *GOOD[2:]]), "byte order b'big'"),
    "byte order long": (archive([GOOD[0], Entry(GOOD[1].name, b"l" * 99), *GOOD[2:]]), "at most 16"),
    "no version": (archive(GOOD[:3]), "no member 'consolidated.00/version'"),
    "version": (archive([*GOOD[:3], Entry(GOOD[3].name, b"three")]), "its version"),
    "crc of the pickle": (archive([replace(GOOD[0], crc=1), *GOOD[1:]]), "CRC-32"),
    "fewer entries": (archive(GOOD, count=5), "entry 4 of its directory is missing"),
    "too many entries": (archive(GOOD, count=65534), "is missing"),
    "2^64 entries": (archive(GOOD, count=2**64 - 1, zip64=True), "cannot be one"),
    "directory behind the end": (archive(GOOD, directory=2**32 - 2), "cannot be one"),
    "directory elsewhere": (archive(GOOD, directory=3), "directory"),
    "zip64 directory behind the end": (archive(GOOD, directory=2**63, zip64=True), "cannot be one"),
    "zip64 locator missing": (
        archive(GOOD)[:-22] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 0, 0, 0),
        "zip64",
    ),
    "member behind the end": (archive([*GOOD[:3], replace(GOOD[3], offset=2**31)]), "behind the end"),
    "member elsewhere": (archive([*GOOD[:3], replace(GOOD[3], offset=7)]), "is not at byte 7"),
    "member into the directory": (
        archive([*GOOD[:3], replace(GOOD[3], size=60, packed=60)]),
        "the directory begins",
    ),
    "no table": (archive(members(b"\x80\x02].", {"0": b""})), "no table of tensors"),
    "a number in the table": (
        archive(members(b"\x80\x02}" + text("w") + b"K\x01s.", {"0": b""})),
        "'w', which is no tensor",
    ),
    "a table in the table": (archive(members(b"\x80\x02}" + text("model") + b"}s.", {"0": b""})), "'model'"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_a_hostile_archive(name: str, file: Path) -> None:
    data, words = UNSAFE[name]
    file.write_bytes(data)
    with pytest.raises(UnsafeFile) as e:
        TorchFile(file)
    assert words in str(e.value) and "consolidated.00.pth is refused" in str(e.value)
    assert sorted(p.name for p in file.parent.iterdir()) == [file.name]


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_archive(name: str, file: Path) -> None:
    data, words = DAMAGED[name]
    file.write_bytes(data)
    with pytest.raises(ModelInvalid) as e:
        TorchFile(file)
    assert words in str(e.value) and "consolidated.00.pth" in str(e.value), str(e.value)


def test_every_cut_is_refused(file: Path) -> None:
    data = archive(GOOD, zip64=True)
    for n in range(len(data)):
        file.write_bytes(data[:n])
        with pytest.raises(ModelInvalid):
            TorchFile(file)


@pytest.mark.parametrize("flips", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_flipped_bytes(flips: int, file: Path) -> None:
    """Refused, or the true numbers: the CRC-32 stands behind each."""
    rng = random.Random(flips)
    good = archive(GOOD, zip64=True)
    refused = 0
    for _ in range(flips):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.choice((0, 0xFF, rng.randrange(256)))
        file.unlink(missing_ok=True)  # where a file is written over, ext4 waits for the disk
        file.write_bytes(data)
        try:
            assert values(file).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        except (ModelInvalid, UnsafeFile):
            refused += 1
        except KeyError as e:  # a flip and its CRC cannot both come right
            pytest.fail(f"read under another name: {e}")
    assert flips * 0.3 < refused < flips


def test_no_file(file: Path) -> None:
    with pytest.raises(ModelNotFound):
        TorchFile(file)


def test_memory_does_not_grow_with_the_tensor(file: Path) -> None:
    array = np.zeros((8192, 4096), np.float16)  # 64 MiB
    file.write_bytes(checkpoint({"w": array}))
    del array
    tracemalloc.start()
    with TorchFile(file) as f:
        for rows in chunks(f.tensors["w"]):
            assert rows.shape[1] == 4096
        peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 24 << 20


@pytest.mark.skipif(not TALES.exists(), reason="the tales checkpoint is not here")
def test_a_checkpoint_that_torch_wrote() -> None:
    with TorchFile(TALES / "consolidated.00.pth") as f:
        assert len(f.tensors) == 57
        w = f.tensors["layers.5.w2.weight"]
        assert (w.shape, w.dtype) == ((256, 768), "f16")
        rows = np.concatenate(list(chunks(w)))
    assert rows.shape == (256, 768)
    assert np.isfinite(rows).all() and 0.01 < rows.std() < 1
