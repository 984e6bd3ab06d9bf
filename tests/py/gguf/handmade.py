"""GGUF files put together by hand, byte by byte and without the package's writer, so that they can be wrong at will."""

from __future__ import annotations

import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


def u64(n: int) -> bytes:
    return struct.pack("<Q", n)


def text(s: str | bytes) -> bytes:
    data = s.encode() if isinstance(s, str) else s
    return u64(len(data)) + data


def scalar(key: str | bytes, kind: int, value: float) -> bytes:
    return text(key) + u32(kind) + struct.pack("<" + CODES[kind], value)


def string(key: str, value: str | bytes) -> bytes:
    return text(key) + u32(STR) + text(value)


def array(key: str, kind: int, entries: bytes, count: int) -> bytes:
    return text(key) + u32(ARR) + u32(kind) + u64(count) + entries


def strings(key: str, values: list[str | bytes]) -> bytes:
    return array(key, STR, b"".join(map(text, values)), len(values))


def tensor(name: str | bytes, dims: list[int], kind: int = 0, offset: int = 0, n_dims: int | None = None) -> bytes:
    shape = b"".join(map(u64, dims))
    return text(name) + u32(len(dims) if n_dims is None else n_dims) + shape + u32(kind) + u64(offset)


def start(n_tensors: int, n_keys: int, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + u32(version) + u64(n_tensors) + u64(n_keys)


def whole(
    keys: list[bytes], tensors: list[bytes] | None = None, data: bytes = b"", alignment: int = 32, version: int = 3
) -> bytes:
    tensors = tensors or []
    header = start(len(tensors), len(keys), version) + b"".join(keys) + b"".join(tensors)
    return header + bytes(-len(header) % alignment) + data if tensors else header


GOOD_KEYS = [
    string("general.architecture", "llama"),
    scalar("u8", U8, 255),
    scalar("i8", I8, -128),
    scalar("u16", U16, 65535),
    scalar("i16", I16, -32768),
    scalar("u32", U32, 2**32 - 1),
    scalar("i32", I32, -(2**31)),
    scalar("f32", F32, 0.5),
    scalar("yes", BOOL, 1),
    scalar("no", BOOL, 0),
    scalar("u64", U64, 2**64 - 1),
    scalar("i64", I64, -(2**63)),
    scalar("f64", F64, 0.1),
    strings("tokens", ["<unk>", "▁the", "é", "", "x" * 300, "日本"]),
    array("scores", F32, struct.pack("<3f", -1, 0, 1), 3),
    array("flags", BOOL, b"\1\0\1", 3),
    array("empty", I32, b"", 0),
    array("nested", ARR, u32(U8) + u64(2) + b"\1\2" + u32(STR) + u64(1) + text("a"), 2),
]
GOOD_METADATA = {
    "general.architecture": "llama",
    "u8": 255,
    "i8": -128,
    "u16": 65535,
    "i16": -32768,
    "u32": 2**32 - 1,
    "i32": -(2**31),
    "f32": 0.5,
    "yes": True,
    "no": False,
    "u64": 2**64 - 1,
    "i64": -(2**63),
    "f64": 0.1,
    "tokens": ["<unk>", "▁the", "é", "", "x" * 300, "日本"],
    "scores": [-1.0, 0.0, 1.0],
    "flags": [True, False, True],
    "empty": [],
    "nested": [[1, 2], ["a"]],
}
GOOD_TENSORS = [
    tensor("a.weight", [4, 3], 0, 0),  # 48 bytes of F32
    tensor("b.weight", [64, 2], 8, 64),  # 136 bytes of Q8_0
    tensor("c.bias", [5], 1, 224),  # 10 bytes of F16
]
GOOD_DATA = bytes(i % 251 for i in range(234))
GOOD = whole(GOOD_KEYS, GOOD_TENSORS, GOOD_DATA)
GOOD_HEADER_SIZE = len(GOOD) - len(GOOD_DATA)
