"""pocketllama: run language models on the computer you already have.

>>> from pocketllama import LLM
>>> with LLM.from_pretrained("tales") as llm:
...     print(llm("Once upon a time"))

`LLM` runs a model in this process. `Client` runs it in another, over JSON-RPC. `errors` has every exception.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import errors
from ._version import __version__

if TYPE_CHECKING:
    from .client import Client
    from .engine import LLM

__all__ = ["LLM", "Client", "__version__", "errors"]


def __getattr__(name: str) -> Any:
    # Each of these imports a good deal; a program that wants one does not pay for the other.
    if name == "LLM":
        from .engine import LLM

        return LLM
    if name == "Client":
        from .client import Client

        return Client
    raise AttributeError(f"module 'pocketllama' has no attribute {name!r}")
