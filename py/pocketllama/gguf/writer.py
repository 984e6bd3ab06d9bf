"""Write a GGUF file in one pass: header first, then the tensors' data as it comes, in bounded memory.

The file appears under its name only when it is whole: it is written beside it under a temporary name, brought to the
disk and renamed, and whatever interrupts that removes the temporary file.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import StorageError, UsageError
from ..units import human_size
from .early_sync import EarlySync
from .types import DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, MAX_TENSOR_NAME, STRUCT_CODES, GGMLType, ValueType

VERSION = 3


@dataclass(frozen=True)
class ArrayOf:
    """The type of a metadata value that is an array: of scalars, of strings, or of arrays again."""

    entry: ValueType | ArrayOf


@dataclass(frozen=True)
class TensorSpec:
    """A tensor to be written. `shape` is in ggml's order, the contiguous dimension first, as in TensorInfo."""

    name: str
    shape: tuple[int, ...]
    type: GGMLType

    @property
    def nbytes(self) -> int:
        n = 1
        for dim in self.shape:
            n *= dim
        return self.type.nbytes(n)


Type = ValueType | ArrayOf


def encode_value(kind: Type, value: Any) -> bytes:
    """A metadata value in the format's bytes, without its type; UsageError if it does not fit the type."""
    if isinstance(kind, ArrayOf):
        entry = ValueType.ARRAY if isinstance(kind.entry, ArrayOf) else kind.entry
        start = struct.pack("<IQ", entry, len(value))
        if isinstance(kind.entry, ValueType) and kind.entry in STRUCT_CODES:
            return start + _pack(kind.entry, value)
        if isinstance(kind.entry, ArrayOf):  # an inner array brings its own type and length
            return start + b"".join(encode_value(kind.entry, v) for v in value)
        return start + b"".join(map(_string, value))
    if kind == ValueType.ARRAY:
        raise UsageError("An array's type is written ArrayOf(type of its entries).")
    return _string(value) if kind == ValueType.STRING else _pack(kind, [value])


def _pack(kind: ValueType, values: Sequence[Any]) -> bytes:
    try:
        if kind == ValueType.BOOL and not all(v is True or v is False for v in values):
            raise UsageError("A BOOL of GGUF metadata is True or False.")
        return struct.pack(f"<{len(values)}{STRUCT_CODES[kind]}", *values)
    except (struct.error, OverflowError) as e:
        raise UsageError(f"A value of GGUF metadata does not fit {kind.name}: {e}.") from e


def _string(text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as e:
        raise UsageError(f"A string of GGUF metadata is not valid Unicode: {e}.") from e
    return struct.pack("<Q", len(data)) + data


def encode_header(metadata: Mapping[str, tuple[Type, Any]], tensors: Sequence[TensorSpec]) -> bytes:
    """Everything before the tensors' data, padded to the alignment."""
    alignment = _alignment(metadata)
    parts = [struct.pack("<4sIQQ", MAGIC, VERSION, len(tensors), len(metadata))]
    for key, (kind, value) in metadata.items():
        number = ValueType.ARRAY if isinstance(kind, ArrayOf) else kind
        parts += [_string(key), struct.pack("<I", number), encode_value(kind, value)]
    offset = 0
    names: set[str] = set()
    for t in tensors:
        _check_spec(t, names)
        shape = struct.pack(f"<I{len(t.shape)}Q", len(t.shape), *t.shape)
        parts += [_string(t.name), shape, struct.pack("<IQ", t.type, offset)]
        offset += _padded(t.nbytes, alignment)
    header = b"".join(parts)
    return header.ljust(_padded(len(header), alignment), b"\0")


def _alignment(metadata: Mapping[str, tuple[Type, Any]]) -> int:
    kind, value = metadata.get("general.alignment", (ValueType.UINT32, DEFAULT_ALIGNMENT))
    if kind != ValueType.UINT32 or value <= 0 or value & (value - 1):
        raise UsageError(f"general.alignment must be a power of two of type UINT32, not {value!r}.")
    return int(value)


def _check_spec(t: TensorSpec, names: set[str]) -> None:
    size = len(t.name.encode())
    if not 1 <= size <= MAX_TENSOR_NAME or t.name in names:
        raise UsageError(f"The tensor name {t.name!r} is empty, longer than {MAX_TENSOR_NAME} bytes, or there twice.")
    if not 1 <= len(t.shape) <= MAX_DIMS or min(t.shape) < 1 or t.shape[0] % t.type.block_size:
        raise UsageError(f"{t.type.name} cannot hold the tensor {t.name!r} of shape {t.shape} (ggml order).")
    names.add(t.name)


def _padded(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment


class Writer:
    """Writes one file: `write` is called once for each of `tensors`, in their order, inside a `with`.

    `metadata` maps keys to (type, value), in file order. Leaving the `with` normally makes the file appear at `path`
    (replacing what was there); leaving it by an exception leaves nothing. A disk that is full or failing raises
    StorageError; a tensor too many, too few or of a wrong size raises UsageError.
    """

    def __init__(
        self, path: Path | str, metadata: Mapping[str, tuple[Type, Any]], tensors: Sequence[TensorSpec]
    ) -> None:
        self.path = Path(path)
        self._tensors = list(tensors)
        self._header = encode_header(metadata, self._tensors)
        self._alignment = _alignment(metadata)
        self._written = 0  # tensors
        # Whole size in bytes, known before the first is written.
        self.nbytes = len(self._header) + sum(_padded(t.nbytes, self._alignment) for t in self._tensors)
        self._temporary = self.path.with_name(f".{self.path.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.partial")
        self._file: FileIO | None = None
        self._sync: EarlySync | None = None

    def __enter__(self) -> Writer:
        try:
            # Unbuffered: each write is one large block, and close() then has nothing left that could fail.
            self._file = FileIO(self._temporary, "xb")
            self._sync = EarlySync(self._file.fileno())
            self._put(self._header)
        except OSError as e:
            self._discard()
            raise self._storage_error(e) from e
        except BaseException:
            self._discard()
            raise
        return self

    def write(self, data: Iterable[bytes | memoryview[Any]] | bytes | memoryview[Any]) -> None:
        """The next tensor's bytes, whole or in pieces."""
        if self._file is None or self._written >= len(self._tensors):
            raise UsageError(f"{self.path.name} has {len(self._tensors)} tensors, and no more can be written.")
        tensor, size = self._tensors[self._written], 0
        for piece in [data] if isinstance(data, (bytes, memoryview)) else data:
            view = memoryview(piece).cast("B")
            size += len(view)
            if size > tensor.nbytes:
                break
            self._put_checked(view)
        if size != tensor.nbytes:
            more = "or more " if size > tensor.nbytes else ""
            raise UsageError(f"The tensor {tensor.name!r} takes {tensor.nbytes} bytes; {size} {more}came.")
        self._put_checked(bytes(_padded(size, self._alignment) - size))
        self._written += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        if self._written != len(self._tensors):
            raise UsageError(f"{self._written} of {len(self._tensors)} tensors of {self.path.name} were written.")
        assert self._file is not None and self._sync is not None
        try:
            self._sync.finish()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self.path)
        except OSError as e:
            raise self._storage_error(e) from e
        _sync_folder(self.path.parent)

    def _discard(self) -> None:
        """Remove the temporary file, if it is still there."""
        if self._file is None:
            return
        if self._sync is not None:
            self._sync.abandon()
        try:
            self._file.close()
        except OSError:
            pass
        self._file = None
        try:
            self._temporary.unlink(missing_ok=True)
        except OSError:
            pass

    def _put(self, data: bytes | memoryview) -> None:
        assert self._file is not None and self._sync is not None
        rest = memoryview(data)
        while rest:
            n = self._file.write(rest) or 0
            rest = rest[n:]
            self._sync.wrote(n)

    def _put_checked(self, data: bytes | memoryview) -> None:
        try:
            self._put(data)
        except OSError as e:
            raise self._storage_error(e) from e

    def _storage_error(self, e: OSError) -> StorageError:
        full = e.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
        room = f"Free {human_size(self.nbytes)} there, or choose" if full else "Choose"
        return StorageError(
            f"{self.path} could not be written: {e.strerror or e}.",
            remedy=f"{room} another folder.",
            data={"file": str(self.path), "need_bytes": self.nbytes},
        )


def _sync_folder(folder: Path) -> None:
    """Bring the rename itself to the disk, where the system can; the file is whole either way."""
    if sys.platform == "win32":
        return
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    except OSError:
        pass
    finally:
        os.close(fd)
