"""Meta's own layout of LLaMA 1, 2 and 3: consolidated.NN.pth, params.json and tokenizer.model.

The larger models lie in 2, 4 or 8 parts, each what one of as many processors held: some matrices are cut across their
rows, others across their columns, and norms are in every part. wq and wk pair neighbouring rows for the rotary
positions, as GGUF's architecture "llama" does, so no row changes its place on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from ..errors import ModelInvalid, ModelNotFound, UsageError
from ..gguf import ValueType
from .checkpoint import Checkpoint, Metadata, model_name, stored_type
from .config import Config, read_json, shown
from .meta_vocabulary import read_vocabulary
from .pth import StoredTensor, TorchFile
from .rope import llama3_factors
from .tensor import Array, Beside, Stacked, Tensor, whole

_WEIGHTS, _PARAMS, _TOKENIZER = "consolidated.00.pth", "params.json", "tokenizer.model"
_MAX_PARAMS = 1 << 20  # bytes
_MAX_PARTS = 16
_PARTS_OF_ONE = "All consolidated.NN.pth of the folder must be of one download of one model."
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
# Cut so that each part has some of every row's elements; all other matrices have some of the rows.
_CUT_COLUMNS = ("attn_output", "ffn_down")


T = TypeVar("T")


class _Shaped(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


S = TypeVar("S", bound=_Shaped)


@dataclass(frozen=True)
class Hyperparameters:
    """The numbers of a LLaMA. Sizes in elements, lengths in tokens."""

    n_vocab: int
    n_ctx: int  # trained for
    n_embd: int
    n_layer: int
    n_ff: int  # width of the feed-forward network
    n_head: int
    n_head_kv: int  # heads of keys and values; equal to n_head where they are not shared
    norm_eps: float
    rope_base: float

    @property
    def head_dim(self) -> int:
        return self.n_embd // self.n_head


class MetaCheckpoint:
    """The open checkpoint of one folder."""

    architecture = "llama"
    default_type = "q8_0"
    packed_type = None

    def __init__(self, folder: Path, lora: Sequence[Path] = ()) -> None:
        _check_folder(folder)
        self.name = model_name(folder)
        self.notes: list[str] = []
        params = Config(read_json(folder / _PARAMS, _MAX_PARAMS), _PARAMS)
        if params.values.get("moe"):
            raise UsageError(f"{_PARAMS} asks for moe, which cannot be converted from this layout.")
        self._files: list[TorchFile] = []
        try:
            vocabulary = read_vocabulary(folder / _TOKENIZER, params.flag("use_scaled_rope", default=False))
            self._files += [TorchFile(path) for path in _parts(folder)]
            found = _merged([renamed(f.tensors, f.name) for f in self._files], params)
            h = _hyperparameters(params, found, len(vocabulary.tokens))
            tensors = ordered(found, h)
            if factors := _scaled_rope(params, h):
                tensors["rope_freqs.weight"] = factors
            if lora:
                from .lora import read_adapters

                heads = {"num_attention_heads": h.n_head, "num_key_value_heads": h.n_head_kv}
                tensors = read_adapters(lora).added_to_llama(tensors, Config(heads, _PARAMS))
            self.tensors: dict[str, Tensor] = tensors
            self.stored_type = stored_type(t.dtype for f in self._files for t in f.tensors.values() if len(t.shape) > 1)
            self.metadata = metadata_of(h) | vocabulary.metadata(h.n_vocab)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for file in self._files:
            file.__exit__(kind, error, tb)


def _check_folder(folder: Path) -> None:
    missing = [name for name in (_WEIGHTS, _PARAMS, _TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise ModelNotFound(
            f"{folder} has no {', no '.join(missing)}.",
            remedy=f"A folder in Meta's layout has {_WEIGHTS}, {_PARAMS} and {_TOKENIZER}; the latter may lie one "
            "folder above: copy it.",
        )


def _parts(folder: Path) -> list[Path]:
    """consolidated.00.pth and those that follow it; none may be missing."""
    parts = sorted(p for p in folder.glob("consolidated.*.pth") if re.fullmatch(r"consolidated\.\d\d\.pth", p.name))
    expected = [f"consolidated.{i:02}.pth" for i in range(len(parts))]
    if [p.name for p in parts] != expected or len(parts) > _MAX_PARTS:
        missing = next((name for name in expected if not (folder / name).exists()), None)
        if missing is None:
            raise UsageError(f"{folder} has {len(parts)} parts; at most {_MAX_PARTS} can be joined.")
        names = ", ".join(p.name for p in parts[:20])
        raise ModelNotFound(
            f"{folder} has {names}: {missing}, one between them, is missing.", remedy="Download it too."
        )
    return parts


def renamed(tensors: Mapping[str, T], file: str) -> dict[str, T]:
    """Meta's names → GGUF's."""
    out: dict[str, T] = {}
    for name, tensor in tensors.items():
        if _DERIVED.fullmatch(name):
            continue
        new = _OUTSIDE.get(name)
        if (match := _LAYER.fullmatch(name)) and match[2] in _INSIDE:
            new = f"blk.{match[1]}.{_INSIDE[match[2]]}.weight"
        if new is None or new in out:
            why = "is no part of LLaMA" if new is None else "is there under two names"
            raise ModelInvalid(f"{file} holds a tensor {name[:80]!r}, which {why}.")
        out[new] = tensor
    return out


def _merged(parts: list[dict[str, StoredTensor]], params: Config) -> dict[str, Tensor]:
    """The whole tensors of which each part has its share."""
    if len(parts) == 1:
        return dict(parts[0])
    merged: dict[str, Tensor] = {}
    for name, first in parts[0].items():
        shares = [part[name] for part in parts if name in part]
        if len(shares) < len(parts) or any(s.shape != first.shape for s in shares):
            shapes = " and ".join(str(shape) for shape in sorted({s.shape for s in shares}))
            found = f"in {len(shares)} of {len(parts)}" if len(shares) < len(parts) else f"of the shapes {shapes}"
            raise ModelInvalid(
                f"The parts of the checkpoint do not belong together: {name} is {found}.", remedy=_PARTS_OF_ONE
            )
        merged[name] = _merge(name, shares, params)
    if extra := sorted(set().union(*parts) - set(merged)):
        raise ModelInvalid(
            f"The parts of the checkpoint do not belong together: the first has no {extra[0]}.", remedy=_PARTS_OF_ONE
        )
    return merged


def _merge(name: str, shares: list[StoredTensor], params: Config) -> Tensor:
    shape = shares[0].shape
    if len(shape) == 1:
        if any(not np.array_equal(whole(shares[0]), whole(s)) for s in shares[1:]):
            raise ModelInvalid(f"{name} differs between the parts of the checkpoint, which should all have the same.")
        return shares[0]
    columns = any(part in name for part in _CUT_COLUMNS)
    if name == "token_embd.weight":  # LLaMA 3 cuts the vocabulary, its forerunners each embedding
        columns = shape[-1] != params.size("dim")
    if len(shape) != 2:
        raise ModelInvalid(f"The tensor for {name} has the shape {shape}, not that of a matrix.")
    return Beside(shares) if columns else Stacked(shares, (shape[0] * len(shares), shape[1]))


def _shapes(h: Hyperparameters) -> dict[str, tuple[int, ...]]:
    """All tensors in the order they are written, with their shapes (torch's order)."""
    q, kv = h.n_head * h.head_dim, h.n_head_kv * h.head_dim
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (h.n_vocab, h.n_embd)}
    for i in range(h.n_layer):
        layer: dict[str, tuple[int, ...]] = {
            "attn_norm": (h.n_embd,),
            "attn_q": (q, h.n_embd),
            "attn_k": (kv, h.n_embd),
            "attn_v": (kv, h.n_embd),
            "attn_output": (h.n_embd, q),
            "ffn_norm": (h.n_embd,),
            "ffn_gate": (h.n_ff, h.n_embd),
            "ffn_down": (h.n_embd, h.n_ff),
            "ffn_up": (h.n_ff, h.n_embd),
        }
        shapes |= {f"blk.{i}.{part}.weight": shape for part, shape in layer.items()}
    return shapes | {"output_norm.weight": (h.n_embd,), "output.weight": (h.n_vocab, h.n_embd)}


def ordered(found: Mapping[str, S], h: Hyperparameters) -> dict[str, S]:
    """The tensors in the file's order. ModelInvalid where they are not those of the architecture."""
    expected = _shapes(h)
    for name, shape in expected.items():
        if name not in found:
            raise ModelInvalid(f"The checkpoint has no tensor for {name}; {len(expected)} are needed.")
        if found[name].shape != shape:
            raise ModelInvalid(f"The tensor for {name} should have the shape {shape}, found {found[name].shape}.")
    if extra := sorted(set(found) - set(expected)):
        raise ModelInvalid(f"The checkpoint has a tensor for {extra[0]}, which its architecture has not.")
    return {name: found[name] for name in expected}


def metadata_of(h: Hyperparameters) -> Metadata:
    return {
        "llama.context_length": (ValueType.UINT32, h.n_ctx),
        "llama.embedding_length": (ValueType.UINT32, h.n_embd),
        "llama.block_count": (ValueType.UINT32, h.n_layer),
        "llama.feed_forward_length": (ValueType.UINT32, h.n_ff),
        "llama.rope.dimension_count": (ValueType.UINT32, h.head_dim),
        "llama.rope.freq_base": (ValueType.FLOAT32, h.rope_base),
        "llama.attention.head_count": (ValueType.UINT32, h.n_head),
        "llama.attention.head_count_kv": (ValueType.UINT32, h.n_head_kv),
        "llama.attention.layer_norm_rms_epsilon": (ValueType.FLOAT32, h.norm_eps),
    }


def _hyperparameters(params: Config, tensors: dict[str, Tensor], n_tokens: int) -> Hyperparameters:
    """From params.json, and from the tensors' shapes what releases leave out or compute in code."""
    n_vocab, n_embd = _matrix(tensors, "token_embd.weight")
    n_ff, _ = _matrix(tensors, "blk.0.ffn_gate.weight")
    n_layer = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blk."))
    if n_layer > len(tensors):  # asked before a table of all that should be there is made
        raise ModelInvalid(f"{_WEIGHTS} has {len(tensors)} tensors and names a layer {n_layer - 1}.")
    n_head = params.size("n_heads")
    eps, base = params.real("norm_eps", default=1e-5), params.real("rope_theta", default=10000.0)
    h = Hyperparameters(
        n_vocab=n_vocab,
        n_ctx=params.size("max_seq_len", default=_context(params, eps, base)),
        n_embd=n_embd,
        n_layer=n_layer,
        n_ff=n_ff,
        n_head=n_head,
        n_head_kv=params.size("n_kv_heads", default=n_head),
        norm_eps=eps,
        rope_base=base,
    )
    stated = {"dim": n_embd, "n_layers": n_layer, "hidden_dim": n_ff, "vocab_size": n_vocab}
    for key, found in stated.items():
        # LLaMA 2 has a vocab_size of -1: as many as the tokenizer.
        if params.values.get(key, found) not in (found, -1):
            raise ModelInvalid(
                f"{_PARAMS} says {key} {shown(params.values[key])}, the tensors' shapes say {found}.",
                remedy="A consolidated.NN.pth may be missing or too many, or params.json is another model's.",
            )
    if n_embd % n_head or h.head_dim % 2 or n_head % h.n_head_kv:
        raise ModelInvalid(
            f"{n_head} heads ({h.n_head_kv} of keys and values) do not divide an embedding of {n_embd} into even parts."
        )
    if n_tokens > n_vocab:
        raise ModelInvalid(f"{_TOKENIZER} has {n_tokens} tokens, the embedding only {n_vocab} rows.")
    return h


def _context(params: Config, eps: float, base: float) -> int:
    """params.json of the releases has no context length: the models are told by their other numbers."""
    if params.flag("use_scaled_rope", default=False):
        return 131072  # LLaMA 3.1 and later
    if base in (500000.0, 1000000.0):
        return 8192 if base == 500000.0 else 16384  # LLaMA 3, Code Llama
    return 4096 if eps == 1e-5 else 2048  # LLaMA 2, LLaMA


def _scaled_rope(params: Config, h: Hyperparameters) -> Tensor | None:
    """LLaMA 3.1's factors on frequencies. What params.json leaves out is in Meta's code, or in their later configs."""
    if not params.flag("use_scaled_rope", default=False):
        return None
    small = h.n_embd <= 3072  # LLaMA 3.2's 1 B and 3 B
    return Array(
        llama3_factors(
            h.head_dim,
            h.rope_base,
            params.real("rope_scaling_factor", default=32.0 if small else 8.0),
            1.0,
            params.real("rope_high_freq_factor", default=4.0),
            8192,
        )
    )


def _matrix(tensors: dict[str, Any], name: str) -> tuple[int, int]:
    """(rows, columns) of a tensor that must be there."""
    shape: tuple[int, ...] = tensors[name].shape if name in tensors else ()
    if len(shape) != 2 or min(shape) < 1:
        found = f"has the shape {shape}, not that of a matrix" if name in tensors else "is missing"
        raise ModelInvalid(f"{_WEIGHTS} is no whole LLaMA: the tensor for {name} {found}.")
    return shape[0], shape[1]
