"""The process round the server: its socket, its models, its log, its end."""

from __future__ import annotations

import asyncio
import errno
import faulthandler
import logging
import os
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from ..chat import Facts, choose
from ..engine import LLM, native, own
from ..errors import OutOfMemory, UsageError
from ..models import progress
from .app import create_app
from .protocol import Protocol
from .settings import Settings
from .state import State, model_id

DEFAULT_PARALLEL = 4
# After a signal: the answers under way have `drain_seconds`, then their ends are sent, then the process is gone.
_LAST_WORDS_S = 0.5
_CLOSE_S = 1.0


def main(models: Sequence[str], settings: Settings, template: str | None = None, **loading: Any) -> int:
    """Serve until a signal comes; 128 + its number is the exit code. `template` is the chat template of all models,
    `loading` is given to each one's loading."""
    faulthandler.enable(sys.stderr)  # if native code dies, say where
    _log_to_stderr()
    if template:
        choose(Facts(), template)  # said now, if there is none
    listener = _listen(settings.host, settings.port)  # before models are loaded: a port in use is said at once
    _open_files()
    state = State(_load(models, settings.parallel, loading), settings)
    for worker in state.workers.values():
        worker.llm.chat_template = template
    server = _Server(state)
    print(_welcome(state, listener), file=sys.stderr, flush=True)
    try:
        asyncio.run(server.serve(sockets=[listener]))
    except KeyboardInterrupt:
        pass
    if not state.close(_CLOSE_S):
        # A thread is inside the library, which knows no way out; there is nothing left to save.
        sys.stderr.flush()
        os._exit(128 + (server.received or 0))
    return 128 + server.received if server.received else 0


class _Server(uvicorn.Server):
    """uvicorn, which ends in three steps: no more requests; the answers under way cut short; gone."""

    def __init__(self, state: State) -> None:
        settings = state.settings
        super().__init__(
            uvicorn.Config(
                create_app(state),
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(settings.drain_seconds + 1),
                h11_max_incomplete_event_size=64 << 10,
            )
        )
        self._state = state
        self.received: int | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.received is None:
            self.received = sig
            # On a thread: a handler may have interrupted one that holds a lock.
            threading.Thread(target=self._state.drain, daemon=True).start()
            _timer(self._state.settings.drain_seconds, self._state.cancel_all)
            last = self._state.settings.drain_seconds + _LAST_WORDS_S + _CLOSE_S
            _timer(last, lambda: os._exit(128 + sig))
            self.should_exit = True
        else:
            self.force_exit = True  # asked twice
            self._state.cancel_all()


def _open_files() -> None:
    """Every connection is an open file: as many as the system allows without asking."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft < most:
            with suppress(ValueError, OSError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _timer(seconds: float, function: Any) -> None:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()


def _load(names: Sequence[str], parallel: int | None, loading: dict[str, Any]) -> dict[str, LLM]:
    models: dict[str, LLM] = {}
    for name in names:
        if (id := model_id(name)) in models:
            raise UsageError(f"Two models would both be called {id!r}.", remedy="Serve one of them, or rename a file.")
        models[id] = _load_one(name, parallel, {k: v for k, v in loading.items() if v is not None})
        loading.pop("draft", None)  # that of the first one
    return models


def _load_one(name: str, parallel: int | None, loading: dict[str, Any]) -> LLM:
    """The model with as many places as were asked for, or as fit."""
    wanted = parallel or DEFAULT_PARALLEL
    if not own.speaks(native.load(native.find())):
        if parallel and parallel > 1:
            raise UsageError("ctransformers' library decodes one text at a time.", remedy="pocketllama build")
        wanted = 0
    while True:
        try:
            with progress.bar() as show:
                return LLM.from_pretrained(name, n_seqs=wanted, progress=show, **loading)
        except OutOfMemory:
            if parallel or wanted <= 1:
                raise
            wanted //= 2


def _listen(host: str, port: int) -> socket.socket:
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        if os.name == "posix":  # a restarted server gets its port back; elsewhere this would let two have it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)  # on some systems only this finds that another has the port
    except OSError as e:
        if listener:
            listener.close()
        by_port = e.errno in (errno.EADDRINUSE, errno.EACCES)
        remedy = "--port 0 takes one that is free." if by_port else "--host takes an address of this machine."
        raise UsageError(f"Cannot serve on {host}, port {port}: {e.strerror or e}.", remedy=remedy) from e
    return listener


def _welcome(state: State, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    models = ", ".join(
        f"{name} ({worker.slots} at a time, context {worker.llm.context_length})"
        for name, worker in state.workers.items()
    )
    return f"pocketllama: serving {models}\npocketllama: listening on http://{shown}:{port}"


def _log_to_stderr() -> None:
    """A line for each request: its time, status, path, duration, id and tokens. Never what was said in it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("pocketllama").setLevel(logging.INFO)
