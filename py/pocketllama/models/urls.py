"""Models from web servers other than the hub: `<data dir>/models/<host>/<hash of the address>/<file>`.

Beside each file stands `<file>.json` with its address, size and sha256 as they were when it arrived.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from pocketllama import paths
from pocketllama.models import choose, disk, refs

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Record:
    """What is known of a file that came from a web server."""

    url: str  # of this file
    size: int  # bytes
    sha256: str
    name: str  # the address that was pulled: the same for every part of a split file
    parts: int


def root() -> Path:
    return paths.data_dir() / "models"


def addresses(url: str) -> tuple[str, ...]:
    """The address itself, or those of every part where it is a part of a split GGUF."""
    parts = urlsplit(url)
    files = choose.split_parts(parts.path)
    if files is None:
        return (url,)
    return tuple(urlunsplit(parts._replace(path=file)) for file in files)


def place(url: str) -> Path:
    """Where an address's file goes: no character of it reaches a path unchecked. Parts share one folder."""
    parts = urlsplit(url)
    host = re.sub(r"[^a-z0-9.-]", "_", (parts.netloc or "_").lower()).lstrip(".")[:100]
    first = addresses(url)[0]
    name = re.sub(r"[^A-Za-z0-9._-]", "_", unquote(parts.path).rpartition("/")[2]).lstrip(".")
    stem, dot, suffix = name.rpartition(".")
    if f"{dot}{suffix.lower()}" not in refs.MODEL_SUFFIXES:
        stem, suffix = name or "model", "gguf"
    return root() / (host or "_") / hashlib.sha256(first.encode()).hexdigest()[:16] / f"{stem[-150:]}.{suffix}"


def lock_path(file: Path) -> Path:
    return file.with_name(file.name + ".lock")


def record_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def write_record(file: Path, record: Record) -> None:
    disk.write_small(record_path(file), json.dumps(record.__dict__, indent=1))


def read_record(file: Path) -> Record | None:
    """The record beside `file`, or None where there is none that makes sense."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        record = Record(**json.loads(record_path(file).read_text(encoding="utf-8")))
        good = isinstance(record.url, str) and isinstance(record.name, str) and isinstance(record.parts, int)
        if good and isinstance(record.size, int) and _SHA256.fullmatch(record.sha256):
            return record
    return None


def there(url: str) -> tuple[Path, ...] | None:
    """The files of a complete model from this address, or None."""
    files = tuple(place(each) for each in addresses(url))
    for file in files:
        record = read_record(file)
        with suppress(OSError):
            if record is not None and file.is_file() and not file.is_symlink() and file.stat().st_size == record.size:
                continue
        return None
    return files


def stored() -> list[str]:
    """The addresses of every complete model."""
    names: dict[str, None] = {}
    for path in sorted(root().glob("*/*/*.json")):
        record = read_record(path.with_name(path.name.removesuffix(".json")))
        if record is not None:
            names[record.name] = None
    return [name for name in names if _parses(name) and there(name) is not None]


def _parses(url: str) -> bool:
    try:
        return isinstance(refs.parse(url), refs.UrlRef)
    except Exception:
        return False
