from __future__ import annotations

import os
import random
import struct
import tracemalloc
from pathlib import Path

import pytest
from bad_files import BAD
from handmade import (
    ARR,
    GOOD,
    GOOD_DATA,
    GOOD_HEADER_SIZE,
    GOOD_METADATA,
    STR,
    U8,
    U32,
    array,
    scalar,
    start,
    strings,
    tensor,
    text,
    u64,
    whole,
)

from pocketllama import gguf
from pocketllama.errors import ModelInvalid, ModelNotFound, StorageError, UsageError
from pocketllama.gguf import GGMLType, ValueType

VOCABULARIES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "vocab"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def test_reads_every_type(file: Path) -> None:
    file.write_bytes(GOOD)
    with gguf.read(file) as f:
        assert dict(f.metadata) == GOOD_METADATA
        assert list(f.metadata) == list(GOOD_METADATA)
        assert f.metadata["yes"] is True
        assert f.metadata.type_of("u16") == ValueType.UINT16
        assert f.metadata.type_of("tokens") == ValueType.ARRAY
        assert (f.version, f.alignment, f.file_size, f.data_offset) == (3, 32, len(GOOD), GOOD_HEADER_SIZE)
        assert [(t.name, t.shape, t.type, t.offset - f.data_offset, t.nbytes, t.n_elements) for t in f.tensors] == [
            ("a.weight", (4, 3), GGMLType.F32, 0, 48, 12),
            ("b.weight", (64, 2), GGMLType.Q8_0, 64, 136, 128),
            ("c.bias", (5,), GGMLType.F16, 224, 10, 5),
        ]
        assert bytes(f.tensor_bytes(f.tensors[1])) == GOOD_DATA[64:200]


def test_reads_version_2_and_an_alignment_of_its_own(file: Path) -> None:
    keys = [scalar("general.alignment", U32, 128)]
    file.write_bytes(whole(keys, [tensor("w", [4]), tensor("v", [4], 0, 128)], bytes(144), 128, version=2))
    with gguf.read(str(file)) as f:
        assert (f.version, f.alignment, f.data_offset % 128) == (2, 128, 0)


def test_a_vocabulary_without_tensors_needs_no_padding(file: Path) -> None:
    file.write_bytes(whole([strings("k", ["a"])]))
    with gguf.read(file) as f:
        assert (f.tensors, f.metadata["k"]) == ([], ["a"])


def test_one_part_of_a_split_model_reads_as_a_file(file: Path) -> None:
    file.write_bytes(whole([scalar("split.no", 2, 1), scalar("split.count", 2, 3)], [tensor("w", [4])], bytes(16)))
    with gguf.read(file) as f:
        assert f.metadata["split.count"] == 3


def test_arrays_are_decoded_when_asked_for_and_once(file: Path) -> None:
    file.write_bytes(GOOD)
    f = gguf.read(file)
    assert "tokens" in f.metadata and "nothing" not in f.metadata
    assert f.metadata.length("tokens") == 6
    assert f.metadata["tokens"] is f.metadata["tokens"]
    f.close()
    assert f.metadata["tokens"][1] == "▁the"
    assert f.metadata["u8"] == 255
    with pytest.raises(UsageError, match="closed"):
        f.metadata["scores"]
    with pytest.raises(UsageError, match="closed"):
        f.tensor_bytes(f.tensors[0])


def test_a_view_of_a_tensor_outlives_the_file(file: Path) -> None:
    file.write_bytes(GOOD)
    with gguf.read(file) as f:
        view = f.tensor_bytes(f.tensors[0])
    assert bytes(view) == GOOD_DATA[:48]
    assert view.readonly


def test_an_array_that_changed_after_opening_is_an_error_of_ours(file: Path) -> None:
    file.write_bytes(whole([strings("k", ["ab", "cd"])]))
    with gguf.read(file) as f:
        with file.open("r+b") as g:
            g.seek(file.stat().st_size - 1)
            g.write(b"\xff")
        with pytest.raises(ModelInvalid, match="changed"):
            f.metadata["k"]


def test_there_are_enough_bad_files() -> None:
    assert len(BAD) >= 60


@pytest.mark.parametrize("name", BAD)
def test_bad_file(name: str, file: Path) -> None:
    data, words = BAD[name]
    file.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ModelInvalid) as caught:
            gguf.read(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(caught.value) is ModelInvalid
    message = str(caught.value)
    assert words in message and "model.gguf" in message, message
    assert caught.value.remedy
    assert len(message) < 400 and message.isprintable()
    assert peak < 1_000_000 + 4 * len(data), "memory was taken on a count's word"
    if data:
        assert "expected" in message and "found" in message and " byte " in message, message
    file.unlink()  # which Windows refuses while the file is mapped


def test_the_error_says_at_which_byte(file: Path) -> None:
    file.write_bytes(start(0, 1) + text("key") + struct.pack("<I", 99) + u64(0))
    with pytest.raises(ModelInvalid, match=r"model\.gguf .* at byte 35: expected a value type, 0 to 12, found 99") as e:
        gguf.read(file)
    assert e.value.data == {"file": "model.gguf", "position": 35}


def test_a_message_escapes_what_the_file_says(file: Path) -> None:
    file.write_bytes(whole([], [tensor("\x1b[2J\n", [0])], bytes(32)))
    with pytest.raises(ModelInvalid) as e:
        gguf.read(file)
    assert "\x1b" not in str(e.value) and "\n" not in str(e.value)


def test_entries_of_all_arrays_together_are_bounded(file: Path) -> None:
    """Each empty string costs a step; a 16 GiB file of them must not cost minutes."""
    file.write_bytes(start(0, 3) + (array("a", U8, bytes(1 << 22), 1 << 22)) + array("b", U8, bytes(1 << 22), 1 << 22))
    with pytest.raises(ModelInvalid, match="the name of key 2"):
        gguf.read(file)
    with file.open("ab") as f:
        f.write(array("c", U8, b"\0", 1))
    with pytest.raises(ModelInvalid, match="expected at most 0, found 1"):
        gguf.read(file)


def test_a_header_is_bounded_where_the_file_is_not(file: Path) -> None:
    with file.open("wb") as f:
        f.write(start(0, 1) + text("k") + struct.pack("<I", STR) + u64(300 << 20))
        f.truncate(400 << 20)  # a hole: takes no disk
    tracemalloc.start()
    with pytest.raises(ModelInvalid, match="a string of at most"):
        gguf.read(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_arrays_as_deep_as_allowed(file: Path) -> None:
    inner = struct.pack("<IQ", U8, 1) + b"\7"
    file.write_bytes(whole([array("k", ARR, struct.pack("<IQ", ARR, 1) + inner, 1)]))
    with gguf.read(file) as f:
        assert f.metadata["k"] == [[[7]]]


def test_cut_anywhere(file: Path) -> None:
    for n in range(len(GOOD)):
        file.write_bytes(GOOD[:n])
        with pytest.raises(ModelInvalid):
            gguf.read(file)


@pytest.mark.parametrize("flips", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_flipped_bytes_in_the_header(flips: int, file: Path) -> None:
    """Whatever a byte becomes, the file is read whole or refused; never anything else."""
    rng = random.Random(flips)
    refused = 0
    for _ in range(flips):
        data = bytearray(GOOD)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(GOOD_HEADER_SIZE)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        file.unlink(missing_ok=True)  # where a file is written over, ext4 waits for the disk
        file.write_bytes(data)
        try:
            with gguf.read(file) as f:
                dict(f.metadata)
                for t in f.tensors:
                    assert f.data_offset <= t.offset <= t.offset + t.nbytes <= len(data)
                    assert len(f.tensor_bytes(t)) == t.nbytes
        except ModelInvalid:
            refused += 1
    assert flips * 0.2 < refused < flips * 0.95, "the flips test both ways"


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "no.gguf", tmp_path / "no" / "no.gguf", "nul\0.gguf"):
        with pytest.raises(ModelNotFound):
            gguf.read(path)
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(ModelNotFound):
        gguf.read(tmp_path / "f" / "no.gguf")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="not a file"):
        gguf.read(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ModelInvalid, match="not a file"):
            gguf.read(tmp_path / "pipe")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(file: Path) -> None:
    file.write_bytes(GOOD)
    file.chmod(0)
    with pytest.raises(StorageError, match="Permission"):
        gguf.read(file)


def test_a_file_that_cannot_be_read(file: Path) -> None:
    file.symlink_to(file)
    with pytest.raises(StorageError, match="cannot be read"):
        gguf.read(file)


@pytest.mark.parametrize(
    ("name", "tokens", "last"),
    [
        ("llama-spm", 32000, "给"),
        ("llama-bpe", 128256, "<|reserved_special_token_250|>"),
        ("gpt-2", 50257, "<|endoftext|>"),
    ],
)
def test_vocabularies_of_real_models(name: str, tokens: int, last: str) -> None:
    path = VOCABULARIES / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    with gguf.read(path) as f:
        assert f.metadata.length("tokenizer.ggml.tokens") == tokens
        assert f.metadata["tokenizer.ggml.tokens"][-1] == last
        assert len(f.metadata["tokenizer.ggml.token_type"]) == tokens
