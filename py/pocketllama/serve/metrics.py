"""What /metrics tells, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .._version import __version__
from ..engine import Completion
from .ticket import Ticket

# Nobody asks when a counter began: a server's are as old as its process.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class Metrics:
    """The counters of one server. `loads` tells the requests under way and waiting, and the places, by model."""

    def __init__(self, loads: Callable[[], dict[str, tuple[int, int, int]]]) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Loads(loads))
        self.requests = Counter(
            "pocketllama_http_requests",
            "Requests answered, by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "pocketllama_http_request_seconds",
            "From a request's arrival to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        names = ("model",)
        self._prompt = Counter("pocketllama_prompt_tokens", "Tokens of prompts.", names, registry=registry)
        self._cached = Counter(
            "pocketllama_prompt_tokens_cached", "… that were in the cache already.", names, registry=registry
        )
        self._new = Counter("pocketllama_completion_tokens", "Tokens generated.", names, registry=registry)
        self._ends = Counter(
            "pocketllama_completions", "Texts that ended, by reason.", ("model", "finish_reason"), registry=registry
        )
        self._first = Histogram(
            "pocketllama_first_token_seconds",
            "From a request's arrival to its first piece of text.",
            names,
            buckets=_SECONDS,
            registry=registry,
        )

    def ended(self, model: str, ticket: Ticket, completion: Completion) -> None:
        """A text of a model has ended."""
        self._prompt.labels(model).inc(completion.prompt_tokens)
        self._cached.labels(model).inc(completion.cached_tokens)
        self._new.labels(model).inc(completion.completion_tokens)
        self._ends.labels(model, completion.finish_reason).inc()
        if ticket.first_text:
            self._first.labels(model).observe(ticket.first_text - ticket.created)

    def render(self) -> bytes:
        return generate_latest(self._registry)


class _Loads(Collector):
    """What is asked for when somebody looks."""

    def __init__(self, loads: Callable[[], dict[str, tuple[int, int, int]]]) -> None:
        self._loads = loads

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("pocketllama_requests_running", "Requests being answered.", labels=["model"])
        waiting = GaugeMetricFamily("pocketllama_requests_waiting", "Requests in the queue.", labels=["model"])
        slots = GaugeMetricFamily("pocketllama_slots", "Texts that are decoded together at most.", labels=["model"])
        for model, values in self._loads().items():
            for family, value in zip((running, waiting, slots), values, strict=True):
                family.add_metric([model], value)
        info: Any = GaugeMetricFamily("pocketllama_info", "Always 1.", labels=["version"])
        info.add_metric([__version__], 1)
        return running, waiting, slots, info
