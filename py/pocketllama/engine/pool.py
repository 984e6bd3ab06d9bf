"""The loaded models of a process: loaded when first asked for, the longest unused closed when there are too many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from .generation import Generation
from .options import Sampling


class Engine(Protocol):
    """What a server needs of a model. `LLM` is one; tests bring their own."""

    def complete(
        self, prompt: str, options: Sampling | None = None, *, cancel: Callable[[], bool] = ...
    ) -> Generation: ...
    def chat(
        self, messages: Any, options: Sampling | None = None, *, cancel: Callable[[], bool] = ..., **more: Any
    ) -> Generation: ...
    def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]: ...
    def decode(self, tokens: list[int]) -> str: ...
    def tokenize(self, text: str, add_bos_token: bool | None = None) -> list[int]: ...
    def embed(
        self, input: str | list[int], *, pooling: str = ..., normalize: bool = ..., cancel: Callable[[], bool] = ...
    ) -> list[float]: ...
    def describe(self) -> dict[str, Any]: ...
    def close(self) -> None: ...


class Pool:
    """Models by name. `get` is called from one thread at a time; `describe` from any."""

    def __init__(self, load: Callable[[str], Engine], limit: int = 1) -> None:
        self._load, self._limit = load, limit
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Engine:
        """The model called `name`, loaded if it is not; the errors are those of loading."""
        with self._lock:
            if name in self._engines:
                self._engines.move_to_end(name)
                return self._engines[name]
            # Room is made before loading: two models at once may be more than the machine holds.
            leaving = [self._engines.popitem(last=False)[1] for _ in range(len(self._engines) - self._limit + 1)]
        for engine in leaving:
            engine.close()
        engine = self._load(name)
        with self._lock:
            self._engines[name] = engine
        return engine

    def describe(self) -> list[dict[str, Any]]:
        """The loaded models, the most recently used last."""
        with self._lock:
            return [{"model": name, **engine.describe()} for name, engine in self._engines.items()]

    def close(self) -> None:
        with self._lock:
            engines = list(self._engines.values())
            self._engines.clear()
        for engine in engines:
            engine.close()
