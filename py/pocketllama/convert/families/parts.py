"""What a model's tensors are called in its checkpoint and in GGUF, their shapes, and what is done to their rows.

A `Part` is one tensor of the GGUF file, in every layer that has it. Nothing here reads a number: a part says from which
tensors, and from which of their rows, the file's tensor is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...errors import UsageError
from ..config import Config, shown
from ..rope import Rope
from ..tensor import F32, Rows

VOCAB = -1  # in a shape: as many as the checkpoint has
EXPERT = "{e}"
Pick = Callable[[int], Rows]  # of a tensor of n rows those that are taken, in order


@dataclass(frozen=True)
class Source:
    """A tensor of the checkpoint; where its name has {e}, `count` of them, behind each other.

    What is done to it, in this order: `transposed`, the rows that `pick` takes, `then_transposed`. `columns` (k, of):
    each `of`-th element of its rows, from the k-th on. `mxfp4`: it lies in NAME_blocks and NAME_scales, and stays so.
    """

    name: str
    count: int = 0
    pick: Pick | None = None
    transposed: bool = False
    then_transposed: bool = False
    columns: tuple[int, int] | None = None
    mxfp4: bool = False


@dataclass(frozen=True)
class Part:
    """A tensor of the file, `{i}` standing for the layer in all names, one of `layers` (all of them).

    It is made of the first of `sources` that the checkpoint has. `shape` is torch's. `plus`: is added to each element.
    `unit`: rows are brought to length 1.
    """

    target: str
    shape: tuple[int, ...]
    sources: tuple[Source, ...]
    optional: bool = False
    plus: float = 0.0
    unit: bool = False
    layers: range | None = None


@dataclass
class Model:
    """A model as its config says it is: its GGUF keys without the architecture's name, its parts, further tensors.

    `other` are the checkpoint's tensors that no part needs, as regular expressions.
    """

    arch: str
    n_layers: int
    keys: dict[str, Any]
    parts: list[Part]
    tensors: dict[str, F32] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    other: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dims:
    """The sizes that nearly every model has. Elements, tokens for `ctx`."""

    dim: int
    layers: int
    heads: int
    kv: int  # heads of keys and values
    head: int
    ffn: int
    ctx: int


_CONTEXT = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "n_ctx", "model_max_length")


def read_dims(c: Config, *, ffn: int | None = None, head: int | None = None, kv: int | None = None) -> Dims:
    """From the config, under whichever of its names; `ffn`, `head` and `kv` where it does not say."""
    dim = c.size("hidden_size", "n_embd", "n_embed", "d_model")
    heads = c.size("num_attention_heads", "n_head", "n_heads")
    return Dims(
        dim=dim,
        layers=c.size("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        heads=heads,
        kv=c.size("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", default=kv or heads),
        head=c.size("head_dim", "kv_channels", default=head or max(1, dim // heads)),
        ffn=c.size("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", default=ffn),
        ctx=c.size(*_CONTEXT, default=2048),
    )


def keys(
    c: Config, d: Dims, rope: Rope | None, *, eps: tuple[str, ...] = ("rms_norm_eps",), **more: Any
) -> dict[str, Any]:
    """The keys that nearly every architecture has; `more` has underscores__ for the dots of its names.

    `eps` are the config's names of the norms' epsilon, which is an RMS norm's if they have "rms" in them.
    """
    norm = "attention.layer_norm_rms_epsilon" if "rms" in eps[0] else "attention.layer_norm_epsilon"
    out: dict[str, Any] = {
        "block_count": d.layers,
        "context_length": d.ctx,
        "embedding_length": d.dim,
        "feed_forward_length": d.ffn,
        "attention.head_count": d.heads,
        "attention.head_count_kv": d.kv,
        norm: c.real(*eps, default=1e-6 if "rms" in eps[0] else 1e-5),
    }
    if d.head * d.heads != d.dim:
        out |= {"attention.key_length": d.head, "attention.value_length": d.head}
    if rope is not None:
        out |= rope.keys
    return out | {key.replace("__", "."): value for key, value in more.items()}


def expect(c: Config, key: str, *allowed: object, default: object = None) -> None:
    """UsageError unless the config's value is one that the engine's architecture computes."""
    value = c.get(key)
    value = default if value is None else value
    if value not in allowed:
        raise UsageError(f"{c.file}: a model with {key} {shown(value)} cannot be converted; {shown(allowed[0])} can.")


def expect_act(c: Config, *allowed: str) -> None:
    """The same of the activation, under whichever name; `allowed` are the beginnings of names."""
    value = c.get("hidden_activation", "hidden_act", "activation_function")
    if value is not None and not str(value).startswith(allowed):
        raise UsageError(
            f"{c.file}: a model with the activation {shown(value)} cannot be converted; with {allowed[0]} it can."
        )


# ---- rows in another order


def interleaved(heads: int) -> Pick:
    """Rows of each head from two halves, as transformers turns them, to pairs beside each other, as Meta's files do."""
    return lambda n: np.arange(n).reshape(heads, 2, -1).swapaxes(1, 2).reshape(-1)


def heads_together(heads: int) -> Pick:
    """GPT-NeoX and BLOOM: (head, q k v) → (q k v, head)."""
    return lambda n: np.arange(n).reshape(heads, 3, -1).swapaxes(0, 1).reshape(-1)


def of_groups(kv: int, group: int, which: str) -> Pick:
    """InternLM 2 and Falcon: for each key-value head `group` heads of queries, a key and a value → "q", "k" or "v"."""

    def pick(n: int) -> Rows:
        rows = np.arange(n).reshape(kv, group + 2, -1)
        return {"q": rows[:, :-2], "k": rows[:, -2], "v": rows[:, -1]}[which].reshape(-1)

    return pick


def groups_together(heads: int, kv: int) -> Pick:
    """The same for all three: all queries, all keys, all values."""
    group = heads // kv
    return lambda n: np.concatenate([of_groups(kv, group, which)(n) for which in "qkv"])


def then(first: Pick, second: Pick) -> Pick:
    """Rows of those rows."""

    def pick(n: int) -> Rows:
        rows = first(n)
        return rows[second(len(rows))]

    return pick


def share(k: int, of: int, groups: int = 1) -> Pick:
    """Of each of `groups` equal runs of rows the k-th of `of` equal parts."""
    return lambda n: np.arange(n).reshape(groups, of, -1)[:, k].reshape(-1)


def every(k: int, of: int) -> Pick:
    """Each `of`-th row, from the k-th on."""
    return lambda n: np.arange(k, n, of)


def run(start: int, stop: int) -> Pick:
    return lambda n: np.arange(start, stop)


# ---- parts that many models have

AT, BLK = "model.layers.{i}", "blk.{i}"


def linear(
    source: str, target: str, rows: int, cols: int, *, bias: bool | None = None, pick: Pick | None = None
) -> list[Part]:
    """A matrix and its bias; `bias` None: if the checkpoint has one. `pick` is for the rows of both."""
    parts = [Part(f"{target}.weight", (rows, cols), (Source(f"{source}.weight", pick=pick),))]
    if bias is not False:
        parts.append(Part(f"{target}.bias", (rows,), (Source(f"{source}.bias", pick=pick),), optional=bias is None))
    return parts


def conv1d(source: str, target: str, rows: int, cols: int) -> list[Part]:
    """GPT-2's linear layer, the transpose of all others."""
    return [
        Part(f"{target}.weight", (rows, cols), (Source(f"{source}.weight", transposed=True),)),
        Part(f"{target}.bias", (rows,), (Source(f"{source}.bias"),)),
    ]


def norm(source: str, target: str, n: int, *, bias: bool | None = False, plus: float = 0.0) -> list[Part]:
    parts = [Part(f"{target}.weight", (n,), (Source(f"{source}.weight"),), plus=plus)]
    if bias is not False:
        parts.append(Part(f"{target}.bias", (n,), (Source(f"{source}.bias"),), optional=bias is None))
    return parts


def ends(
    c: Config,
    d: Dims,
    embd: str = "model.embed_tokens",
    last: str = "model.norm",
    head: str = "lm_head",
    *,
    tied: bool = False,
    bias: bool | None = False,
    norm_bias: bool | None = False,
    plus: float = 0.0,
) -> list[Part]:
    """The parts outside of the layers: the embedding, the last norm and the output, `bias` being the latter's.

    `tied`: whether the class ties the output where the config does not say. Where the config says nothing, and the
    checkpoint has no output, it is tied after all.
    """
    embedding = Part("token_embd.weight", (VOCAB, d.dim), (Source(f"{embd}.weight"),))
    parts = [embedding, *norm(last, "output_norm", d.dim, bias=norm_bias, plus=plus)]
    stated = c.get("tie_word_embeddings")
    if stated is True or (stated is None and tied):
        return parts
    names = tuple(dict.fromkeys((head, "lm_head")))
    parts.append(
        Part("output.weight", (VOCAB, d.dim), tuple(Source(f"{n}.weight") for n in names), optional=stated is not False)
    )
    if bias is not False:
        sources = tuple(Source(f"{n}.bias") for n in names)
        parts.append(Part("output.bias", (VOCAB,), sources, optional=bias is None))
    return parts


def attention(
    d: Dims,
    *,
    turned: bool = False,
    bias: bool | None = None,
    bias_out: bool | None = None,
    norms: str = "",
    o: str = "o_proj",
    at: str = f"{AT}.self_attn",
    norm_names: tuple[str, str] = ("q_norm", "k_norm"),
    **how: Any,
) -> list[Part]:
    """q, k, v and o. `turned`: rows change places for interleaved rope; `norms`: of "heads", or one of the "whole"."""
    q, k = (interleaved(d.heads), interleaved(d.kv)) if turned else (None, None)
    parts = [
        *linear(f"{at}.q_proj", f"{BLK}.attn_q", d.heads * d.head, d.dim, bias=bias, pick=q),
        *linear(f"{at}.k_proj", f"{BLK}.attn_k", d.kv * d.head, d.dim, bias=bias, pick=k),
        *linear(f"{at}.v_proj", f"{BLK}.attn_v", d.kv * d.head, d.dim, bias=bias),
        *linear(f"{at}.{o}", f"{BLK}.attn_output", d.dim, d.heads * d.head, bias=bias_out),
    ]
    for name, to, heads in ((norm_names[0], "attn_q_norm", d.heads), (norm_names[1], "attn_k_norm", d.kv)):
        if norms:
            parts += norm(f"{at}.{name}", f"{BLK}.{to}", d.head if norms == "heads" else heads * d.head, **how)
    return parts


def gated_ffn(d: Dims, at: str = f"{AT}.mlp", suffix: str = "", ffn: int | None = None) -> list[Part]:
    n = d.ffn if ffn is None else ffn
    return [
        *linear(f"{at}.gate_proj", f"{BLK}.ffn_gate{suffix}", n, d.dim),
        *linear(f"{at}.down_proj", f"{BLK}.ffn_down{suffix}", d.dim, n),
        *linear(f"{at}.up_proj", f"{BLK}.ffn_up{suffix}", n, d.dim),
    ]


def plain_ffn(d: Dims, up: str, down: str, *, at: str = f"{AT}.mlp", bias: bool | None = None) -> list[Part]:
    """Without a gate."""
    return [
        *linear(f"{at}.{up}", f"{BLK}.ffn_up", d.ffn, d.dim, bias=bias),
        *linear(f"{at}.{down}", f"{BLK}.ffn_down", d.dim, d.ffn, bias=bias),
    ]


def joined_ffn(d: Dims) -> list[Part]:
    """Gate and up in one tensor, in the file too."""
    return [
        *linear(f"{AT}.mlp.gate_up_proj", f"{BLK}.ffn_up", 2 * d.ffn, d.dim),
        *linear(f"{AT}.mlp.down_proj", f"{BLK}.ffn_down", d.dim, d.ffn),
    ]


def two_norms(d: Dims, second: str = "ffn_norm", **how: Any) -> list[Part]:
    return [
        *norm(f"{AT}.input_layernorm", f"{BLK}.attn_norm", d.dim, **how),
        *norm(f"{AT}.post_attention_layernorm", f"{BLK}.{second}", d.dim, **how),
    ]


def split_ffn(d: Dims, at: str, suffix: str, ffn: int) -> list[Part]:
    """Granite's: gate and up in one tensor, in the file in two."""
    both, down = f"{at}.input_linear.weight", f"{at}.output_linear.weight"
    return [
        Part(f"{BLK}.ffn_gate{suffix}.weight", (ffn, d.dim), (Source(both, pick=share(0, 2)),)),
        Part(f"{BLK}.ffn_up{suffix}.weight", (ffn, d.dim), (Source(both, pick=share(1, 2)),)),
        Part(f"{BLK}.ffn_down{suffix}.weight", (d.dim, ffn), (Source(down),)),
    ]


def experts(
    d: Dims,
    n: int,
    ffn: int,
    *,
    at: str = f"{AT}.mlp",
    each: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj"),
    joined: tuple[str, str] = ("experts.gate_up_proj", "experts.down_proj"),
    router: tuple[str, ...] = ("gate.weight",),
    joined_transposed: bool = False,
    elsewhere: str | None = None,
) -> list[Part]:
    """A router and n experts: each with tensors of its own, as most checkpoints have them, or all in one tensor with
    gates before ups, as transformers holds them. `elsewhere` is another name for `at`."""
    places = (at, elsewhere) if elsewhere else (at,)

    def sources(k: int, half: int | None) -> tuple[Source, ...]:
        pick = None if half is None else share(half, 2, n)
        name = joined[0] if half is not None else joined[1]
        one = [Source(f"{p}.experts.{EXPERT}.{each[k]}.weight", n) for p in places]
        return (*one, *(Source(f"{p}.{name}", pick=pick, transposed=joined_transposed) for p in places))

    return [
        Part(f"{BLK}.ffn_gate_inp.weight", (n, d.dim), tuple(Source(f"{p}.{r}") for p in places for r in router)),
        Part(f"{BLK}.ffn_gate_exps.weight", (n, ffn, d.dim), sources(0, 0)),
        Part(f"{BLK}.ffn_down_exps.weight", (n, d.dim, ffn), sources(2, None)),
        Part(f"{BLK}.ffn_up_exps.weight", (n, ffn, d.dim), sources(1, 1)),
    ]


def only(parts: list[Part], layers: range) -> list[Part]:
    """The parts in these layers alone."""
    return [replace(p, layers=layers) for p in parts]
