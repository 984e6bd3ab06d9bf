"""The native tokenizers against the libraries that the models were trained with: sentencepiece, and Hugging Face's
`tokenizers` where it is installed."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from hard_texts import random_texts  # noqa: E402
from native_build import program  # noqa: E402

from pocketllama import gguf  # noqa: E402
from pocketllama.convert.tokenizer import read_sentencepiece  # noqa: E402
from pocketllama.gguf import ArrayOf, ValueType  # noqa: E402

NATIVE_SOURCES = Path(__file__).parents[3] / "native" / "src"
SHARED = Path(__file__).parents[4] / "shared" / "data"
TALES = SHARED / "tales" / "tokenizer.model"

SPECIAL = 2


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [p for pattern in ("gguf*.cc", "unicode/*.cc", "tokenizer/*.cc") for p in NATIVE_SOURCES.glob(pattern)]
    names = [str(p.relative_to(NATIVE_SOURCES)) for p in sorted(sources)]
    return program("tokenizer_check", ["file.cc", "utf8_check.cc", *names], tmp_path_factory.mktemp("tokenizer_check"))


def encode(check: Path, file: Path, texts: list[str], *pre: str, flags: int = 0) -> list[tuple[list[int], bytes]]:
    """Of each text the ids, and the bytes that these decode to."""
    data = [text.encode() for text in texts]
    asked = b"".join(struct.pack("<II", flags, len(text)) + text for text in data)
    ran = subprocess.run([check, file, *pre], input=asked, capture_output=True, timeout=600)
    assert ran.returncode == 0, ran.stderr.decode()
    out, at = [], 0
    for _ in texts:
        (n,) = struct.unpack_from("<I", ran.stdout, at)
        ids = list(struct.unpack_from(f"<{n}i", ran.stdout, at + 4))
        at += 4 + 4 * n
        (n,) = struct.unpack_from("<I", ran.stdout, at)
        out.append((ids, ran.stdout[at + 4 : at + 4 + n]))
        at += 4 + n
    assert at == len(ran.stdout)
    return out


@pytest.mark.skipif(not TALES.exists(), reason="needs ../shared/data/tales")
def test_agrees_with_sentencepiece(check: Path, tmp_path: Path) -> None:
    import sentencepiece

    vocab = read_sentencepiece(TALES)
    file = tmp_path / "tales.gguf"
    key = "tokenizer.ggml."
    metadata = {
        "general.architecture": (ValueType.STRING, "llama"),
        key + "model": (ValueType.STRING, "llama"),
        key + "tokens": (ArrayOf(ValueType.STRING), vocab.tokens),
        key + "scores": (ArrayOf(ValueType.FLOAT32), vocab.scores),
        key + "token_type": (ArrayOf(ValueType.INT32), [int(t) for t in vocab.types]),
        key + "bos_token_id": (ValueType.UINT32, vocab.bos),
        key + "add_space_prefix": (ValueType.BOOL, vocab.add_space_prefix),
    }
    with gguf.Writer(file, metadata, []):
        pass
    model = sentencepiece.SentencePieceProcessor(model_file=str(TALES))
    texts = (SHARED / "tales" / "heldout.txt").read_text().split("\n")
    texts += [
        "  two  spaces ",
        "\n\n",
        "3 é 中文 🦙\u200d\ufe0f",
        "<s></s><unk><0x41>",
        "\x00\x01\t",
        "e\u0301\u0323",
        " ",
    ]
    for text, (ids, back) in zip(texts, encode(check, file, texts), strict=True):
        assert ids == model.encode(text), text
        assert back == text.encode()


def hugging_face_names() -> list[Any]:
    try:
        import tokenizer_reference
    except ImportError:
        return [pytest.param("gpt-2", marks=pytest.mark.skip("`tokenizers` is not installed"))]
    return list(tokenizer_reference.PRE_TOKENIZERS)


@pytest.mark.parametrize("pre", hugging_face_names())
def test_agrees_with_hugging_face(check: Path, pre: str) -> None:
    reference = pytest.importorskip("tokenizer_reference")
    file = SHARED / "vocab" / f"ggml-vocab-{pre if pre in ('gpt-2', 'qwen2') else 'llama-bpe'}.gguf"
    if not file.exists():
        pytest.skip("needs ../shared/data/vocab")
    with gguf.read(file) as source:
        tokens, types, merges = (source.metadata["tokenizer.ggml." + k] for k in ("tokens", "token_type", "merges"))
    model = reference.bpe(tokens, types, merges, pre, whole_words=pre in ("llama-bpe", "tekken"))
    texts = random_texts(2000, seed=len(pre))
    expected = model.encode_batch(texts, add_special_tokens=False)
    for text, e, (ids, back) in zip(texts, expected, encode(check, file, texts, pre), strict=True):
        assert ids == e.ids, text
        assert back == text.encode()


def test_an_unknown_pre_tokenizer_is_named(check: Path) -> None:
    file = SHARED / "vocab" / "ggml-vocab-gpt-2.gguf"
    if not file.exists():
        pytest.skip("needs ../shared/data/vocab")
    ran = subprocess.run([check, file, "gpt-9"], input=b"", capture_output=True, timeout=60)
    assert ran.returncode == 1 and b"error 5" in ran.stderr and b"'gpt-9'" in ran.stderr and b"llama-bpe" in ran.stderr
