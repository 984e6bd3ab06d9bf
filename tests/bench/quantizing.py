"""How long making a quantized file takes, beside llama.cpp: every type, in turn, each run in a process of its own.

    PYTHONPATH=py python -m tests.bench.synthetic f16.gguf --shape small --format f16
    PYTHONPATH=py python -m tests.bench.quantizing f16.gguf --peer ~/peer/bin/python --out quantizing

A round makes each file once with either program, one after the other; the ratio is llama.cpp's time by ours, its median
over the rounds. Timed is the call in a process that has its imports: our quantize(), llama_model_quantize(). Files are
made in memory (/dev/shm) where there is some, for a disk would be the same for both; ours waits for the disk before its
file gets its name. Then both files are compared, tensor by tensor: the same types, and how many have the same bytes. On
Linux, `chrt -f 10` before the command keeps other programs of the machine off the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from pocketllama import gguf
from pocketllama.engine import cpu
from pocketllama.quantize import MIXES
from pocketllama.units import human_size

_ROOT = Path(__file__).resolve().parents[2]
_OURS = """
import sys, time
from pocketllama.quantize import quantize
source, out, name, number, threads = sys.argv[1:]
begin = time.perf_counter()
quantize(source, out, name, threads=int(threads))
print(time.perf_counter() - begin)
"""
_THEIRS = """
import sys, time, llama_cpp
source, out, name, number, threads = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.nthread, params.ftype = int(threads), int(number)
begin = time.perf_counter()
failed = llama_cpp.llama_model_quantize(source.encode(), out.encode(), params)
print(time.perf_counter() - begin)
sys.exit(failed)
"""
TYPES = [name for name in MIXES if name not in ("F32", "Q2_K_S")]


def seconds(python: str, program: str, source: Path, out: Path, name: str, threads: int) -> float:
    """Of one run; what the program says is shown where it fails."""
    out.unlink(missing_ok=True)
    words = [python, "-c", program, str(source), str(out), name, str(int(MIXES[name].file_type)), str(threads)]
    done = subprocess.run(words, cwd=_ROOT, env={**os.environ, "PYTHONPATH": "py"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def compare(ours: Path, theirs: Path) -> dict[str, Any]:
    """Of both files' tensors: whose types differ, and how many have the same bytes."""
    with gguf.read(ours) as a, gguf.read(theirs) as b:
        others = {t.name: t for t in b.tensors}
        different = [t.name for t in a.tensors if t.name not in others or others[t.name].type != t.type]
        same = sum(t.name not in different and a.tensor_bytes(t) == b.tensor_bytes(others[t.name]) for t in a.tensors)
        return {"types_differ": different, "same_bytes": same, "tensors": len(a.tensors)}


def markdown(found: dict[str, Any]) -> str:
    lines = [
        f"{found['cpu']}, {found['threads']} threads, {found['weights'] / 1e6:.0f} million weights "
        f"({human_size(found['bytes'])}), {found['rounds']} rounds, {found['date']}",
        "",
        "| type | pocketllama | llama.cpp | times as fast | least, most | tensors with the same bytes |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for t in found["types"]:
        spread = f"{min(t['ratios']):.2f}, {max(t['ratios']):.2f}"
        times = f"{t['ours']:.2f} s | {t['theirs']:.2f} s | {t['ratio']:.2f}"
        same = f"{t['same_bytes']} of {t['tensors']}" + (", TYPES DIFFER" if t["types_differ"] else "")
        lines.append(f"| {t['type']} | {times} | {spread} | {same} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file of F16, BF16 or F32")
    parser.add_argument("--peer", required=True, help="the interpreter of the environment that has llama-cpp-python")
    parser.add_argument("--types", type=lambda text: text.upper().split(","), default=TYPES)
    parser.add_argument("-t", "--threads", type=int, default=cpu.default_threads())
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the files are made and removed again")
    parser.add_argument("--out", type=Path, default=Path("quantizing"), help="OUT.json and OUT.md")
    args = parser.parse_args()
    model = args.model.resolve()
    with gguf.read(model) as file:
        weights = sum(t.n_elements for t in file.tensors)
    shm = "/dev/shm" if Path("/dev/shm").is_dir() else None
    found: dict[str, Any] = {
        "cpu": cpu.name(),
        "threads": args.threads,
        "weights": weights,
        "bytes": model.stat().st_size,
        "rounds": args.rounds,
        "date": date.today().isoformat(),
        "types": [],
    }
    with tempfile.TemporaryDirectory(dir=args.folder or shm) as folder:
        out = [Path(folder) / f"{side}.gguf" for side in ("ours", "theirs")]
        for name in args.types:
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(args.rounds):
                ours.append(seconds(sys.executable, _OURS, model, out[0], name, args.threads))
                theirs.append(seconds(args.peer, _THEIRS, model, out[1], name, args.threads))
                print(f"{name}: {ours[-1]:.2f} s, {theirs[-1]:.2f} s", file=sys.stderr, flush=True)
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            about = {"type": name, "ours": median(ours), "theirs": median(theirs), "ratio": median(ratios)}
            found["types"].append({**about, "ratios": ratios, **compare(*out)})
            args.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
            args.out.with_suffix(".md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
