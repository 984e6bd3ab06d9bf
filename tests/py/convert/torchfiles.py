"""torch checkpoints put together without torch, zip and pickle by hand, so that they can be wrong at will."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A zip member; what is not None is written instead of the truth."""

    name: str
    data: bytes
    own_name: str | None = None  # in the member's own header
    method: int = 0
    own_method: int = 0
    flags: int = 0
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    offset: int | None = None
    extra: bytes = b""


def archive(entries: list[Entry], count: int | None = None, zip64: bool = False, directory: int | None = None) -> bytes:
    out, central = bytearray(), bytearray()
    for e in entries:
        crc = zlib.crc32(e.data) if e.crc is None else e.crc
        size = len(e.data) if e.size is None else e.size
        packed = len(e.data) if e.packed is None else e.packed
        offset = len(out) if e.offset is None else e.offset
        own, name = (e.own_name or e.name).encode("utf-8", "surrogateescape"), e.name.encode("utf-8", "surrogateescape")
        pad = b"FB" + struct.pack("<H", 6) + b"Z" * 6  # torch pads with such a field
        out += struct.pack(
            "<4s5H3L2H", b"PK\3\4", 0, e.flags, e.own_method, 0, 0, crc, len(e.data), len(e.data), len(own), 10
        )
        out += own + pad + e.data
        fields = (20, 20, e.flags, e.method, 0, 0, crc, packed, size, len(name), len(e.extra), 0, 0, 0, 0, offset)
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", *fields) + name + e.extra
    start = len(out) if directory is None else directory
    n = len(entries) if count is None else count
    end = len(out) + len(central)
    out += central
    if zip64:
        out += struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(central), start)
        out += struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
        n, size32, start32 = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    else:
        size32, start32 = len(central), start
    return bytes(out + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n, n, size32, start32, 0))


def text(s: str) -> bytes:
    data = s.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(n: int) -> bytes:
    if -(2**31) <= n < 2**31:
        return b"J" + struct.pack("<i", n)
    return b"\x8a\x09" + n.to_bytes(9, "little", signed=True)


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str, shape: tuple[int, ...], numel: int, cls: str = "HalfStorage", offset: int = 0, stride: Any = None
) -> bytes:
    """The pickle of one tensor: what torch's own pickler makes of it, without the memo."""
    if stride is None:
        stride, n = [], 1
        for dim in reversed(shape):
            stride.insert(0, n)
            n *= dim
    storage = b"(" + text("storage") + f"ctorch\n{cls}\n".encode() + text(key) + text("cpu") + number(numel) + b"tQ"
    rest = number(offset) + numbers(shape) + numbers(tuple(stride)) + b"\x89" + b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + rest + b"tR"


def table(items: dict[str, bytes]) -> bytes:
    return b"\x80\x02}(" + b"".join(text(k) + v for k, v in items.items()) + b"u."


def members(pickle: bytes, storages: dict[str, bytes], root: str = "consolidated.00") -> list[Entry]:
    return [
        Entry(f"{root}/data.pkl", pickle),
        Entry(f"{root}/byteorder", b"little"),
        *(Entry(f"{root}/data/{key}", data) for key, data in storages.items()),
        Entry(f"{root}/version", b"3\n"),
    ]


def checkpoint(tensors: dict[str, Any], cls: str = "HalfStorage") -> bytes:
    """A whole file of NumPy arrays whose dtype fits `cls`."""
    items, storages = {}, {}
    for i, (name, array) in enumerate(tensors.items()):
        items[name] = tensor(str(i), array.shape, array.size, cls)
        storages[str(i)] = array.tobytes()
    return archive(members(table(items), storages))


def with_pickle(path: Path, pickle: bytes) -> Path:
    """Write a checkpoint with this pickle and one storage '0' of 8 float16."""
    path.write_bytes(archive(members(pickle, {"0": bytes(range(16))})))
    return path


__all__ = ["Entry", "archive", "checkpoint", "members", "number", "replace", "table", "tensor", "text", "with_pickle"]
