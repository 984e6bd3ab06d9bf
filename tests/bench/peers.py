"""pocketllama beside llama.cpp on the same files: in turn, in one sitting, each in its own process and environment.

    python3 -m venv peer && peer/bin/pip install llama-cpp-python    # outside the repository; built for this machine
    PYTHONPATH=py python -m tests.bench.peers MODEL.gguf... --peer peer/bin/python --out results

Each round measures every case once in each engine, one after the other; the other one sleeps meanwhile. Of llama.cpp
what counts is its better way, with flash attention or without. A ratio is ours / llama.cpp's of the same round, and
the table has the median of the rounds. With --isa avx2 ours is masked to that; llama.cpp's environment must then be
one that was built with CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON".
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from pocketllama import models
from pocketllama.bench.plan import Case
from pocketllama.bench.work import work_of
from pocketllama.engine import cpu, files, native

from . import peers_report
from .workers import Worker, llama_cpp, ours

_SHORT = 512  # cases of longer contexts get a cache of their own: nobody else shall pay for its size


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word.strip("0 ")]


def groups(args: argparse.Namespace) -> list[list[Case]]:
    """The cases, by the cache that they need."""
    cases = [Case("pp", n) for n in args.prompt]
    cases += [Case("tg", args.new, batch) for batch in args.batch] if args.new else []
    cases += [Case("tg", args.new, depth=depth) for depth in args.depth] if args.new else []
    short = [c for c in cases if c.context <= _SHORT]
    return [group for group in (short, [c for c in cases if c not in short]) if group]


def compare(model: Path, sides: Sequence[Worker], args: argparse.Namespace) -> dict[str, Any]:
    """One file: each case's speeds in each variant, by rounds, and the limits of those rounds."""
    speeds: dict[Case, dict[str, list[float]]] = {}
    limits: dict[str, list[float]] = {"bandwidth": [], "int8": []}
    for group in groups(args):
        cases = [astuple(case) for case in group]
        variants = [
            (side, v) for side in sides for v in side.ask("load", model=str(model), cases=cases, threads=args.threads)
        ]
        for n in range(args.rounds):
            for limit, value in sides[0].ask("probe", threads=args.threads).items():
                limits[limit].append(value)
            for case in group:
                for side, variant in variants:
                    seconds = side.ask("run", variant=variant, case=astuple(case))
                    found = speeds.setdefault(case, {}).setdefault(variant or "ours", [])
                    found.append(case.tokens * case.batch / seconds)
                told = ", ".join(f"{name} {of[-1]:.1f}" for name, of in speeds[case].items())
                print(f"{model.name}, round {n + 1}: {case.name}: {told}", file=sys.stderr, flush=True)
    starts: dict[str, list[Any]] = {side.side: [] for side in sides}
    for _ in range(args.rounds + 1):
        for side in sides:
            starts[side.side].append(side.start(model, args.threads))
    middle = {limit: median(values) for limit, values in limits.items()}
    facts = files.inspect(model, native.find())
    work = work_of((model,), facts.kv_bytes_per_token)
    return {
        "file": model.name,
        "bytes": model.stat().st_size,
        **middle,
        "tests": [_test(case, by_variant, work, middle) for case, by_variant in speeds.items()],
        # The first one brought the file into memory.
        "start": {side: {key: median(s[key] for s in of[1:]) for key in of[0]} for side, of in starts.items()},
    }


def _test(case: Case, speeds: dict[str, list[float]], work: Any, limits: dict[str, float]) -> dict[str, Any]:
    mine = speeds["ours"]
    best = max((name for name in speeds if name != "ours"), key=lambda name: median(speeds[name]))
    ratios = [a / b for a, b in zip(mine, speeds[best], strict=True)]
    seconds = case.tokens * case.batch / median(mine)
    return {
        "test": case.name,
        "ours": median(mine),
        "peer": median(speeds[best]),
        "peer_variant": best,
        "ratio": median(ratios),
        "ratios": ratios,
        "speeds": speeds,
        "bandwidth_share": work.bytes_read(case) / seconds / limits["bandwidth"] if case.kind == "tg" else None,
        "int8_share": work.macs(case) / seconds / limits["int8"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="GGUF files")
    parser.add_argument("--peer", required=True, help="the interpreter of the environment that has llama-cpp-python")
    parser.add_argument("--isa", help="mask our instruction set (POCKETLLAMA_ISA)")
    parser.add_argument("-p", "--prompt", type=numbers, default="1,2,3,4,6,8,12,16,24,32,100,512,4096")
    parser.add_argument("-n", "--new", type=int, default=64)
    parser.add_argument("-b", "--batch", type=numbers, default="1,8")
    parser.add_argument("-d", "--depth", type=numbers, default="512,4096")
    parser.add_argument("-t", "--threads", type=int, default=cpu.default_threads())
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument(
        "--out", type=Path, default=Path("peers"), help="OUT.json, OUT.md and, with matplotlib, OUT.png"
    )
    args = parser.parse_args()
    with ours(args.isa) as mine, llama_cpp(args.peer) as peer:
        about = {"ours": mine.ask("about"), "peer": peer.ask("about")}
        found: dict[str, Any] = {
            "date": date.today().isoformat(),
            "cpu": cpu.name(),
            "threads": args.threads,
            "rounds": args.rounds,
            **about,
            "files": [],
        }
        for name in args.models:
            found["files"].append(compare(models.find(name).path, (mine, peer), args))
            # After each, so that an interrupted night is not lost.
            args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
            args.out.with_suffix(".md").write_text(peers_report.markdown(found))
    peers_report.plot(found, args.out.with_suffix(".png"))
    print(peers_report.markdown(found))


if __name__ == "__main__":
    main()
