"""How rotary positions are stretched: config.json's words for it → GGUF's keys, and the tensors of factors.

transformers 5 has all of it under rope_parameters, before it was rope_theta and rope_scaling; a model whose layers
differ has an object for each kind of layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import ModelInvalid, UsageError
from .config import Config, shown
from .tensor import F32

Keys = dict[str, Any]  # without the architecture's name; the type of a value is that of the key


@dataclass
class Rope:
    """The keys, the tensors of factors, and what is not as the config has it."""

    base: float
    keys: Keys
    tensors: dict[str, F32] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def rope_config(config: Config, kind: str | None = None) -> Config:
    """The object that says how positions turn, of the layers of `kind` where they differ."""
    new = config.sub("rope_parameters")
    if kind and isinstance(new.get(kind), dict):
        return new.sub(kind)
    for other in ("full_attention", "sliding_attention"):
        if isinstance(new.get(other), dict):
            return new.sub(other)
    values = {k: v for k, v in config.sub("rope_scaling").values.items() if v is not None} | dict(new.values)
    return Config(values, new.file)


def rope_base(config: Config, default: float = 10000.0, kind: str | None = None) -> float:
    here = rope_config(config, kind)
    if here.get("rope_theta") is not None:
        return here.real("rope_theta")
    return config.real("rope_theta", "rotary_emb_base", "rope_base", default=default)


def rope_part(config: Config, default: float = 1.0) -> float:
    """The share of a head that turns."""
    part = rope_config(config).get("partial_rotary_factor")
    keys = ("partial_rotary_factor", "rotary_pct", "rope_pct")
    share = float(part) if type(part) in (int, float) else config.real(*keys, default=default)
    if not 0 < share <= 1:
        raise ModelInvalid(f"{config.file}: a share of {share} of each head cannot turn.")
    return share


def read_rope(
    config: Config, dims: int, *, default_base: float = 10000.0, log_multiplier: float = 0.0, olmo3: bool = False
) -> Rope:
    """The rotary positions of heads of which `dims` elements turn.

    `log_multiplier`: by how much DeepSeek's mscale_all_dim counts in GGUF's yarn_log_multiplier. `olmo3`: YaRN's factor
    on attention goes under the key that the first files of OLMo 3 have.
    """
    here = rope_config(config)
    base = rope_base(config, default_base)
    rope = Rope(base, {"rope.freq_base": base, "rope.dimension_count": dims})
    kind = here.text("rope_type", "type", default="default")
    n_ctx = config.size("max_position_embeddings", "seq_length", default=2048)
    if kind in ("default", "mrope"):
        pass
    elif kind == "linear":
        rope.keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": here.real("factor")}
    elif kind == "llama3":
        rope.tensors["rope_freqs.weight"] = llama3_factors(
            dims,
            base,
            here.real("factor"),
            here.real("low_freq_factor", default=1.0),
            here.real("high_freq_factor", default=4.0),
            here.size("original_max_position_embeddings", default=8192),
        )
    elif kind == "yarn":
        _yarn(rope, here, n_ctx, log_multiplier, olmo3)
    elif kind in ("longrope", "su"):
        _longrope(rope, config, here, dims, n_ctx)
    elif kind == "dynamic" and here.get("alpha") is not None:  # Hunyuan: a larger base, whatever the text's length
        rope.base = base * here.real("alpha") ** (dims / (dims - 2))
        rope.keys["rope.freq_base"] = rope.base
    elif kind == "dynamic":
        original = here.size("original_max_position_embeddings", default=n_ctx)
        rope.notes.append(
            f"Its positions stretch with the text's length (dynamic NTK), which GGUF cannot say: it is as trained up "
            f"to {original} tokens."
        )
    else:
        raise UsageError(f"{config.file}: positions of type {shown(kind)} cannot be converted.")
    return rope


def llama3_factors(dims: int, base: float, factor: float, low: float, high: float, original: int) -> F32:
    """What each of dims / 2 frequencies is divided by: long waves by `factor`, short ones by 1, between them a ramp."""
    wavelengths = 2 * math.pi * base ** (np.arange(0, dims, 2, dtype=np.float64) / dims)
    if low == high:
        return np.where(wavelengths > original / low, factor, 1.0).astype(np.float32)
    smooth = (original / wavelengths - low) / (high - low)
    middle = 1 / ((1 - smooth) / factor + smooth)
    long_waves, short_waves = wavelengths > original / low, wavelengths < original / high
    return np.where(short_waves, 1.0, np.where(long_waves, factor, middle)).astype(np.float32)


def _yarn(rope: Rope, here: Config, n_ctx: int, log_multiplier: float, olmo3: bool) -> None:
    original = here.size("original_max_position_embeddings", default=n_ctx)
    factor = here.real("factor", default=max(1.0, n_ctx / original))
    rope.keys |= {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": original,
    }
    for key in ("beta_fast", "beta_slow"):
        if here.get(key) is not None:
            rope.keys[f"rope.scaling.yarn_{key}"] = here.real(key)
    mscale, all_dims = here.real("mscale", default=0, zero=True), here.real("mscale_all_dim", default=0, zero=True)
    if log_multiplier and all_dims:
        rope.keys["rope.scaling.yarn_log_multiplier"] = log_multiplier * all_dims
        if mscale == all_dims:
            return

    def growth(times: float) -> float:
        return 1 + 0.1 * times * math.log(factor) if factor > 1 else 1.0

    attention = here.real("attention_factor", default=0, zero=True)
    if not attention and mscale and all_dims:
        attention = growth(mscale) / growth(all_dims)
    if attention:
        rope.keys["rope.scaling.attn_factor" if olmo3 else "rope.scaling.yarn_attn_factor"] = attention


def _longrope(rope: Rope, config: Config, here: Config, dims: int, n_ctx: int) -> None:
    """Factors for short and for long texts, and by how much attention grows."""
    original = here.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    original = Config({"original_max_position_embeddings": original}, config.file).size(
        "original_max_position_embeddings", default=n_ctx
    )
    for name in ("long", "short"):
        factors = here.reals(f"{name}_factor")
        if len(factors) != dims // 2:
            raise ModelInvalid(f"{here.file}: {name}_factor has {len(factors)} numbers for {dims // 2} frequencies.")
        rope.tensors[f"rope_factors_{name}.weight"] = np.array(factors, np.float32)
    stretch = n_ctx / original
    growth = math.sqrt(1 + math.log(stretch) / math.log(original)) if stretch > 1 and original > 1 else 1.0
    rope.keys |= {
        "rope.scaling.original_context_length": original,
        "rope.scaling.attn_factor": here.real("attention_factor", "short_mscale", default=growth),
    }
