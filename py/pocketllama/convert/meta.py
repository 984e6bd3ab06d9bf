"""Meta's own layout of LLaMA: a folder with consolidated.00.pth, params.json and tokenizer.model (sentencepiece).

Its wq and wk pair neighbouring rows for the rotary positions, as GGUF's architecture "llama" does, so no tensor is
rearranged on the way.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ModelInvalid, ModelNotFound, StorageError, UsageError
from .checkpoint import Checkpoint, Hyperparameters, Tensor
from .pth import StoredTensor, TorchFile
from .tokenizer import read_sentencepiece

_WEIGHTS, _PARAMS, _TOKENIZER = "consolidated.00.pth", "params.json", "tokenizer.model"
_MAX_PARAMS = 1 << 20  # bytes
_OUTSIDE = {
    "tok_embeddings.weight": "token_embd.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
# Inside a layer. Meta's releases name the module as well ("attention.wq"); small trainers often leave it out ("wq").
_INSIDE = {
    "attention_norm": "attn_norm",
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "ffn_norm": "ffn_norm",
    "w1": "ffn_gate",
    "w2": "ffn_down",
    "w3": "ffn_up",
}
_LAYER = re.compile(r"layers\.(0|[1-9]\d{0,4})\.(?:attention\.(?=w[qkvo])|feed_forward\.(?=w[123]))?(\w+)\.weight")
# Tables of rotary angles that some releases carry; they follow from rope_theta.
_DERIVED = re.compile(r"rope\.freqs|layers\.\d+\.attention\.inner_attention\.rope\.freqs")


class MetaCheckpoint:
    """The open checkpoint of one folder."""

    architecture = "llama"

    def __init__(self, source: Path) -> None:
        folder = _folder(source)
        self.name = folder.resolve().name.encode(errors="replace").decode() or "llama"
        params = _read_params(folder / _PARAMS)
        self.vocabulary = read_sentencepiece(folder / _TOKENIZER)
        self._file = TorchFile(folder / _WEIGHTS)
        try:
            self.tensors: dict[str, Tensor] = dict(_rename(self._file.tensors))
            self.hyperparameters = _hyperparameters(params, self.tensors, len(self.vocabulary.tokens))
        except BaseException:
            self._file.__exit__(None, None, None)
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._file.__exit__(kind, error, tb)


def _folder(source: Path) -> Path:
    """The folder that holds all three files."""
    folder = source if source.is_dir() else source.parent
    if not folder.is_dir() or not source.exists():
        raise ModelNotFound(f"There is no checkpoint at {source}.")
    if (folder / "config.json").exists() and not (folder / _WEIGHTS).exists():
        raise UsageError(f"{folder} looks like a Hugging Face checkpoint; only Meta's own layout can be converted.")
    missing = [name for name in (_WEIGHTS, _PARAMS, _TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise ModelNotFound(
            f"{folder} has no {', no '.join(missing)}.",
            remedy=f"Name a folder in Meta's layout: {_WEIGHTS}, {_PARAMS} and {_TOKENIZER}.",
        )
    if (folder / "consolidated.01.pth").exists():
        raise UsageError(f"{folder} has its tensors in several files; only {_WEIGHTS} alone can be converted.")
    return folder


def _read_params(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as f:
            data = f.read(_MAX_PARAMS + 1)
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    try:
        params = json.loads(data.decode()) if len(data) <= _MAX_PARAMS else None
    except (ValueError, RecursionError):
        params = None
    if not isinstance(params, dict):
        raise ModelInvalid(f"{path.name} is not a JSON object of at most {_MAX_PARAMS} bytes.")
    if params.get("use_scaled_rope") or params.get("moe"):
        kind = "use_scaled_rope" if params.get("use_scaled_rope") else "moe"
        raise UsageError(f"{path.name} asks for {kind}, which cannot be converted.")
    return params


def _rename(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Meta's names → GGUF's."""
    renamed: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if _DERIVED.fullmatch(name):
            continue
        new = _OUTSIDE.get(name)
        if (match := _LAYER.fullmatch(name)) and match[2] in _INSIDE:
            new = f"blk.{match[1]}.{_INSIDE[match[2]]}.weight"
        if new is None or new in renamed:
            why = "is no part of LLaMA" if new is None else "is there under two names"
            raise ModelInvalid(f"{_WEIGHTS} holds a tensor {name[:80]!r}, which {why}.")
        renamed[new] = tensor
    return renamed


def _hyperparameters(params: dict[str, Any], tensors: dict[str, Tensor], n_tokens: int) -> Hyperparameters:
    """From params.json, and from the tensors' shapes what releases leave out or compute in code."""

    def size(key: str, default: int | None = None) -> int:
        value = params.get(key, default)
        if type(value) is not int or not 0 < value < 2**31:
            raise ModelInvalid(f"{_PARAMS}: {key!r} should be a whole number from 1 on, found {_shown(value)}.")
        return value

    def real(key: str, default: float) -> float:
        value = params.get(key, default)
        if type(value) not in (int, float) or not 1e-30 < value < 3e38:
            raise ModelInvalid(f"{_PARAMS}: {key!r} should be a positive number, found {_shown(value)}.")
        return float(value)

    n_vocab, n_embd = _matrix(tensors, "token_embd.weight")
    n_ff, _ = _matrix(tensors, "blk.0.ffn_gate.weight")
    n_layer = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blk."))
    if n_layer > len(tensors):  # asked before a table of all that should be there is made
        raise ModelInvalid(f"{_WEIGHTS} has {len(tensors)} tensors and names a layer {n_layer - 1}.")
    n_head = size("n_heads")
    eps = real("norm_eps", 1e-5)
    # params.json of the releases has no context length; LLaMA 2 is told from LLaMA by its epsilon.
    h = Hyperparameters(
        n_vocab=n_vocab,
        n_ctx=size("max_seq_len", 4096 if eps == 1e-5 else 2048),
        n_embd=n_embd,
        n_layer=n_layer,
        n_ff=n_ff,
        n_head=n_head,
        n_head_kv=size("n_kv_heads", n_head) if params.get("n_kv_heads") is not None else n_head,
        norm_eps=eps,
        rope_base=real("rope_theta", 10000.0),
    )
    stated = {"dim": n_embd, "n_layers": n_layer, "hidden_dim": n_ff, "vocab_size": n_vocab}
    for key, found in stated.items():
        # LLaMA 2 has a vocab_size of -1: as many as the tokenizer.
        if params.get(key, found) not in (found, -1):
            raise ModelInvalid(f"{_PARAMS} says {key} {_shown(params[key])}, the tensors' shapes say {found}.")
    if n_embd % n_head or h.head_dim % 2 or n_head % h.n_head_kv:
        raise ModelInvalid(
            f"{n_head} heads ({h.n_head_kv} of keys and values) do not divide an embedding of {n_embd} into even parts."
        )
    if n_tokens > n_vocab:
        raise ModelInvalid(f"{_TOKENIZER} has {n_tokens} tokens, the embedding only {n_vocab} rows.")
    return h


def _matrix(tensors: dict[str, Tensor], name: str) -> tuple[int, int]:
    """(rows, columns) of a tensor that must be there."""
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 2 or min(shape) < 1:
        found = f"has the shape {shape}, not that of a matrix" if name in tensors else "is missing"
        raise ModelInvalid(f"{_WEIGHTS} is no whole LLaMA: the tensor for {name} {found}.")
    return shape[0], shape[1]


def _shown(value: object) -> str:
    """A value of params.json as a message may show it; a nested one could be very long or deep."""
    return ascii(value)[:60] if isinstance(value, (int, float, str, type(None))) else f"a {type(value).__name__}"
