"""The answers of a base model, kept in a file for comparing others with.

A line of JSON says what they are of, then come the packed rows of all scored tokens (native/src/loss.h): 12 bytes and
two for each token of the vocabulary.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from .. import gguf
from ..errors import ModelInvalid, ModelNotFound, StorageError, UsageError

_FORMAT = "pocketllama logits 1"
_LONGEST_LINE = 1 << 16
# What must be the same, and what to call it.
_SAME = {
    "text_sha256": "another text",
    "n_vocab": "another vocabulary",
    "context": "another context",
    "stride": "another stride",
}


def _check_replaceable(path: Path) -> None:
    """Only logits may be replaced by logits: a mistyped name must not cost a model."""
    if not path.exists():
        return
    try:
        with LogitsReader(path):
            pass
    except ModelInvalid as e:
        raise UsageError(
            f"{path} is there and holds no logits; it is not overwritten.", remedy="Choose another name."
        ) from e
    except ModelNotFound as e:
        raise UsageError(f"{path} is a folder.", remedy="Name the file too.") from e


class LogitsWriter:
    """Writes the file; it appears when it is whole."""

    def __init__(self, path: Path, facts: Mapping[str, Any], nbytes: int) -> None:
        self.path = path
        if not path.parent.is_dir():
            raise StorageError(f"There is no folder {path.parent} to write to.", remedy="Make it, or choose another.")
        _check_replaceable(path)
        gguf.check_space(path, nbytes)
        self._temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.partial")
        self._head = json.dumps({"format": _FORMAT, **facts}).encode() + b"\n"
        self._file: BinaryIO | None = None

    def __enter__(self) -> LogitsWriter:
        try:
            self._file = self._temporary.open("xb")
        except OSError as e:
            raise StorageError(f"{self.path} could not be written: {e.strerror or e}.") from e
        self.write(self._head)
        return self

    def write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as e:
            raise StorageError(f"{self.path} could not be written: {e.strerror or e}.") from e

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        assert self._file is not None
        try:
            self._file.close()
            if kind is None:
                self._temporary.replace(self.path)
        except OSError as e:
            raise StorageError(f"{self.path} could not be written: {e.strerror or e}.") from e
        finally:
            self._temporary.unlink(missing_ok=True)


class LogitsReader:
    """Reads the file at `path`; `facts` are what was written with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
            raise ModelNotFound(f"There is no file of logits at {path}.", remedy="--kl-base makes one.") from e
        except OSError as e:
            raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
        line = self._file.readline(_LONGEST_LINE)
        try:
            self.facts: dict[str, Any] = json.loads(line)
            if self.facts["format"] != _FORMAT:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            self._file.close()
            raise ModelInvalid(f"{path.name} holds no logits.", remedy="--kl-base makes such a file.") from None

    def __enter__(self) -> LogitsReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.close()

    def expect(self, facts: Mapping[str, Any]) -> None:
        """UsageError if they are of something else than this."""
        for key, what in _SAME.items():
            if self.facts.get(key) != facts[key]:
                raise UsageError(
                    f"The logits in {self.path.name} are of {what} ({key}: {self.facts.get(key)!r:.80}, "
                    f"here {facts[key]!r:.80}).",
                    remedy="Measure both models with the same text and options.",
                )

    def read(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) != n:
            raise ModelInvalid(f"{self.path.name} is cut short.", remedy="Make it again with --kl-base.")
        return data
