"""Every architecture against Hugging Face transformers, and against itself: in whatever pieces a text comes, alone or
in company, on one thread or two, the logits are the same."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from .cases import CASES
from .library import Library, Model, NativeError
from .models import F32, N_PROMPT, N_VOCAB, Case, write
from .parts import HEAD

F32_CACHE = 1e-4  # relative RMS
F16_CACHE = 2e-3
# Rounding errs by a step / sqrt(12). With 127 steps to the largest of 32, which is about twice their RMS, that is 25
# times what F16's 11 bits err on the average.
Q8_0_CACHE = 25 * F16_CACHE
SEEN = 1e-5  # from here on a difference is none of rounding
UNEVEN = (1, 7, 2, 33, 5, 24)

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def away(found: F32, expected: F32) -> float:
    """Relative RMS."""
    assert found.shape == expected.shape and np.isfinite(found).all()
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def load(library: Library, files: dict[str, Path], case: Case, **options: int | str) -> Model:
    return library.load(files[case.name], n_ctx=case.n_ctx, **options)  # type: ignore[arg-type]


def takes_q8_0(case: Case) -> bool:
    """Whether its heads are whole blocks."""
    return all(case.metadata.get(f"attention.{what}_length", HEAD) % 32 == 0 for what in ("key", "value"))


def test_every_architecture_has_a_case(library: Library, goldens: dict[str, F32]) -> None:
    assert {case.arch for case in CASES.values()} == set(library.architectures())
    assert set(goldens) == set(CASES)
    assert all(golden.shape == (N_PROMPT, N_VOCAB) for golden in goldens.values())


def test_every_architecture_is_in_the_readme(library: Library) -> None:
    readme = (Path(__file__).resolve().parents[2] / "native" / "README.md").read_text("utf-8")
    listed = readme.partition("What it runs")[2].partition("##")[0]
    assert set(library.architectures()) <= set(re.findall(r"[a-z][a-z0-9_-]+", listed))


@every_case
def test_logits_are_those_of_transformers(
    library: Library, files: dict[str, Path], goldens: dict[str, F32], case: Case
) -> None:
    golden, prompt = goldens[case.name], case.prompt()
    with load(library, files, case) as model:
        whole = model.score(prompt)
        decoded = model.chunks(prompt, [1] * N_PROMPT)
    assert away(whole, golden) <= F32_CACHE
    assert away(decoded, golden) <= F32_CACHE
    # The first and the last token by themselves: an error there would drown in the others.
    assert away(whole[0], golden[0]) <= F32_CACHE and away(whole[-1], golden[-1]) <= F32_CACHE
    with load(library, files, case, kv="f16") as model:
        assert away(model.score(prompt), golden) <= F16_CACHE
        assert away(model.chunks(prompt, [1] * N_PROMPT), golden) <= F16_CACHE


@every_case
def test_a_cache_of_q8_0_is_as_exact_as_its_steps(
    library: Library, files: dict[str, Path], goldens: dict[str, F32], case: Case
) -> None:
    if not takes_q8_0(case):
        with pytest.raises(NativeError, match="whole blocks of 32") as refused:
            load(library, files, case, kv="q8_0")
        assert refused.value.kind == -2
        return
    golden = goldens[case.name]
    with load(library, files, case, kv="q8_0") as model:
        found = model.score(case.prompt())
    assert np.isfinite(found).all()
    rows = np.linalg.norm(found - golden, axis=1) / np.linalg.norm(golden, axis=1)
    # A token may go to another expert for a difference of nothing, and is far away then.
    assert (np.median(rows) if "expert_count" in case.metadata else rows.max()) <= Q8_0_CACHE
    assert rows.max() > F32_CACHE  # it is quantized


@every_case
@pytest.mark.parametrize("kv", ["f32", "f16", "q8_0"])
def test_pieces_company_and_threads_change_no_bit(
    library: Library, files: dict[str, Path], case: Case, kv: str
) -> None:
    if kv == "q8_0" and not takes_q8_0(case):
        return  # refused: see above
    a, b = case.prompt(), case.prompt()[::-1].copy()
    with load(library, files, case, kv=kv, n_seqs=3) as model:
        alone, alone_b = model.score(a), model.score(b)
        assert np.array_equal(model.chunks(a, [1] * N_PROMPT), alone)
        assert np.array_equal(model.chunks(a, UNEVEN), alone)
        # Both texts in one batch, the tokens of one between those of the other, in other places of the cache.
        pairs = [(int(t), seq, i) for i in range(N_PROMPT) for seq, t in ((2, a[i]), (1, b[i]))]
        both = model.eval(pairs)
        assert np.array_equal(both[::2], alone) and np.array_equal(both[1::2], alone_b)
        # Going back replaces what was there.
        model.chunks(b, [N_PROMPT], seq=2)
        again = model.eval([(int(t), 2, i) for i, t in enumerate(a)])
        assert np.array_equal(again, alone)
        model.set_threads(2)
        assert np.array_equal(model.score(a), alone)


@every_case
def test_a_shifted_context(library: Library, case: Case, tmp_path: Path) -> None:
    """With one layer's attention alone, keys and values depend on their own token only: then what was shifted is what
    is computed anew. So every layer's way to turn is seen, and every type of the cache."""
    keep, discard, new = 3, 20, 5
    prompt = case.prompt()
    rest = np.concatenate([prompt[:keep], prompt[keep + discard :]])
    kinds = {"f32": F32_CACHE, "f16": F16_CACHE} | ({"q8_0": Q8_0_CACHE} if takes_q8_0(case) else {})
    outputs = [f"blk.{i}.attn_output.weight" for i in range(case.n_layers)]
    for i in range(min(case.n_layers, 6)):  # the kinds of layers take turns, in six at most
        tensors = {n: t * 0 if n in outputs and n != outputs[i] else t for n, t in case.tensors().items()}
        path = write(tmp_path / "one.gguf", case.arch, case.metadata, tensors)
        for kv, tolerance in kinds.items():
            with library.load(path, n_ctx=case.n_ctx, n_seqs=2, kv=kv) as model:
                fresh = model.score(rest)[-new:]
                model.chunks(prompt[:-new], [N_PROMPT - new], seq=1)
                if "position_embd.weight" in tensors or case.arch == "hunyuan-dense":
                    with pytest.raises(NativeError, match=r"what each position is|behind their rotation") as refused:
                        model.shift(1, keep, 0)
                    assert refused.value.kind == -5
                    continue
                model.shift(1, keep, discard)
                at = len(rest) - new
                shifted = model.eval([(int(t), 1, at + j) for j, t in enumerate(rest[at:])])
                assert away(shifted, fresh) <= tolerance, (i, kv)


@every_case
def test_every_tensor_is_used(library: Library, goldens: dict[str, F32], case: Case, tmp_path: Path) -> None:
    """Without one the file does not load, or gives other logits; one too many is not passed over."""
    tensors = case.tensors()
    for name in [n for n in tensors if n.startswith("blk.1.") or not n.startswith("blk.")]:
        rest = {n: t for n, t in tensors.items() if n != name}
        path = write(tmp_path / "less.gguf", case.arch, case.metadata, rest)
        # It is named, or what is of no use without it: a bias, the other of two norms.
        named = "blk.1." if name.startswith("blk.1.") else name.partition(".")[0]
        difference = trial(library, path, goldens[case.name], case, named)
        assert difference > SEEN, (name, difference)
    more = tensors | {"blk.0.more.weight": tensors["token_embd.weight"]}
    path = write(tmp_path / "more.gguf", case.arch, case.metadata, more)
    assert trial(library, path, goldens[case.name], case, "blk.0.more.weight") == np.inf


@every_case
def test_every_key_is_read(library: Library, goldens: dict[str, F32], case: Case, tmp_path: Path) -> None:
    """Of two wrong values one at least is an error, or gives other logits: so the goldens see every key."""
    moe = "expert_feed_forward_length" in case.metadata  # where no layer has a width of the other kind
    for key, value in case.metadata.items():
        if key == "context_length" or (key == "feed_forward_length" and moe):
            continue
        worst = 0.0
        for wrong in others(value):
            path = write(tmp_path / "key.gguf", case.arch, case.metadata | {key: wrong}, case.tensors())
            worst = max(worst, trial(library, path, goldens[case.name], case, ""))
        assert worst > SEEN, (key, worst)


def changed(tmp_path: Path, case: Case, **metadata: object) -> Path:
    """The case's file with other metadata; __ stands for a dot."""
    more = {key.replace("__", "."): value for key, value in metadata.items()}
    return write(tmp_path / "changed.gguf", case.arch, case.metadata | more, case.tensors())


def test_sizes_may_be_given_for_each_layer(library: Library, goldens: dict[str, F32], tmp_path: Path) -> None:
    case = CASES["llama"]
    n = case.n_layers
    for key in ("attention__head_count", "attention__head_count_kv", "feed_forward_length"):
        value = case.metadata[key.replace("__", ".")]
        assert trial(library, changed(tmp_path, case, **{key: [value] * n}), goldens["llama"], case, "") <= F32_CACHE
        uneven = changed(tmp_path, case, **{key: [value] * (n - 1) + [value // 2]})
        with pytest.raises(NativeError, match="differs from layer to layer") as refused:
            library.load(uneven)
        assert refused.value.kind == -5


def test_the_old_key_of_linear_scaling_is_read(library: Library, goldens: dict[str, F32], tmp_path: Path) -> None:
    case = CASES["llama-linear-rope"]
    metadata = {key: value for key, value in case.metadata.items() if "scaling" not in key} | {"rope.scale_linear": 4.0}
    path = write(tmp_path / "old.gguf", case.arch, metadata, case.tensors())
    assert trial(library, path, goldens[case.name], case, "") <= F32_CACHE


def test_windows_may_be_given_for_each_layer(library: Library, goldens: dict[str, F32], tmp_path: Path) -> None:
    case = CASES["gemma3"]
    pattern = "attention__sliding_window_pattern"
    slides = [i % 6 != 5 for i in range(case.n_layers)]
    assert trial(library, changed(tmp_path, case, **{pattern: slides}), goldens["gemma3"], case, "") <= F32_CACHE
    with pytest.raises(NativeError, match="sliding_window_pattern has 6 entries for 7 layers"):
        library.load(changed(tmp_path, case, **{pattern: slides[1:]}))


def test_a_scale_that_the_file_says_is_taken(library: Library, goldens: dict[str, F32], tmp_path: Path) -> None:
    for name, scale in {"gemma2": 32**-0.5, "gemma2-27b": 0.25, "llama": 0.25}.items():
        case, golden = CASES[name], goldens[name]
        assert trial(library, changed(tmp_path, case, attention__scale=scale), golden, case, "") <= F32_CACHE
        assert trial(library, changed(tmp_path, case, attention__scale=2 * scale), golden, case, "") > SEEN


def test_a_model_that_looks_ahead_is_refused(library: Library, goldens: dict[str, F32], tmp_path: Path) -> None:
    case = CASES["qwen2"]
    assert trial(library, changed(tmp_path, case, attention__causal=True), goldens["qwen2"], case, "") <= F32_CACHE
    with pytest.raises(NativeError, match=r"qwen2\.attention\.causal is false") as refused:
        library.load(changed(tmp_path, case, attention__causal=False))
    assert refused.value.kind == -5


def test_what_an_architecture_needs_is_missed_by_name(library: Library, tmp_path: Path) -> None:
    """Also where a whole kind of tensors is not there."""
    for name, missing in {
        "qwen3": ("attn_q_norm", "attn_k_norm"),
        "olmo2": ("post_attention_norm",),
        "gemma2": ("post_ffw_norm",),
        "llama": ("ffn_gate",),
        "gpt-oss": ("attn_sinks",),
        "qwen2moe": ("ffn_gate_inp_shexp",),
        "granitemoe": ("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"),
        "phi3-longrope-long": ("rope_factors_short",),
    }.items():
        case = CASES[name]
        tensors = {n: t for n, t in case.tensors().items() if not any(f"{m}." in n for m in missing)}
        path = write(tmp_path / "less.gguf", case.arch, case.metadata, tensors)
        with pytest.raises(NativeError, match="has no tensor") as refused:
            library.load(path)
        assert refused.value.kind == -4 and any(m in str(refused.value) for m in missing), str(refused.value)


def trial(library: Library, path: Path, golden: F32, case: Case, named: str) -> float:
    """How far the file's logits are away; infinity if it is refused as PL_INVALID_MODEL or PL_UNSUPPORTED, by name."""
    try:
        with library.load(path, n_ctx=case.n_ctx) as model:
            return away(model.score(case.prompt()), golden)
    except NativeError as e:
        assert e.kind in (-4, -5) and named in str(e), (named, str(e))
        return float("inf")


def others(value: object) -> list[object]:
    if isinstance(value, list):
        return [[not x for x in value]]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value // 2, value * 4]
    if isinstance(value, float):
        return [value / 100, value * 100]
    return ["none"]
