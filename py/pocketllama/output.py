"""Keeps standard output for the answer alone.

`claim()` runs before anything heavy is imported: file descriptor 1 is kept aside for us and replaced by standard error,
so that whatever prints without being asked, in Python or in native code, cannot spoil an answer or a protocol.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_kept: int | None = None
_stream: TextIO | None = None


def claim() -> None:
    """Take standard output. Later calls do nothing."""
    global _kept
    if _kept is not None:
        return
    sys.stdout.flush()
    _kept = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr


def protocol_fd() -> int:
    """The file descriptor of the real standard output."""
    return 1 if _kept is None else _kept


def stream() -> TextIO:
    """The real standard output as text: UTF-8 whatever the locale says."""
    global _stream
    if _stream is None:
        # A lone surrogate (from a file name) must not end the program; newlines stay as they are.
        _stream = open(protocol_fd(), "w", encoding="utf-8", errors="backslashreplace", newline="\n", closefd=False)  # noqa: SIM115
    return _stream


def write(text: str) -> None:
    """Write to the real standard output, at once."""
    out = stream()
    out.write(text)
    out.flush()
