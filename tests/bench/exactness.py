"""How far a quantized product moves the next token's distribution: the mean KL divergence from float32.

    PYTHONPATH=py python -m tests.bench.exactness --peer peer/bin/python

The reference is float32 throughout, with the same weights: each block dequantized by NumPy into a file of F32, and the
cache in F32. What is measured is what the engine adds (activations in int8, the cache in F16), not what a format lost.
The text is the held-out one of tales. Formats that our converter cannot write are written by llama.cpp, where it is.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pocketllama import gguf
from pocketllama.convert import convert
from pocketllama.engine import native
from pocketllama.engine.tokenizer import Tokenizer
from pocketllama.gguf import ArrayOf, GGMLType, TensorSpec, ValueType

from ..native.heldout import TALES, windows
from ..native.library import Library
from ..py.native import quant_reference
from .workers import Worker, llama_cpp, ours

_OURS = ("f16", "q8_0", "q4_0")  # what our converter writes
_THEIRS = ("q6_k", "q5_k_m", "q4_k_m")

F32 = NDArray[np.float32]


def float_twin(source: Path, out: Path) -> Path:
    """`source` with every tensor in F32."""
    with gguf.read(source) as file:
        keys = {key: (_type(file.metadata, key), file.metadata[key]) for key in file.metadata}
        specs = [TensorSpec(t.name, t.shape, GGMLType.F32) for t in file.tensors]
        with gguf.Writer(out, keys, specs) as twin:
            for t in file.tensors:
                twin.write(quant_reference.dequantize(t.type.name, bytes(file.tensor_bytes(t))).astype("<f4").tobytes())
    return out


def _type(metadata: gguf.Metadata, key: str) -> Any:
    kind, value = metadata.type_of(key), metadata[key]
    if kind != ValueType.ARRAY:
        return kind
    kinds = {str: ValueType.STRING, float: ValueType.FLOAT32, int: ValueType.INT32}  # all that a vocabulary has
    return ArrayOf(kinds[type(value[0])])


def reference(library: Library, twin: Path, texts: Sequence[Sequence[int]]) -> F32:
    """Logits in float32 throughout: (texts, tokens, vocabulary)."""
    with library.load(twin, n_ctx=len(texts[0]), threads=2, kv="f32") as model:
        return np.stack([model.score(np.array(text, np.int32)) for text in texts])


def log_softmax(logits: F32) -> NDArray[np.float64]:
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    shifted: NDArray[np.float64] = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return shifted


def divergence(expected: F32, found: F32) -> tuple[float, float]:
    """The mean of KL(expected ‖ found) over all places, in nats, and the share of places with another first choice."""
    p, q = log_softmax(expected), log_softmax(found)
    kl = (np.exp(p) * (p - q)).sum(axis=-1)
    return float(kl.mean()), float((p.argmax(axis=-1) != q.argmax(axis=-1)).mean())


def _scored(worker: Worker, model: Path, texts: list[list[int]], out: Path) -> F32:
    worker.ask("score", model=str(model), tokens=texts, threads=2, out=str(out))
    found: F32 = np.load(out)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the interpreter of the environment that has llama-cpp-python")
    parser.add_argument("--windows", type=int, default=16, help="of 256 tokens")
    args = parser.parse_args()
    library = Library(native.require_own())
    workers = [ours()] + ([llama_cpp(args.peer)] if args.peer else [])
    print("| format |", " | ".join(f"{w.side}: mean KL, nats | another first choice" for w in workers), "|")
    print("|---|" + "---|---|" * len(workers))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = convert(TALES, folder / "f32.gguf", type="f32")
        with Tokenizer(source) as tokenizer:
            texts = windows(tokenizer.encode)[: args.windows]
        for form in _OURS + _THEIRS * bool(args.peer):
            model = folder / f"{form}.gguf"
            if form in _OURS:
                convert(TALES, model, type=form)
            else:
                workers[1].ask("quantize", source=str(source), out=str(model), form=form)
            expected = reference(library, float_twin(model, folder / "twin.gguf"), texts)
            cells = [form]
            for worker in workers:
                kl, other = divergence(expected, _scored(worker, model, texts, folder / "logits.npy"))
                cells += [f"{kl:.2e}", f"{other:.2%}"]
            print(f"| {' | '.join(cells)} |", flush=True)
    for worker in workers:
        worker.__exit__(None, None, None)


if __name__ == "__main__":
    main()
