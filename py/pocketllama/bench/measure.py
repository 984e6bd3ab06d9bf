"""Runs the tests in turn, again and again, with the machine's limits measured between them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from itertools import count
from statistics import median
from typing import Any, Protocol

from .. import models
from .._version import __version__
from ..engine import cpu, files, native, own
from ..errors import UsageError
from . import start
from .plan import Case
from .session import Session, room
from .work import Work, work_of


class Progress(Protocol):
    """Told what comes next, and how many of the steps are done."""

    def __call__(self, now: str, done: int, total: int) -> None: ...


def measure(
    name: str,
    tests: Sequence[Case],
    *,
    threads: int | None = None,
    repeats: int = 5,
    progress: Progress = lambda now, done, total: None,
    pull_progress: models.Progress | None = None,
) -> dict[str, Any]:
    """The figures of the model called `name`; see docs/bench.md for their names.

    Needs our own library. UsageError, and what loading a model raises.
    """
    if not 1 <= repeats <= 1000:
        raise UsageError(f"A test is repeated 1 to 1000 times, not {repeats}.")
    threads = cpu.default_threads() if threads is None else threads
    if not 1 <= threads <= 1024:
        raise UsageError(f"There may be 1 to 1024 threads, not {threads}.")
    library = native.find()
    lib = own.bind(native.load(library))
    model = models.pull(name, progress=pull_progress)
    file = files.inspect(model.path, library)
    work = work_of(model.files, file.kv_bytes_per_token)
    starts = min(repeats, 3)
    steps, total = count(), starts + 2 + repeats * (len(tests) + 1)

    def begin(now: str) -> None:
        progress(now, next(steps), total)

    n_prompt = max((t.tokens for t in tests if t.kind == "pp" and not t.depth), default=0)
    figures = start.measure(model.path, library.path, threads, n_prompt, starts, begin)
    limits: dict[str, list[float]] = {"bandwidth": [], "int8": []}
    seconds: dict[Case, list[float]] = {test: [] for test in tests}
    n_ctx, n_seqs = room(tests)
    engine = own.Own(lib, model.path, n_ctx, n_seqs=n_seqs)
    session = Session(engine, tests, threads)
    try:
        begin("warm-up")
        session.warm_up()
        for _ in range(repeats):
            begin("limits")
            for limit, found in limits.items():
                found.append(own.probe(lib, limit, threads))
            for test in tests:
                begin(test.name)
                seconds[test].append(session.run(test))
    finally:
        engine.close()
    begin("done")

    bandwidth, int8 = median(limits["bandwidth"]), median(limits["int8"])
    return {
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "model": models.show(name),
        "machine": {"cpu": cpu.name(), "system": cpu.machine(), "threads": threads},
        "library": own.identify(library, lib).as_json(),
        "bandwidth_bytes_per_second": bandwidth,
        "int8_macs_per_second": int8,
        **figures,
        "kv_bytes": work.kv_bytes * max(n_prompt, 64),
        "results": [_result(test, seconds[test], work, bandwidth, int8) for test in tests],
    }


def _result(test: Case, seconds: Sequence[float], work: Work, bandwidth: float, int8: float) -> dict[str, Any]:
    speeds = [test.tokens * test.batch / s for s in seconds]
    middle = median(seconds)
    return {
        "test": test.name,
        "kind": test.kind,
        "tokens": test.tokens,
        "batch": test.batch,
        "depth": test.depth,
        "tokens_per_second": median(speeds),
        "spread": (max(speeds) - min(speeds)) / 2 / median(speeds),
        "runs": speeds,
        # A prompt reads the weights once for many tokens: the bandwidth is no limit of it.
        "bandwidth_share": work.bytes_read(test) / middle / bandwidth if test.kind == "tg" else None,
        "int8_share": work.macs(test) / middle / int8,
    }
