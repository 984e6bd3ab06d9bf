"""Commands that measure: bench."""

from __future__ import annotations

from pathlib import Path

from .. import output
from ..argv import Option, Verb
from .common import JSON, MODEL, THREADS, print_json


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
    from ..bench import plot as picture
    from ..bench import report
    from ..bench.measure import measure
    from ..bench.plan import plan
    from ..models import progress

    tests = plan(prompt, new, batch, depth)
    if plot:
        picture.check(Path(plot))
    with report.bar() as show, progress.bar() as pulled:
        figures = measure(model, tests, threads=threads, repeats=repeats, progress=show, pull_progress=pulled)
    if as_json:
        print_json(figures)
    else:
        output.write(report.render(figures))
    if plot:
        picture.draw(figures, Path(plot))


VERBS: dict[str, Verb] = {
    "bench": Verb(
        bench,
        "Measure how fast a model is here, and what share of the machine's limits that is.",
        options=(
            MODEL,
            Option(
                "prompt", ("-p", "--prompt"), str, "prompts of these lengths, evaluated at once; 0: none (512)", "N,…"
            ),
            Option("new", ("-n", "--new"), str, "so many tokens, one after the other; 0: none (128)", "N,…"),
            Option("batch", ("-b", "--batch"), str, "… of so many texts at a time (1,8)", "N,…"),
            Option("depth", ("-d", "--depth"), str, "both again, for one text, behind a context of N tokens", "N,…"),
            THREADS,
            Option("repeats", ("-r", "--repeats"), int, "how often, in turn; medians are shown (5)", "N"),
            JSON,
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
}
