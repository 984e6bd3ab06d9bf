"""A model's parts out of a checkpoint's tensors: each found by name, checked by shape, and put together unread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import ModelInvalid
from .checkpoint import Packed
from .families.parts import EXPERT, VOCAB, Model, Part, Source
from .mxfp4 import MxTensor
from .tensor import F32, Array, Mapped, Picked, Reshaped, Stacked, Tensor, Transposed, n_rows, row_width

# Tensors of other kinds of checkpoints that say nothing about a text: angles, and what sees or hears.
_DERIVED = re.compile(r".*rotary_(pos_)?emb\.inv_freq|.*\.rotary_emb\.(cos|sin)_cached")
_SENSES = re.compile(
    r"(model\.)?(visual|vision_tower|vision_model|vision_encoder|multi_modal_projector|vision_projection|mm_projector"
    r"|audio_tower|audio_projector|patch_merger|image_newline)(\.|$).*"
)
# Where the text's part is inside of a model that sees, and what is before the names of a part that was saved alone.
_PREFIXES = (
    ("language_model.model.", "model."),
    ("model.language_model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.text_model.", "model."),
)


def text_names(names: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """The tensors under the names that the model's parts have, whatever was around or cut off."""
    out: dict[str, Any] = {}
    for name, tensor in names.items():
        new = name
        for before, after in _PREFIXES:
            if name.startswith(before):
                new = after + name[len(before) :]
        if new in out:
            raise ModelInvalid(f"The checkpoint has the tensor {new[:80]!r} under two names.")
        out[new] = tensor
    root = model.parts[0].sources[0].name.split(".")[0] + "."  # of the embedding
    if not any(name.startswith(root) for name in out):
        heads = ("lm_head.", "embed_out.", "output.", "score.")
        out = {name if name.startswith(heads) else root + name: tensor for name, tensor in out.items()}
    return out


def assemble(model: Model, tensors: Mapping[str, Tensor]) -> dict[str, Tensor | Packed]:
    """The file's tensors in its order. ModelInvalid where one is missing, of another shape, or has no place."""
    used: set[str] = set()
    n_vocab = _n_vocab(model, tensors)
    out: dict[str, Tensor | Packed] = {}
    for part, i in _places(model):
        name = part.target.replace("{i}", str(i))
        shape = tuple(n_vocab if n == VOCAB else n for n in part.shape)
        if (tensor := _make(part, i, shape, tensors, used)) is not None:
            out[name] = tensor
    for name, array in model.tensors.items():
        out[name] = Array(array)
    _check_rest(model, tensors, used)
    return out


def _places(model: Model) -> Iterator[tuple[Part, int]]:
    """Each tensor's part and layer: the embedding, the layers, what is behind them."""
    outside = [p for p in model.parts if "{i}" not in p.target]
    yield outside[0], 0
    for i in range(model.n_layers):
        for part in model.parts:
            if "{i}" in part.target and (part.layers is None or i in part.layers):
                yield part, i
    for part in outside[1:]:
        yield part, 0


def _n_vocab(model: Model, tensors: Mapping[str, Tensor]) -> int:
    name = model.parts[0].sources[0].name
    shape = tensors[name].shape if name in tensors else ()
    if len(shape) != 2 or min(shape) < 1:
        found = f"has the shape {shape}" if name in tensors else "is missing"
        raise ModelInvalid(f"The checkpoint is no whole {model.arch}: the tensor {name} {found}.")
    return shape[0]


def _make(
    part: Part, i: int, shape: tuple[int, ...], tensors: Mapping[str, Tensor], used: set[str]
) -> Tensor | Packed | None:
    wrong = ""
    for source in part.sources:
        names = _names(source, i)
        if any(name not in tensors for name in names):
            continue
        used.update(names)
        found = [tensors[name] for name in names]
        made = _build(source, found, shape)
        if made is not None:
            return _changed(made, part)
        count = f"{len(found)} tensors as " if len(found) > 1 else "the tensor "
        wrong = f"{count}{names[0]} for {part.target.replace('{i}', str(i))} of shape {shape} has {found[0].shape}"
    if wrong:
        raise ModelInvalid(f"The checkpoint does not go with its config: {wrong}.")
    if part.optional:
        return None
    raise ModelInvalid(
        f"The checkpoint has no tensor {_names(part.sources[0], i)[0]}, which its architecture needs.",
        remedy="Some of its files may be missing.",
    )


def _changed(tensor: Tensor | Packed, part: Part) -> Tensor | Packed:
    """What is done to the numbers themselves; none of it is asked of blocks."""
    if isinstance(tensor, Packed):
        return tensor
    if part.plus:
        return Mapped(tensor, lambda rows: rows + np.float32(part.plus))
    return Mapped(tensor, _unit) if part.unit else tensor


def _unit(rows: F32) -> F32:
    """Each row divided by its length; one of zeros stays."""
    length = np.sqrt((rows.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
    out: F32 = (rows / np.maximum(length, 1e-7)).astype(np.float32)
    return out


def _names(source: Source, i: int) -> list[str]:
    name = source.name.replace("{i}", str(i))
    if source.mxfp4:
        return [f"{name}_blocks", f"{name}_scales"]
    return [name.replace(EXPERT, str(e)) for e in range(source.count)] if source.count else [name]


def _build(source: Source, found: list[Tensor], shape: tuple[int, ...]) -> Tensor | Packed | None:
    """The tensor of this shape; None where its sources are not of shapes to make it of."""
    if source.mxfp4:
        return MxTensor.of(found, source.pick, shape)
    tensor = found[0]
    if source.count:
        if any(t.shape != tensor.shape for t in found):
            return None
        rows = [Reshaped(t, (1, *t.shape)) if len(t.shape) == 1 else t for t in found]
        tensor = Stacked(rows, (len(found), *tensor.shape))
    if source.transposed:
        if len(tensor.shape) < 2:
            return None
        tensor = Transposed(tensor)
    if source.columns:
        tensor = _Columns(tensor, *source.columns)
    if source.pick:
        between = (*shape[:-2], shape[-1], shape[-2]) if source.then_transposed else shape
        try:
            picked = source.pick(n_rows(tensor.shape))
        except ValueError:  # rows that cannot be parted so
            return None
        if len(picked) != n_rows(between) or row_width(tensor.shape) != row_width(between):
            return None
        tensor = Picked(tensor, picked, between)
        if source.then_transposed:
            tensor = Transposed(tensor)
    if tensor.shape == shape:
        return tensor
    if [n for n in tensor.shape if n != 1] == [n for n in shape if n != 1]:
        return Reshaped(tensor, shape)
    return None


def _check_rest(model: Model, tensors: Mapping[str, Tensor], used: set[str]) -> None:
    other = [re.compile(pattern) for pattern in model.other]
    tied = not any(part.target == "output.weight" for part in model.parts)
    senses = False
    for name in sorted(set(tensors) - used):
        if _DERIVED.fullmatch(name) or any(p.fullmatch(name) for p in other):
            continue
        if tied and name in ("lm_head.weight", "embed_out.weight", "output.weight", "transformer.output_layer.weight"):
            continue  # the same as the embedding
        if _SENSES.fullmatch(name):
            senses = True
            continue
        raise ModelInvalid(
            f"The checkpoint holds a tensor {name[:80]!r}, which has no place in the architecture {model.arch}."
        )
    if senses:
        model.notes.append("What it sees or hears with is left out: the file is for text.")


class _Columns:
    """Each `of`-th element of every row, from the k-th on."""

    def __init__(self, tensor: Tensor, k: int, of: int) -> None:
        self.shape = (*tensor.shape[:-1], len(range(k, tensor.shape[-1], of)))
        self._tensor, self._k, self._of = tensor, k, of

    def read(self, start: int, stop: int) -> F32:
        return self._tensor.read(start, stop)[:, self._k :: self._of]
