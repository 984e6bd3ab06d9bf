"""The commands. One verb is one function that calls one part of the library; `VERBS` is what `--help` prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from . import output
from ._version import __version__
from .argv import Command, Option, Verb, parse, usage
from .errors import UsageError


def _read_prompt(prompt: str | None) -> str:
    """`-`, or nothing with something piped in, reads standard input; the newline that ends it is not part of it."""
    if prompt not in (None, "-"):
        return str(prompt)
    if prompt is None and sys.stdin.isatty():
        raise UsageError("pocketllama run needs a PROMPT.", remedy='Try: pocketllama run "Once upon a time"')
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as e:
        raise UsageError(f"Standard input is not UTF-8: {e.reason} at byte {e.start}.") from e
    return text.removesuffix("\n").removesuffix("\r")


def _load(model: str, **options: Any) -> Any:
    from .engine import LLM
    from .models import progress

    with progress.bar() as show:
        return LLM.from_pretrained(model, progress=show, **{k: v for k, v in options.items() if v is not None})


def _echo(prompt: str) -> None:
    """On a terminal, show the prompt before its continuation, dimmed and on stderr: stdout is the answer's."""
    if sys.stderr.isatty() and output.stream().isatty():
        # Control characters in a prompt are not for the terminal to obey.
        shown = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in prompt)
        sys.stderr.write(f"\x1b[2m{shown}\x1b[0m")
        sys.stderr.flush()


def _print_json(value: Any) -> None:
    output.write(json.dumps(value, ensure_ascii=False, indent=None) + "\n")


def run(
    prompt: str | None = None,
    model: str = "tales",
    model_type: str | None = None,
    ctx: int | None = None,
    threads: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
    as_json: bool = False,
    stats: bool = False,
    **sampling: Any,
) -> None:
    """Continue a text."""
    from .engine import Sampling

    options = Sampling.of(**sampling)
    text = _read_prompt(prompt)
    mmap = False if no_mmap else None
    loading = {"context_length": ctx, "threads": threads, "kv_type": kv_type, "mmap": mmap}
    with closing(_load(model, model_type=model_type, **loading)) as llm:
        generation = llm.complete(text, options)
        if not as_json:
            _echo(text)
            _write_pieces(generation)
        result = generation.result()
    if as_json:
        _print_json({**result.as_json(), "model": model})
    if stats:
        sys.stderr.write(_stats(result) + "\n")


def _write_pieces(pieces: Iterable[str]) -> None:
    last = "\n"
    for last in pieces:
        output.write(last)
    if not last.endswith("\n"):
        output.write("\n")


def _stats(result: Any) -> str:
    t = result.timings
    prefill = t.prompt_tokens_evaluated / t.prompt_ms * 1e3 if t.prompt_ms else 0.0
    return (
        f"prompt: {result.prompt_tokens} tokens, {t.prompt_ms:.0f} ms ({prefill:.1f} tokens/s); "
        f"answer: {result.completion_tokens} tokens, {t.decode_ms:.0f} ms ({t.tokens_per_second:.1f} tokens/s); "
        f"ended by {result.finish_reason}"
    )


def rpc(
    model: str = "tales",
    queue: int | None = None,
    ctx: int | None = None,
    kv_type: str | None = None,
    no_mmap: bool = False,
) -> None:
    """Serve JSON-RPC on standard input and output."""
    from .rpc import runner

    raise SystemExit(runner.main(model, queue, context_length=ctx, kv_type=kv_type, mmap=not no_mmap))


def pull(model: str, as_json: bool = False) -> None:
    """Fetch a model."""
    from . import models
    from .models import progress

    with progress.bar() as show:
        found = models.pull(model, progress=show)
    if as_json:
        _print_json(found.as_json())
    else:
        output.write(f"{found.path}\n")


def list_models(as_json: bool = False, known: bool = False) -> None:
    """List the models on this machine, or the aliases that can be pulled."""
    from . import models
    from .units import human_size

    if known:
        _list_known(as_json)
        return
    found = models.list_models()
    if as_json:
        _print_json([model.as_json() for model in found])
        return
    width = max((len(m.name) for m in found), default=0)
    for m in found:
        output.write(f"{m.name:<{width}}  {human_size(m.size):>10}  {m.source:<8}  {m.path}\n")


def _list_known(as_json: bool) -> None:
    from . import models
    from .units import human_size

    found = list(models.aliases().values())
    if as_json:
        _print_json([alias.as_json() for alias in found])
        return
    width = max(len(a.name) for a in found)
    for a in found:
        output.write(f"{a.name:<{width}}  {human_size(a.size):>10}  {a.licence:<11} {a.good_for}\n")


def show(model: str, as_json: bool = False) -> None:
    """Tell what a model is."""
    from . import models

    facts = models.show(model)
    if as_json:
        _print_json(facts)
        return
    for key, value in facts.items():
        if value is not None:
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            output.write(f"{key + ':':<22} {shown}\n")


def rm(model: str) -> None:
    """Delete a model from this machine."""
    from . import models

    for path in models.remove(model):
        output.write(f"{path}\n")


def tokenize(text: str, model: str = "tales", bos: bool = False, special: bool = False, as_json: bool = False) -> None:
    """Show a text's tokens."""
    text = _read_prompt(text)
    with closing(_load(model)) as llm:
        tokens = llm.encode(text, bos=bos, special=special)
        if as_json:
            _print_json({"tokens": tokens, "model": model})
            return
        for token in tokens:
            output.write(f"{token:>7}  {llm.piece(token).decode(errors='replace')!r}\n")


def convert(source: str, out: str | None = None, type: str = "q8_0", dry_run: bool = False) -> None:
    """Make a GGUF of a checkpoint."""
    from .convert import convert as make
    from .models import progress

    with progress.bar() as show:
        made = make(
            source,
            out,
            type=type,
            progress=lambda name, done, total: show(progress.ProgressEvent(source, done, total)),
            dry_run=dry_run,
        )
    output.write(f"{made}\n")


def js(script: str, args: Sequence[str] = ()) -> None:
    """Run a JavaScript file in which `import "pocketllama"` works."""
    from . import node

    raise SystemExit(node.run(Path(script), args))


def doctor(as_json: bool = False, no_setup: bool = False) -> None:
    """Look at everything that must be there."""
    from . import doctor as checks

    report = checks.examine()
    if as_json:
        _print_json(report)
    else:
        output.write(checks.render(report))
    if report["problems"]:
        raise SystemExit(1)


def build() -> None:
    """Build the engine's own library."""
    from .engine import build as builder

    path = builder.build(lambda line: print(f"pocketllama: {line} …", file=sys.stderr, flush=True))
    output.write(f"{path}\n")


def bench(
    model: str = "tales",
    prompt: str = "512",
    new: str = "128",
    batch: str = "1,8",
    depth: str = "",
    threads: int | None = None,
    repeats: int = 5,
    as_json: bool = False,
    plot: str | None = None,
) -> None:
    """Measure a model."""
    from .bench import plot as picture
    from .bench import report
    from .bench.measure import measure
    from .bench.plan import plan
    from .models import progress

    tests = plan(prompt, new, batch, depth)
    if plot:
        picture.check(Path(plot))
    with report.bar() as show, progress.bar() as pulled:
        figures = measure(model, tests, threads=threads, repeats=repeats, progress=show, pull_progress=pulled)
    if as_json:
        _print_json(figures)
    else:
        output.write(report.render(figures))
    if plot:
        picture.draw(figures, Path(plot))


def setup() -> None:
    """The npx entry does this itself; a Python that can run this line is set up."""
    output.write(f"pocketllama {__version__} is installed in {sys.prefix}; there is nothing to set up.\n")


def version() -> None:
    """Print the version."""
    output.write(f"pocketllama {__version__}\n")


_MODEL = Option("model", ("-m", "--model"), str, "a name, hf:owner/repo[:quant], a URL or a path (tales)", "MODEL")
_CTX = Option("ctx", ("-c", "--ctx"), int, "the context length in tokens (the model's own, up to 4096)", "N")
_LOADING = (
    Option("kv_type", ("--kv-type",), str, "what the cache holds: f16, f32, or q8_0 for half the memory (f16)", "TYPE"),
    Option("no_mmap", ("--no-mmap",), bool, "read the file into memory: it may then change, or its disk go away"),
)
_JSON = Option("as_json", ("--json",), bool, "print one JSON object")
_NAMES = """
MODEL is one of
  tales                       the small story-teller that comes with pocketllama
  an alias                    pocketllama list --known shows them
  hf:owner/repo[:quant|file]  from the Hugging Face hub, such as hf:TheBloke/Llama-2-7B-GGUF:Q4_K_M
  https://…/model.gguf        any server
  a path                      ./model.gguf
"""

VERBS: dict[str, Verb] = {
    "run": Verb(
        run,
        "Continue a text. This is what pocketllama does when no command is named.",
        ("prompt",),
        1,
        (
            _MODEL,
            Option("max_tokens", ("-n", "--max-tokens"), int, "the most new tokens (256)", "N"),
            Option("temperature", ("--temp", "--temperature"), float, "0: the likeliest text, 1: variety (0.8)", "T"),
            Option("top_k", ("--top-k",), int, "choose among the K likeliest tokens; 0 for all (40)", "K"),
            Option("top_p", ("--top-p",), float, "… that together have probability P (0.95)", "P"),
            Option("repetition_penalty", ("--repetition-penalty",), float, "1 for none (1.1)", "X"),
            Option("seed", ("--seed",), int, "one seed, one text; -1 for a new one each time (-1)", "S"),
            Option("stop", ("--stop",), list, "end before this text; may be given several times", "TEXT"),
            _CTX,
            Option("context_shift", ("--context-shift",), bool, "a full context forgets its older half, and goes on"),
            Option("keep", ("--keep",), int, "… but not the first N tokens of it (4)", "N"),
            Option("threads", ("-t", "--threads"), int, "threads (one for each physical core)", "N"),
            *_LOADING,
            Option("model_type", ("--model-type",), str, "for GGML files of 2023: llama, gptj, gpt2, …", "TYPE"),
            _JSON,
            Option("stats", ("--stats",), bool, "say on stderr how fast it was"),
        ),
        (
            'pocketllama "Once upon a time"',
            'pocketllama run "Once upon a time" -n 32 --temp 0',
            'echo "The king said" | pocketllama run - --seed 7 --json',
            'pocketllama run -m tinyllama "The capital of France is"',
        ),
        "PROMPT is taken as it stands; - reads standard input. Only the answer goes to standard output.\n" + _NAMES,
        text=True,
    ),
    "rpc": Verb(
        rpc,
        "Serve JSON-RPC 2.0 on standard input and output (docs/protocol.md).",
        options=(_MODEL, Option("queue", ("--queue",), int, "how many requests may wait (64)", "N"), _CTX, *_LOADING),
        examples=(
            """echo '{"jsonrpc":"2.0","id":1,"method":"complete","params":{"prompt":"Once"}}' | pocketllama rpc""",
        ),
    ),
    "pull": Verb(
        pull,
        "Fetch a model, verify it, and print its path. What is there already is not fetched again.",
        ("model",),
        options=(_JSON,),
        examples=("pocketllama pull tinyllama", "pocketllama pull hf:TheBloke/Llama-2-7B-GGUF:Q4_K_M"),
        details=_NAMES,
    ),
    "list": Verb(
        list_models,
        "List the models on this machine.",
        options=(Option("known", ("--known",), bool, "the aliases that can be pulled, with size and licence"), _JSON),
        examples=("pocketllama list --known",),
        aliases=("ls",),
    ),
    "show": Verb(
        show,
        "Tell what a model is: architecture, size, quantization, licence.",
        ("model",),
        options=(_JSON,),
        examples=("pocketllama show tales",),
    ),
    "rm": Verb(rm, "Delete a model from this machine, and print what was deleted.", ("model",)),
    "tokenize": Verb(
        tokenize,
        "Show the tokens of a text, one a line: id and piece.",
        ("text",),
        options=(
            _MODEL,
            Option("bos", ("--bos",), bool, "with the beginning-of-sequence token"),
            Option("special", ("--special",), bool, "the names of control tokens stand for them"),
            _JSON,
        ),
        examples=('pocketllama tokenize "Once upon a time"',),
        text=True,
    ),
    "convert": Verb(
        convert,
        "Make a GGUF of a checkpoint in Meta's layout (consolidated.00.pth, params.json, tokenizer.model).",
        ("source",),
        options=(
            Option("out", ("-o", "--out"), str, "the file to write, or a folder for it (./NAME-TYPE.gguf)", "FILE"),
            Option("type", ("--type",), str, "f32, f16, bf16, q8_0 or q4_0 (q8_0)", "TYPE"),
            Option("dry_run", ("--dry-run",), bool, "only say what would be written"),
        ),
        examples=("pocketllama convert ./llama-7b -o llama-7b.gguf --type q8_0",),
    ),
    "bench": Verb(
        bench,
        "Measure how fast a model is here, and what share of the machine's limits that is.",
        options=(
            _MODEL,
            Option(
                "prompt", ("-p", "--prompt"), str, "prompts of these lengths, evaluated at once; 0: none (512)", "N,…"
            ),
            Option("new", ("-n", "--new"), str, "so many tokens, one after the other; 0: none (128)", "N,…"),
            Option("batch", ("-b", "--batch"), str, "… of so many texts at a time (1,8)", "N,…"),
            Option("depth", ("-d", "--depth"), str, "both again, for one text, behind a context of N tokens", "N,…"),
            Option("threads", ("-t", "--threads"), int, "threads (one for each physical core)", "N"),
            Option("repeats", ("-r", "--repeats"), int, "how often, in turn; medians are shown (5)", "N"),
            _JSON,
            Option("plot", ("--plot",), str, "draw the figures: out.png, .svg or .pdf (needs matplotlib)", "FILE"),
        ),
        examples=(
            "pocketllama bench -m tinyllama",
            "pocketllama bench -m model.gguf -p 512 -n 128 -b 1,8 -d 512,4096 --json",
        ),
        details=(
            "pp512 is a prompt of 512 tokens, tg128 the generation of 128, tg128@8 the same for each of 8 texts at\n"
            "once, tg128 d4096 the same behind 4096 tokens. Generation is bound by memory, prompts by int8 products:\n"
            "both limits are measured in the same run. ± is half the distance from the slowest to the fastest run.\n"
            "docs/bench.md explains the figures of --json. Needs the engine's own library (pocketllama build)."
        ),
    ),
    "js": Verb(
        js,
        'Run a JavaScript file in which import "pocketllama" works, with Node from PATH or from the extra "node".',
        ("script",),
        rest=True,
        examples=("pocketllama js story.mjs",),
    ),
    "doctor": Verb(
        doctor,
        "Say what was found (Node, Python, environment, library, models, disk, memory) and what is wrong.",
        options=(_JSON, Option("no_setup", ("--no-setup",), bool, "only look; do not create the environment")),
    ),
    "setup": Verb(
        setup,
        "Create the Python environment and build the engine now (npx pocketllama does it at its first run).",
        details="Options of the npx entry: --wheelhouse DIR, --offline, --force; see docs/install.md.",
    ),
    "build": Verb(
        build,
        "Build the engine's own library with this machine's C++ compiler (npx pocketllama does it at its first run).",
        details="Takes $CXX, c++, g++ or clang++ on PATH (GCC 10, Clang 11 or newer), or zig of the package ziglang;\n"
        "the npx entry brings that where there is no other. POCKETLLAMA_BUILD=0 keeps the npx entry from building.",
    ),
    "version": Verb(version, "Print the version."),
}


def overview() -> str:
    """What `pocketllama --help` prints."""
    width = max(map(len, VERBS))
    lines = ["pocketllama: run language models on this computer", "", 'Usage: pocketllama "PROMPT"', ""]
    lines += ["       pocketllama COMMAND [OPTIONS]", "", "Commands:"]
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    lines += ["", "Examples:", *(f"  {e}" for e in VERBS["run"].examples)]
    lines += ["", "pocketllama COMMAND --help tells more about one. Exit codes: docs/cli.md.", ""]
    return "\n".join(lines)


def execute(argv: Sequence[str]) -> None:
    """Do what a command line says. Errors and SystemExit are the caller's."""
    command: Command = parse(argv, VERBS, "run")
    if command.wants_help:
        output.write(overview() if command.verb is None else usage(command.verb, VERBS[command.verb]))
        return
    import fire  # not before it is needed: --help answers without it

    verb = VERBS[str(command.verb)]
    # Every value arrives as the JSON that for_fire wrote, so that none is guessed at.
    function = fire.decorators.SetParseFn(json.loads)(verb.call)
    fire.Fire({str(command.verb): function}, command=command.for_fire(), name="pocketllama")
