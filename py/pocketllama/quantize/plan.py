"""Which type each tensor of a file becomes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..gguf import GGMLType, TensorInfo
from .mixes import MIXES, Facts, Mix, makes_values, tensor_type

T = GGMLType
# A type of 256-weight blocks, for rows that 256 does not divide: what llama.cpp takes then, with blocks of 32.
_FALLBACK = {T.Q2_K: T.Q4_0, T.Q3_K: T.Q4_0, T.IQ4_XS: T.IQ4_NL, T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0}
# Matrices that are small and decide much: the router of experts, learned positions, convolutions of state spaces, what
# reads pictures and sound. As in llama.cpp, by name.
_KEPT = re.compile(
    r"ffn_gate_(inp|tid2eid)\.weight|^(position_embd|token_types)\.weight|\.position_embd|attn_rel_b\.weight"
    r"|altup|laurel|per_layer_model_proj|indexer\.[kq]_proj\.weight|ssm_conv1d|shortconv\.conv\.weight"
    r"|time_mix_(first|lerp_fused|decay_w[12]|w[012]|v[012]|a[012]|g[12])\.weight"
    r"|sam\.(pos_embd|neck\.|net_)|\.(rel_pos|patch_embd|patch_merger)|a\.rvq\.codebook|mm\.a\.code_embd"
)
_LAYER = re.compile(r"\bblk\.(\d+)\.")
WRITABLE = frozenset(mix.base for mix in MIXES.values())


@dataclass(frozen=True)
class Rule:
    """`--tensor-type REGEX=TYPE`: matrices whose name has the pattern become this type."""

    pattern: re.Pattern[str]
    type: GGMLType


@dataclass(frozen=True)
class Choice:
    """A tensor and what becomes of it; `wanted` is what it would have become if its rows fitted."""

    tensor: TensorInfo
    type: GGMLType
    wanted: GGMLType

    @property
    def fell_back(self) -> bool:
        return self.type != self.wanted


def parse_rule(text: str) -> Rule:
    """`REGEX=TYPE`; UsageError for what is none."""
    pattern, equals, name = text.rpartition("=")
    kinds = {kind.name: kind for kind in WRITABLE}
    kind = kinds.get(name.upper())
    if not equals or not pattern or kind is None:
        names = ", ".join(sorted(kinds))
        raise UsageError(
            f"--tensor-type takes REGEX=TYPE, not {text!r:.80}.",
            remedy=rf"Such as --tensor-type 'ffn_down\.weight=q6_k'; the types are {names}.",
        )
    try:
        return Rule(re.compile(pattern), kind)
    except re.error as e:
        raise UsageError(f"{pattern!r:.80} is no regular expression: {e}.") from e


def facts_of(metadata: Mapping[str, Any], tensors: Sequence[TensorInfo], important: bool) -> Facts:
    """What the mixes ask of a model. A key that is missing or of a strange type counts as not there."""
    architecture = metadata.get("general.architecture")
    names = [t.name for t in tensors]

    def number(key: str) -> int:
        value = metadata.get(f"{architecture}.{key}") if f"{architecture}.{key}" in metadata else 0
        if isinstance(value, list):  # one for each layer
            value = value[0] if value else 0
        return value if isinstance(value, int) and value > 0 else 0

    heads, kv_heads = number("attention.head_count"), number("attention.head_count_kv")
    return Facts(
        architecture=architecture if isinstance(architecture, str) else "",
        layers=number("block_count"),
        heads_per_kv_head=heads // kv_heads if kv_heads else 1,
        experts=number("expert_count"),
        has_output="output.weight" in names,
        value_tensors=sum(map(makes_values, names)),
        important=important,
    )


def is_matrix(tensor: TensorInfo) -> bool:
    """Whether it is one of those that are quantized: a matrix of weights, not a norm, and none of the delicate ones."""
    name = tensor.name
    vector = all(dim == 1 for dim in tensor.shape[1:])
    return not vector and name.endswith("weight") and "_norm.weight" not in name and not _KEPT.search(name)


def plan(
    metadata: Mapping[str, Any],
    tensors: Sequence[TensorInfo],
    mix: Mix,
    *,
    pure: bool = False,
    rules: Sequence[Rule] = (),
    important: bool = False,
) -> list[Choice]:
    """A choice for each tensor, in the file's order."""
    facts = facts_of(metadata, tensors, important)
    order = {t.name: i for i, t in enumerate(sorted((t for t in tensors if makes_values(t.name)), key=_layer))}
    chosen = []
    for tensor in tensors:
        if not is_matrix(tensor):
            chosen.append(Choice(tensor, tensor.type, tensor.type))
            continue
        wanted = mix.base if pure else tensor_type(mix, tensor.name, facts, _layer(tensor), order.get(tensor.name, 0))
        wanted = next((rule.type for rule in rules if rule.pattern.search(tensor.name)), wanted)
        chosen.append(Choice(tensor, fitting(wanted, tensor.shape[0]), wanted))
    for rule in rules:
        if not any(rule.pattern.search(t.name) for t in tensors if is_matrix(t)):
            raise UsageError(
                f"No matrix has a name in which {rule.pattern.pattern!r:.80} is found.",
                remedy="Names are such as blk.0.ffn_down.weight, token_embd.weight, output.weight.",
            )
    return chosen


def fitting(kind: GGMLType, columns: int) -> GGMLType:
    """`kind`, or the nearest type whose blocks divide rows of `columns`."""
    if columns % kind.block_size:
        kind = _FALLBACK.get(kind, T.F16)
    return kind if columns % kind.block_size == 0 else T.F16


def _layer(tensor: TensorInfo) -> int:
    found = _LAYER.search(tensor.name)
    return int(found[1]) if found else 0
