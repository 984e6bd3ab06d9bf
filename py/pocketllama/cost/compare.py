"""Every type of one model beside each other: made in a temporary place, measured, thrown away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import Any

from .. import gguf, models
from .._version import __version__
from ..bench.measure import measure
from ..bench.plan import plan
from ..engine import cpu
from ..errors import StorageError, UsageError
from ..quantize import find_mix, quantize
from ..units import human_size
from .imatrix import imatrix
from .perplexity import beyond, perplexity

Progress = Callable[[str, int, int], None]
DEFAULT_TYPES = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "IQ4_XS", "Q3_K_M", "Q2_K")
_STEPS = 3  # of a type: making it, reading the text, its speed


def compare(
    source: str,
    text: str,
    *,
    types: Sequence[str] = DEFAULT_TYPES,
    n_ctx: int = 512,
    limit: int | None = None,
    importance: Path | None = None,
    calibration: str | None = None,
    speed: bool = True,
    repeats: int = 3,
    threads: int | None = None,
    folder: Path | None = None,
    progress: Progress = lambda now, done, total: None,
) -> dict[str, Any]:
    """The figures of each type of the model `source` (a name, a GGUF file, or a checkpoint's folder) on `text`.

    The base is the source itself, or F16 for a checkpoint. `importance` is used for every type; `calibration`, a text,
    makes one. Without `speed` only size, perplexity and divergence are found. `folder` is where the temporary files go:
    the base's logits, and one type's file at a time. Plain values, as --json prints them.
    """
    mixes = [find_mix(name) for name in dict.fromkeys(types)]
    if not mixes:
        raise UsageError("There is no type to compare.", remedy="Such as --types Q8_0,Q4_K_M")
    steps, total = count(), _STEPS * (len(mixes) + 1) + (calibration is not None)
    threads = cpu.default_threads() if threads is None else threads
    if folder is not None and not folder.is_dir():
        raise StorageError(f"There is no folder {folder} for temporary files.", remedy="Make it, or choose another.")
    try:
        place = Path(tempfile.mkdtemp(prefix="pocketllama-compare-", dir=folder))
    except OSError as e:
        raise StorageError(f"No temporary folder can be made: {e}.", remedy="Choose a place with --temp.") from e
    try:
        progress("base", next(steps), total)
        files = _base(source, place)
        if calibration is not None:
            progress("imatrix", next(steps), total)
            importance = place / "imatrix.gguf"
            imatrix(files, calibration, importance, n_ctx=n_ctx, threads=threads)
        logits = place / "base.logits"
        rows = []

        def row(name: str, path: Path, size: int, **options: Any) -> dict[str, Any]:
            progress(f"{name}: perplexity", next(steps), total)
            figures = perplexity(path, text, n_ctx=n_ctx, limit=limit, threads=threads, **options)
            progress(f"{name}: speed", next(steps), total)
            rates = _speed(path, n_ctx, threads, repeats) if speed else {}
            return {"type": name, "bytes": size, **figures, **rates}

        base = row(_name_of(files), files[0], sum(f.stat().st_size for f in files), save_base=logits)
        weights = _weights(files)
        for mix in mixes:
            progress(f"{mix.name}: quantizing", next(steps), total)
            path = place / f"{mix.name}.gguf"
            made = quantize(files, path, mix.name, importance=importance, again=True, threads=threads)
            rows.append(row(mix.name, path, made.bytes, base=logits) | {"quantize_seconds": made.seconds})
            path.unlink()
        progress("done", total, total)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    for each in (base, *rows):
        each["bits_per_weight"] = 8 * each["bytes"] / weights
    return {
        "version": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": source,
        "machine": {"cpu": cpu.name(), "system": cpu.machine(), "threads": threads},
        "importance": importance.name if importance is not None and calibration is None else calibration is not None,
        "base": base,
        "types": rows,
    }


def _base(source: str, place: Path) -> tuple[Path, ...]:
    """The files of the model to start from."""
    if Path(source).expanduser().is_dir():
        from ..convert import convert

        return (convert(Path(source).expanduser(), place / "base.gguf", type="f16"),)
    return models.find(source).files


def _weights(files: Sequence[Path]) -> int:
    n = 0
    for file in files:
        with gguf.read(file) as opened:
            n += sum(t.n_elements for t in opened.tensors)
    return n


def _name_of(files: Sequence[Path]) -> str:
    """The type that has most of the file."""
    sizes: dict[str, int] = {}
    for file in files:
        with gguf.read(file) as opened:
            for tensor in opened.tensors:
                sizes[tensor.type.name] = sizes.get(tensor.type.name, 0) + tensor.nbytes
    return max(sizes, key=lambda name: sizes[name])


def _speed(path: Path, n_ctx: int, threads: int, repeats: int) -> dict[str, Any]:
    figures = measure(str(path), plan(str(n_ctx), "64", "1", ""), threads=threads, repeats=repeats)
    by_kind = {result["kind"]: result["tokens_per_second"] for result in figures["results"]}
    return {
        "prefill_tokens_per_second": by_kind["pp"],
        "decode_tokens_per_second": by_kind["tg"],
        "peak_rss_bytes": figures["peak_rss_bytes"],
        "bandwidth_bytes_per_second": figures["bandwidth_bytes_per_second"],
    }


# ---- as a table

_COLUMNS = (
    "type",
    "size",
    "bits a weight",
    "perplexity",
    "KL divergence",
    "same top",
    "prefill",
    "decode",
    "peak memory",
)
# A terminal of 80 columns shows all of them.
_NARROW = ("type", "size", "bits", "perplexity", "KL", "top 1", "prefill", "decode", "memory")


def _cells(row: dict[str, Any], narrow: bool) -> list[str]:
    d = row.get("divergence")
    rates = [row.get(f"{what}_tokens_per_second") for what in ("prefill", "decode")]
    peak = row.get("peak_rss_bytes")
    digits, unit = (2, "") if narrow else (3, " t/s")
    return [
        row["type"],
        human_size(row["bytes"]),
        f"{row['bits_per_weight']:.2f}",
        f"{row['perplexity']:.{digits}f} ± {row['standard_error']:.{digits}f}",
        f"{d['mean']:.5f}" if d else "",
        f"{100 * d['same_top']:.1f} %" if d else "",
        *(f"{rate:.0f}{unit}" if rate else "" for rate in rates),
        human_size(peak) if peak else "",
    ]


def _shown(figures: dict[str, Any], narrow: bool = False) -> list[list[str]]:
    """Heading and rows, without the columns in which nothing stands."""
    rows = [_cells(row, narrow) for row in (figures["base"], *figures["types"])]
    kept = [i for i in range(len(_COLUMNS)) if any(row[i] for row in rows)]
    return [[row[i] for i in kept] for row in (list(_NARROW if narrow else _COLUMNS), *rows)]


def _about(figures: dict[str, Any]) -> str:
    base, machine = figures["base"], figures["machine"]
    return (
        f"{base['scored']} tokens scored in contexts of {base['context']}; "
        f"{machine['cpu']}, threads: {machine['threads']}, pocketllama {figures['version']}, {figures['date'][:10]}"
    )


def render(figures: dict[str, Any]) -> str:
    """The lines that a terminal shows."""
    rows = _shown(figures, narrow=True)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    legend, about = [], _about(figures).replace("; ", "\n", 1)
    if "KL" in rows[0]:
        legend.append("KL: divergence from the first; top 1: how often both guess the same token")
    if "prefill" in rows[0]:
        legend.append("prefill, decode: tokens a second")
    if (base := figures["base"])["context"] > base["trained_context"] > 0:
        about += f"\n{beyond(base['trained_context'])}"
    return "\n".join([*(line.rstrip() for line in lines), "", *legend, about]) + "\n"


def markdown(figures: dict[str, Any]) -> str:
    """The same as a table in Markdown."""
    head, *rows = _shown(figures)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{_about(figures)}\n"
