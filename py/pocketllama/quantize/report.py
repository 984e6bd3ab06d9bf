"""A quantization in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..units import human_size
from .job import Result

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
    fallbacks: dict[tuple[str, str, int], list[str]] = {}
    for choice in result.choices:
        if choice.fell_back:
            key = (choice.wanted.name, choice.type.name, choice.tensor.shape[0])
            fallbacks.setdefault(key, []).append(choice.tensor.name)
    for (wanted, got, columns), names in fallbacks.items():
        lines.append(f"  {got} for {wanted}, because its blocks do not divide rows of {columns}: {_some(names)}")
    if result.without_importance:
        lines.append(f"  the importance matrix knows nothing of {_some(result.without_importance)}")
    return "\n".join(lines) + "\n"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
