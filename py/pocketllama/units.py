"""Sizes for people, and how much memory and disk there is."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def human_bytes(n: float) -> str:
    """1536 → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(n) < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} TiB"


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
