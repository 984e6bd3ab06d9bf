"""The command that serves HTTP: serve."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..argv import Option, Verb
from ..errors import EngineError
from .common import CTX, DRAFT, LOADING, NAMES, TEMPLATE, THREADS


def serve(
    models: Sequence[str] = ("tales",),
    host: str = "127.0.0.1",
    port: int = 8080,
    api_key: str | None = None,
    parallel: int | None = None,
    queue: int = 64,
    allow_hosts: Sequence[str] = (),
    cors: Sequence[str] = (),
    ctx: int | None = None,
    threads: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
    draft: str | None = None,
    template: str | None = None,
) -> None:
    """Serve the OpenAI API and a chat page."""
    try:
        from ..serve import process
        from ..serve.settings import Settings, origins
    except ModuleNotFoundError as e:
        raise EngineError(
            f"Serving needs the package {e.name}, which is not installed.",
            remedy='Install the extra: pip install "pocketllama[serve]" (npx pocketllama brings it by itself).',
        ) from e
    settings = Settings(
        host=host,
        port=port,
        api_key=api_key or os.environ.get("POCKETLLAMA_API_KEY") or None,
        parallel=parallel,
        queue=queue,
        allow_hosts=tuple(allow_hosts),
        cors=origins(cors),
    )
    mmap = False if no_mmap else None
    loading = {"context_length": ctx, "threads": threads, "kv_type": kv_type, "mmap": mmap, "draft": draft}
    raise SystemExit(process.main(models, settings, template, **loading))


VERBS: dict[str, Verb] = {
    "serve": Verb(
        serve,
        "Serve the OpenAI HTTP API, and a page to chat on (docs/server.md).",
        options=(
            Option("models", ("-m", "--model"), list, "a model (tales); may be given several times", "MODEL"),
            Option("host", ("--host",), str, "the address to listen on (127.0.0.1: this machine alone)", "ADDRESS"),
            Option("port", ("--port",), int, "the port; 0: any that is free (8080)", "N"),
            Option("api_key", ("--api-key",), str, "what callers must send; better in POCKETLLAMA_API_KEY", "KEY"),
            Option("parallel", ("--parallel",), int, "texts decoded together (4, fewer where memory is short)", "N"),
            Option("queue", ("--queue",), int, "how many requests may wait for that; more are refused (64)", "N"),
            Option("allow_hosts", ("--allow-host",), list, "another name that the server is called by", "NAME"),
            Option("cors", ("--cors",), list, "let pages of this origin call the server", "ORIGIN"),
            TEMPLATE,
            CTX,
            THREADS,
            *LOADING,
            DRAFT,
        ),
        examples=(
            "pocketllama serve",
            "pocketllama serve -m tinyllama --port 8000 --parallel 8",
            "POCKETLLAMA_API_KEY=$(openssl rand -hex 16) pocketllama serve --host 0.0.0.0",
        ),
        details=NAMES.strip("\n"),
    ),
}
