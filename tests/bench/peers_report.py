"""What peers.py found, as Markdown and as a picture."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FORMS = {"s": ".2f", "MB": ".0f"}
_STARTS = {
    "load_to_first": ("load to first token", "s"),
    "process_to_first": ("process to first token", "s"),
    "peak_rss": ("peak memory", "MB"),
}

_COLORS = ("#4c72b0", "#55a868", "#c44e52", "#8172b2", "#ccb974", "#64b5cd")


def markdown(found: Mapping[str, Any]) -> str:
    """A table for each file, and one of all ratios."""
    of = found["peer"]
    lines = [
        f"{found['date']}, {found['cpu']}, threads: {found['threads']}, {found['rounds']} rounds in turn.",
        f"{found['ours']['version']} ({found['ours']['features']}); {of['version']} ({_built_for(of['features'])}).",
    ]
    if len(found["files"]) > 1:
        lines += ["", *_ratios(found["files"])]
    for file in found["files"]:
        lines += ["", f"### {file['file']}", "", *_file(file)]
    return "\n".join(lines) + "\n"


def _built_for(features: str) -> str:
    """The words of "CPU : SSE3 = 1 | AVX = 1 | …" that say AVX."""
    words = [word.partition("=")[0].rpartition(":")[2].strip() for word in features.split("|")]
    return " ".join(word for word in words if "AVX" in word or "NEON" in word or "MATMUL" in word) or "no AVX"


def _ratios(files: list[Any]) -> list[str]:
    """Tests by files: how many times as fast, and our tokens a second; then the starts."""
    lines = [f"| times as fast (tokens/s) | {' | '.join(_names(files))} |", "|---|" + "---:|" * len(files)]
    for row in zip(*(file["tests"] for file in files), strict=True):
        cells = (f"**{t['ratio']:.2f}** ({t['ours']:.0f})" for t in row)
        lines.append(f"| {_words(row[0]['test'])} | {' | '.join(cells)} |")
    for key, (name, unit) in _STARTS.items():
        pairs = ([file["start"][side][key] for side in ("ours", "llama.cpp")] for file in files)
        cells = (f"**{a / b:.2f}** ({a if unit == 's' else a / 1e6:{_FORMS[unit]}} {unit})" for a, b in pairs)
        lines.append(f"| {name}, of llama.cpp's | {' | '.join(cells)} |")
    return lines


def _names(files: list[Any]) -> list[str]:
    """What tells the files apart: the ends of their names, which are their types' names."""
    return [file["file"].removesuffix(".gguf").rpartition("-")[2].upper() for file in files]


def _words(test: str) -> str:
    """A case as people say it."""
    kind, n, batch, depth = re.fullmatch(r"(pp|tg)(\d+)(?:@(\d+))?(?: d(\d+))?", test).groups()  # type: ignore[union-attr]
    if kind == "pp":
        return f"prompt of {n}"
    texts = f"{batch} texts together" if batch else "generating"
    return f"{texts} behind {depth}" if depth else texts


def _file(file: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Memory {file['bandwidth'] / 1e9:.1f} GB/s, int8 {file['int8'] / 1e9:.0f} GMAC/s (medians of these rounds).",
        "",
        "| tokens/s | pocketllama | llama.cpp | ratio | lowest, highest | of the bandwidth | of the int8 peak |",
        "|---|---|---|---|---|---|---|",
    ]
    for t in file["tests"]:
        peer = f"{t['peer']:.1f} ({t['peer_variant']})"
        ends = f"{min(t['ratios']):.2f}, {max(t['ratios']):.2f}"
        shares = (
            f"{'' if t['bandwidth_share'] is None else format(t['bandwidth_share'], '.0%')} | {t['int8_share']:.0%}"
        )
        lines.append(f"| {t['test']} | {t['ours']:.1f} | {peer} | **{t['ratio']:.2f}** | {ends} | {shares} |")
    for key, (name, unit) in _STARTS.items():
        ours, peer = (file["start"][side][key] / (1 if unit == "s" else 1e6) for side in ("ours", "llama.cpp"))
        lines.append(f"| {name}, {unit} | {ours:{_FORMS[unit]}} | {peer:{_FORMS[unit]}} | {ours / peer:.2f} | | | |")
    return lines


def plot(found: Mapping[str, Any], path: Path) -> None:
    """The ratios of every test, a colour for each file; without matplotlib, none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    files = found["files"]
    tests = [_words(t["test"]) for t in files[0]["tests"]]
    figure = Figure(figsize=(3 + 0.95 * len(tests), 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(files)
    for i, (file, name) in enumerate(zip(files, _names(files), strict=True)):
        at = [j + (i - (len(files) - 1) / 2) * width for j in range(len(tests))]
        ratios = [t["ratio"] for t in file["tests"]]
        ends = [
            [t["ratio"] - min(t["ratios"]) for t in file["tests"]],
            [max(t["ratios"]) - t["ratio"] for t in file["tests"]],
        ]
        color = _COLORS[i % len(_COLORS)]
        axes.bar(at, ratios, width * 0.9, yerr=ends, label=name, color=color, error_kw={"linewidth": 0.7, "alpha": 0.6})
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(tests)), [textwrap.fill(test, 13) for test in tests])
    axes.set_ylabel("times as fast as llama.cpp")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(files), frameon=False)
    figure.supxlabel(
        f"{found['cpu']}, {found['threads']} threads, {found['peer']['version']}, {found['date']}", fontsize="small"
    )
    figure.savefig(path, dpi=120)
