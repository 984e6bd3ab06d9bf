"""A quantization in words."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from ..units import human_size
from .job import Result
from .plan import Choice

_SHOWN = 6  # of a list of names


def render(result: Result, dry_run: bool) -> str:
    """The lines that `pocketllama quantize` prints."""
    size, before = result.bytes, result.source_bytes
    verb = "would take" if dry_run else "takes"
    mixture = ", ".join(f"{count} {kind}" for kind, count in result.by_type().items())
    lines = [
        f"{result.path}: {result.mix.name} {verb} {human_size(size)} of {human_size(before)}, "
        f"{8 * size / result.weights:.2f} bits a weight",
        f"  matrices: {mixture}",
    ]
    if not dry_run:
        lines[0] += f", in {result.seconds:.1f} s"
    lines += [f"  {sentence}" for sentence in fallbacks(result.choices)]
    if result.without_importance:
        lines.append(f"  not in the importance matrix, and quantized without: {_some(result.without_importance)}")
    return "\n".join([lines[0], *map(_filled, lines[1:])]) + "\n"


def _filled(line: str) -> str:
    return textwrap.fill(line, 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def fallbacks(choices: Iterable[Choice]) -> list[str]:
    """What got another type than it should have, and why: a sentence for each pair of types."""
    found: dict[tuple[str, str, int], list[str]] = {}
    for choice in choices:
        if choice.fell_back:
            key = (choice.wanted.name, choice.type.name, choice.tensor.shape[0])
            found.setdefault(key, []).append(choice.tensor.name)
    return [
        f"{got} for {wanted}, whose blocks do not divide rows of {columns}: {_some(names)}"
        for (wanted, got, columns), names in found.items()
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
