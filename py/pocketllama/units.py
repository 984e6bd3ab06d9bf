"""Sizes for people, and how much memory and disk there is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def human_size(count: int) -> str:
    """Bytes as people read them: 2.5 GB (decimal units)."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            break
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def human_count(count: int) -> str:
    """A large number in words: 7.24 billion."""
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return str(count)


def _meminfo() -> dict[str, int]:
    """Linux's /proc/meminfo in bytes; empty elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    return {k: int(v.split()[0]) * 1024 for k, _, v in (line.partition(":") for line in lines) if v.split()}


def available_memory() -> int | None:
    """Bytes that a process could still take without swapping; None where the system does not say."""
    return _meminfo().get("MemAvailable")


def total_memory() -> int | None:
    """Bytes of physical memory; None where the system does not say."""
    if (total := _meminfo().get("MemTotal")) is not None:
        return total
    if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def free_disk(path: Path) -> int | None:
    """Bytes free on the disk that holds `path`, or its nearest existing parent; None where that cannot be told."""
    for folder in (path, *path.parents):
        if folder.exists():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None
