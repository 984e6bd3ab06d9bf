"""The seam between where weights come from and what becomes of them.

A layout (Meta's here; others beside it) opens a folder as a `Checkpoint`: the hyperparameters, the vocabulary, and the
tensors under GGUF's names. What an architecture makes of these, and the writing, do not know the layout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .tokenizer import Vocabulary


@dataclass(frozen=True)
class Hyperparameters:
    """The numbers of a transformer with rotary positions. Sizes in elements, lengths in tokens."""

    n_vocab: int
    n_ctx: int  # trained for
    n_embd: int
    n_layer: int
    n_ff: int  # width of the feed-forward network
    n_head: int
    n_head_kv: int  # heads of keys and values; equal to n_head where they are not shared
    norm_eps: float
    rope_base: float

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


class Tensor(Protocol):
    """One tensor: its shape as torch says it, the contiguous dimension last, and its numbers when asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def rows(self) -> Iterator[NDArray[np.float32]]:
        """All elements in order, in arrays of (some rows, the last dimension), in bounded memory."""


class Checkpoint(Protocol):
    """An open checkpoint. A `with` closes it."""

    @property
    def name(self) -> str:
        """What to call the model."""

    @property
    def architecture(self) -> str:
        """A key of `architectures.ARCHITECTURES`."""

    @property
    def hyperparameters(self) -> Hyperparameters: ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Under GGUF's names, in the layout that GGUF's architecture expects."""

    def __enter__(self) -> Checkpoint: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...


def open_checkpoint(source: Path) -> Checkpoint:
    """Open the checkpoint in the folder `source` (or beside the file `source`).

    ModelNotFound where there is none, UsageError where its layout cannot be converted.
    """
    from .meta import MetaCheckpoint

    return MetaCheckpoint(source)
