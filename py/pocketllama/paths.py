"""Where pocketllama keeps its files. `js/paths.js` follows the same rules; a test compares the two."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
EMBEDDED = PACKAGE / "data"  # models that ship with the package


def data_dir() -> Path:
    """The user's data directory of pocketllama; nothing is created.

    `$POCKETLLAMA_HOME`, or the platform's convention: `$XDG_DATA_HOME/pocketllama` (`~/.local/share/pocketllama`),
    `~/Library/Application Support/pocketllama`, `%LOCALAPPDATA%\\pocketllama`.
    """
    if home := os.environ.get("POCKETLLAMA_HOME"):
        return Path(home).absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "pocketllama"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "pocketllama"
    base = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a relative value is to be ignored.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "pocketllama"
