"""Commands that converse: chat."""

from __future__ import annotations

from typing import Any

from ..argv import Option, Verb
from .common import (
    CTX,
    DRAFT,
    LOADING,
    NAMES,
    SAMPLING,
    SPECULATE,
    TEMPLATE,
    THREADS,
    load,
    terminated_as_interrupted,
)


def chat(
    model: str | None = None,
    system: str | None = None,
    template: str | None = None,
    saved: str | None = None,
    forget: bool = False,
    no_think: bool = False,
    ctx: int | None = None,
    threads: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
    draft: str | None = None,
    stats: bool = False,
    max_tokens: int = 1024,
    **sampling: Any,
) -> None:
    """Converse with a model."""
    from dataclasses import asdict

    from ..engine import Sampling
    from ..terminal.chat import chat as converse

    loading = {"context_length": ctx, "threads": threads, "kv_type": kv_type, "mmap": False if no_mmap else None}
    options: dict[str, Any] = asdict(Sampling.of(max_tokens=max_tokens, **sampling))
    options["overflow"] = "forget" if forget else "error"
    options |= {"template": template} if template else {}
    options |= {"template_variables": {"enable_thinking": False}} if no_think else {}

    def loaded(name: str) -> Any:
        # Another model that the conversation goes over to has another vocabulary.
        return load(name, **loading, draft=draft if model in (None, name) else None)

    with terminated_as_interrupted():  # a terminal that was being typed in is left as it was found
        raise SystemExit(converse(model, loaded, options, system=system, saved=saved, stats=stats))


VERBS: dict[str, Verb] = {
    "chat": Verb(
        chat,
        "Converse with a model, in a terminal or through a pipe (a line is a message).",
        options=(
            Option("model", ("-m", "--model"), str, "a name, hf:owner/repo[:quant], a URL or a path", "MODEL"),
            Option("system", ("--system",), str, "what the model is told before the conversation", "TEXT"),
            TEMPLATE,
            Option("saved", ("--load",), str, "go on with a conversation that /save has kept", "NAME"),
            Option("forget", ("--forget",), bool, "a full context forgets the oldest messages, in place of an error"),
            Option("no_think", ("--no-think",), bool, "tell templates that know it that the model is not to reason"),
            *(
                Option(o.name, o.flags, o.kind, o.help.replace("(256)", "(1024)"), o.value)
                if o.name == "max_tokens"
                else o
                for o in SAMPLING
            ),
            CTX,
            THREADS,
            *LOADING,
            SPECULATE,
            DRAFT,
            Option("stats", ("--stats",), bool, "say on stderr after each answer how fast it was"),
        ),
        examples=(
            "pocketllama chat",
            'pocketllama chat -m qwen3-0.6b --system "Answer in one sentence."',
            "pocketllama chat --template alpaca -m alpaca-7b.gguf",
            'echo "What is a llama?" | pocketllama chat -m tinyllama --temp 0',
        ),
        details="Without a model, one that is here is taken, or a good one is offered. /help in the chat lists more.\n"
        "Built-in templates: alpaca, vicuna, llama-2, llama-3, chatml, mistral, gemma, phi-3, zephyr.\n" + NAMES,
    ),
}
