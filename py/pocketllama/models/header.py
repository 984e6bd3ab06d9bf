"""What a model is, from its file's header: plain JSON for `pocketllama show` and models/show."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pocketllama import gguf
from pocketllama.errors import ModelNotFound
from pocketllama.models import refs
from pocketllama.models.part import GGUF_MAGIC
from pocketllama.models.progress import Progress
from pocketllama.models.store import find, parse, recorded


def show(name: str, *, remote: bool = False, progress: Progress | None = None) -> dict[str, Any]:
    """Model.as_json() of `name`, with

    sha256: of each file in the order of `files`, where it is known without hashing (else null)
    format: "gguf" or "ggml"; the rest is null for the latter, the files of 2023
    architecture, parameters (weights in all tensors), layers, context_length and embedding_length (tokens, floats)
    quantization: tensor type -> {"tensors": count, "bytes": sum}, the largest first
    tokenizer (general kind, "llama" or "gpt2" say), vocab_size (tokens), chat_template (whether there is one), title
    kv_bytes_per_token (of a cache of float16), weight_bytes_per_token (what one token of a text reads of the file)
    downloaded: whether it is on this machine

    With `remote`, a model of the hub that is not here is looked at there: only its header comes, and nothing is kept;
    `progress` is told who is asked, and of each try.

    Raises what find() raises, and ModelInvalid for a damaged file; with `remote` also what pull() raises.
    """
    try:
        model = find(name)
    except ModelNotFound:
        ref = parse(name)
        if not remote or not isinstance(ref, refs.HubRef):
            raise
        return _show_remote(name, ref, progress)
    facts: dict[str, Any] = {**model.as_json(), "format": "ggml", "downloaded": True}
    digests = [recorded(file, model) for file in model.files]
    facts["sha256"] = [digest if digest and len(digest) == 64 else None for digest in digests]
    facts |= dict.fromkeys(
        ("title", "architecture", "parameters", "layers", "context_length", "embedding_length", "quantization",
         "tokenizer", "vocab_size", "chat_template", "kv_bytes_per_token", "weight_bytes_per_token")
    )  # fmt: skip
    with model.path.open("rb") as stream:
        if stream.read(4) != GGUF_MAGIC and model.path.suffix.lower() == ".bin":
            return facts

    with ExitStack() as stack:
        return facts | _read([stack.enter_context(gguf.read(file)) for file in model.files], model.licence)


def _show_remote(name: str, ref: refs.HubRef, progress: Progress | None) -> dict[str, Any]:
    from pocketllama.models import remote

    with ExitStack() as stack:
        facts, headers = remote.peek(name, ref, stack, progress=progress)
        return facts | _read(headers, facts["licence"])


def _kv_bytes_per_token(metadata: gguf.Metadata) -> int | None:
    """Of a cache of float16: keys and values of all layers; None where the header does not say."""
    architecture = metadata.get("general.architecture")

    def of_layers(key: str, default: Any = None) -> Any:
        value = metadata.get(f"{architecture}.{key}", default)
        return (
            value
            if isinstance(value, int) or (isinstance(value, list) and all(isinstance(v, int) for v in value))
            else None
        )

    layers, heads = of_layers("block_count"), of_layers("attention.head_count")
    width, kv_heads = of_layers("embedding_length"), of_layers("attention.head_count_kv", heads)
    if not isinstance(layers, int) or not isinstance(width, int) or heads is None or kv_heads is None:
        return None
    if rank := of_layers("attention.kv_lora_rank", 0):  # latent attention keeps one short vector for all heads
        turning = of_layers("rope.dimension_count", 0)
        return layers * (rank + (turning or 0)) * 2 if isinstance(rank, int) else None
    most_heads = max(heads, default=1) if isinstance(heads, list) else heads
    key = of_layers("attention.key_length", width // max(most_heads, 1))
    value = of_layers("attention.value_length", key)
    if not isinstance(key, int) or not isinstance(value, int):
        return None
    sum_heads = sum(kv_heads[:layers]) if isinstance(kv_heads, list) else kv_heads * layers
    return int(sum_heads * (key + value) * 2)


def _weight_bytes_per_token(parts: list[gguf.GGUF]) -> int:
    """What one token reads: all matrices, of experts those that are used, of the embedding a row."""
    metadata = parts[0].metadata
    architecture = metadata.get("general.architecture")
    experts, used = (metadata.get(f"{architecture}.expert_{key}", 0) for key in ("count", "used_count"))
    several = isinstance(experts, int) and isinstance(used, int) and 0 < used < experts
    tensors = {t.name: t for part in parts for t in part.tensors}
    table = tensors.get("token_embd.weight")
    total = 0
    for name, tensor in tensors.items():
        if tensor is table and "output.weight" in tensors:
            continue
        total += tensor.nbytes * used // experts if several and "_exps." in name else tensor.nbytes
    return total


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
        "kv_bytes_per_token": _kv_bytes_per_token(metadata),
        "weight_bytes_per_token": _weight_bytes_per_token(parts),
    }
