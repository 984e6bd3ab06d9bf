"""Commands that run a model here: run, rpc, tokenize."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from .. import output
from ..argv import Option, Verb
from .common import (
    CTX,
    DRAFT,
    JSON,
    LOADING,
    MODEL,
    NAMES,
    SAMPLING,
    SHIFTING,
    SPECULATE,
    TEMPLATE,
    THREADS,
    load,
    print_json,
    read_prompt,
)


def run(
    prompt: str | None = None,
    model: str = "tales",
    model_type: str | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
    draft: str | None = None,
    as_json: bool = False,
    stats: bool = False,
    **sampling: Any,
) -> None:
    """Continue a text."""
    from ..engine import Sampling

    options = Sampling.of(**sampling)
    text = read_prompt(prompt)
    mmap = False if no_mmap else None
    loading = {"context_length": ctx, "threads": threads, "kv_type": kv_type, "mmap": mmap, "draft": draft}
    with closing(load(model, model_type=model_type, **loading)) as llm:
        generation = llm.complete(text, options)
        if not as_json:
            _echo(text)
            _write_pieces(generation)
        result = generation.result()
    if as_json:
        print_json({**result.as_json(), "model": model})
    if stats:
        sys.stderr.write(_stats(result) + "\n")


def _echo(prompt: str) -> None:
    """On a terminal, show the prompt before its continuation, dimmed and on stderr: stdout is the answer's."""
    if sys.stderr.isatty() and output.stream().isatty():
        # Control characters in a prompt are not for the terminal to obey.
        shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in prompt)
        sys.stderr.write(f"\x1b[2m{shown}\x1b[0m")
        sys.stderr.flush()


def _write_pieces(pieces: Iterable[str]) -> None:
    last = "\n"
    for last in pieces:
        output.write(last)
    if not last.endswith("\n"):
        output.write("\n")


def _stats(result: Any) -> str:
    t = result.timings
    prefill = t.prompt_tokens_evaluated / t.prompt_ms * 1e3 if t.prompt_ms else 0.0
    guesses = f", {t.accepted_tokens} of {t.drafted_tokens} guesses right" if t.drafted_tokens else ""
    return (
        f"prompt: {result.prompt_tokens} tokens, {t.prompt_ms:.0f} ms ({prefill:.1f} tokens/s); "
        f"answer: {result.completion_tokens} tokens, {t.decode_ms:.0f} ms ({t.tokens_per_second:.1f} tokens/s)"
        f"{guesses}; ended by {result.finish_reason}"
    )


def rpc(
    model: str = "tales",
    queue: int | None = None,
    template: str | None = None,
    ctx: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
    draft: str | None = None,
) -> None:
    """Serve JSON-RPC on standard input and output."""
    from ..rpc import runner

    loading = {"context_length": ctx, "kv_type": kv_type, "mmap": not no_mmap}
    raise SystemExit(runner.main(model, queue, template, draft, **loading))


def tokenize(text: str, model: str = "tales", bos: bool = False, special: bool = False, as_json: bool = False) -> None:
    """Show a text's tokens."""
    text = read_prompt(text)
    with closing(load(model)) as llm:
        tokens = llm.encode(text, bos=bos, special=special)
        if as_json:
            print_json({"tokens": tokens, "model": model})
            return
        for token in tokens:
            output.write(f"{token:>7}  {llm.piece(token).decode(errors='replace')!r}\n")


VERBS: dict[str, Verb] = {
    "run": Verb(
        run,
        "Continue a text. This is what pocketllama does when no command is named.",
        ("prompt",),
        1,
        (
            MODEL,
            *SAMPLING,
            CTX,
            *SHIFTING,
            SPECULATE,
            DRAFT,
            THREADS,
            *LOADING,
            Option("model_type", ("--model-type",), str, "for GGML files of 2023: llama, gptj, gpt2, …", "TYPE"),
            JSON,
            Option("stats", ("--stats",), bool, "say on stderr how fast it was"),
        ),
        (
            'pocketllama "Once upon a time"',
            'pocketllama run "Once upon a time" -n 32 --temp 0',
            'echo "The king said" | pocketllama run - --seed 7 --json',
            'pocketllama run -m tinyllama "The capital of France is"',
        ),
        "PROMPT is taken as it stands; - reads standard input. Only the answer goes to standard output.\n" + NAMES,
        text=True,
    ),
    "rpc": Verb(
        rpc,
        "Serve JSON-RPC 2.0 on standard input and output (docs/protocol.md).",
        options=(
            MODEL,
            Option("queue", ("--queue",), int, "how many requests may wait (64)", "N"),
            TEMPLATE,
            CTX,
            *LOADING,
            DRAFT,
        ),
        examples=(
            """echo '{"jsonrpc":"2.0","id":1,"method":"complete","params":{"prompt":"Once"}}' | pocketllama rpc""",
        ),
    ),
    "tokenize": Verb(
        tokenize,
        "Show the tokens of a text, one a line: id and piece.",
        ("text",),
        options=(
            MODEL,
            Option("bos", ("--bos",), bool, "with the beginning-of-sequence token"),
            Option("special", ("--special",), bool, "the names of control tokens stand for them"),
            JSON,
        ),
        examples=('pocketllama tokenize "Once upon a time"',),
        text=True,
    ),
}
