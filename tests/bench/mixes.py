"""The mixture of types that each name stands for, beside llama.cpp's own choice: nothing is quantized.

    PYTHONPATH=py python -m tests.bench.mixes PYTHON

PYTHON is the interpreter of an environment with llama-cpp-python. llama.cpp's quantizer is asked for a dry run of every
type, with an importance matrix and without, for every model of mix_models.py; the types that it names are compared with
ours.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pocketllama import gguf
from pocketllama.gguf import GGMLType
from pocketllama.quantize import MIXES, find_mix
from pocketllama.quantize.plan import plan

from .mix_models import MODELS

_DRY_RUNS = """
import sys, llama_cpp
nothing = (llama_cpp.llama_model_imatrix_data * 1)()  # an importance matrix that is there, and of no tensor
for number in sys.argv[2:]:
    for important in (0, 1):
        p = llama_cpp.llama_model_quantize_default_params()
        p.nthread, p.ftype, p.dry_run = 1, int(number), True
        if important:
            p.imatrix = nothing
        print("\\n==", number, important, file=sys.stderr, flush=True)
        if llama_cpp.llama_model_quantize(sys.argv[1].encode(), b"none.gguf", p):
            sys.exit(1)
"""
_RUN = re.compile(r"^== (\d+) ([01])$", re.MULTILINE)
_LINE = re.compile(r"^\[ *\d+/ *\d+\] +(\S+) .*type = +(\w+), size = .*?(?:-> .*\((\w+)\))?$", re.MULTILINE)
Types = dict[str, str]  # of a tensor's name


def theirs(python: str, path: Path, numbers: list[int]) -> dict[tuple[int, bool], Types]:
    """By the number of the file's type, and whether there is an importance matrix."""
    words = [python, "-c", _DRY_RUNS, str(path), *map(str, numbers)]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:])
    _, *rest = _RUN.split(done.stdout)
    runs = zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    return {
        (int(number), important == "1"): {name: (new or old).upper() for name, old, new in _LINE.findall(text)}
        for number, important, text in runs
    }


def main() -> None:
    mixes = [mix for mix in MIXES.values() if mix.base != GGMLType.F32]
    compared = different = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        for title, model in MODELS.items():
            model.write(path)
            expected = theirs(sys.argv[1], path, [mix.file_type for mix in mixes])
            with gguf.read(path) as file:
                for mix in mixes:
                    for important in (False, True):
                        choices = plan(file.metadata, file.tensors, find_mix(mix.name), important=important)
                        found = {c.tensor.name: c.type.name for c in choices}
                        wanted = expected[mix.file_type, important]
                        wrong = {k: (found[k], wanted.get(k)) for k in found if found[k] != wanted.get(k)}
                        compared, different = compared + len(found), different + len(wrong)
                        if wrong:
                            told = ", ".join(f"{k}: {a}, not {b}" for k, (a, b) in list(wrong.items())[:3])
                            print(f"{title}, {mix.name}{', importance' if important else ''}: {len(wrong)}: {told}")
    print(f"{len(MODELS)} models, {len(mixes)} types, with importance and without: {different} of {compared} differ")
    sys.exit(different != 0 or not compared)


if __name__ == "__main__":
    main()
