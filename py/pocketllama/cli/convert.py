"""Commands that make model files: convert."""

from __future__ import annotations

from .. import output
from ..argv import Option, Verb


def convert(source: str, out: str | None = None, type: str = "q8_0", dry_run: bool = False) -> None:
    """Make a GGUF of a checkpoint."""
    from ..convert import convert as make
    from ..models import progress

    with progress.bar() as show:
        made = make(
            source,
            out,
            type=type,
            progress=lambda name, done, total: show(progress.ProgressEvent(source, done, total)),
            dry_run=dry_run,
        )
    output.write(f"{made}\n")


VERBS: dict[str, Verb] = {
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
}
