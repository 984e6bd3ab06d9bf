"""A measurement as a picture. Needs matplotlib, which nothing else does: the extra "bench"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import EngineError, StorageError, UsageError


def check(path: Path) -> None:
    """What can be wrong with a picture, said before minutes of measuring."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError as e:
        raise EngineError(
            f"A plot needs matplotlib, which cannot be imported: {e}.",
            remedy='pip install "pocketllama[bench]", or with npx: pocketllama setup --with bench',
        ) from e
    kinds = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise UsageError(
            f"{path.name} is no name for a plot.", remedy=f"End it with one of .{', .'.join(sorted(kinds))}."
        )
    if not path.parent.is_dir():
        raise StorageError(f"There is no folder {path.parent} to write to.", remedy="Make it, or choose another.")


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Tokens a second, and the shares of the machine's limits, side by side."""
    from matplotlib.figure import Figure

    results = figures["results"][::-1]  # the first one is drawn on top
    names = [r["test"] for r in results]
    figure = Figure(figsize=(9, 1.6 + 0.45 * len(results)), layout="constrained")
    machine = figures["machine"]
    figure.suptitle(
        f"{figures['model']['name']}, {machine['cpu']}, threads: {machine['threads']}, pocketllama {figures['version']}"
    )
    speed, share = figure.subplots(1, 2, sharey=True)
    speeds = [r["tokens_per_second"] for r in results]
    bars = speed.barh(
        names, speeds, xerr=[r["spread"] * s for r, s in zip(results, speeds, strict=True)], color="#4c72b0"
    )
    speed.bar_label(bars, fmt="%.1f", padding=4)
    speed.margins(x=0.2)
    speed.set_xlabel("tokens/s")
    bandwidth = f"memory, {figures['bandwidth_bytes_per_second'] / 1e9:.1f} GB/s"
    int8 = f"int8, {figures['int8_macs_per_second'] / 1e9:.0f} GMAC/s"
    for key, label, shift, color in (
        ("bandwidth_share", bandwidth, 0.2, "#55a868"),
        ("int8_share", int8, -0.2, "#c44e52"),
    ):
        places = [i + shift for i in range(len(results))]
        share.barh(places, [100 * (r[key] or 0) for r in results], height=0.38, label=label, color=color)
    share.set_xlim(0, 100)
    share.set_xlabel("% of the limit")
    figure.legend(*share.get_legend_handles_labels(), loc="outside lower right", ncols=2)
    try:
        figure.savefig(path, dpi=120)
    except OSError as e:
        raise StorageError(f"{path} could not be written: {e.strerror or e}.", remedy="Choose another folder.") from e
