"""One engine in a process of its own, doing what it is told by lines of JSON. It stays loaded, and sleeps between them.

    python -m tests.bench.serve ours|llama.cpp                                  # requests on stdin, answers on stdout
    python -m tests.bench.serve ours|llama.cpp start MODEL THREADS STARTED      # from nothing to a first token

Each side runs in its own environment, in the repository's root with PYTHONPATH=py.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from pocketllama import output
from pocketllama.bench.plan import Case
from pocketllama.bench.session import Session, room
from pocketllama.bench.start import peak_rss

_LEAST = 0.4  # seconds that a case is repeated for, so that one of 20 ms is no matter of luck
_MOST_REPEATS = 20


class Ours:
    """Our own library."""

    def __init__(self) -> None:
        from pocketllama.engine import native, own

        self._own, library = own, native.find()
        self._lib = own.bind(native.load(library))
        self._isa = own.identify(library, self._lib).isa

    def about(self) -> dict[str, str]:
        from pocketllama import __version__

        return {"version": f"pocketllama {__version__}", "features": self._isa}

    def load(self, path: Path, n_ctx: int, n_seqs: int, threads: int) -> dict[str, Any]:
        return {"": self._own.Own(self._lib, path, n_ctx, n_seqs=n_seqs)}

    def probe(self, threads: int) -> dict[str, float]:
        return {limit: self._own.probe(self._lib, limit, threads) for limit in ("bandwidth", "int8")}

    def score(self, path: Path, tokens: list[list[int]], threads: int) -> Any:
        import numpy as np

        engine = self._own.Own(self._lib, path, max(map(len, tokens)))
        rows = [np.array(engine.score(text, threads)) for text in tokens]
        engine.close()
        return np.stack(rows)


class LlamaCpp:
    """llama.cpp, with flash attention and without."""

    def __init__(self) -> None:
        from . import llama_cpp_engine

        self._c = llama_cpp_engine
        self._model: Any = None

    def about(self) -> dict[str, str]:
        return {"version": self._c.version(), "features": self._c.features()}

    def load(self, path: Path, n_ctx: int, n_seqs: int, threads: int, both: bool = True) -> dict[str, Any]:
        if self._model:
            self._model.close()
        self._model = self._c.Model(path)
        named = {"flash": True, "plain": False} if both else {"flash": True}
        return {n: self._c.Context(self._model, n_ctx, n_seqs, threads, flash=flash) for n, flash in named.items()}

    def score(self, path: Path, tokens: list[list[int]], threads: int) -> Any:
        import numpy as np

        model = self._c.Model(path)
        context = self._c.Context(model, max(map(len, tokens)), 1, threads, flash=True)
        rows = [context.score(text) for text in tokens]
        context.close()
        model.close()
        return np.stack(rows)

    def quantize(self, source: Path, out: Path, form: str) -> None:
        self._c.quantize(source, out, form)


SIDES: dict[str, Any] = {"ours": Ours, "llama.cpp": LlamaCpp}


class _Server:
    def __init__(self, side: Any) -> None:
        self._side = side
        self._engines: dict[str, Any] = {}
        self._sessions: dict[str, Session] = {}

    def about(self) -> Any:
        return self._side.about()

    def load(self, model: str, cases: list[list[Any]], threads: int) -> list[str]:
        """Load a model for these cases; the names of the variants that can be run."""
        found = [Case(*case) for case in cases]
        for engine in self._engines.values():
            engine.close()
        self._engines = self._side.load(Path(model), *room(found), threads)
        self._sessions = {name: Session(engine, found, threads) for name, engine in self._engines.items()}
        for session in self._sessions.values():
            session.warm_up()
        return list(self._sessions)

    def run(self, variant: str, case: list[Any]) -> float:
        """Seconds: the median of as many runs as fit a moment, behind a step that wakes the threads."""
        session, wanted = self._sessions[variant], Case(*case)
        session.run(Case("tg", 1, wanted.batch, wanted.depth))
        seconds: list[float] = []
        while sum(seconds) < _LEAST and len(seconds) < _MOST_REPEATS:
            seconds.append(session.run(wanted))
        return median(seconds)

    def probe(self, threads: int) -> Any:
        return self._side.probe(threads)

    def score(self, model: str, tokens: list[list[int]], threads: int, out: str) -> None:
        """Logits into a file of NumPy's: (texts, tokens, vocabulary)."""
        import numpy as np

        np.save(out, self._side.score(Path(model), tokens, threads))

    def quantize(self, source: str, out: str, form: str) -> None:
        self._side.quantize(Path(source), Path(out), form)


def start(name: str, model: str, threads: str, started: str) -> dict[str, Any]:
    """The same work in either engine: load, a prompt of five tokens, the likeliest next one."""
    begin = time.perf_counter()
    side = SIDES[name]()
    imported = time.perf_counter()
    loaded = side.load(Path(model), 512, 1, int(threads), **({} if name == "ours" else {"both": False}))
    engine = next(iter(loaded.values()))
    ready = time.perf_counter()
    engine.evaluate_items([(token, 0, i, i == 4) for i, token in enumerate(range(300, 305))], int(threads))
    end = time.perf_counter()
    seconds = {"load": ready - imported, "load_to_first": end - imported, "import": imported - begin}
    return {**seconds, "process_to_first": time.monotonic() - float(started), "peak_rss": peak_rss()}


def main() -> None:
    output.claim()  # what a library prints is no answer
    name, *rest = sys.argv[1:]
    if rest:
        output.write(json.dumps(start(name, *rest[1:])) + "\n")
        os._exit(0)  # the answer is given; how an engine takes itself down is not measured
    server = _Server(SIDES[name]())
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(server, request.pop("op"))(**request)
        output.write(json.dumps(answer) + "\n")
    os._exit(0)


if __name__ == "__main__":
    main()
