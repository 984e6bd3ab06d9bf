"""LoRA adapters as PEFT saves them, added to the weights they were trained on.

A folder has adapter_config.json and adapter_model.safetensors (or .bin): for a matrix W of the model two narrow ones,
lora_A (rank, columns) and lora_B (rows, rank), and W + scale · B · A is what the adapter means. Matrices that were
trained whole (modules_to_save) replace the model's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ModelInvalid, ModelNotFound, UsageError
from .config import Config, read_json
from .families.llama import of_llama
from .shards import Weights
from .tensor import F32, Array, LowRank, Rows, Tensor, n_rows, whole

_NAME = re.compile(
    r"(?:base_model\.model\.)?(.+?)\.(?:lora_(A|B)(?:\.default)?|(modules_to_save(?:\.default)?))?\.?weight"
)
_EMBEDDING = re.compile(r"(?:base_model\.model\.)?(.+?)\.lora_embedding_(A|B)(?:\.default)?")
_KNOWN = "Name the folder of an adapter that PEFT saved: adapter_config.json and adapter_model.safetensors."
_UNKNOWN = {
    "use_dora": "DoRA",
    "use_qalora": "QALoRA",
    "corda_config": "CorDA",
}


@dataclass
class Delta:
    """What is added to one matrix: `scale` · b · a."""

    a: F32
    b: F32
    scale: float


@dataclass
class Adapters:
    """Of one adapter or several: what is added, and what replaces, by the names of transformers' tensors."""

    deltas: dict[str, list[Delta]] = field(default_factory=dict)
    whole: dict[str, F32] = field(default_factory=dict)

    def added(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The model's tensors with all of it; ModelInvalid where one has no place or is of another shape."""
        out = dict(tensors)
        for name in self.names():
            key = _find(name, out)
            if key is None:
                raise _homeless(name)
            out[key] = self._applied(name, out[key], None)
        return out

    def added_to_llama(self, tensors: dict[str, Tensor], config: Config) -> dict[str, Tensor]:
        """The same for LLaMA's tensors under GGUF's names, in whose q and k rows lie in another order."""
        layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blk."))
        sizes = {
            "hidden_size": tensors["token_embd.weight"].shape[1],
            "num_hidden_layers": layers,
            "intermediate_size": tensors["blk.0.ffn_gate.weight"].shape[0],
            "tie_word_embeddings": False,
        }
        model = of_llama(Config({**sizes, **config.values}, config.file))
        parts = {p.sources[0].name: p for p in model.parts}
        out = dict(tensors)
        for name in self.names():
            layer = re.search(r"layers\.(\d+)\.", name)
            part = parts.get(re.sub(r"layers\.\d+\.", "layers.{i}.", name))
            target = part.target.replace("{i}", layer[1] if layer else "") if part else ""
            if part is None or target not in out:
                raise _homeless(name)
            pick = part.sources[0].pick
            out[target] = self._applied(name, out[target], pick(n_rows(out[target].shape)) if pick else None)
        return out

    def names(self) -> list[str]:
        return sorted({*self.deltas, *self.whole})

    def _applied(self, name: str, tensor: Tensor, rows: Rows | None) -> Tensor:
        if name in self.whole:
            array = self.whole[name]
            if array.shape != tensor.shape:
                raise ModelInvalid(f"The adapter's {name} has the shape {array.shape}, the model's {tensor.shape}.")
            tensor = Array(array if rows is None else array[rows])
        for delta in self.deltas.get(name, []):
            if (delta.b.shape[0], delta.a.shape[1]) != tensor.shape:
                made = (delta.b.shape[0], delta.a.shape[1])
                raise ModelInvalid(f"The adapter's {name} is for a matrix of {made}, the model's is {tensor.shape}.")
            tensor = LowRank(tensor, delta.a, delta.b if rows is None else delta.b[rows], delta.scale)
        return tensor


def _find(name: str, tensors: Mapping[str, Tensor]) -> str | None:
    """The model's name of a tensor that the adapter names, whatever is around the text's part."""
    for candidate in (name, f"model.{name}", f"transformer.{name}", name.replace("language_model.model.", "model.")):
        if candidate in tensors:
            return candidate
    return None


def _homeless(name: str) -> ModelInvalid:
    return ModelInvalid(
        f"The adapter changes {name[:100]}, which the model does not have.",
        remedy="It was trained on another model; adapter_config.json names it as base_model_name_or_path.",
    )


def read_adapters(folders: Sequence[Path]) -> Adapters:
    """The adapters of all folders, one added after the other. ModelNotFound, ModelInvalid, UsageError."""
    out = Adapters()
    for folder in folders:
        if not folder.exists():
            raise ModelNotFound(f"There is no adapter at {folder}.", remedy=_KNOWN)
        _read_one(folder if folder.is_dir() else folder.parent, out)
    return out


def _read_one(folder: Path, out: Adapters) -> None:
    if not (folder / "adapter_config.json").is_file():
        raise ModelNotFound(
            f"{folder} has no adapter_config.json.",
            remedy=_KNOWN,
        )
    config = Config(read_json(folder / "adapter_config.json"), "adapter_config.json")
    if config.text("peft_type", default="LORA") != "LORA":
        raise UsageError(f"{folder}: adapters of the kind {config.get('peft_type')!r} cannot be added; LoRA's can.")
    for key, name in _UNKNOWN.items():
        if config.get(key):
            raise UsageError(f"{folder}: {name} ({key}) cannot be added; plain LoRA can.")
    if config.text("bias", default="none") != "none":
        raise UsageError(f"{folder}: the adapter trains biases too, which cannot be added.")
    halves: dict[str, dict[str, F32]] = {}
    with Weights(folder, (("adapter_model", "safetensors"), ("adapter_model", "bin"))) as weights:
        for name, tensor in weights.tensors.items():
            embedding, match = _EMBEDDING.fullmatch(name), _NAME.fullmatch(name)
            if embedding:
                # An embedding's rows are looked up: A has a column for each token, and both are transposed.
                half = {"A": "B", "B": "A"}[embedding[2]]
                halves.setdefault(f"{embedding[1]}.weight", {})[half] = whole(tensor).T
            elif match and match[2]:
                halves.setdefault(f"{match[1]}.weight", {})[match[2]] = whole(tensor)
            elif match:
                out.whole[f"{match[1]}.weight"] = whole(tensor)
            else:
                raise ModelInvalid(f"The adapter in {folder} holds {name[:80]!r}, which is no part of plain LoRA.")
    if not halves and not out.whole:
        raise ModelInvalid(f"The adapter in {folder} holds no tensors.")
    for name, pair in halves.items():
        out.deltas.setdefault(name, []).append(_delta(name, pair, config))


def _delta(name: str, pair: dict[str, F32], config: Config) -> Delta:
    if set(pair) != {"A", "B"}:
        raise ModelInvalid(f"The adapter has lora_{next(iter(pair))} of {name[:80]} and not the other half.")
    a, b = pair["A"], pair["B"]
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or not a.size or not b.size:
        raise ModelInvalid(f"The adapter's halves of {name[:80]}, {a.shape} and {b.shape}, do not go together.")
    if config.flag("fan_in_fan_out", default=False):  # of linear layers that are stored transposed, as GPT-2's
        a, b = b.T, a.T
    rank = a.shape[0]
    alpha = _patterned(config, "alpha_pattern", name, config.real("lora_alpha", default=8.0))
    rooted = config.flag("use_rslora", default=False)
    return Delta(a, b, alpha / (math.sqrt(rank) if rooted else rank))


def _patterned(config: Config, key: str, name: str, default: float) -> float:
    """A module's own value, where a pattern that ends its name has one."""
    module = name.removesuffix(".weight")
    for pattern, value in config.sub(key).values.items():
        plain: Any = pattern.lstrip("^").rstrip("$").replace("\\.", ".")
        if (module == plain or module.endswith(f".{plain}")) and type(value) in (int, float):
            return float(value)
    return default
