"""The files of 2023: each version's blocks hold the same weights in GGUF, and unquantized ones the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ggmlfiles import F16, F32, MAGICS, Q4_0, Q4_1, Q4_2, Q5_0, Q5_1, Q8_0, blocks, file, tokens
from llamas import tensors
from machine import has_avx2

from pocketllama import gguf
from pocketllama.cli import convert as command
from pocketllama.convert import convert, plan
from pocketllama.errors import ModelInvalid, UsageError
from pocketllama.gguf import GGMLType

VERSIONS = [("ggml", 0), ("ggmf", 1), ("ggjt", 1), ("ggjt", 2), ("ggjt", 3)]
N_VOCAB, DIM, LAYERS = 272, 64, 2
NUMBERS = (N_VOCAB, DIM, 32, 4, LAYERS, 16, 1)
WEIGHTS = tensors(n_vocab=N_VOCAB, dim=DIM, kv=DIM, ffn=128)


def plain(weights: dict[str, Any]) -> dict[str, Any]:
    """As converters of the time wrote them: norms in float32."""
    return {
        name: (F32, w.shape, w.astype(np.float32).tobytes()) if w.ndim == 1 else (F16, w.shape, w.tobytes())
        for name, w in weights.items()
    }


def random_blocks(kind: int, n: int) -> dict[str, Any]:
    """Blocks whose scales float16 has too."""
    rng = np.random.default_rng(kind)
    high = {Q4_0: 16, Q4_1: 16, Q5_0: 32, Q5_1: 32, Q8_0: 128}[kind]
    q = rng.integers(-127 if kind == Q8_0 else 0, high, (n, 32))
    d, m = rng.standard_normal(n).astype(np.float16), rng.standard_normal(n).astype(np.float16)
    return {"d": d, "m": m, "q": q}


def quantized(kind: int, version: int) -> dict[str, Any]:
    """All matrices in blocks."""
    out = plain(WEIGHTS)
    for name, w in WEIGHTS.items():
        if w.ndim == 2:
            out[name] = (kind, w.shape, blocks(kind, version, random_blocks(kind, w.size // 32)))
    return out


def write(path: Path, magic: str, version: int, content: dict[str, Any], numbers: tuple[int, ...] = NUMBERS) -> Path:
    path.write_bytes(file(magic, version, numbers, tokens(N_VOCAB), content))
    return path


@pytest.mark.parametrize(("magic", "version"), VERSIONS)
def test_unquantized_files(magic: str, version: int, tmp_path: Path) -> None:
    source = write(tmp_path / "model.bin", magic, version, plain(WEIGHTS))
    out = convert(source, tmp_path)
    assert out.name == "model-f16.gguf"
    with gguf.read(out) as f:
        m = dict(f.metadata)
        stored = {t.name: t for t in f.tensors}
        assert len(stored) == len(WEIGHTS)
        for theirs, ours in (("tok_embeddings", "token_embd"), ("layers.1.feed_forward.w2", "blk.1.ffn_down")):
            t = stored[f"{ours}.weight"]
            assert t.type == GGMLType.F16 and bytes(f.tensor_bytes(t)) == WEIGHTS[f"{theirs}.weight"].tobytes()
    assert m["llama.context_length"] == 2048
    assert m["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(5e-6 if version == 3 else 1e-6)
    assert m["tokenizer.ggml.tokens"][:4] == ["<unk>", "<s>", "</s>", "<0x00>"]
    assert m["tokenizer.ggml.tokens"][259:261] == ["▁t0", "▁t1"]
    assert m["tokenizer.ggml.token_type"][:4] == [2, 3, 3, 6] and m["tokenizer.ggml.token_type"][300 - 40 :][0] == 1
    assert m["tokenizer.ggml.scores"][259:262] == [0.0, -1.0, -2.0]


@pytest.mark.parametrize("kind", [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0])
@pytest.mark.parametrize(("magic", "version"), VERSIONS)
def test_blocks_stay_as_they_are(magic: str, version: int, kind: int, tmp_path: Path) -> None:
    """What each version's blocks hold is what today's hold."""
    source = write(tmp_path / "model.bin", magic, version, quantized(kind, version))
    notes: list[str] = []
    out = convert(source, tmp_path, note=notes.append)
    assert out.name == f"model-{GGMLType(kind).name.lower()}.gguf"
    with gguf.read(out) as f:
        assert gguf.FileType(f.metadata["general.file_type"]).name == GGMLType(kind).name
        for t in f.tensors:
            if len(t.shape) == 2:
                n = t.shape[0] * t.shape[1] // 32
                assert t.type == kind and bytes(f.tensor_bytes(t)) == blocks(kind, 3, random_blocks(kind, n)), t.name
    rounds = version < 3 and kind in (Q4_0, Q4_1, Q8_0)
    assert any("rounded from float32 to float16" in note for note in notes) == rounds


def test_a_scale_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    content = quantized(Q4_0, 2)
    parts = random_blocks(Q4_0, DIM * DIM // 32)
    parts["d"] = np.random.default_rng(1).standard_normal(len(parts["d"])).astype(np.float32)
    content["layers.0.attention.wo.weight"] = (Q4_0, (DIM, DIM), blocks(Q4_0, 2, parts))
    with gguf.read(convert(write(tmp_path / "m.bin", "ggjt", 2, content), tmp_path)) as f:
        t = next(t for t in f.tensors if t.name == "blk.0.attn_output.weight")
        found = np.frombuffer(f.tensor_bytes(t), np.uint8).reshape(-1, 18)[:, :2].copy().view(np.float16)[:, 0]
    assert np.abs(found / parts["d"] - 1).max() <= 2**-11
    parts["d"][7] = 1e6
    content["layers.0.attention.wo.weight"] = (Q4_0, (DIM, DIM), blocks(Q4_0, 2, parts))
    with pytest.raises(ModelInvalid, match="too large for float16"):
        convert(write(tmp_path / "m.bin", "ggjt", 2, content), tmp_path)


@pytest.mark.parametrize("kind", [F16, Q4_0])
def test_a_model_in_two_parts(kind: int, tmp_path: Path) -> None:
    """As those of 13 B were: NAME and NAME.1."""
    content = plain(WEIGHTS) if kind == F16 else quantized(kind, 1)
    whole = convert(write(tmp_path / "whole.bin", "ggmf", 1, content), tmp_path / "whole.gguf")
    for i in range(2):
        part = {}
        for name, (t, shape, data) in content.items():
            rows = np.frombuffer(data, np.uint8).reshape(shape[0], -1)
            last = name.split(".")[-2]
            if len(shape) == 1:
                part[name] = t, shape, data
            elif last in ("wo", "w2", "tok_embeddings"):
                part[name] = t, (shape[0], shape[1] // 2), np.split(rows, 2, 1)[i].tobytes()
            else:
                part[name] = t, (shape[0] // 2, shape[1]), np.split(rows, 2, 0)[i].tobytes()
        write(tmp_path / ("m.bin" if i == 0 else "m.bin.1"), "ggmf", 1, part)
    out = convert(tmp_path / "m.bin", tmp_path / "out.gguf")
    with gguf.read(out) as a, gguf.read(whole) as b:
        assert [bytes(a.tensor_bytes(t)) for t in a.tensors] == [bytes(b.tensor_bytes(t)) for t in b.tensors]


def test_heads_that_share_keys_are_llama_2s(tmp_path: Path) -> None:
    content = plain(tensors(n_vocab=N_VOCAB, dim=DIM, kv=DIM // 2))
    with gguf.read(convert(write(tmp_path / "m.bin", "ggjt", 3, content), tmp_path)) as f:
        assert f.metadata["llama.attention.head_count_kv"] == 2
        assert f.metadata["llama.context_length"] == 4096
        assert f.metadata["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)


def test_a_type_for_what_is_in_blocks_already(tmp_path: Path) -> None:
    source = write(tmp_path / "m.bin", "ggjt", 3, quantized(Q4_0, 3))
    with pytest.raises(UsageError, match="in blocks of Q4_0 already"):
        convert(source, tmp_path, type="q8_0")
    assert plan(source, tmp_path, type="q4_0").path == tmp_path / "m-q4_0.gguf"
    convert(write(tmp_path / "f.bin", "ggmf", 1, plain(WEIGHTS)), tmp_path, type="q8_0")


def test_what_cannot_be_kept(tmp_path: Path) -> None:
    content = plain(WEIGHTS)
    content["output.weight"] = (Q4_2, (N_VOCAB, DIM), bytes(N_VOCAB * DIM // 16 * 10))
    with pytest.raises(UsageError, match="blocks of Q4_2, which was given up"):
        convert(write(tmp_path / "m.bin", "ggjt", 1, content))
    with pytest.raises(ModelInvalid, match="type 4, which its version had not"):
        convert(write(tmp_path / "m.bin", "ggjt", 3, content))
    other = {name.replace("layers.", "transformer.h."): t for name, t in plain(WEIGHTS).items()}
    with pytest.raises(ModelInvalid, match=r"transformer\.h\.0.*no part of LLaMA"):
        convert(write(tmp_path / "m.bin", "ggml", 0, other))
    source = tmp_path / "m.bin"
    source.write_bytes(file("ggml", 0, NUMBERS, [(f"t{i}".encode(), 0.0) for i in range(N_VOCAB)], plain(WEIGHTS)))
    with pytest.raises(UsageError, match="another vocabulary than LLaMA's"):
        convert(source)
    with pytest.raises(UsageError, match="rounded already"):
        convert(source, lora=[tmp_path])


def test_every_cut_is_refused(tmp_path: Path) -> None:
    data = file("ggjt", 3, NUMBERS, tokens(N_VOCAB), quantized(Q4_0, 3))
    source = tmp_path / "m.bin"
    header = 4 + 4 + 28
    for n in [*range(4, header + 40), *range(header + 40, len(data), 997)]:
        source.write_bytes(data[:n])
        with pytest.raises((ModelInvalid, UsageError)):
            plan(source, tmp_path)


def test_flipped_bytes_are_refused_or_read(tmp_path: Path) -> None:
    data = bytearray(file("ggmf", 1, NUMBERS, tokens(N_VOCAB), plain(WEIGHTS)))
    rng, source = np.random.default_rng(5), tmp_path / "m.bin"
    for _ in range(300):
        flipped = bytearray(data)
        flipped[int(rng.integers(4, 5000))] ^= 1 << int(rng.integers(8))
        source.write_bytes(flipped)
        try:
            plan(source, tmp_path)
        except (ModelInvalid, UsageError):
            pass


def test_versions_that_never_were(tmp_path: Path) -> None:
    source = tmp_path / "m.bin"
    for magic, version in (("ggjt", 4), ("ggmf", 2), ("ggjt", 0)):
        source.write_bytes(MAGICS[magic].to_bytes(4, "little") + version.to_bytes(4, "little") + bytes(100))
        with pytest.raises(ModelInvalid, match=f"{magic} {version}, which is unknown"):
            convert(source)


def test_a_folder_with_one_of_them(tmp_path: Path) -> None:
    source = tmp_path / "alpaca"
    source.mkdir()
    write(source / "ggml-alpaca-7b-q4.bin", "ggml", 0, quantized(Q4_0, 0))
    assert convert(source, tmp_path).name == "ggml-alpaca-7b-q4-q4_0.gguf"
    for i in range(6):
        write(source / f"z{i}.bin", "ggml", 0, quantized(Q4_0, 0))
    with pytest.raises(UsageError, match=r"several GGML files .*z3\.bin and 2 more"):
        convert(source, tmp_path)


def test_a_name_that_says_the_type_already(tmp_path: Path) -> None:
    source = tmp_path / "ggml-model-q4_0.bin"
    write(source, "ggjt", 3, quantized(Q4_0, 3))
    assert plan(source).path == Path("ggml-model-q4_0.gguf")
    assert plan(source, type="q4_0").path == Path("ggml-model-q4_0.gguf")


def test_the_command_keeps_blocks_that_are_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.bin", "ggjt", 3, quantized(Q4_0, 3))
    for kind in ("q4_0", "Q4_0"):
        command.convert("m.bin", type=kind)
        assert capfd.readouterr().out == "m-q4_0.gguf\n"
    with pytest.raises(UsageError, match="in blocks of Q4_0 already"):
        command.convert("m.bin", type="q4_k_m")


def test_one_that_is_cut_in_its_vocabulary(tmp_path: Path) -> None:
    source = tmp_path / "m.bin"
    write(source, "ggjt", 3, quantized(Q4_0, 3))
    source.write_bytes(source.read_bytes()[:100])
    with pytest.raises(ModelInvalid, match="has 100 bytes, which cannot hold a vocabulary"):
        convert(source)


@pytest.mark.skipif(not has_avx2(), reason="ctransformers' avx2 library runs on x86-64 with AVX2")
@pytest.mark.parametrize(
    ("magic", "version", "quantize"), [("ggmf", 1, False), ("ggjt", 2, False), ("ggjt", 3, False), ("ggjt", 3, True)]
)
def test_a_reader_of_the_time_computes_the_same(magic: str, version: int, quantize: bool, tmp_path: Path) -> None:
    """ctransformers' library reads both the file and what it becomes. It has 5e-6 for every file's epsilon, and reads
    no blocks of before ggjt 3."""
    from ctransformers import LLM

    weights = tensors(n_vocab=N_VOCAB, dim=256, kv=256, ffn=768)  # a width that n_mult gives
    content = plain({name: w * np.float16(0.2) if w.ndim == 2 else w for name, w in weights.items()})
    if quantize:
        for name, w in weights.items():
            if w.ndim == 2:
                parts = random_blocks(Q4_0, w.size // 32)
                parts["d"] = parts["d"] * np.float16(0.03)
                content[name] = (Q4_0, w.shape, blocks(Q4_0, 3, parts))
    source = write(tmp_path / "m.bin", magic, version, content, (N_VOCAB, 256, 256, 4, LAYERS, 64, F16))
    logits = []
    for path in (source, convert(source, tmp_path)):
        llm = LLM(str(path), model_type="llama", lib="avx2")
        llm.eval([1, 261, 270, 265, 268])
        logits.append(np.array(llm.logits))
    difference = np.linalg.norm(logits[0] - logits[1]) / np.linalg.norm(logits[0])
    assert difference < (1e-6 if version == 3 else 3e-3)
