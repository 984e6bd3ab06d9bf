"""Every known way in which a GGUF file's header can be wrong, one file each: name → (bytes, words of the error)."""

from __future__ import annotations

import struct

from handmade import (
    ARR,
    BOOL,
    F32,
    GOOD,
    STR,
    U8,
    U32,
    array,
    scalar,
    start,
    string,
    strings,
    tensor,
    text,
    u32,
    u64,
    whole,
)

HUGE = 2**63
DATA = bytes(4096)


def one(info: bytes, data: bytes = DATA, keys: list[bytes] | None = None) -> bytes:
    return whole(keys or [], [info], data)


def two(first: bytes, second: bytes, data: bytes = DATA) -> bytes:
    return whole([], [first, second], data)


def with_alignment(kind: int, value: int) -> bytes:
    return one(tensor("w", [4]), keys=[scalar("general.alignment", kind, value)])


def deep(levels: int) -> bytes:
    return text("k") + u32(ARR) + (u32(ARR) + u64(1)) * levels + u32(U8) + u64(1) + b"\1"


BAD: dict[str, tuple[bytes, str]] = {
    # What it is
    "empty": (b"", "it is empty"),
    "one byte": (b"G", "not a GGUF file"),
    "magic only": (b"GGUF", "the version"),
    "zeros": (bytes(64), "not a GGUF file"),
    "lower-case magic": (start(0, 0, magic=b"gguf"), "not a GGUF file"),
    "big-endian magic": (start(0, 0, magic=b"FUGG"), "not a GGUF file"),
    "ggml of 2023": (b"lmgg" + bytes(60), "a GGML file of 2023"),
    "ggjt of 2023": (b"tjgg" + bytes(60), "a GGML file of 2023"),
    "zip": (b"PK\x03\x04" + bytes(60), "a zip file"),
    "html": (b"<!DOCTYPE html><html>Not found</html>", "HTML"),
    "lfs pointer": (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    # Version
    "version 0": (start(0, 0, version=0), "expected 2 or 3, found 0"),
    "version 1": (b"GGUF" + u32(1) + u32(0) + u32(0), "of August 2023"),
    "version 4": (start(0, 0, version=4), "expected 2 or 3, found 4"),
    "version huge": (start(0, 0, version=2**32 - 1), "expected 2 or 3"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "cut in the version": (b"GGUF\3\0", "4 bytes"),
    "cut in the counts": (start(0, 0)[:20], "8 bytes"),
    # Counts
    "tensors: 2^63": (start(HUGE, 0), "the number of tensors"),
    "tensors: 2^64-1": (start(2**64 - 1, 0), "the number of tensors"),
    "tensors: more than bytes": (start(1000, 0) + bytes(100), "in the bytes that remain"),
    "tensors: one too many": (whole([], [tensor("w", [4])], b"").replace(u64(1), u64(2), 1), "the number of tensors"),
    "keys: 2^63": (start(0, HUGE), "the number of metadata keys"),
    "keys: 2^64-1": (start(0, 2**64 - 1), "the number of metadata keys"),
    "keys: more than bytes": (start(0, 1000) + bytes(100), "in the bytes that remain"),
    "keys: one too many": (start(0, 2) + scalar("a.long.key.of.a.model", U32, 1), "the name of key 1"),
    # Keys
    "key: empty": (whole([scalar("", U32, 1), bytes(16)]), "found ''"),
    "key: length past the end": (start(0, 1) + u64(1000) + bytes(50), "at most 50 bytes"),
    "key: length 2^64-1": (start(0, 1) + u64(2**64 - 1) + bytes(50), "18446744073709551615 bytes"),
    "key: longer than 65535": (whole([scalar("k" * 65536, U32, 1)]), "at most 65535 bytes"),
    "key: not UTF-8": (whole([scalar(b"k\xff", U32, 1)]), "expected UTF-8, found byte 0xff"),
    "key: there twice": (whole([scalar("k", U32, 1), scalar("k", U32, 2)]), "expected a new name, found 'k'"),
    # Values
    "value: type 13": (whole([text("k") + u32(13) + bytes(8)]), "a value type, 0 to 12, found 13"),
    "value: type 2^32-1": (whole([text("k") + u32(2**32 - 1) + bytes(8)]), "a value type"),
    "value: type cut": (whole([text("k") + b"\0\0"]), "the number of metadata keys"),
    "value: scalar cut": (whole([scalar("a", U32, 1), text("k") + u32(U32) + b"\0"]), "expected 4 bytes"),
    "value: bool 2": (whole([scalar("k", BOOL, 2)]), "a bool, 0 or 1, found 2"),
    "value: bool 255": (whole([scalar("k", BOOL, 255)]), "found 255"),
    "value: string past the end": (whole([text("k") + u32(STR) + u64(100) + b"abc"]), "at most 3 bytes"),
    "value: string of 2^63": (whole([text("k") + u32(STR) + u64(HUGE) + b"abc"]), "9223372036854775808 bytes"),
    "value: string not UTF-8": (whole([string("k", b"ab\xc3")]), "expected UTF-8, found byte 0xc3"),
    "value: string of a surrogate": (whole([string("k", b"\xed\xa0\x80")]), "expected UTF-8"),
    "value: string overlong": (whole([string("k", b"\xc0\x80")]), "expected UTF-8"),
    # Arrays
    "array: entry type 13": (whole([array("k", 13, bytes(16), 2)]), "the entry type"),
    "array: 2^63 bytes": (whole([array("k", U8, bytes(16), HUGE)]), "at most 8388608"),
    "array: count times size overflows": (whole([array("k", U32, bytes(16), 2**62 + 1)]), "the length of"),
    "array: past the end": (whole([array("k", F32, bytes(15), 4)]), "in the bytes that remain"),
    "array: strings past the end": (whole([array("k", STR, text("ab") + u64(9) + b"c", 2)]), "entry 1 of"),
    "array: more strings than there are": (whole([array("k", STR, text("a" * 20), 3)]), "entry 1 of"),
    "array: string length 2^64-1": (whole([array("k", STR, text("ab") + u64(2**64 - 1), 2)]), "entry 1 of"),
    "array: string length 2^63-9": (whole([array("k", STR, u64(2**63 - 9) + bytes(8), 2)]), "entry 0 of"),
    "array: string not UTF-8": (whole([strings("k", ["a", b"\x80", "b"])]), "entry 1 of"),
    "array: long string not UTF-8": (whole([strings("k", ["a", b"x" * 200 + b"\xff"])]), "entry 1 of"),
    "array: a character over two strings": (
        whole([array("k", STR, text(b"a\xc3") + u64(0x80) + bytes(128), 2)]),
        "entry",
    ),
    "array: bool 3": (whole([array("k", BOOL, b"\0\1\3", 3)]), "a bool, 0 or 1, found 3"),
    "array: in array cut": (whole([array("k", ARR, u32(U8) + u64(9) + bytes(8), 1)]), "in the bytes that remain"),
    "array: 4 deep": (whole([deep(4)]), "deep"),
    "array: 10,000 deep": (whole([deep(10_000)]), "deep"),
    "array: nested bool 9": (whole([array("k", ARR, u32(BOOL) + u64(2) + b"\1\x09", 1)]), "found 9"),
    "array: nested counts that multiply": (
        whole([array("k", ARR, (u32(U8) + u64(2**22) + bytes(2**10)) * 4, 4)]),
        "the length of",
    ),
    # Alignment
    "alignment: 0": (with_alignment(U32, 0), "a power of two"),
    "alignment: 3": (with_alignment(U32, 3), "a power of two"),
    "alignment: 2^32-1": (with_alignment(U32, 2**32 - 1), "a power of two"),
    "alignment: 2^31": (with_alignment(U32, 2**31), "a power of two up to 2^20"),
    "alignment: a byte": (with_alignment(U8, 32), "of type UINT32"),
    "alignment: a string": (one(tensor("w", [4]), keys=[string("general.alignment", "32")]), "of type UINT32"),
    "alignment: an array": (one(tensor("w", [4]), keys=[array("general.alignment", U32, u32(32), 1)]), "UINT32"),
    # Tensors
    "tensor: no name": (one(tensor("", [4])), "expected a name, found ''"),
    "tensor: name of 64 bytes": (one(tensor("n" * 64, [4])), "at most 63 bytes"),
    "tensor: name of 2^63": (start(1, 0) + u64(HUGE) + bytes(64), "the name of tensor 0"),
    "tensor: name not UTF-8": (one(tensor(b"w\xfe", [4])), "expected UTF-8"),
    "tensor: name with a NUL": (one(tensor("a\0b", [4])), "expected a name"),
    "tensor: there twice": (two(tensor("w", [4]), tensor("w", [4], 0, 32)), "expected a new name"),
    "tensor: 0 dimensions": (one(tensor("w", [])), "1 to 4, found 0"),
    "tensor: 5 dimensions": (one(tensor("w", [1, 1, 1, 1, 1])), "1 to 4, found 5"),
    "tensor: 2^32-1 dimensions": (one(tensor("w", [1], n_dims=2**32 - 1)), "1 to 4"),
    "tensor: a dimension of 0": (one(tensor("w", [4, 0])), "the shape of"),
    "tensor: a dimension of -1": (one(tensor("w", [2**64 - 1])), "the shape of"),
    "tensor: dimensions that overflow to 0": (one(tensor("w", [2**32, 2**32])), "the shape of"),
    "tensor: dimensions that overflow to 4": (one(tensor("w", [2**62 + 1, 4])), "the shape of"),
    "tensor: four dimensions of 2^62": (one(tensor("w", [2**62] * 4)), "the shape of"),
    "tensor: type 4, removed": (one(tensor("w", [32], 4)), "Q4_2, removed"),
    "tensor: type 31, removed": (one(tensor("w", [32], 31)), "Q4_0_4_4, removed"),
    "tensor: type 42": (one(tensor("w", [32], 42)), "a known tensor type, found 42"),
    "tensor: type 2^32-1": (one(tensor("w", [32], 2**32 - 1)), "a known tensor type"),
    "tensor: Q8_0 rows of 33": (one(tensor("w", [33], 8)), "a multiple of 32 (Q8_0)"),
    "tensor: Q4_K rows of 128": (one(tensor("w", [128, 2], 12)), "a multiple of 256 (Q4_K)"),
    "tensor: offset of 1": (one(tensor("w", [4], 0, 1)), "a multiple of 32, found 1"),
    "tensor: offset of 16 when alignment is 64": (
        one(tensor("w", [4], 0, 32), keys=[scalar("general.alignment", U32, 64)]),
        "a multiple of 64, found 32",
    ),
    "tensor: offset past the end": (one(tensor("w", [4], 0, 4096)), "the data of tensor"),
    "tensor: offset of 2^64-32": (one(tensor("w", [4], 0, 2**64 - 32)), "the data of tensor"),
    "tensor: last byte missing": (GOOD[:-1], "the data of tensor 'c.bias'"),
    "tensor: no data at all": (one(tensor("w", [4]), b""), "the data of tensor"),
    "tensor: the same bytes twice": (two(tensor("v", [4]), tensor("w", [4])), "after 'v'"),
    "tensor: overlap": (two(tensor("v", [4], 0, 32), tensor("w", [9], 0, 0)), "the data of tensor 'v'"),
    "tensor: info cut": (start(1, 0) + tensor("a.name.of.some.length", [4])[:-1], "8 bytes"),
}
