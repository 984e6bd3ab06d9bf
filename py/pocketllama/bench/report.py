"""A measurement as a table, for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..units import human_size

_BAR = 10  # characters


@contextmanager
def bar() -> Iterator[Any]:
    """A progress for `measure`, drawn on stderr if that is a terminal."""
    from tqdm import tqdm

    shape = "{desc} {bar} {n_fmt}/{total_fmt}, {elapsed}, {remaining} left"
    with tqdm(file=sys.stderr, disable=None, leave=False, dynamic_ncols=True, bar_format=shape) as drawn:

        def show(now: str, done: int, total: int) -> None:
            drawn.total = total
            drawn.set_description_str(now, refresh=False)
            drawn.update(done - drawn.n)
            drawn.refresh()

        yield show


def render(figures: Mapping[str, Any]) -> str:
    """The lines that `pocketllama bench` prints."""
    lines = [*_about(figures), ""]
    width = max(len("test"), *(len(r["test"]) for r in figures["results"]))
    lines.append(f"{'test':<{width}}  {'tokens/s':>9}        {'of the bandwidth':<18}{'of the int8 peak'}")
    for r in figures["results"]:
        spread = f"{r['spread']:.0%}"
        shares = f"{_share(r['bandwidth_share']):<18}{_share(r['int8_share'])}"
        lines.append(f"{r['test']:<{width}}  {_number(r['tokens_per_second']):>9} ±{spread:<4}  {shares}".rstrip())
    return "\n".join(lines) + "\n"


def _about(figures: Mapping[str, Any]) -> list[str]:
    """What was measured, on what."""
    model, machine = figures["model"], figures["machine"]
    mix = ", ".join(kind for kind in model["quantization"] if kind != "F32") or "F32"
    plural = "" if machine["threads"] == 1 else "s"
    limits = f"memory {figures['bandwidth_bytes_per_second'] / 1e9:.1f} GB/s, int8 {_rate(figures)}"
    start = f"load {figures['load_seconds']:.2f} s, first token {figures['first_token_seconds']:.2f} s after the start"
    if figures["peak_rss_bytes"]:
        parts = f"the file has {human_size(model['size'])}, the cache {human_size(figures['kv_bytes'])}"
        start += f", peak memory {human_size(figures['peak_rss_bytes'])} ({parts})"
    return [
        f"{model['name']}: {model['architecture']}, {_count(model['parameters'])} weights, {mix}",
        f"{machine['cpu']}, {machine['threads']} thread{plural}, {figures['library']['isa']}: {limits}",
        start,
    ]


def _rate(figures: Mapping[str, Any]) -> str:
    return f"{figures['int8_macs_per_second'] / 1e9:.0f} GMAC/s"


def _count(n: int) -> str:
    return f"{n / 1e9:.1f} billion" if n >= 1e9 else f"{n / 1e6:.1f} million"


def _number(value: float) -> str:
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def _share(value: float | None) -> str:
    """A bar and a percentage."""
    if value is None:
        return ""
    full = min(_BAR, round(value * _BAR))
    return f"{'█' * full}{'░' * (_BAR - full)} {value:>4.0%}"
