"""The native tokenizers against the libraries that the models were trained with: sentencepiece, and Hugging Face's
`tokenizers` where it is installed."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).parent)]

from hard_texts import every_category, random_texts  # noqa: E402
from native_build import program  # noqa: E402

from pocketllama import gguf  # noqa: E402
from pocketllama.convert.sentencepiece_model import _fields, read_sentencepiece  # noqa: E402
from pocketllama.gguf import ArrayOf, ValueType  # noqa: E402

REPO = Path(__file__).parents[3]
NATIVE_SOURCES = REPO / "native" / "src"
SHARED = REPO.parent / "shared" / "data"
TALES = SHARED / "tales" / "tokenizer.model"


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


def write(file: Path, tokens: list[str], types: list[int], **values: Any) -> Path:
    """A GGUF file with nothing but this vocabulary; `values` are more keys of tokenizer.ggml."""
    kinds = {bool: ValueType.BOOL, int: ValueType.UINT32, str: ValueType.STRING}
    metadata: dict[str, Any] = {
        "general.architecture": (ValueType.STRING, "llama"),
        "tokenizer.ggml.tokens": (ArrayOf(ValueType.STRING), tokens),
        "tokenizer.ggml.token_type": (ArrayOf(ValueType.INT32), types),
    }
    for key, value in values.items():
        if isinstance(value, bytes):
            kind: Any = ArrayOf(ValueType.UINT8)
        else:
            kind = ArrayOf(ValueType.FLOAT32) if isinstance(value, list) else kinds[type(value)]
        metadata["tokenizer.ggml." + key] = (kind, value)
    with gguf.Writer(file, metadata, []):
        pass
    return file


@pytest.mark.skipif(not TALES.exists(), reason="needs ../shared/data/tales")
def test_agrees_with_sentencepiece(check: Path, tmp_path: Path) -> None:
    import sentencepiece

    vocab = read_sentencepiece(TALES)
    file = write(
        tmp_path / "tales.gguf",
        vocab.tokens,
        [int(t) for t in vocab.types],
        model="llama",
        scores=vocab.scores,
        bos_token_id=vocab.bos,
        add_space_prefix=vocab.add_space_prefix,
    )
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


# Of each: sentencepiece's options. T5 and XLM-R are unigram models with nmt_nfkc, Llama 2 is bpe with identity, bytes
# and all spaces kept, Gemma has no dummy prefix either.
SENTENCEPIECE = {
    "unigram": {"model_type": "unigram"},
    "unigram-bytes": {"model_type": "unigram", "byte_fallback": True, "normalization_rule_name": "identity"},
    "unigram-spaces": {"model_type": "unigram", "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "unigram-folded": {"model_type": "unigram", "normalization_rule_name": "nfkc_cf"},
    "bpe": {"model_type": "bpe"},
    "bpe-bytes": {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
    "bpe-spaces": {"model_type": "bpe", "remove_extra_whitespaces": False, "add_dummy_prefix": False},
    "bpe-folded": {"model_type": "bpe", "normalization_rule_name": "nfkc_cf", "split_digits": True},
}


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_agrees_with_a_model_that_sentencepiece_trains(check: Path, tmp_path: Path, kind: str) -> None:
    import sentencepiece

    options = SENTENCEPIECE[kind]
    lines = (REPO / "ARCHITECTURE.md").read_text(encoding="utf-8").split("\n") + random_texts(200, seed=1)
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line.replace("\0", "") for line in lines), model_writer=trained, vocab_size=700,
        hard_vocab_limit=False, character_coverage=0.98, minloglevel=2, num_threads=1, **options,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    n = model.vocab_size()
    normalizer = dict(_fields(dict(_fields(trained.getvalue()))[3]))
    file = write(
        tmp_path / "trained.gguf",
        [model.id_to_piece(i) for i in range(n)],
        [6 if model.is_byte(i) else 2 if model.is_unknown(i) else 3 if model.is_control(i) else 1 for i in range(n)],
        model="t5" if options["model_type"] == "unigram" else "llama",
        scores=[model.get_score(i) for i in range(n)],
        unknown_token_id=model.unk_id(),
        eos_token_id=model.eos_id(),
        precompiled_charsmap=normalizer.get(2, b""),
        add_space_prefix=bool(normalizer.get(3, 1)),
        remove_extra_whitespaces=bool(normalizer.get(4, 1)),
    )
    texts = [*random_texts(1500, seed=2), *every_category(5), "  a  b ", " \u2581 a\u2581", "\u2581"]
    for text, (ids, back) in zip(texts, encode(check, file, texts), strict=True):
        assert ids == model.encode(text), text
        # sentencepiece writes unknown characters as ⁇, and drops every space at the beginning.
        if model.unk_id() not in ids and "\u2581" not in text:
            assert back.decode(errors="replace") == model.decode(ids), text


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


@pytest.mark.parametrize("lowercase", [True, False])
def test_agrees_with_bert(check: Path, tmp_path: Path, lowercase: bool) -> None:
    reference = pytest.importorskip("tokenizer_reference", reason="`tokenizers` is not installed")
    texts = [
        *every_category(),
        "Hello, don't naïve HELLO",
        "中文 hello中文ひら",
        "a\u0301\u0323b İ ẞ ß",
        "[MASK]x [UNK]",
    ]
    texts += ["", " ", "x" * 101 + " " + "x" * 100]
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = sorted({c for text in texts for c in text if c.isalnum() or c in ".,!?'"})[::2]
    words = [*specials, *letters, *("##" + c for c in letters), "hello", "##llo", "don", "nai", "##ve", "中文"]
    model = reference.bert(words, lowercase)
    tokens = [w if w in specials else w[2:] if w.startswith("##") else "\u2581" + w for w in words]
    file = write(
        tmp_path / "bert.gguf",
        tokens,
        [3 if w in specials else 1 for w in words],
        model="bert",
        unknown_token_id=1,
        cls_token_id=2,
        bos_token_id=2,
        **{"normalizer.lowercase": lowercase, "normalizer.strip_accents": lowercase},
    )
    for text, (ids, _) in zip(texts, encode(check, file, texts), strict=True):
        assert ids == model.encode(text, add_special_tokens=False).ids, text


def test_an_unknown_pre_tokenizer_is_named(check: Path) -> None:
    file = SHARED / "vocab" / "ggml-vocab-gpt-2.gguf"
    if not file.exists():
        pytest.skip("needs ../shared/data/vocab")
    ran = subprocess.run([check, file, "gpt-9"], input=b"", capture_output=True, timeout=60)
    assert ran.returncode == 1 and b"error 5" in ran.stderr and b"'gpt-9'" in ran.stderr and b"llama-bpe" in ran.stderr
