"""What the endpoints share: the models with their workers, the settings, the counters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.requests import Request

from .._version import __version__
from ..engine import LLM, Completion
from ..errors import ModelNotFound
from .metrics import Metrics
from .settings import Settings
from .ticket import Ticket
from .worker import Worker


class State:
    """One server. Worker threads live from here to `close`."""

    def __init__(self, models: dict[str, LLM], settings: Settings) -> None:
        self.settings = settings
        self.created = int(time.time())
        self.draining = False
        self.metrics = Metrics(self._loads)
        self.workers = {name: self._worker(name, llm) for name, llm in models.items()}

    def _worker(self, name: str, llm: LLM) -> Worker:
        def on_end(ticket: Ticket, completion: Completion) -> None:
            self.metrics.ended(name, ticket, completion)

        return Worker(name, llm, self.settings.queue, on_end)

    def _loads(self) -> dict[str, tuple[int, int, int]]:
        return {name: (*worker.load, worker.slots) for name, worker in self.workers.items()}

    def worker(self, name: str | None) -> Worker:
        """The model of that name, or the first one. ModelNotFound: a request never loads or fetches another."""
        if name is None:
            return next(iter(self.workers.values()))
        if name in self.workers:
            return self.workers[name]
        raise ModelNotFound(
            f"The model {name[:200]!r} is not served here; these are: {', '.join(self.workers)}.",
            remedy="Serve it with: pocketllama serve -m MODEL",
        )

    def fingerprint(self, worker: Worker) -> str:
        """Equal where one seed gives one text."""
        library = worker.llm.library
        return f"pocketllama-{__version__}-{library.kind}-{library.isa}".replace(" ", "_")

    def describe(self, name: str) -> dict[str, Any]:
        """A model as /v1/models has it, and what else one may want to know of it."""
        worker = self.workers[name]
        template = worker.llm.template()
        return {
            "id": name,
            "object": "model",
            "created": self.created,
            "owned_by": "pocketllama",
            "context_length": worker.llm.context_length,
            "vocab_size": worker.llm.vocab_size,
            "architecture": worker.llm.describe()["architecture"],
            "parallel": worker.slots,
            # null: there is none in its file, and nothing tells which it was trained with; it rather continues texts.
            "chat_template": None if template.origin == "fallback" else template.name,
        }

    def drain(self) -> None:
        """Take no more requests and refuse those that wait."""
        self.draining = True
        for worker in self.workers.values():
            worker.cancel_waiting()

    def cancel_all(self) -> None:
        """End what is under way."""
        for worker in self.workers.values():
            worker.cancel_all()

    def close(self, timeout: float) -> bool:
        """End everything and free the models; False if a native call did not end in time."""
        deadline = time.monotonic() + timeout
        closed = [w.close(max(0.0, deadline - time.monotonic())) for w in self.workers.values()]
        return all(closed)


def state_of(request: Request) -> State:
    state: State = request.app.state.server
    return state


def model_id(name: str) -> str:
    """What a model is called in the API: its name, or the name of its file."""
    path = Path(name)
    return path.name.removesuffix(".gguf") if path.suffix == ".gguf" and not name.startswith(("hf:", "http")) else name
