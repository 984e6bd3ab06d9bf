"""Our tokenizer on the vocabularies that llama.cpp publishes, each with texts and the ids that its model's own
tokenizer gives them.

    POCKETLLAMA_LIB=LIBRARY python -m tests.native.check_vocabularies FOLDER

FOLDER is `models` in llama.cpp's source tree. Run it in the repository's root with py/ on PYTHONPATH.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pocketllama import Tokenizer, gguf

# What a text loses on its way through these is meant so: case, accents, spaces.
LOSSY = ("bert", "t5")


def wrong_texts(file: Path, texts: list[str]) -> list[str]:
    """The texts whose ids are not those expected, where somebody said what to expect, or that do not come back."""
    with gguf.read(file) as source:
        lossy = source.metadata["tokenizer.ggml.model"] in LOSSY
    expected = Path(f"{file}.out")
    with Tokenizer(file) as tokenizer:
        found = [tokenizer.encode(text) for text in texts]
        back = [lossy or tokenizer.decode(ids) == text for text, ids in zip(texts, found, strict=True)]
    if expected.exists():
        lines = expected.read_text("utf-8").split("\n")[: len(texts)]
        right = [ids == [int(i) for i in line.split()] for ids, line in zip(found, lines, strict=True)]
    else:
        right = [True] * len(texts)
    return [text for text, *good in zip(texts, right, back, strict=True) if not all(good)]


def main() -> int:
    files = sorted(Path(sys.argv[1]).glob("ggml-vocab-*.gguf"))
    wrong, usual = 0, texts_of(Path(sys.argv[1]) / "ggml-vocab-llama-bpe.gguf.inp")
    for file in files:
        given = Path(f"{file}.inp")
        bad = wrong_texts(file, texts_of(given) if given.exists() else usual)
        wrong += len(bad)
        print(f"{file.name:40} {'right' if not bad else f'wrong: {bad}'}", flush=True)
    print(f"{len(files)} vocabularies, {wrong} wrong texts")
    return int(wrong > 0 or len(files) < 15)


def texts_of(file: Path) -> list[str]:
    return file.read_bytes().decode().split("\n__ggml_vocab_test__\n")


if __name__ == "__main__":
    sys.exit(main())
