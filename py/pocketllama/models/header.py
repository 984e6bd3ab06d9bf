"""What a model is, from its file's header: plain JSON for `pocketllama show` and models/show."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pocketllama import gguf
from pocketllama.models.part import GGUF_MAGIC
from pocketllama.models.store import find, recorded


def show(name: str) -> dict[str, Any]:
    """Model.as_json() of `name`, with

    sha256: of each file in the order of `files`, where it is known without hashing (else null)
    format: "gguf" or "ggml"; the rest is null for the latter, the files of 2023
    architecture, parameters (weights in all tensors), layers, context_length and embedding_length (tokens, floats)
    quantization: tensor type -> {"tensors": count, "bytes": sum}, the largest first
    tokenizer (general kind, "llama" or "gpt2" say), vocab_size (tokens), chat_template (whether there is one), title

    Raises what find() raises, and ModelInvalid for a damaged file.
    """
    model = find(name)
    facts: dict[str, Any] = {**model.as_json(), "format": "ggml"}
    digests = [recorded(file, model) for file in model.files]
    facts["sha256"] = [digest if digest and len(digest) == 64 else None for digest in digests]
    facts |= dict.fromkeys(
        ("title", "architecture", "parameters", "layers", "context_length", "embedding_length", "quantization",
         "tokenizer", "vocab_size", "chat_template")
    )  # fmt: skip
    with model.path.open("rb") as stream:
        if stream.read(4) != GGUF_MAGIC and model.path.suffix.lower() == ".bin":
            return facts

    with ExitStack() as stack:
        return facts | _read([stack.enter_context(gguf.read(file)) for file in model.files], model.licence)


def _read(parts: list[gguf.GGUF], licence: str | None) -> dict[str, Any]:
    metadata = parts[0].metadata  # of a split model, the first part has it all
    mix: dict[str, dict[str, int]] = {}
    parameters = 0
    for tensor in (tensor for part in parts for tensor in part.tensors):
        parameters += tensor.n_elements
        entry = mix.setdefault(tensor.type.name, {"tensors": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["bytes"] += tensor.nbytes
    architecture = metadata.get("general.architecture")
    tokens = "tokenizer.ggml.tokens"
    return {
        "format": "gguf",
        "licence": metadata.get("general.license") or licence,
        "title": metadata.get("general.name"),
        "architecture": architecture,
        "parameters": parameters,
        "layers": metadata.get(f"{architecture}.block_count"),
        "context_length": metadata.get(f"{architecture}.context_length"),
        "embedding_length": metadata.get(f"{architecture}.embedding_length"),
        "quantization": dict(sorted(mix.items(), key=lambda item: -item[1]["bytes"])),
        "tokenizer": metadata.get("tokenizer.ggml.model"),
        "vocab_size": metadata.length(tokens) if tokens in metadata else metadata.get(f"{architecture}.vocab_size"),
        "chat_template": "tokenizer.chat_template" in metadata,
    }
