"""pocketllama: run language models on the computer you already have.

>>> from pocketllama import LLM
>>> with LLM.from_pretrained("tales") as llm:
...     print(llm("Once upon a time"))

`LLM` runs a model in this process. `Client` runs it in another, over JSON-RPC. `Session` is a conversation with either.
`Tokenizer` needs only a vocabulary.
`errors` has every exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from ._version import __version__

if TYPE_CHECKING:
    from .chat import Session
    from .client import Client
    from .engine import LLM
    from .engine.tokenizer import Tokenizer

__all__ = ["LLM", "Client", "Session", "Tokenizer", "__version__", "errors", "lib"]


def lib() -> str:
    """The path of our own library, for programs that use ctransformers.

    >>> ctransformers.LLM(path, lib=pocketllama.lib())

    EngineError if it is not here; `pocketllama build` builds it.
    """
    from .engine import native

    return str(native.require_own())


def __getattr__(name: str) -> Any:
    # Each of these imports a good deal; a program that wants one does not pay for the other.
    if name == "LLM":
        from .engine import LLM

        return LLM
    if name == "Tokenizer":
        from .engine.tokenizer import Tokenizer

        return Tokenizer
    if name == "Session":
        from .chat import Session

        return Session
    if name == "Client":
        from .client import Client

        return Client
    raise AttributeError(f"module 'pocketllama' has no attribute {name!r}")
