"""Tensors of a torch checkpoint (`torch.save`, format of torch 1.6 and later), read without torch and without pickle.

NAME/data.pkl      which tensors there are: names, shapes, and the storage each is a view of
NAME/data/KEY      one storage's elements
NAME/byteorder, NAME/version
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import ModelInvalid
from .archive import Archive, Member
from .range_file import POINTER
from .tensor import F32, WIDTHS, floats, n_rows, row_width
from .unpickle import TensorRef, unpickle

_MAX_PICKLE = 4 << 20  # bytes; a tensor takes about 200


class StoredTensor:
    """One tensor of the file. `shape` is torch's, the contiguous dimension last; `dtype` one of f32, f16, bf16, ..."""

    def __init__(self, file: TorchFile, name: str, ref: TensorRef, member: Member) -> None:
        self.name, self.shape, self.dtype = name, ref.shape, ref.storage.dtype
        self._file, self._ref, self._member = file, ref, member
        self._gathered: F32 | None = None
        self.n_elements = 1
        for dim in self.shape:
            self.n_elements *= dim

    def read(self, start: int, stop: int) -> F32:
        """The rows from `start` up to `stop`, as `tensor.Tensor` has it; the storage's CRC is checked at the first."""
        width = row_width(self.shape)
        if not self.n_elements or start >= stop:
            return np.empty((0, width), np.float32)
        self._file.check(self._member)
        if self._contiguous():
            return self._read(start * width, (stop - start) * width).reshape(-1, width)
        if self._gathered is None:
            # A transposed or cut-out view: all that it spans is read, and never more than the storage.
            span = 1 + sum((n - 1) * s for n, s in zip(self.shape, self._ref.stride, strict=True))
            strides = [4 * s for s in self._ref.stride]
            view = np.lib.stride_tricks.as_strided(self._read(0, span), self.shape, strides, writeable=False)
            self._gathered = np.ascontiguousarray(view).reshape(-1, width)
        rows = self._gathered[start:stop]
        if stop == n_rows(self.shape):
            self._gathered = None
        return rows

    def _contiguous(self) -> bool:
        expected = 1
        for n, stride in zip(reversed(self.shape), reversed(self._ref.stride), strict=True):
            if n != 1 and stride != expected:
                return False
            expected *= n
        return True

    def _read(self, start: int, count: int) -> F32:
        """`count` elements of the storage, from `start` behind the tensor's first."""
        width = WIDTHS[self.dtype]
        data = self._file.archive.read(self._member.offset + (self._ref.offset + start) * width, count * width)
        return floats(data, self.dtype, self.name, self._file.name)


class TorchFile:
    """An open checkpoint: `tensors` maps names to StoredTensors, in file order. Use it in a `with`.

    Raises UnsafeFile where the file wants more than to be read, ModelInvalid where it is damaged or no checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._checked: set[str] = set()
        self.archive = _open(path)
        try:
            self._root = self._find_root()
            self._check_format()
            pickle = self.archive.read_member(f"{self._root}/data.pkl", _MAX_PICKLE)
            self.tensors = self._locate(unpickle(pickle, self.name))
        except BaseException:
            self.archive.close()
            raise

    def __enter__(self) -> TorchFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.archive.close()

    def check(self, member: Member) -> None:
        """The member's CRC-32, once for each that is used."""
        if member.name not in self._checked:
            self.archive.check(member)
            self._checked.add(member.name)

    def _find_root(self) -> str:
        roots = [n.removesuffix("/data.pkl") for n in self.archive.members if n.endswith("/data.pkl")]
        if len(roots) != 1 or "/" in roots[0]:
            raise ModelInvalid(f"{self.name} is a zip file but no torch checkpoint: it has {len(roots)} data.pkl.")
        return roots[0]

    def _check_format(self) -> None:
        if f"{self._root}/byteorder" in self.archive.members:
            order = self.archive.read_member(f"{self._root}/byteorder", 16)
            if order != b"little":
                raise ModelInvalid(f"{self.name} has its numbers in byte order {order!r}; only b'little' can be read.")
        if not self.archive.read_member(f"{self._root}/version", 16).strip().isdigit():
            raise self.archive.damaged("its version is no number")

    def _locate(self, content: object) -> dict[str, StoredTensor]:
        if type(content) is not dict:
            raise ModelInvalid(f"{self.name} holds no table of tensors.")
        tensors: dict[str, StoredTensor] = {}
        for name, ref in content.items():
            if type(ref) is not TensorRef:
                raise ModelInvalid(
                    f"{self.name} holds {name[:80]!r}, which is no tensor; a table of tensors alone was expected."
                )
            tensors[name] = StoredTensor(self, name, ref, self._storage(name, ref))
        return tensors

    def _storage(self, name: str, ref: TensorRef) -> Member:
        """The member that a tensor is a view of, with every element of the view inside it."""
        storage = ref.storage
        member = self.archive.members.get(f"{self._root}/data/{storage.key}")
        what = f"the tensor {name[:80]!r}"
        if member is None:
            raise self.archive.damaged(f"{what} is in the storage {storage.key[:80]!r}, which is missing")
        size = storage.numel * WIDTHS[storage.dtype]
        if member.size != size:
            raise self.archive.damaged(f"the storage of {what} should have {size} bytes and has {member.size}")
        count, last = 1, ref.offset
        for n, stride in zip(ref.shape, ref.stride, strict=True):
            count *= n
            last += (n - 1) * stride
        # The first bound keeps views that repeat an element from being larger than the file.
        if count > storage.numel or (count and last >= storage.numel):
            raise self.archive.damaged(f"{what} of shape {ref.shape} reaches outside its {storage.numel} elements")
        return member


def _open(path: Path) -> Archive:
    try:
        with path.open("rb") as f:
            start = f.read(16)
    except OSError:
        start = b"PK"  # opening the archive says what is wrong
    if start and not start.startswith((b"PK", POINTER[:16])):  # of an empty file and a pointer it says so too
        old = start.startswith((b"\x80\x02\x8a\x0a", b"\x80\x02}", b"\x80\x02c"))
        raise ModelInvalid(
            f"{path.name} is no torch checkpoint of today: it begins with {start!r}"
            + (", as torch before 1.6 wrote." if old else "."),
            remedy="Save it again where torch is: torch.save(torch.load(path, weights_only=True), path)"
            if old
            else "Download it again.",
        )
    return Archive(path)
