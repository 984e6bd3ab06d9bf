"""What the names of quantized files mean: each is a mixture of types, chosen tensor by tensor.

Errors in some tensors cost more than in others: the output matrix, the values of attention, the matrix that leads out
of the feed-forward block, and of those the first and the last layers'. The names and what they stand for are those of
llama.cpp's quantizer (`llama_tensor_get_type`, as of 2026), so that a file called Q4_K_M is what people expect.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..gguf import FileType, GGMLType

T = GGMLType


@dataclass(frozen=True)
class Mix:
    """One name: the number that the file gets, what most tensors become, and what people may want to know of it."""

    name: str
    file_type: FileType
    base: GGMLType
    about: str

    @property
    def keeps_output(self) -> bool:
        """Whether the output matrix has the type of all others, because that is fine enough."""
        return self.base in (T.F32, T.F16, T.BF16, T.Q8_0)


_TABLE = (
    Mix("F32", FileType.F32, T.F32, "every bit, 4 bytes a weight"),
    Mix("F16", FileType.F16, T.F16, "half precision: what most models are published in, near enough"),
    Mix("BF16", FileType.BF16, T.BF16, "the upper half of float32: what most models are trained in"),
    Mix("Q8_0", FileType.Q8_0, T.Q8_0, "8.5 bits: as good as F16"),
    Mix("Q6_K", FileType.Q6_K, T.Q6_K, "6.6 bits: hardly to be told from F16"),
    Mix("Q5_K_M", FileType.Q5_K_M, T.Q5_K, "5.7 bits: very close"),
    Mix("Q5_K_S", FileType.Q5_K_S, T.Q5_K, "5.5 bits"),
    Mix("Q5_1", FileType.Q5_1, T.Q5_1, "6 bits, of 2023"),
    Mix("Q5_0", FileType.Q5_0, T.Q5_0, "5.5 bits, of 2023"),
    Mix("Q4_K_M", FileType.Q4_K_M, T.Q4_K, "4.8 bits: the usual choice"),
    Mix("Q4_K_S", FileType.Q4_K_S, T.Q4_K, "4.6 bits"),
    Mix("Q4_1", FileType.Q4_1, T.Q4_1, "5 bits, of 2023"),
    Mix("Q4_0", FileType.Q4_0, T.Q4_0, "4.5 bits, of 2023: the simplest"),
    Mix("IQ4_NL", FileType.IQ4_NL, T.IQ4_NL, "4.5 bits, finer around zero"),
    Mix(
        "IQ4_XS",
        FileType.IQ4_XS,
        T.IQ4_XS,
        "4.3 bits, finer around zero: best with an importance matrix",
    ),
    Mix("Q3_K_L", FileType.Q3_K_L, T.Q3_K, "4.3 bits"),
    Mix("Q3_K_M", FileType.Q3_K_M, T.Q3_K, "3.9 bits: noticeably worse"),
    Mix("Q3_K_S", FileType.Q3_K_S, T.Q3_K, "3.5 bits"),
    Mix("Q2_K", FileType.Q2_K, T.Q2_K, "3.2 bits: when nothing else fits"),
    Mix("Q2_K_S", FileType.Q2_K_S, T.Q2_K, "2.9 bits"),
)
MIXES: dict[str, Mix] = {mix.name: mix for mix in _TABLE}
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}


def find_mix(name: str) -> Mix:
    """The mix of this name, in capitals or not."""
    key = name.upper().replace("-", "_")
    mix = MIXES.get(_ALIASES.get(key, key))
    if mix is None:
        raise UsageError(f"{name!r:.80} is no type to quantize to.", remedy=f"Choose one of {', '.join(MIXES)}.")
    return mix


@dataclass(frozen=True)
class Facts:
    """What of a model decides about its tensors."""

    architecture: str
    layers: int
    heads_per_kv_head: int  # queries that share a key
    experts: int
    has_output: bool  # otherwise the token embedding is the output matrix too
    value_tensors: int  # matrices that make values, or all of query, key and value
    important: bool  # an importance matrix is there

    @property
    def is_70b(self) -> bool:
        """LLaMA 2 70B and its like: eight heads share their keys and values, so those may cost more."""
        shared = self.heads_per_kv_head > 1 or self.architecture != "llama"
        return self.layers == 80 and shared and self.architecture in ("llama", "qwen2", "olmo")


def _finer(i: int, n: int) -> bool:
    """The layers that a mix of size M spends more on: the first and the last eighth, and every third between."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def tensor_type(mix: Mix, name: str, facts: Facts, layer: int, value: int) -> GGMLType:
    """What `mix` makes of a matrix called `name`, in layer number `layer`; `value` counts the matrices of values.

    Whether its rows fit the type is the caller's question.
    """
    if mix.keeps_output:
        return mix.base
    if name == "output.weight" or (name in _EMBEDDINGS and not facts.has_output):
        return T.Q8_0 if facts.architecture == "falcon" else T.Q6_K
    if makes_values(name):
        return _values(mix, facts, value)
    if "attn_k.weight" in name:
        return T.Q8_0 if facts.experts == 8 else mix.base
    if "ffn_down" in name:
        return _down(mix, facts, layer)
    if "attn_output.weight" in name:
        return _attention_output(mix, facts)
    return mix.base


_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight")


def makes_values(name: str) -> bool:
    """Whether what attention adds up comes from this matrix, alone or with queries and keys."""
    return any(part in name for part in ("attn_v.weight", "attn_qkv.weight", "attn_kv_b.weight"))


def _values(mix: Mix, facts: Facts, i: int) -> GGMLType:
    shared = facts.heads_per_kv_head >= 4
    kind = mix.base
    match mix.name:
        case "Q2_K":
            kind = T.Q4_K if shared else T.Q3_K
        case "Q2_K_S":
            kind = T.Q4_K if shared else kind
        case "Q3_K_M":
            kind = T.Q5_K if i < 2 else T.Q4_K
        case "Q3_K_L":
            kind = T.Q5_K
        case "IQ4_NL" | "IQ4_XS":
            kind = T.Q5_K if shared else kind
        case "Q4_K_M" | "Q5_K_M":
            kind = T.Q6_K if _finer(i, facts.value_tensors) else kind
        case "Q4_K_S":
            kind = T.Q5_K if i < 4 else kind
    if facts.is_70b and kind in (T.Q3_K, T.Q4_K):
        kind = T.Q5_K
    return T.Q8_0 if facts.experts == 8 else kind


def _down(mix: Mix, facts: Facts, i: int) -> GGMLType:
    n, falcon = facts.layers, facts.architecture == "falcon"
    early, finer = i < n // 8, _finer(i, n)
    match mix.name:
        case "Q2_K":
            return T.Q3_K
        case "Q2_K_S":
            return T.Q4_K if early else T.Q2_K
        case "Q3_K_M":
            return T.Q5_K if i < n // 16 else T.Q4_K if not falcon or finer else T.Q3_K
        case "Q3_K_L":
            return T.Q4_K if falcon else T.Q5_K
        case "Q4_K_M" if falcon:
            return T.Q6_K if i < n // 16 else T.Q5_K if finer else T.Q4_K
        case "Q4_K_M" | "Q5_K_M":
            return T.Q6_K if finer else mix.base
        case "Q4_K_S":
            return T.Q5_K if early and not falcon else T.Q4_K
        case "IQ4_NL" | "IQ4_XS":
            return T.Q5_K if early and not facts.important else mix.base
        case "Q4_0" if facts.important and early:
            return T.Q4_1
        case "Q5_0" if facts.important and early:
            return T.Q5_1
    return mix.base


def _attention_output(mix: Mix, facts: Facts) -> GGMLType:
    if facts.architecture == "falcon":
        return T.Q4_K if mix.name == "Q3_K_L" else mix.base
    if facts.experts == 8:
        small = ("Q2_K", "Q3_K_S", "Q3_K_M", "IQ4_NL", "IQ4_XS", "Q4_K_S", "Q4_K_M")
        return T.Q5_K if mix.name in small else mix.base
    return {"Q2_K": T.Q3_K, "Q3_K_M": T.Q4_K, "Q3_K_L": T.Q5_K}.get(mix.name, mix.base)
