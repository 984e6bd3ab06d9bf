"""Which tensor becomes what."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from pocketllama.errors import UsageError
from pocketllama.gguf import GGMLType, Metadata, TensorInfo
from pocketllama.quantize import MIXES, Rule, find_mix, parse_rule
from pocketllama.quantize.plan import is_matrix, plan

T = GGMLType


def model(
    layers: int,
    *,
    arch: str = "llama",
    heads: int = 32,
    kv: int = 32,
    experts: int = 0,
    width: int = 4096,
    tied: bool = False,
) -> tuple[Metadata, list[TensorInfo]]:
    keys: dict[str, Any] = {
        "general.architecture": arch,
        f"{arch}.block_count": layers,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": kv,
    }
    if experts:
        keys[f"{arch}.expert_count"] = experts
    names = {"token_embd.weight": (width, 1000)}
    for i in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            names[f"blk.{i}.{part}.weight"] = (width, width)
        names[f"blk.{i}.attn_norm.weight"] = (width,)  # type: ignore[assignment]
        names[f"blk.{i}.ffn_gate_inp.weight"] = (width, 8)
        for part in ("ffn_gate", "ffn_up", "ffn_down"):
            names[f"blk.{i}.{part}.weight"] = (width, width)
    if not tied:
        names["output.weight"] = (width, 1000)
    tensors = [TensorInfo(n, shape, T.F16 if len(shape) > 1 else T.F32, 0, 0) for n, shape in names.items()]
    return Metadata(keys, {}), tensors


def chosen(name: str, *of: Any, **options: Any) -> dict[str, str]:
    metadata, tensors = of if of else model(32)
    return {c.tensor.name: c.type.name for c in plan(metadata, tensors, find_mix(name), **options)}


def layers(types: dict[str, str], part: str, kind: str) -> list[int]:
    return [int(n.split(".")[1]) for n, t in types.items() if n.endswith(f".{part}.weight") and t == kind]


def test_q4_k_m_of_a_7b() -> None:
    types = chosen("Q4_K_M")
    finer = [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]
    assert layers(types, "attn_v", "Q6_K") == finer and layers(types, "ffn_down", "Q6_K") == finer
    assert types["output.weight"] == "Q6_K" and types["token_embd.weight"] == "Q4_K"
    assert types["blk.0.ffn_gate_inp.weight"] == "F16" and types["blk.0.attn_norm.weight"] == "F32"
    rest = {t for n, t in types.items() if not re.search(r"attn_v|ffn_down|output\.weight$|norm|inp", n)}
    assert rest == {"Q4_K"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Q2_K", {"attn_v": "Q3_K", "ffn_down": "Q3_K", "attn_output": "Q3_K", "attn_q": "Q2_K"}),
        ("Q3_K_S", {"attn_v": "Q3_K", "ffn_down": "Q3_K", "attn_output": "Q3_K"}),
        ("Q3_K_M", {"attn_v": "Q4_K", "ffn_down": "Q4_K", "attn_output": "Q4_K", "attn_k": "Q3_K"}),
        ("Q3_K_L", {"attn_v": "Q5_K", "ffn_down": "Q5_K", "attn_output": "Q5_K", "ffn_up": "Q3_K"}),
        ("Q4_K_S", {"attn_v": "Q4_K", "ffn_down": "Q4_K"}),
        ("Q5_K_S", {"attn_v": "Q5_K", "ffn_down": "Q5_K"}),
        ("Q5_K_M", {"attn_v": "Q5_K", "ffn_down": "Q5_K"}),
        ("Q6_K", {"attn_v": "Q6_K", "ffn_down": "Q6_K"}),
        ("IQ4_XS", {"attn_v": "IQ4_XS", "ffn_down": "IQ4_XS"}),
        ("Q4_0", {"attn_v": "Q4_0", "ffn_down": "Q4_0"}),
        ("Q8_0", {"attn_v": "Q8_0", "ffn_down": "Q8_0"}),
    ],
)
def test_a_layer_in_the_middle(name: str, expected: dict[str, str]) -> None:
    types = chosen(name)
    assert {part: types[f"blk.5.{part}.weight"] for part in expected} == expected
    assert types["output.weight"] == ("Q8_0" if name == "Q8_0" else "Q6_K")


def test_the_first_layers() -> None:
    assert layers(chosen("Q3_K_M"), "attn_v", "Q5_K") == [0, 1]
    assert layers(chosen("Q3_K_M"), "ffn_down", "Q5_K") == [0, 1]
    assert layers(chosen("Q4_K_S"), "attn_v", "Q5_K") == [0, 1, 2, 3]
    assert layers(chosen("Q4_K_S"), "ffn_down", "Q5_K") == [0, 1, 2, 3]
    assert layers(chosen("Q2_K_S", *model(32, kv=8)), "ffn_down", "Q4_K") == [0, 1, 2, 3]
    assert layers(chosen("IQ4_XS"), "ffn_down", "Q5_K") == [0, 1, 2, 3]
    assert layers(chosen("IQ4_XS", *model(32), important=True), "ffn_down", "Q5_K") == []
    assert layers(chosen("Q4_0", *model(32), important=True), "ffn_down", "Q4_1") == [0, 1, 2, 3]
    assert layers(chosen("Q5_0", *model(32), important=True), "ffn_down", "Q5_1") == [0, 1, 2, 3]


def test_other_models() -> None:
    shared = chosen("Q2_K", *model(32, kv=8))
    assert shared["blk.5.attn_v.weight"] == "Q4_K"
    assert chosen("IQ4_XS", *model(32, kv=8))["blk.5.attn_v.weight"] == "Q5_K"
    assert chosen("Q4_K_M", *model(80, heads=64, kv=8))["blk.12.attn_v.weight"] == "Q6_K"
    assert chosen("Q4_K_M", *model(80, heads=64, kv=8))["blk.11.attn_v.weight"] == "Q5_K"
    mixtral = chosen("Q4_K_M", *model(32, kv=8, experts=8))
    assert (mixtral["blk.5.attn_v.weight"], mixtral["blk.5.attn_k.weight"]) == ("Q8_0", "Q8_0")
    assert mixtral["blk.5.attn_output.weight"] == "Q5_K"
    assert chosen("Q4_K_M", *model(32, arch="falcon"))["output.weight"] == "Q8_0"
    assert chosen("Q3_K_L", *model(32, arch="falcon"))["blk.5.ffn_down.weight"] == "Q4_K"
    assert chosen("Q4_0", *model(32, tied=True))["token_embd.weight"] == "Q6_K"


def test_values_with_queries_and_keys_in_one_matrix() -> None:
    metadata, tensors = model(32, arch="gptneox")
    joined = [replace(t, name=t.name.replace("attn_v", "attn_qkv")) for t in tensors if "attn_q" not in t.name]
    types = chosen("Q4_K_M", metadata, joined)
    assert layers(types, "attn_qkv", "Q6_K") == layers(types, "ffn_down", "Q6_K") and "Q5_K" not in types.values()
    assert layers(chosen("Q3_K_M", metadata, joined), "attn_qkv", "Q5_K") == [0, 1]


@pytest.mark.parametrize(
    ("name", "shape", "quantized"),
    [
        ("blk.0.ffn_gate_inp_shexp.weight", (4096, 1), False),  # a vector, however it is written
        ("blk.0.ffn_gate_inp_shexp.weight", (4096, 2), True),
        ("blk.0.time_mix_key.weight", (4096, 4096), True),
        ("blk.0.time_mix_decay_w1.weight", (4096, 64), False),
        ("position_embd.weight", (4096, 1024), False),
        ("blk.0.ssm_conv1d.weight", (4096, 4), False),
        ("blk.0.attn_q.bias", (4096, 2), False),
    ],
)
def test_what_is_a_matrix(name: str, shape: tuple[int, ...], quantized: bool) -> None:
    assert is_matrix(TensorInfo(name, shape, T.F16, 0, 0)) == quantized


def test_rows_that_do_not_fit() -> None:
    of = model(4, width=4096 + 32)
    found = {
        name: chosen(name, *of)["blk.2.ffn_up.weight"]
        for name in ("Q2_K", "Q3_K_S", "IQ4_XS", "Q4_K_S", "Q5_K_S", "Q6_K")
    }
    assert found == {
        "Q2_K": "Q4_0", "Q3_K_S": "Q4_0", "IQ4_XS": "IQ4_NL", "Q4_K_S": "Q5_0", "Q5_K_S": "Q5_1", "Q6_K": "Q8_0",
    }  # fmt: skip
    assert chosen("Q4_K_M", *of)["output.weight"] == "Q8_0"
    of = model(4, width=4096 + 16)
    assert {chosen(name, *of)["blk.2.ffn_up.weight"] for name in ("Q4_0", "Q4_K_M", "IQ4_NL", "Q8_0")} == {"F16"}
    told = [c for c in plan(*of, find_mix("Q4_K_M")) if c.fell_back]
    assert len(told) == 2 + 4 * 7 and {c.wanted for c in told} == {T.Q4_K, T.Q6_K}


def test_pure_and_rules() -> None:
    assert set(chosen("Q4_K_M", *model(4), pure=True).values()) == {"Q4_K", "F32", "F16"}
    rules = [parse_rule(r"ffn_down\.weight=q8_0"), parse_rule("blk.[01].attn_q=F16"), parse_rule("ffn=iq4_nl")]
    types = chosen("Q4_K_M", *model(4), rules=rules)
    assert types["blk.3.ffn_down.weight"] == "Q8_0"  # the first that fits
    assert types["blk.1.attn_q.weight"] == "F16" and types["blk.2.attn_q.weight"] == "Q4_K"
    assert types["blk.2.ffn_up.weight"] == "IQ4_NL"
    assert types["blk.2.ffn_gate_inp.weight"] == "F16"  # is no matrix to be quantized
    with pytest.raises(UsageError, match="No matrix has a name"):
        chosen("Q4_K_M", *model(4), rules=[Rule(re.compile("fnn_down"), T.Q8_0)])


@pytest.mark.parametrize("text", ["", "=q8_0", "ffn", "ffn=", "ffn=q9_9", "ffn=iq2_xxs", "(=q8_0"])
def test_rules_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rule(text)


def test_names() -> None:
    assert find_mix("q4_k") is find_mix("Q4_K_M") is MIXES["Q4_K_M"]
    with pytest.raises(UsageError) as refused:
        find_mix("Q4_K_XL")
    assert refused.value.remedy and "Q4_K_M" in refused.value.remedy
