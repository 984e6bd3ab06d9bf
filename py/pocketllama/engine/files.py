"""What must be known of a model's file before a native library is allowed to touch it.

ctransformers' library trusts its input: a damaged file crashes it, an unknown architecture or tensor type may abort the
process. So every GGUF passes through our own reader first, and what the library cannot do is refused here by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import gguf
from ..chat.facts import Facts
from ..errors import ModelInvalid, ModelNotFound, OutOfMemory
from ..units import available_memory, human_size
from . import build
from .hparams import check_bundled
from .native import Library
from .vocab import Vocab

# What the library of September 2023 runs from a GGUF, and the tensor types it knows.
BUNDLED_ARCHITECTURES = ("llama", "falcon")
BUNDLED_TYPES = frozenset(
    ["F32", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
)
# Longer contexts are there for who asks; by default the cache of a long-context model would not fit a small machine.
DEFAULT_CONTEXT = 4096
_KV_BYTES = 2  # of a number in the cache


@dataclass(frozen=True)
class ModelFile:
    """The checked facts of one model file; `vocab` is None for the GGML files of 2023, which carry no metadata."""

    path: Path
    vocab: Vocab | None
    architecture: str
    trained_context: int  # tokens; 0 where the file does not say
    kv_bytes_per_token: int
    chat: Facts = field(default_factory=Facts)  # what it says about conversations

    def context_length(self, asked: int) -> int:
        """The context to use: `asked` if positive, else what the model was trained for, up to DEFAULT_CONTEXT."""
        return asked if asked > 0 else min(self.trained_context or 512, DEFAULT_CONTEXT)

    def check_memory(self, n_ctx: int) -> None:
        """OutOfMemory if the KV cache of `n_ctx` tokens cannot fit; the weights are mapped and need not."""
        need, free = n_ctx * self.kv_bytes_per_token, available_memory()
        if free is not None and need > free:
            raise OutOfMemory(
                f"A context of {n_ctx} tokens needs {human_size(need)} for its KV cache, "
                f"{human_size(free)} is available.",
                remedy=f"Ask for a shorter context, at most {max(1, free // self.kv_bytes_per_token)} tokens.",
                data={"need_bytes": need, "available_bytes": free},
            )


def trained_context(path: Path) -> int:
    """How many tokens the model in a GGUF file was trained with; 0 where it does not say."""
    with gguf.read(path) as file:
        key = f"{file.metadata.get('general.architecture')}.context_length"
        value = file.metadata.get(key, 0)
        return value if isinstance(value, int) and value > 0 else 0


def inspect(path: Path, library: Library, model_type: str | None = None) -> ModelFile:
    """Check that `library` can run the file at `path`; ModelNotFound or ModelInvalid says why it cannot."""
    try:
        with path.open("rb") as f:
            magic = f.read(4)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as e:
        raise ModelNotFound(f"There is no model file at {path}.") from e
    except OSError as e:
        raise ModelInvalid(f"{path} cannot be read: {e.strerror}.") from e
    if magic != b"GGUF":
        if model_type:
            return ModelFile(path, None, model_type, 0, 0, Facts(path.stem, path.stem))
        raise ModelInvalid(
            f"{path} is not a GGUF file (it begins with {magic!r}).",
            remedy="A GGML file of 2023 needs its model type: model_type='llama' (--model-type llama).",
        )
    with gguf.read(path) as file:
        meta = file.metadata
        architecture = str(meta.get("general.architecture", ""))
        check_architecture(path.name, architecture, library)
        if library.kind == "bundled":
            _check_bundled(path, file)

        def size(key: str, default: int = 0) -> int:
            value: Any = meta.get(f"{architecture}.{key}", default)
            if isinstance(value, list):  # one for each layer
                value = max((n for n in value if isinstance(n, int)), default=default)
            return value if isinstance(value, int) and 0 <= value < 2**31 else default

        heads = max(1, size("attention.head_count", 1))
        key = size("attention.key_length", size("embedding_length") // heads)
        width = key + size("attention.value_length", key)
        kv = size("block_count") * size("attention.head_count_kv", heads) * width * _KV_BYTES
        vocab, facts = Vocab.from_metadata(meta), Facts.from_metadata(meta, path.stem)
        return ModelFile(path, vocab, architecture, size("context_length"), max(1, kv), facts)


def check_architecture(name: str, architecture: str, library: Library) -> None:
    """ModelInvalid if `library` cannot run models of this architecture."""
    if library.kind == "bundled" and architecture not in BUNDLED_ARCHITECTURES:
        raise ModelInvalid(
            f"{name} is of the architecture {architecture!r}, which ctransformers' library does not know "
            f"(it knows {', '.join(BUNDLED_ARCHITECTURES)}).",
            remedy=build.advice(),
        )


def _check_bundled(path: Path, file: Any) -> None:
    strange = sorted({t.type.name for t in file.tensors} - BUNDLED_TYPES)
    if strange:
        raise ModelInvalid(
            f"{path.name} has tensors of type {', '.join(strange)}, which ctransformers' library does not know.",
            remedy=f"{build.advice()}\n  or choose another quantization of the model, such as Q4_K_M or Q8_0.",
        )
    if not file.tensors:
        raise ModelInvalid(f"{path.name} holds a vocabulary and no weights; there is nothing to run.")
    if file.metadata.get("split.count", 0) not in (0, 1):
        raise ModelInvalid(
            f"{path.name} is one part of a split model, which ctransformers' library cannot read.",
            remedy=build.advice(),
        )
    check_bundled(file, str(file.metadata["general.architecture"]))
