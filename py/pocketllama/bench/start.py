"""How long it takes from nothing to a first token, and how much memory that needs: measured in a process of its own.

    python -m pocketllama.bench.start MODEL LIBRARY THREADS N_PROMPT STARTED

`STARTED` is time.monotonic() of the parent, just before it made the process. Prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from ..errors import EngineError

_PROMPT = b"Once upon a time"


def measure(model: Path, library: Path, threads: int, n_prompt: int, repeats: int, begin: Callable[[str], None]) -> Any:
    """Medians of `repeats` starts, behind one that brings the file into memory; `begin` is told of each.

    load_seconds, first_token_seconds (from the start of the process), peak_rss_bytes and, before the model,
    python_rss_bytes (null where the system does not say).
    """
    starts = []
    for _ in range(repeats + 1):
        begin("start")
        words = [str(model), str(library), str(threads), str(n_prompt), repr(time.monotonic())]
        child = subprocess.run([sys.executable, "-m", __name__, *words], capture_output=True, text=True)
        if child.returncode:
            last = (child.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise EngineError(f"{model.name} could not be started in a process of its own: {last}")
        starts.append(json.loads(child.stdout))
    return {key: median([s[key] for s in starts[1:]]) if starts[0][key] is not None else None for key in starts[0]}


def peak_rss() -> int | None:
    """Bytes. Linux's own figure for this program alone: getrusage's begins with what the parent had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _main(model: str, library: str, threads: str, n_prompt: str, started: str) -> None:
    from ..engine import native, own
    from ..engine.options import Sampling

    lib = native.load(native.Library(Path(library), "native", ""))
    before = peak_rss()
    start = time.perf_counter()
    backend = own.Own(lib, Path(model), max(int(n_prompt), 64))
    load = time.perf_counter() - start
    prompt = backend.tokenize(_PROMPT, True, False)
    backend.evaluate(prompt, 0, int(threads))
    backend.choose(backend.sampler(Sampling.of(temperature=0)), prompt)
    first = time.monotonic() - float(started)
    if int(n_prompt):  # what a long prompt needs beside the weights
        backend.evaluate([prompt[-1]] * int(n_prompt), 0, int(threads))
    figures = {"load_seconds": load, "first_token_seconds": first, "peak_rss_bytes": peak_rss()}
    sys.stdout.write(json.dumps({**figures, "python_rss_bytes": before}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
