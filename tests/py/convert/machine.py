"""What tests on ctransformers' own library ask of the machine."""

from __future__ import annotations

import platform
import sys
from pathlib import Path


def has_avx2() -> bool:
    """That the processor can run the library: it does not ask, and would be stopped by the system."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return " avx2 " in Path("/proc/cpuinfo").read_text()
