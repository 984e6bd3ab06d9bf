"""`Tokenizer`: text to token ids and back from a GGUF file alone, also from one that holds nothing but a vocabulary."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ..errors import ModelNotFound
from . import native
from .options import check_text, check_tokens
from .own import Own


class Tokenizer:
    """The tokenizer of the GGUF file at `path`. Needs our own library (`pocketllama build`). Safe from several threads.

    >>> Tokenizer("model.gguf").encode("Hello")
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        if not path.is_file():
            raise ModelNotFound(f"There is no file at {path}.")
        library = native.load(native.Library(native.require_own(), "native", ""))
        self._own = Own(library, path, 0, vocab_only=True)
        self._lock = threading.Lock()

    def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]:
        """The token ids of `text`. `bos`: with the beginning-of-sequence token; `special`: the names of control tokens
        in the text stand for them, which text from outside must never be given."""
        raw = check_text("text", text).encode()
        with self._lock:
            return self._own.tokenize(raw, bos, special)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text whose tokens these are; undoes `encode`. What is no UTF-8 becomes U+FFFD."""
        ids = check_tokens(tokens, self._own.vocab_size)
        with self._lock:
            return self._own.decode(ids).decode(errors="replace")

    @property
    def vocab_size(self) -> int:
        """The number of tokens."""
        return self._own.vocab_size

    @property
    def bos_token_id(self) -> int | None:
        """The beginning-of-sequence token."""
        return self._own.vocab.bos

    @property
    def end_token_ids(self) -> frozenset[int]:
        """Every token that ends a generation."""
        return self._own.vocab.ends

    def close(self) -> None:
        """Free the vocabulary. Closing twice is fine."""
        with self._lock:
            self._own.close()

    def __enter__(self) -> Tokenizer:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lock"):
            self.close()
