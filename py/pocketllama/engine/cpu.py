"""What this processor offers: instruction sets and cores, found without starting a program or a second of probing."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

from ..errors import UsageError


@cache
def isa_flags() -> frozenset[str]:
    """Instruction sets by Linux's names (`avx`, `avx2`, `fma`, `f16c`, …) that the processor and the system offer.

    Empty where that cannot be told: then only baseline code is safe.
    """
    if sys.platform == "linux":
        return _linux_flags(Path("/proc/cpuinfo"))
    if sys.platform == "darwin":
        return _darwin_flags()
    if sys.platform == "win32":
        return _windows_flags()
    return frozenset()


def _linux_flags(cpuinfo: Path) -> frozenset[str]:
    try:
        with cpuinfo.open(errors="replace") as lines:  # of which each core has many: the first core's are enough
            for line in lines:
                key, _, value = line.partition(":")
                if key.strip() in ("flags", "Features"):  # x86 says the first, ARM the second
                    return frozenset(value.split())
    except OSError:
        pass
    return frozenset()


def _sysctl(name: str) -> bytes:
    libc = ctypes.CDLL(None)
    size = ctypes.c_size_t(0)
    if libc.sysctlbyname(name.encode(), None, ctypes.byref(size), None, 0) != 0:
        return b""
    buffer = ctypes.create_string_buffer(size.value)
    if libc.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) != 0:
        return b""
    return buffer.raw[: size.value]


def _darwin_flags() -> frozenset[str]:
    words = b" ".join(_sysctl(n).rstrip(b"\0") for n in ("machdep.cpu.features", "machdep.cpu.leaf7_features"))
    return frozenset(w.replace("avx1.0", "avx") for w in words.decode("ascii", "replace").lower().split())


def _windows_flags() -> frozenset[str]:
    present = ctypes.windll.kernel32.IsProcessorFeaturePresent  # type: ignore[attr-defined, unused-ignore]
    flags = {"avx"} if present(39) else set()
    # Windows has no question for F16C and FMA; every processor with AVX2 has both.
    return frozenset(flags | {"avx2", "f16c", "fma"} if present(40) else flags)


def _allowed() -> set[int]:
    """The processors, as the system numbers them, that this process may run on."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """The number of processors that this process may run on, hyper-threads included, at least 1."""
    return max(1, len(_allowed()))


@cache
def physical_cores() -> int:
    """The number of physical cores that this process may run on, at least 1.

    Hyper-threads share the units that matrix products keep busy, so a second thread on a core only costs barriers.
    """
    allowed = _allowed()
    cores: set[str] = set()
    for cpu in allowed:
        try:
            siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        except OSError:
            return max(1, len(allowed))
        cores.add(siblings.strip())
    return max(1, len(cores))


def default_threads() -> int:
    """`$POCKETLLAMA_THREADS`, or one for each physical core."""
    wish = os.environ.get("POCKETLLAMA_THREADS", "")
    if not wish:
        return physical_cores()
    if not wish.isascii() or not wish.isdigit() or not 1 <= int(wish) <= 1024:
        raise UsageError(f"POCKETLLAMA_THREADS is {wish!r:.40}; it must be a whole number from 1 to 1024.")
    return int(wish)


def name() -> str:
    """What the processor calls itself; its kind where it does not say."""
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string").rstrip(b"\0").decode(errors="replace") or machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    found = (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == "model name")
    return next(found, "") or platform.processor() or machine()


def machine() -> str:
    """`x86_64`, `aarch64`, …: one name for what platforms spell differently."""
    name = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(name, name)
