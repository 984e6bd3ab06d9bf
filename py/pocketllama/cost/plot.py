"""A comparison as a picture: size against perplexity, and against the speeds of prefill and decode.

Needs matplotlib, the extra "bench".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import StorageError

Row = Mapping[str, Any]  # of one type, as compare.py finds them


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """The picture at `path`; `bench.plot.check` has said before whether that can be."""
    from matplotlib.figure import Figure

    base, rows = figures["base"], figures["types"]
    has_speed = "decode_tokens_per_second" in base
    figure = Figure(figsize=(11, 6) if has_speed else (6.5, 5.2), layout="constrained")
    machine = figures["machine"]
    cpu = f"{machine['cpu']}, threads: {machine['threads']}, " if has_speed else ""
    figure.suptitle(
        f"{Path(figures['source']).name}: what fewer bits cost\n{cpu}pocketllama {figures['version']}, "
        f"{figures['date'][:10]}"
    )
    grid = figure.add_gridspec(2, 2 if has_speed else 1)
    scale, unit = (1e9, "GB") if max(row["bytes"] for row in rows) >= 1e9 else (1e6, "MB")
    axes = [figure.add_subplot(grid[:, 0])]
    _quality(axes[0], base, rows, scale)
    if has_speed:
        for i, (key, what, color) in enumerate((("prefill", "prompt", "#c44e52"), ("decode", "generating", "#55a868"))):
            axes.append(figure.add_subplot(grid[i, 1]))
            _speed(axes[-1], base, rows, scale, f"{key}_tokens_per_second", color)
            axes[-1].set_ylabel(f"{key} ({what}), tokens/s")
    for axis in axes:
        axis.set_xlabel(f"size, {unit}")
        axis.grid(alpha=0.3)
        axis.margins(x=0.16, y=0.12)
    try:
        figure.savefig(path, dpi=120)
    except OSError as e:
        raise StorageError(f"{path} could not be written: {e.strerror or e}.", remedy="Choose another folder.") from e


def _quality(axis: Any, base: Row, rows: Sequence[Row], scale: float) -> None:
    """Perplexity above the base's; it is drawn as a share of that, for which the error of both on one text is known."""
    size = [row["bytes"] / scale for row in rows]
    above = [row["divergence"]["perplexity_ratio"] * 100 - 100 for row in rows]
    errors = [row["divergence"]["perplexity_ratio_standard_error"] * 100 for row in rows]
    axis.errorbar(size, above, yerr=errors, fmt="o", color="#4c72b0", capsize=3)
    axis.axhline(0, color="#888888", linewidth=0.8, linestyle="--")
    axis.set_ylabel(f"perplexity above {base['type']}'s {base['perplexity']:.2f}, %")
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter("{x:g}")
    _name(axis, size, above, rows)


def _speed(axis: Any, base: Row, rows: Sequence[Row], scale: float, key: str, color: str) -> None:
    """Tokens/s under `key`; the base's as a line, for its size would press the others together."""
    axis.plot([row["bytes"] / scale for row in rows], [row[key] for row in rows], "o", color=color, zorder=5)
    axis.axhline(base[key], color="#888888", linewidth=0.8, linestyle="--")
    right = {"xycoords": axis.get_yaxis_transform(), "ha": "right", "va": "bottom", "color": "#666666", "fontsize": 9}
    axis.annotate(base["type"], (0.99, base[key]), **right)
    axis.set_ylim(0, 1.15 * max(base[key], *(row[key] for row in rows)))
    for row in rows:  # upright, below its point: neighbours of one speed lie closer than names are wide
        axis.annotate(
            row["type"],
            (row["bytes"] / scale, row[key]),
            xytext=(0, -8),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90,
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8},
        )


def _name(axis: Any, xs: Sequence[float], ys: Sequence[float], rows: Sequence[Row]) -> None:
    """Each point's type beside it, left and right in turn, so that neighbours do not lie on each other."""
    for i, at in enumerate(sorted(range(len(xs)), key=lambda j: xs[j])):
        right = i % 2 == 1
        axis.annotate(
            rows[at]["type"],
            (xs[at], ys[at]),
            xytext=(9 if right else -9, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=9,
        )
