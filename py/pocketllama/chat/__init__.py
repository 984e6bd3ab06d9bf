"""Conversations: rendering them as the text that a model was trained on. It knows text and tokens' names, no weights.

    template = choose(facts)                       the model's own, or one that fits
    prompt = template.render(messages, tools)      prompt.text, and who wrote which part of it
    prompt.tokens(facts, encode, bos)              control tokens from the template's own words alone

Importing this costs nothing: its parts come when they are asked for, and Jinja with the first rendering.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facts import Facts
    from .messages import check_messages, check_tools
    from .prompt import Prompt
    from .session import Session
    from .templates import NAMES, Template, builtin, choose

__all__ = ["NAMES", "Facts", "Prompt", "Session", "Template", "builtin", "check_messages", "check_tools", "choose"]

_ROOMS = {"Facts": "facts", "Prompt": "prompt", "Session": "session", "check_messages": "messages",
          "check_tools": "messages"}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.{_ROOMS.get(name, 'templates')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
