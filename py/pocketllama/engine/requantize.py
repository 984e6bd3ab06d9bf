"""Matrices from one tensor type into another, by our own library (native/src/quant)."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_float, c_int32, c_int64, c_uint32, c_void_p
from typing import Any

from ..gguf import GGMLType
from . import native, own


class _Work(Structure):
    _fields_ = [
        ("size", c_uint32),
        ("from_type", c_int32),
        ("to_type", c_int32),
        ("threads", c_int32),
        ("rows", c_int64),
        ("cols", c_int64),
        ("src", c_void_p),
        ("src_bytes", c_int64),
        ("dst", c_void_p),
        ("dst_bytes", c_int64),
        ("importance", POINTER(c_float)),
        ("n_importance", c_int64),
        ("abort", POINTER(c_int32)),
    ]


class Requantizer:
    """Our library as a function from bytes to bytes; EngineError where it is not there."""

    def __init__(self, threads: int) -> None:
        self._lib: Any = own.bind(native.load(native.find()))
        self._lib.pl_requantize.argtypes, self._lib.pl_requantize.restype = [POINTER(_Work)], c_int32
        self._threads = threads

    def __call__(
        self,
        source: bytes | memoryview,
        kind: GGMLType,
        target: GGMLType,
        cols: int,
        importance: Sequence[float] | None = None,
    ) -> memoryview:
        """Whole rows of `cols` weights in the type `kind`, as `target`. `importance` (cols): what each column counts.

        ModelInvalid for NaN, infinity, and numbers too large for `target`.
        """
        rows = len(source) // kind.nbytes(cols)
        src = (ctypes.c_char * len(source)).from_buffer_copy(source)  # the file's own pages are read-only
        dst = (ctypes.c_char * (target.nbytes(cols) * rows))()
        weights = (c_float * cols)(*importance) if importance is not None else None
        work = _Work(
            size=ctypes.sizeof(_Work),
            from_type=kind,
            to_type=target,
            threads=self._threads,
            rows=rows,
            cols=cols,
            src=ctypes.addressof(src),
            src_bytes=len(src),
            dst=ctypes.addressof(dst),
            dst_bytes=len(dst),
            importance=weights,
            n_importance=cols if weights is not None else 0,
            abort=None,
        )
        if self._lib.pl_requantize(byref(work)) < 0:
            raise own.error(self._lib)
        return memoryview(dst).cast("B")
