"""Read a GGUF file's header: what the model is, and where each tensor lies.

    magic, version, n_tensors, n_keys | keys: name, type, value | tensors: name, shape, type, offset | padding | data

The file is taken for hostile: every count is checked against the bytes that remain before anything is allocated for
it, and whatever is wrong is a ModelInvalid that says what was expected, what was found and at which byte. Arrays of
the metadata (a vocabulary may have 262,144 entries) are checked when the file is opened and decoded when asked for.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ModelInvalid, ModelNotFound, OutOfMemory, StorageError, UsageError
from .cursor import ArrayRef, Cursor, shown
from .types import DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, MAX_TENSOR_NAME, REMOVED_TYPES, GGMLType, ValueType

_MAX_KEYS = 1 << 16
_MAX_TENSORS = 1 << 18
# The smallest a key-value pair and a tensor's entry can be, in bytes.
_MIN_KEY_VALUE = 8 + 1 + 4 + 1
_MIN_TENSOR = 8 + 1 + 4 + 8 + 4 + 8
# What other files begin with, so that the message can name what it was given.
_OTHER_FILES = (
    (b"lmgg", "a GGML file of 2023"),
    (b"fmgg", "a GGML file of 2023"),
    (b"tjgg", "a GGML file of 2023"),
    (b"algg", "a GGML adapter of 2023"),
    (b"PK\x03\x04", "a zip file, such as a PyTorch checkpoint"),
    (b"version https://git-lfs", "a Git LFS pointer; the file itself was not downloaded"),
    (b"<", "a page of HTML or XML, not what was to be downloaded"),
)
# Far beyond any page or vector; a larger one would only make a small file claim a large offset.
_LARGEST_ALIGNMENT = 1 << 20


@dataclass(frozen=True)
class TensorInfo:
    """One tensor's entry. `shape` is in ggml's order, the contiguous dimension first: a matrix of r rows and c columns
    has shape (c, r). `offset` is absolute, in bytes from the file's start."""

    name: str
    shape: tuple[int, ...]
    type: GGMLType
    offset: int
    nbytes: int

    @property
    def n_elements(self) -> int:
        return _product(self.shape)


class Metadata(Mapping[str, Any]):
    """The key-value pairs in file order: numbers, bools and strings as Python's, arrays as lists decoded on first use.

    The lists are kept and shared; treat them as read-only.
    """

    def __init__(self, values: dict[str, Any], types: dict[str, ValueType]) -> None:
        self._values = values
        self._types = types
        # Of the arrays, which lose it when they are decoded.
        self._entries = {key: value.kind for key, value in values.items() if isinstance(value, ArrayRef)}

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if isinstance(value, ArrayRef):
            value = self._values[key] = value.decode()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values  # Mapping's own would decode the array

    def __repr__(self) -> str:
        return f"<Metadata of {len(self)} keys>"

    def type_of(self, key: str) -> ValueType:
        """The stored type of a value; KeyError where there is none."""
        return self._types[key]

    def entry_type(self, key: str) -> ValueType:
        """The stored type of an array's entries; KeyError where there is no array."""
        return self._entries[key]

    def length(self, key: str) -> int:
        """The number of entries of the array (or characters of the string) at `key`, without decoding it."""
        return len(self._values[key])


class GGUF:
    """An open GGUF file: made by `read`. Use it in a `with`, or `close` it."""

    def __init__(self, path: Path, buffer: mmap.mmap) -> None:
        self.path = path
        self._map = buffer
        cursor = Cursor(path.name, buffer)
        self.file_size = len(buffer)  # bytes
        self.version, n_tensors, n_keys = _read_start(cursor)
        self.metadata = _read_metadata(cursor, n_keys)
        self.alignment = _alignment(cursor, self.metadata)
        self.tensors, self.data_offset = _read_tensors(cursor, n_tensors, self.alignment)

    def tensor_bytes(self, tensor: TensorInfo) -> memoryview:
        """The stored bytes of one of `tensors`, mapped and not copied; the view stays valid after `close`."""
        if self._map.closed:
            raise UsageError(f"{self.path.name} is closed; its tensors can no longer be read.")
        return memoryview(self._map)[tensor.offset : tensor.offset + tensor.nbytes]

    def close(self) -> None:
        """Let go of the file; arrays that were not asked for yet can then no longer be read."""
        try:
            self._map.close()
        except BufferError:
            pass  # a view is still in use: the mapping goes when it does

    def __enter__(self) -> GGUF:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def read(path: Path | str) -> GGUF:
    """Open the GGUF file at `path` (version 2 or 3, little-endian) and check its whole header.

    A part of a split model reads as the file it is. Raises ModelNotFound, ModelInvalid (not a GGUF, damaged, or of a
    kind this reader does not know), StorageError or OutOfMemory, and nothing else.
    """
    path = Path(path)
    buffer = _map_file(path)
    try:
        return GGUF(path, buffer)
    except BaseException:
        buffer.close()
        raise


def _map_file(path: Path) -> mmap.mmap:
    size = 0
    try:
        # Asked before opening, for opening a FIFO would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelInvalid(f"{path} is not a file.")
        with path.open("rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size == 0:
                raise ModelInvalid(f"{path.name} is not a GGUF file: it is empty.", remedy=_AGAIN)
            return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise ModelNotFound(
            f"There is no file at {path}.", remedy="Check the path; `pocketllama list` shows models."
        ) from e
    except OSError as e:
        if e.errno == errno.ENOMEM:
            raise OutOfMemory(f"{path.name} ({size} bytes) does not fit the address space.") from e
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    except ValueError as e:  # a NUL in the path
        raise ModelNotFound(f"{str(path)!r} is not a path.") from e


_AGAIN = "Download or convert the file again."


def _read_start(cursor: Cursor) -> tuple[int, int, int]:
    """Magic, version and the two counts → (version, n_tensors, n_keys)."""
    magic = cursor.peek(32)
    if magic[:4] != MAGIC:
        kind = next((f" ({what})" for start, what in _OTHER_FILES if magic.startswith(start)), "")
        found = f"{magic[:4]!r}{kind}"
        raise ModelInvalid(
            f"{cursor.name} is not a GGUF file: expected {MAGIC!r} at byte 0, found {found}.", remedy=_AGAIN
        )
    cursor.pos = 4
    version = cursor.u32("the version")
    if version == 1:
        raise cursor.error("the version", "2 or 3", "1, of August 2023, whose counts are narrower", 4)
    if version & 0xFFFF == 0 and version:
        raise cursor.error("the version", "little-endian numbers", "big-endian ones", 4)
    if version not in (2, 3):
        raise cursor.error("the version", "2 or 3", version, 4)
    n_tensors = cursor.count("the number of tensors", _MIN_TENSOR, _MAX_TENSORS)
    n_keys = cursor.count("the number of metadata keys", _MIN_KEY_VALUE, _MAX_KEYS)
    return version, n_tensors, n_keys


def _read_metadata(cursor: Cursor, n_keys: int) -> Metadata:
    values: dict[str, Any] = {}
    types: dict[str, ValueType] = {}
    for i in range(n_keys):
        at = cursor.pos
        key = cursor.string(f"the name of key {i}", most=65535)
        if not key or key in values:
            raise cursor.error(f"the name of key {i}", "a new name", shown(key), at)
        types[key] = cursor.value_type(f"the type of {shown(key)}")
        values[key] = cursor.value(f"the value of {shown(key)}", types[key])
    return Metadata(values, types)


def _alignment(cursor: Cursor, metadata: Metadata) -> int:
    if "general.alignment" not in metadata:
        return DEFAULT_ALIGNMENT
    value = metadata["general.alignment"]
    kind = metadata.type_of("general.alignment")
    if kind != ValueType.UINT32 or not 0 < value <= _LARGEST_ALIGNMENT or value & (value - 1):
        raise cursor.error("general.alignment", "a power of two up to 2^20 of type UINT32", shown(value))
    return int(value)


def _read_tensors(cursor: Cursor, count: int, alignment: int) -> tuple[list[TensorInfo], int]:
    """The tensors' entries → (tensors with absolute offsets, where the data begins)."""
    entries = [_read_entry(cursor, i, alignment) for i in range(count)]
    data_offset = -(-cursor.pos // alignment) * alignment
    tensors: list[TensorInfo] = []
    names: set[str] = set()
    for (name, shape, kind, offset), at in entries:
        if name in names:
            raise cursor.error("a tensor's name", "a new name", shown(name), at)
        names.add(name)
        tensor = TensorInfo(name, shape, kind, data_offset + offset, kind.nbytes(_product(shape)))
        if tensor.offset + tensor.nbytes > cursor.size:
            raise cursor.error(
                f"the data of tensor {shown(name)}",
                f"{tensor.nbytes} bytes from {tensor.offset} on",
                f"a file that ends at {cursor.size}",
                at,
            )
        tensors.append(tensor)
    _check_overlaps(cursor, tensors)
    return tensors, data_offset


def _read_entry(cursor: Cursor, i: int, alignment: int) -> tuple[tuple[str, tuple[int, ...], GGMLType, int], int]:
    """One tensor's entry → ((name, shape, type, offset from the data's start), where the entry begins)."""
    start = cursor.pos
    name = cursor.string(f"the name of tensor {i}", most=MAX_TENSOR_NAME)
    if not name or "\0" in name:
        raise cursor.error(f"the name of tensor {i}", "a name", shown(name), start)
    of = f"of tensor {shown(name)}"
    at = cursor.pos
    n_dims = cursor.u32(f"the number of dimensions {of}")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.error(f"the number of dimensions {of}", f"1 to {MAX_DIMS}", n_dims, at)
    at = cursor.pos
    shape = tuple(cursor.u64(f"the shape {of}") for _ in range(n_dims))
    # Checked before any multiplication is believed: an element takes more than a bit in every type.
    if not 0 < _product(shape) <= cursor.size * 8:
        raise cursor.error(f"the shape {of}", f"1 to {cursor.size * 8} elements", list(shape), at)
    at = cursor.pos
    number = cursor.u32(f"the type {of}")
    try:
        kind = GGMLType(number)
    except ValueError:
        gone = f" ({REMOVED_TYPES[number]}, removed from the format)" if number in REMOVED_TYPES else ""
        raise cursor.error(f"the type {of}", "a known tensor type", f"{number}{gone}", at) from None
    if shape[0] % kind.block_size:
        raise cursor.error(f"the shape {of}", f"rows of a multiple of {kind.block_size} ({kind.name})", list(shape), at)
    at = cursor.pos
    offset = cursor.u64(f"the offset {of}")
    if offset % alignment:
        raise cursor.error(f"the offset {of}", f"a multiple of {alignment}", offset, at)
    return (name, shape, kind, offset), start


def _check_overlaps(cursor: Cursor, tensors: list[TensorInfo]) -> None:
    in_order = sorted(tensors, key=lambda t: t.offset)
    for left, right in itertools.pairwise(in_order):
        if left.offset + left.nbytes > right.offset:
            raise cursor.error(
                f"the data of tensor {shown(right.name)}",
                f"an offset from {left.offset + left.nbytes} on, after {shown(left.name)}",
                right.offset,
                right.offset,
            )


def _product(shape: tuple[int, ...]) -> int:
    n = 1
    for dim in shape:
        n *= dim
    return n
