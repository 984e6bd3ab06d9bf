"""Hugging Face's layout: config.json, weights (`shards`), and the tokenizer's files (`hf_vocabulary`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import UsageError
from ..gguf import ArrayOf, ValueType
from .assemble import assemble, text_names
from .checkpoint import Checkpoint, Metadata, Packed, model_name, stored_type
from .config import Config, read_json, shown
from .families import DEFAULTS, FAMILIES, Model
from .hf_vocabulary import read_vocabulary
from .shards import Weights
from .tensor import Tensor

_MAX_CARD = 1 << 16  # bytes
_CARD_LINE = re.compile(r"^(license(?:_name|_link)?):[ \t]*(\S[^\r\n]{0,200})$", re.MULTILINE)


class HfCheckpoint:
    """The open checkpoint of one folder."""

    default_type = "q8_0"
    packed_type = None

    def __init__(self, folder: Path, lora: Sequence[Path] = ()) -> None:
        self.name = model_name(folder)
        config = Config(read_json(folder / "config.json"), "config.json")
        _check_quantized(config)
        text = _text_config(config)
        kind = text.text("model_type", default="")
        if kind not in FAMILIES:
            known = ", ".join(sorted(FAMILIES, key=str.lower))
            raise UsageError(
                f"The model_type {shown(kind)} of config.json is none that the engine runs."
                if kind
                else "config.json has no model_type, which says what the model is.",
                remedy=f"Known: {known}.",
            )
        model = FAMILIES[kind](text)
        self.architecture = model.arch
        self._weights = Weights(folder)
        try:
            tensors: Mapping[str, Tensor] = text_names(self._weights.tensors, model)
            if lora:
                from .lora import read_adapters

                tensors = read_adapters(lora).added(tensors)
            self.tensors: dict[str, Tensor | Packed] = assemble(model, tensors)
            vocabulary = read_vocabulary(folder, config, kind)
            n_vocab = self.tensors["token_embd.weight"].shape[0]
            self.metadata = _licence(folder) | _metadata(model, n_vocab) | vocabulary.metadata(n_vocab)
            self.stored_type = stored_type(t.dtype for t in self._weights.tensors.values() if len(t.shape) > 1)
        except BaseException:
            self._weights.close()
            raise
        self.notes = model.notes

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._weights.close()


def _check_quantized(config: Config) -> None:
    method = config.sub("quantization_config").get("quant_method")
    if method is not None and method != "mxfp4":
        raise UsageError(
            f"The checkpoint's weights are quantized already ({shown(method)}), which loses what GGUF's types need.",
            remedy="Convert the original checkpoint.",
        )


def _text_config(config: Config) -> Config:
    """The config of what the model does with text."""
    text = config.sub("text_config")
    if not text.values or (config.get("model_type") in FAMILIES and not text.get("model_type")):
        return config
    values: dict[str, Any] = dict(text.values)
    if config.get("tie_word_embeddings") is not None:
        values.setdefault("tie_word_embeddings", config.get("tie_word_embeddings"))
    deep = config.sub("vision_config").get("deepstack_visual_indexes")
    if isinstance(deep, list):
        values["n_deepstack_layers"] = len(deep)
    values = DEFAULTS.get(str(values.get("model_type")), {}) | {k: v for k, v in values.items() if v is not None}
    return Config(values, "config.json: text_config")


def _licence(folder: Path) -> Metadata:
    """What the model card says between its first lines of three dashes."""
    try:
        with (folder / "README.md").open("rb") as f:
            text = f.read(_MAX_CARD).decode("utf-8", "replace")
    except OSError:
        return {}
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = {key: value.strip(" \"'") for key, value in _CARD_LINE.findall(head)}
    keys = {
        "license": "general.license",
        "license_name": "general.license.name",
        "license_link": "general.license.link",
    }
    return {to: (ValueType.STRING, found[key]) for key, to in keys.items() if found.get(key)}


def _metadata(model: Model, n_vocab: int) -> Metadata:
    out: Metadata = {f"{model.arch}.vocab_size": (ValueType.UINT32, n_vocab)}
    for key, value in model.keys.items():
        out[f"{model.arch}.{key}"] = (_kind_of(value), value)
    return out


def _kind_of(value: Any) -> ValueType | ArrayOf:
    if isinstance(value, list):
        return ArrayOf(ValueType.INT32 if type(value[0]) is int else _kind_of(value[0]))
    kinds = {bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32, str: ValueType.STRING}
    return kinds[type(value)]
