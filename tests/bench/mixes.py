"""The mixture of types that each name stands for, beside llama.cpp's own choice: nothing is quantized.

    PYTHONPATH=py python -m tests.bench.mixes PYTHON

PYTHON is the interpreter of an environment with llama-cpp-python. Models of a few shapes are written as headers over
empty files; llama.cpp's quantizer is asked for a dry run, and the types that it names are compared with ours.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pocketllama import gguf
from pocketllama.gguf import GGMLType, writer
from pocketllama.quantize import MIXES, find_mix
from pocketllama.quantize.plan import plan

from . import synthetic

_DRY_RUN = """
import sys, llama_cpp
p = llama_cpp.llama_model_quantize_default_params()
p.nthread, p.ftype, p.dry_run = 1, int(sys.argv[2]), True
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), b"none.gguf", p))
"""
_LINE = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) .*type = +(\w+), size = .*?(?:-> .*\((\w+)\))?$", re.MULTILINE)
SHAPES = {
    "32 layers": synthetic.Shape(dim=512, layers=32, heads=8, kv_heads=8, ffn=768, vocab=4608),
    "shared keys": synthetic.Shape(dim=512, layers=22, heads=8, kv_heads=2, ffn=768, vocab=4608),
    "rows of 288": synthetic.Shape(dim=288, layers=6, heads=6, kv_heads=6, ffn=800, vocab=4608),
    "80 layers": synthetic.Shape(dim=512, layers=80, heads=8, kv_heads=1, ffn=768, vocab=4608),
}


def write(path: Path, shape: synthetic.Shape) -> None:
    """A model of float16 whose weights are nothing."""
    tensors = synthetic.specs(shape, "f16")
    header = writer.encode_header(synthetic.metadata("empty", shape, "f16"), tensors)
    with path.open("wb") as out:
        out.write(header)
        out.truncate(len(header) + sum(-(-t.nbytes // 32) * 32 for t in tensors))


def theirs(python: str, path: Path, number: int) -> dict[str, str]:
    done = subprocess.run([python, "-c", _DRY_RUN, str(path), str(number)], capture_output=True, text=True)
    return {name: (new or old).upper() for name, old, new in _LINE.findall(done.stdout + done.stderr)}


def ours(path: Path, name: str) -> dict[str, str]:
    with gguf.read(path) as file:
        return {c.tensor.name: c.type.name for c in plan(file.metadata, file.tensors, find_mix(name))}


def main() -> None:
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        for shape_name, shape in SHAPES.items():
            path = Path(folder) / "model.gguf"
            write(path, shape)
            for mix in MIXES.values():
                if mix.base == GGMLType.F32:
                    continue
                expected, found = theirs(sys.argv[1], path, mix.file_type), ours(path, mix.name)
                wrong = {k: (found[k], expected.get(k)) for k in found if found[k] != expected.get(k)}
                different += bool(wrong)
                print(
                    f"{shape_name:12} {mix.name:8} {len(expected)} tensors, {len(wrong)} differ",
                    *list(wrong.items())[:4],
                )
    sys.exit(different != 0)


if __name__ == "__main__":
    main()
