from __future__ import annotations

import random
from pathlib import Path

import pytest
import sentencepiece
from llamas import BYTE, CONTROL, NORMAL, PIECES, UNKNOWN, field, sentencepiece_model

from pocketllama.convert.sentencepiece_model import read_sentencepiece
from pocketllama.convert.vocabulary import Vocabulary
from pocketllama.errors import ModelInvalid, ModelNotFound
from pocketllama.gguf import TokenType

TALES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "tales"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokenizer.model"


def read(file: Path, data: bytes) -> Vocabulary:
    file.write_bytes(data)
    return read_sentencepiece(file)


def test_reads_texts_scores_and_types(file: Path) -> None:
    v = read(file, sentencepiece_model())
    assert v.tokens == [p for p, _, _ in PIECES]
    assert v.scores == [s for _, s, _ in PIECES]
    assert [t.value for t in v.types] == [k for _, _, k in PIECES]
    assert {t.name for t in v.types} == {"NORMAL", "UNKNOWN", "CONTROL", "USER_DEFINED", "UNUSED", "BYTE"}
    assert (v.unk, v.bos, v.eos, v.add_space_prefix) == (0, 1, 2, True)


def test_special_ids_where_the_model_puts_them(file: Path) -> None:
    pieces = [("<s>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN), ("a", -1.0, NORMAL)]
    v = read(file, sentencepiece_model(pieces, trainer=field(40, 1) + field(41, 0) + field(42, -1)))
    assert (v.unk, v.bos, v.eos) == (1, 0, None)


def test_no_dummy_prefix(file: Path) -> None:
    assert not read(file, sentencepiece_model(normalizer=field(3, 0))).add_space_prefix


def test_piece_without_score_and_type_has_the_defaults(file: Path) -> None:
    v = read(file, field(1, field(1, b"plain")) + sentencepiece_model())
    assert (v.tokens[0], v.scores[0], v.types[0]) == ("plain", 0.0, TokenType.NORMAL)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "pointer of git-lfs"),
        (b"garbage" * 100, "sentencepiece refuses it"),
        (bytes(1000), "sentencepiece refuses it"),
        (sentencepiece_model()[:-3], "sentencepiece refuses it"),
        (sentencepiece_model()[:100], "sentencepiece refuses it"),
        (sentencepiece_model([("<s>", 0.0, CONTROL)]), "sentencepiece refuses it"),
        (sentencepiece_model([*PIECES, PIECES[0]]), "sentencepiece refuses it"),
        (sentencepiece_model([p for p in PIECES if p[2] != BYTE] + [("<0x4>", 0.0, BYTE)]), "sentencepiece refuses it"),
        (sentencepiece_model(model_type=1), "no BPE model (type 1)"),
        (sentencepiece_model(model_type=3), "no BPE model"),
        (sentencepiece_model([*PIECES, ("nan", float("nan"), NORMAL)]), "finite"),
        (sentencepiece_model([*PIECES, ("inf", float("inf"), NORMAL)]), "finite"),
        (sentencepiece_model([*PIECES, ("odd", 0.0, 70)]), "cannot be followed (a piece of type 70)"),
        (field(1, field(1, b"\xff")) + sentencepiece_model(), "cannot be followed"),
        (b"IQ== 0\nIg== 1\n", "tiktoken"),
    ],
)
def test_a_file_that_is_no_tokenizer(data: bytes, words: str, file: Path) -> None:
    with pytest.raises(ModelInvalid) as e:
        read(file, data)
    assert words in str(e.value) and "tokenizer.model" in str(e.value), str(e.value)
    assert ".cc(" not in str(e.value)  # which line of sentencepiece found it helps nobody


def test_a_file_that_is_too_long(file: Path) -> None:
    with file.open("wb") as f:
        f.truncate(65 << 20)
    with pytest.raises(ModelInvalid, match="at most"):
        read_sentencepiece(file)


def test_no_file(file: Path) -> None:
    with pytest.raises(ModelNotFound):
        read_sentencepiece(file)


@pytest.mark.parametrize("count", [1500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_corrupt_files_are_read_or_refused(count: int, file: Path) -> None:
    """Native code sees these bytes: it must neither crash nor raise what is not ours."""
    rng = random.Random(count)
    good = sentencepiece_model(PIECES[:3] + PIECES[-6:])
    refused = 0
    for _ in range(count):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 6))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        try:
            v = read(file, bytes(data))
            assert len(v.tokens) == len(v.scores) == len(v.types)
        except ModelInvalid:
            refused += 1
    assert count * 0.3 < refused < count


@pytest.mark.skipif(not TALES.exists(), reason="the tales checkpoint is not here")
def test_agrees_with_sentencepiece() -> None:
    v = read_sentencepiece(TALES / "tokenizer.model")
    sp = sentencepiece.SentencePieceProcessor(str(TALES / "tokenizer.model"))
    ids = list(range(sp.vocab_size()))
    assert v.tokens == sp.id_to_piece(ids)
    assert v.scores == sp.get_score(ids)
    assert [t == TokenType.CONTROL for t in v.types] == sp.is_control(ids)
    assert [t == TokenType.BYTE for t in v.types] == sp.is_byte(ids)
    assert [t == TokenType.UNKNOWN for t in v.types] == sp.is_unknown(ids)
    assert (v.unk, v.bos, v.eos) == (sp.unk_id(), sp.bos_id(), sp.eos_id())
