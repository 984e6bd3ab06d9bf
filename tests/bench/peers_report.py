"""What peers.py found, as Markdown and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_STARTS = {
    "load_to_first": ("load to first token", "s"),
    "process_to_first": ("process to first token", "s"),
    "peak_rss": ("peak memory", "MB"),
}


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
    """Tests by files."""
    names = [file["file"].removesuffix(".gguf") for file in files]
    lines = [f"| ratio | {' | '.join(names)} |", "|---|" + "---|" * len(files)]
    for row in zip(*(file["tests"] for file in files), strict=True):
        lines.append(f"| {row[0]['test']} | {' | '.join(format(t['ratio'], '.2f') for t in row)} |")
    return lines


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
        form = ".3f" if unit == "s" else ".0f"
        lines.append(f"| {name}, {unit} | {ours:{form}} | {peer:{form}} | {ours / peer:.2f} | | | |")
    return lines


def plot(found: Mapping[str, Any], path: Path) -> None:
    """The ratios of every test, a colour for each file; without matplotlib, none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    files = found["files"]
    tests = [t["test"] for t in files[0]["tests"]]
    figure = Figure(figsize=(2 + 0.7 * len(tests), 5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(files)
    for i, file in enumerate(files):
        at = [j + (i - (len(files) - 1) / 2) * width for j in range(len(tests))]
        ratios = [t["ratio"] for t in file["tests"]]
        ends = [
            [t["ratio"] - min(t["ratios"]) for t in file["tests"]],
            [max(t["ratios"]) - t["ratio"] for t in file["tests"]],
        ]
        axes.bar(at, ratios, width, yerr=ends, label=file["file"].removesuffix(".gguf"), error_kw={"linewidth": 0.8})
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(tests)), tests, rotation=45, ha="right")
    axes.set_ylabel("tokens/s, pocketllama / llama.cpp")
    axes.legend()
    axes.set_title(f"{found['cpu']}, threads: {found['threads']}, {found['peer']['version']}, {found['date']}")
    figure.savefig(path, dpi=120)
