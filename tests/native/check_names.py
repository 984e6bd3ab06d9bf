"""Compare the names in the table's files with those of the gguf package, which converters write files with.

    python -m tests.native.check_names

Needs the gguf package; run it in the repository's root with py/ on PYTHONPATH.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import gguf

from .cases import CASES
from .models import Case

# Read from files, and in no list of the package: experts in tensors of their own, as until April 2024, gates and ups
# joined, as converters may do for every mixture, and a model for which no converter was published.
OTHER_EXPERTS = re.compile(r"blk\.\d+\.ffn_((gate|up|down)\.\d+|gate_up_exps)\.weight")
WITHOUT_CONVERTER = {"gptj"}


def texts(holder: type) -> Iterator[str]:
    """The names of keys in a class, and in the classes within it."""
    for value in vars(holder).values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, type):
            yield from texts(value)


def known_tensors(arch: gguf.MODEL_ARCH, n_layers: int) -> set[str]:
    return {
        gguf.TENSOR_NAMES[tensor].format(bid=i) for tensor in gguf.MODEL_TENSORS[arch] for i in range(max(n_layers, 1))
    }


def wrong_names(case: Case) -> Iterator[str]:
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == case.arch)
    keys = {key.format(arch=case.arch) for key in texts(gguf.Keys) if "{arch}" in key and "{dense}" not in key}
    yield from (f"the key {key}" for key in case.metadata if f"{case.arch}.{key}" not in keys)
    if case.arch in WITHOUT_CONVERTER:
        return
    tensors = known_tensors(arch, case.metadata["block_count"])
    for name in case.tensors():
        if name.rpartition(".")[0] not in tensors and not OTHER_EXPERTS.fullmatch(name):
            yield f"the tensor {name}"
    # What becomes of one tensor of transformers', where it is one in the file too.
    names = gguf.get_tensor_name_map(arch, case.n_layers)
    for part in case.parts:
        if not isinstance(part.gguf, str):
            continue
        layer = part.layers[-1] if part.layers else 0
        mapped = names.get_name(part.hf.replace("{i}", str(layer)), try_suffixes=(".weight", ".bias"))
        if mapped and mapped.removesuffix(".weight") != part.gguf.replace("{i}", str(layer)).removesuffix(".weight"):
            yield f"{part.hf} as {part.gguf}, not {mapped}"


def main() -> int:
    wrong = 0
    for name, case in CASES.items():
        for what in wrong_names(case):
            print(f"{name}: {what}")
            wrong += 1
    print(f"{len(CASES)} files, {wrong} names that the gguf package does not have")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
