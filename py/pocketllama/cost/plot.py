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
    points = [_quality(axes[0], base, rows, scale)]
    if has_speed:
        for i, (key, what, color) in enumerate((("prefill", "prompt", "#c44e52"), ("decode", "generating", "#55a868"))):
            axes.append(figure.add_subplot(grid[i, 1]))
            points.append(_speed(axes[-1], base, rows, scale, f"{key}_tokens_per_second", color))
            axes[-1].set_ylabel(f"{key} ({what}), tokens/s")
    for axis in axes:
        axis.set_xlabel(f"size, {unit}")
        axis.grid(alpha=0.3)
        axis.margins(x=0.16, y=0.12)
    figure.draw_without_rendering()  # now pixels mean something
    for axis, of_axis in zip(axes, points, strict=True):
        name_points(axis, of_axis, [row["type"] for row in rows])
    try:
        figure.savefig(path, dpi=120)
    except OSError as e:
        raise StorageError(f"{path} could not be written: {e.strerror or e}.", remedy="Choose another folder.") from e


def _quality(axis: Any, base: Row, rows: Sequence[Row], scale: float) -> list[tuple[float, float]]:
    """Perplexity above the base's; it is drawn as a share of that, for which the error of both on one text is known.
    Gives the points."""
    size = [row["bytes"] / scale for row in rows]
    above = [row["divergence"]["perplexity_ratio"] * 100 - 100 for row in rows]
    errors = [row["divergence"]["perplexity_ratio_standard_error"] * 100 for row in rows]
    axis.errorbar(size, above, yerr=errors, fmt="o", color="#4c72b0", capsize=3)
    axis.axhline(0, color="#888888", linewidth=0.8, linestyle="--")
    axis.set_ylabel(f"perplexity above {base['type']}'s {base['perplexity']:.2f}, %")
    axis.set_yscale("symlog", linthresh=1)
    axis.yaxis.set_major_formatter("{x:g}")
    return list(zip(size, above, strict=True))


def _speed(axis: Any, base: Row, rows: Sequence[Row], scale: float, key: str, color: str) -> list[tuple[float, float]]:
    """Tokens/s under `key`; the base's as a line, for its size would press the others together. Gives the points."""
    size, speeds = [row["bytes"] / scale for row in rows], [row[key] for row in rows]
    axis.plot(size, speeds, "o", color=color, zorder=5)
    axis.axhline(base[key], color="#888888", linewidth=0.8, linestyle="--")
    right = {"xycoords": axis.get_yaxis_transform(), "ha": "right", "va": "bottom", "color": "#666666", "fontsize": 9}
    axis.annotate(base["type"], (0.99, base[key]), **right)
    axis.set_ylim(0, 1.15 * max(base[key], *(row[key] for row in rows)))
    return list(zip(size, speeds, strict=True))


# From a point to its name, in points of print.
_PLACES = ((9, 0), (-9, 0), (0, 11), (0, -11), (9, 11), (-9, 11), (9, -11), (-9, -11), (0, 22), (0, -22))


def name_points(axis: Any, points: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Each point's name beside it, where it lies on no other point and on no other name; else on the right. The figure
    must have been laid out."""
    from matplotlib.transforms import Bbox

    around = 6 * axis.figure.dpi / 72  # a point's half and a little room
    taken = [Bbox.from_extents(x - around, y - around, x + around, y + around)
             for x, y in axis.transData.transform(points)]  # fmt: skip
    for point, text in zip(points, names, strict=True):
        for at, (right, above) in enumerate((*_PLACES, _PLACES[0])):
            name = axis.annotate(
                text,
                point,
                xytext=(right, above),
                textcoords="offset points",
                ha={-9: "right", 0: "center", 9: "left"}[right],
                va="center",
                fontsize=9,
            )
            box = name.get_window_extent()
            if at == len(_PLACES) or not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            name.remove()
