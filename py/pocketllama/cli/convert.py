"""Commands that make model files: convert."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import output
from ..argv import Option, Verb
from ..units import human_count, human_size
from .common import terminated_as_interrupted

if TYPE_CHECKING:
    from ..convert import Plan
    from ..quantize import Mix

# What is written in one go; all others are mixtures that `quantize` knows.
_DIRECT = ("f32", "f16", "bf16", "q8_0")


def convert(
    source: str,
    out: str | None = None,
    type: str | None = None,
    lora: Sequence[str] = (),
    dry_run: bool = False,
) -> None:
    """Make a GGUF of a checkpoint."""
    from ..convert import convert as make
    from ..convert import plan
    from ..models import progress

    type = type.lower() if type else None
    if type is not None and type not in _DIRECT:
        _quantized(source, out, type, lora, dry_run)
        return
    if dry_run:
        planned = plan(source, out, type=type, lora=lora)
        output.write(_described(planned))
        for sentence in planned.notes:
            _note(sentence)
        return
    with progress.bar() as show, terminated_as_interrupted():
        made = make(
            source,
            out,
            type=type,
            lora=lora,
            note=_note,
            progress=lambda name, done, total: show(progress.ProgressEvent(source, done, total)),
        )
    output.write(f"{made}\n")


def _quantized(source: str, out: str | None, type: str, lora: Sequence[str], dry_run: bool) -> None:
    """By way of a file of the checkpoint's own precision, which lies beside the result and goes again."""
    from ..convert import convert as make
    from ..convert import plan
    from ..models import progress
    from ..quantize import find_mix, quantize
    from ..quantize.report import fallbacks

    mix = find_mix(type)
    planned = plan(source, out, lora=lora)
    if planned.packed_type == mix.name:
        convert(source, out, lora=lora, dry_run=dry_run)
        return
    planned = plan(source, out, type=planned.stored_type, lora=lora)
    named = out is not None and not Path(out).is_dir()
    path = (
        planned.path
        if named
        else planned.path.with_name(
            planned.path.name.removesuffix(f"-{planned.stored_type}.gguf") + f"-{mix.name.lower()}.gguf"
        )
    )
    if dry_run:
        final = _after(planned, mix, path)
        output.write(_described(final, by_way_of=planned))
        for sentence in final.notes:
            _note(sentence)
        return
    between = path.with_name(f".{path.name[:200]}.{os.getpid()}-{os.urandom(4).hex()}.partial.gguf")
    try:
        with progress.bar() as show, terminated_as_interrupted():
            make(
                source,
                between,
                type=planned.stored_type,
                lora=lora,
                note=_note,
                progress=lambda name, done, total: show(progress.ProgressEvent(source, done, total)),
            )
            made = quantize(
                between,
                path,
                mix.name,
                progress=lambda name, done, total: show(progress.ProgressEvent(mix.name, done, total)),
            )
    finally:
        between.unlink(missing_ok=True)
    for sentence in fallbacks(made.choices):
        _note(sentence)
    output.write(f"{path}\n")


def _after(planned: Plan, mix: Mix, path: Path) -> Plan:
    """What `planned` becomes when it is quantized into the file at `path`."""
    from ..gguf import DEFAULT_ALIGNMENT, TensorInfo
    from ..quantize import choices_for, estimate
    from ..quantize.report import fallbacks

    tensors = [TensorInfo(t.name, t.shape, t.type, 0, t.nbytes) for t in planned.tensors]
    choices = choices_for(planned.metadata, tensors, mix)
    types: dict[str, tuple[int, int]] = {}
    nbytes = planned.nbytes
    for choice in choices:
        size = choice.type.nbytes(choice.tensor.n_elements)
        n, before = types.get(choice.type.name, (0, 0))
        types[choice.type.name] = n + 1, before + size
        nbytes += size + -size % DEFAULT_ALIGNMENT - choice.tensor.nbytes - -choice.tensor.nbytes % DEFAULT_ALIGNMENT
    seconds = (planned.seconds or 0.0) + estimate(choices)
    notes = [*planned.notes, *fallbacks(choices)]
    return replace(planned, path=path, types=types, nbytes=nbytes, seconds=seconds, notes=notes)


def _note(sentence: str) -> None:
    sys.stderr.write(f"note: {sentence}\n")


def _described(plan: Plan, by_way_of: Plan | None = None) -> str:
    """What would be written: sizes by type, the whole, about how long; and the file on the way to it."""
    rows = [(name, f"{n} tensors", human_size(size)) for name, (n, size) in sorted(plan.types.items())]
    rows.append(("in all", f"{sum(n for n, _ in plan.types.values())} tensors", human_size(plan.nbytes)))
    table = "".join(f"  {name:8} {tensors:>14} {size:>9}\n" for name, tensors, size in rows)
    seconds = plan.seconds or 0.0
    time = "a second" if seconds < 1.5 else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    head = f"{plan.path}: {plan.architecture}, {human_count(plan.parameters)} parameters\n"
    way = ""
    if by_way_of is not None:
        kind, size = by_way_of.stored_type.upper(), human_size(by_way_of.nbytes)
        way = f"  by way of a file of {kind} beside it, {size}, which is removed again\n"
    return f"{head}{table}{way}  about {time} if the disk keeps up; nothing is written yet\n"


VERBS: dict[str, Verb] = {
    "convert": Verb(
        convert,
        "Make a GGUF file of a checkpoint.",
        ("source",),
        details=(
            "SOURCE is recognised by itself:\n"
            "  a folder of Hugging Face's   config.json, *.safetensors or pytorch_model*.bin, a tokenizer\n"
            "  a folder of Meta's           consolidated.*.pth, params.json, tokenizer.model (LLaMA 1, 2, 3)\n"
            "  a GGML file of 2023          ggml, ggmf, ggjt: its blocks stay as they are\n\n"
            "No program inside a checkpoint is ever run. Memory stays under 2 GB whatever the model's size, and\n"
            "whatever stops the work leaves nothing behind. docs/convert.md has the layouts and the architectures."
        ),
        options=(
            Option("out", ("-o", "--out"), str, "the file to write, or a folder for it (./NAME-TYPE.gguf)", "FILE"),
            Option(
                "type", ("--type",), str, "f32, f16, bf16, q8_0, or any type of pocketllama quantize (q8_0)", "TYPE"
            ),
            Option("lora", ("--lora",), list, "add this adapter of PEFT's; may be given several times", "DIR"),
            Option("dry_run", ("--dry-run",), bool, "only check, and say what would be written and how long it takes"),
        ),
        examples=(
            "pocketllama convert ./TinyLlama-1.1B -o tinyllama.gguf",
            "pocketllama convert ./llama-7b --type f16 --dry-run",
            "pocketllama convert ./llama-7b --lora ./alpaca-lora-7b -o alpaca.gguf",
        ),
    ),
}
