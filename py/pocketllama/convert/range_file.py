"""Files that are read in ranges of bytes, none of which is believed to be there before it has been read."""

from __future__ import annotations

from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from ..errors import ModelInvalid, ModelNotFound, StorageError

AnyFile = TypeVar("AnyFile", bound="RangeFile")
POINTER = b"version https://git-lfs"  # how a file of git-lfs begins that has not been fetched


def refuse_pointer(name: str, start: bytes) -> None:
    """ModelInvalid if a file that begins with `start` is only git-lfs' pointer to it."""
    if start.startswith(POINTER):
        raise ModelInvalid(f"{name} is a pointer of git-lfs, not the file itself.", remedy="git lfs pull brings it.")


class RangeFile:
    """An open file of `size` bytes, to be used in a `with`. A format is a class of its own, whose `_parse` reads what
    stands before the numbers; what stops it closes the file. ModelNotFound and StorageError where it cannot be read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BufferedReader = path.open("rb")
        except FileNotFoundError as e:
            raise ModelNotFound(f"There is no file at {path}.") from e
        except OSError as e:
            raise self._unreadable(e) from e
        try:
            self.size = self._file.seek(0, 2)
            if not self.size:
                raise self.damaged("it is empty")
            refuse_pointer(path.name, self.read(0, min(len(POINTER), self.size)))
            self._parse()
        except OSError as e:
            self.close()
            raise self._unreadable(e) from e
        except BaseException:
            self.close()
            raise

    def _parse(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._file.close()

    def __enter__(self: AnyFile) -> AnyFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on; ModelInvalid if they are not all there."""
        if size > self.size - offset:  # before memory is asked for
            raise self.damaged(f"it ends at byte {self.size}, {size} bytes were expected from {offset} on")
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as e:
            raise self._unreadable(e) from e
        if len(data) != size:
            raise self.damaged(f"it ended at byte {offset + len(data)} while it was read")
        return data

    def damaged(self, what: str) -> ModelInvalid:
        return ModelInvalid(f"{self.path.name} is damaged: {what}.", remedy="Download the model again.")

    def _unreadable(self, e: OSError) -> StorageError:
        return StorageError(f"{self.path} cannot be read: {e.strerror or e}.")
