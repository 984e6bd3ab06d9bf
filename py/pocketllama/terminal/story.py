"""`Story`: for a model that only continues texts, what `Session` is for one that chats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..chat import Session
from ..chat.session import Answer


class _Continuing:
    """Asks a model as if it chatted: what was said, by whomever, is the beginning of the text."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any:
        return self._llm.complete("".join(message["content"] for message in messages), **options)


class Story(Session):
    """A text that the user begins and the model goes on with; an empty turn of the user's lets it go on further."""

    def __init__(self, llm: Any, **options: Any) -> None:
        super().__init__(_Continuing(llm), **options)

    def say(self, content: str | Mapping[str, Any], **options: Any) -> Answer:
        if content:
            self.messages = []
        return super().say(content, **options)
