"""What the rest of pocketllama gets to know about a model on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["embedded", "hub", "url", "file"]


@dataclass(frozen=True)
class Model:
    """A complete model on this machine.

    `path` is the first or only file (what an engine opens), `files` all of them in order (a split GGUF has several),
    `size` their bytes together. `name` finds it again. `revision` is the commit, for a model of the hub.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    size: int
    source: Source
    licence: str | None = None
    revision: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "path": str(self.path),
            "files": [str(file) for file in self.files],
            "size": self.size,
            "source": self.source,
            "licence": self.licence,
            "revision": self.revision,
        }
