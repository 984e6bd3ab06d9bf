"""`Client`: the engine in a process of its own, spoken to over JSON-RPC. docs/protocol.md is what it speaks."""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from . import errors
from ._version import __version__
from .errors import Cancelled, PocketllamaError, RunnerError

_STDERR_LINES = 20  # how much of the runner's last words an error quotes
_GRACE_S = 5.0
_ASK_S = 0.05  # how often a signal is looked at


class Client:
    """A model in a runner process.

    >>> with Client("tales") as llm:
    ...     for piece in llm.complete("Once upon a time", max_tokens=32):
    ...         print(piece, end="", flush=True)

    The runner starts with the first call and again with the next one if it dies; what was pending then raises
    RunnerError. Safe from several threads; their requests wait in the runner's queue.
    """

    def __init__(
        self,
        model: str = "tales",
        *,
        command: Sequence[str] | None = None,
        env: Mapping[str, str] | None = None,
        context_length: int | None = None,
        kv_type: str | None = None,
        mmap: bool = True,
        template: str | None = None,
        draft: str | None = None,
    ) -> None:
        """`command` starts the runner (this Python's `pocketllama rpc` by default, for which alone the last five are
        meant: see `LLM`); `env` adds to its environment. `template` is the chat template: a name, or a file's path.
        `draft` is a smaller model whose guesses save time."""
        self.model = model
        loading = [] if context_length is None else [f"--ctx={context_length}"]
        loading += [] if kv_type is None else [f"--kv-type={kv_type}"]
        loading += [] if mmap else ["--no-mmap"]
        loading += [] if template is None else [f"--template={template}"]
        loading += [] if draft is None else [f"--draft={draft}"]
        self._command = list(command or [sys.executable, "-m", "pocketllama", "rpc", "-m", model, *loading])
        self._env = dict(env or {})
        self._runner: _Runner | None = None
        self._lock = threading.Lock()
        self._closed = False

    # ---- calls ---------------------------------------------------------------------------------------------------

    def complete(self, prompt: str, *, signal: threading.Event | None = None, **options: Any) -> Stream:
        """Begin a completion: iterate the stream for pieces, or take its `text()` or `result()`.

        Options: max_tokens, temperature, top_k, top_p, repetition_penalty, last_n_tokens, seed, stop. Once `signal` is
        set, whoever reads the stream cancels it.
        """
        params = {"prompt": prompt, "model": self.model, "stream": True, **options}
        return Stream(self._start("complete", params), signal)

    def chat(
        self, messages: Sequence[Mapping[str, Any]], *, signal: threading.Event | None = None, **options: Any
    ) -> Stream:
        """Begin the answer to a conversation, messages of {role, content}; read it as a completion.

        Options: those of `complete`, and tools, tool_choice, parallel_tool_calls, schema, template, template_variables,
        overflow, as of `LLM.chat`; see docs/protocol.md.
        """
        params = {"messages": [dict(message) for message in messages], "model": self.model, "stream": True, **options}
        return Stream(self._start("chat", params), signal)

    def __call__(self, prompt: str, **options: Any) -> str:
        """The whole text of a completion."""
        return str(self.call("complete", {"prompt": prompt, "model": self.model, **options})["text"])

    def tokenize(self, text: str, *, bos: bool = False, special: bool = False) -> list[int]:
        """The token ids of `text`. `special`: the names of control tokens in it stand for them, which text from outside
        must never be given."""
        params = {"text": text, "bos": bos, "special": special, "model": self.model}
        return list(self.call("tokenize", params)["tokens"])

    def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of token ids; undoes `tokenize`."""
        return str(self.call("detokenize", {"tokens": list(tokens), "model": self.model})["text"])

    def embed(self, input: str | Sequence[int], *, pooling: str = "last", normalize: bool = False) -> list[float]:
        """The embedding of a text or of token ids: the final hidden state of the last token, or with `pooling="mean"`
        the mean of all. `normalize`: of length 1."""
        value = input if isinstance(input, str) else list(input)
        params = {"input": value, "pooling": pooling, "normalize": normalize, "model": self.model}
        return list(self.call("embed", params)["embedding"])

    def models(self) -> list[dict[str, Any]]:
        """The models on this machine."""
        return list(self.call("models/list")["models"])

    def show(self, model: str | None = None) -> dict[str, Any]:
        """What a model is."""
        return dict(self.call("models/show", {"model": model or self.model}))

    def pull(
        self, model: str | None = None, *, progress: Callable[[dict[str, Any]], None] | None = None
    ) -> dict[str, Any]:
        """Fetch a model; `progress` gets {file, done, total} in bytes."""
        pending = self._start("models/pull", {"model": model or self.model})
        for value in pending.progress():
            if progress:
                progress(value)
        return dict(pending.result())

    def status(self) -> dict[str, Any]:
        """What the runner has loaded and how busy it is."""
        return dict(self.call("status"))

    def call(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """Any method of the protocol; its result, or its error as an exception of `pocketllama.errors`."""
        return self._start(method, params or {}).result()

    # ---- the process ---------------------------------------------------------------------------------------------

    def _start(self, method: str, params: Mapping[str, Any]) -> _Pending:
        with self._lock:
            if self._closed:
                raise RunnerError("This client has been closed.")
            if self._runner is None or not self._runner.alive:
                self._runner = _Runner(self._command, self._env)
            runner = self._runner
        return runner.request(method, params)

    @property
    def pid(self) -> int | None:
        """The runner's process id while it runs."""
        runner = self._runner
        return runner.pid if runner and runner.alive else None

    def close(self) -> None:
        """End the runner. What is pending raises RunnerError. Closing twice is fine."""
        with self._lock:
            self._closed = True
            runner, self._runner = self._runner, None
        if runner:
            runner.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Stream:
    """A running completion. Leaving the loop early and calling `cancel()` (or using `with`) frees the engine."""

    def __init__(self, pending: _Pending, signal: threading.Event | None = None) -> None:
        self._pending = pending
        pending.signal = signal

    def __iter__(self) -> Iterator[str]:
        for value in self._pending.progress():
            yield value["text"]

    def result(self) -> dict[str, Any]:
        """{text, finish_reason, usage, timings, model}, of a chat also its message; waits for the end."""
        return dict(self._pending.result())

    def text(self) -> str:
        """The whole text; waits for the end."""
        return str(self.result()["text"])

    def cancel(self) -> None:
        """Stop early: `result()` then holds the text so far and finish_reason "cancelled"."""
        self._pending.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.cancel()


class _Pending:
    """A request that was sent: its progress, then its answer."""

    def __init__(self, runner: _Runner, msg_id: int) -> None:
        self._runner, self.id = runner, msg_id
        self.signal: threading.Event | None = None  # cancels it, once set
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._answer: tuple[str, Any] | None = None
        self._lock = threading.Lock()

    def put(self, kind: str, value: Any) -> None:
        self._events.put((kind, value))

    def _next(self) -> tuple[str, Any]:
        with self._lock:  # two threads may wait for one answer
            if self._answer is None:
                event = self._wait()
                if event[0] == "progress":
                    return event
                self._answer = event
            return self._answer

    def _wait(self) -> tuple[str, Any]:
        while self.signal:
            if self.signal.is_set():
                self.cancel()
                self.signal = None
            try:
                return self._events.get(timeout=_ASK_S)
            except queue.Empty:
                continue
        return self._events.get()

    def progress(self) -> Iterator[Any]:
        while (event := self._next())[0] == "progress":
            yield event[1]
        if event[0] == "error":
            raise event[1]

    def result(self) -> Any:
        while (event := self._next())[0] == "progress":
            pass
        if event[0] == "error":
            raise event[1]
        return event[1]

    def cancel(self) -> None:
        if self._answer is None:
            self._runner.notify("$/cancelRequest", {"id": self.id})


class _Runner:
    """One process, and the threads that listen to it."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **_python_path(), **env},
            )
        except OSError as e:
            raise RunnerError(f"The runner could not be started ({command[0]}): {e.strerror}.") from e
        self.pid = self._process.pid
        self._ids = itertools.count(1)
        self._pending: dict[int, _Pending] = {}
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._stderr: deque[str] = deque(maxlen=_STDERR_LINES)
        self.alive = True
        self._ears = [threading.Thread(target=f, daemon=True) for f in (self._listen_stderr, self._listen)]
        for thread in self._ears:
            thread.start()
        self.request("initialize", {"protocolVersion": 1, "clientInfo": {"name": "python", "version": __version__}})

    def request(self, method: str, params: Mapping[str, Any]) -> _Pending:
        with self._lock:
            pending = _Pending(self, next(self._ids))
            if not self.alive:
                raise self._death()
            self._pending[pending.id] = pending
        self._send({"jsonrpc": "2.0", "id": pending.id, "method": method, "params": dict(params)})
        return pending

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": dict(params)})

    def _send(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message).encode() + b"\n"
        assert self._process.stdin
        with self._write_lock:
            try:
                self._process.stdin.write(data)
                self._process.stdin.flush()
            except (OSError, ValueError):
                pass  # it has died or was closed; the listening thread tells everybody who waits

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            try:
                self._receive(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                # Not our protocol: this runner cannot be trusted with anything further.
                self._stderr.append(f"(it wrote to standard output: {line[:200]!r})")
                self._process.kill()
                break
        self._process.wait()
        self._ears[0].join(1.0)  # its last words
        self._process.stdout.close()
        self._close_input()
        with self._lock:
            self.alive = False
            orphans, self._pending = list(self._pending.values()), {}
        for pending in orphans:
            pending.put("error", self._death())

    def _receive(self, message: dict[str, Any]) -> None:
        if message.get("method") == "$/progress":
            params = message["params"]
            if pending := self._pending.get(params["token"]):
                pending.put("progress", params["value"])
        elif "id" in message:
            with self._lock:
                answered = self._pending.pop(message["id"], None)
            if answered and "error" in message:
                answered.put("error", _exception(message["error"]))
            elif answered:
                answered.put("result", message.get("result"))

    def _listen_stderr(self) -> None:
        assert self._process.stderr
        with self._process.stderr as stderr:
            for line in stderr:  # read on and on, or a talkative runner would stand still
                self._stderr.append(line.decode(errors="replace").rstrip()[:500])

    def _death(self) -> RunnerError:
        code = self._process.poll()
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        words = "\n    ".join(self._stderr)
        return RunnerError(
            f"The runner (process {self.pid}) ended with {how}." + (f" Its last words:\n    {words}" if words else ""),
            remedy="The next call starts a new one.",
            data={"exit_code": code},
        )

    def _close_input(self) -> None:
        assert self._process.stdin
        with self._write_lock:
            try:
                self._process.stdin.close()
            except OSError:
                pass  # what could not be written goes nowhere

    def close(self) -> None:
        self.notify("exit", {})
        self._close_input()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        for thread in self._ears:
            thread.join(_GRACE_S)


def _python_path() -> dict[str, str]:
    """The runner must import this very package, also where it is not installed but only on sys.path."""
    from .paths import PACKAGE

    parts = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(parts)}


def _exception(error: Mapping[str, Any]) -> PocketllamaError:
    """The exception that an error answer stands for."""
    data = dict(error.get("data") or {})
    remedy, kind = data.pop("remedy", None), data.pop("kind", "")
    known = getattr(errors, str(kind), None)
    cls = known if isinstance(known, type) and issubclass(known, PocketllamaError) else PocketllamaError
    if cls is PocketllamaError and error.get("code") == Cancelled.rpc_code:
        cls = Cancelled
    return cls(str(error.get("message")), remedy=remedy, data={"code": error.get("code"), **data})
