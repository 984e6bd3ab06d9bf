"""A comparison as a picture: size against perplexity, and size against speed. Needs matplotlib, the extra "bench"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import StorageError


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """The picture at `path`; `bench.plot.check` has said before whether that can be."""
    from matplotlib.figure import Figure

    base, rows = figures["base"], figures["types"]
    has_speed = "decode_tokens_per_second" in base
    figure = Figure(figsize=(11 if has_speed else 6.5, 5.2), layout="constrained")
    axes = figure.subplots(1, 2 if has_speed else 1, squeeze=False)[0]
    figure.suptitle(f"{Path(figures['source']).name}: what fewer bits cost")
    size = [row["bytes"] / 1e6 for row in rows]
    unit = "MB"
    if max(size) >= 1000:
        size, unit = [s / 1e3 for s in size], "GB"
    quality = axes[0]
    quality.errorbar(
        size,
        [row["divergence"]["perplexity_ratio"] * 100 - 100 for row in rows],
        yerr=[row["divergence"]["perplexity_ratio_standard_error"] * 100 for row in rows],
        fmt="o",
        color="#4c72b0",
        capsize=3,
    )
    quality.axhline(0, color="#888888", linewidth=0.8, linestyle="--")
    quality.set_ylabel(f"perplexity above {base['type']}'s {base['perplexity']:.2f}, %")
    quality.set_yscale("symlog", linthresh=1)
    quality.yaxis.set_major_formatter("{x:g}")
    _name(quality, size, [row["divergence"]["perplexity_ratio"] * 100 - 100 for row in rows], rows)
    if has_speed:
        speed = axes[1]
        rates = [row["decode_tokens_per_second"] for row in rows]
        speed.plot(size, rates, "o", color="#55a868", label="decode")
        scale = 1000 if unit == "GB" else 1
        whole = base["bytes"] / 1e6 / scale
        speed.plot([whole], [base["decode_tokens_per_second"]], "s", color="#888888", label=base["type"])
        _name(speed, [*size, whole], [*rates, base["decode_tokens_per_second"]], [*rows, base])
        speed.set_ylabel("decode, tokens/s")
        speed.set_ylim(bottom=0)
    for axis in axes:
        axis.set_xlabel(f"size, {unit}")
        axis.grid(alpha=0.3)
        axis.margins(x=0.2, y=0.12)
    try:
        figure.savefig(path, dpi=120)
    except OSError as e:
        raise StorageError(f"{path} could not be written: {e.strerror or e}.", remedy="Choose another folder.") from e


def _name(axis: Any, xs: list[float], ys: list[float], rows: list[Any]) -> None:
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
