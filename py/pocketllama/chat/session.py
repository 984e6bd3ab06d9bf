"""`Session`: a conversation that goes on, is kept in a file, and goes on elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import StorageError, UsageError
from .messages import check_messages

FORMAT, VERSION = "pocketllama-session", 1
_MOST_BYTES = 256 << 20


class Chatting(Protocol):
    """What a session talks to: an `LLM`, or a `Client`."""

    def chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> Any: ...


class Session:
    """A conversation with one model.

    >>> session = Session(llm, system="Be brief.", max_tokens=64)
    >>> for piece in session.say("What is a llama?"):
    ...     print(piece, end="", flush=True)
    >>> session.say("And an alpaca?").text()

    `messages` is the whole of it, and may be read and changed between two turns. What the model's cache holds of it is
    not evaluated again: the timings of a second turn count only what is new. `options` are those of `LLM.chat`
    (sampling, template, tools, overflow, …) and hold for every turn.
    """

    def __init__(self, llm: Chatting, *, system: str | None = None, **options: Any) -> None:
        self.llm = llm
        given = options.pop("options", None)  # a Sampling: its fields are options like the others
        self.options = {**(asdict(given) if is_dataclass(given) and not isinstance(given, type) else {}), **options}
        self.messages: list[dict[str, Any]] = []
        self.system = system

    @property
    def system(self) -> str | None:
        """What the model is told before the conversation, if anything."""
        first = self.messages[0] if self.messages else {}
        return str(first["content"]) if first.get("role") == "system" else None

    @system.setter
    def system(self, text: str | None) -> None:
        if self.messages and self.messages[0].get("role") == "system":
            del self.messages[0]
        if text:
            self.messages.insert(0, {"role": "system", "content": text})

    def say(self, content: str | Mapping[str, Any], **options: Any) -> Answer:
        """The answer to one more message: a text of the user's, or a whole message (a tool's result, or one with
        Alpaca's `input`). Both are in `messages` once the answer has been read to its end, or given up; if it fails, or
        is given up before its first word, neither is. `options` hold for this turn."""
        message = {"role": "user", "content": content} if isinstance(content, str) else dict(content)
        return Answer(self, [*self.messages, message], options)

    def retry(self, **options: Any) -> Answer:
        """Another answer in place of the last; UsageError if there is none."""
        kept = list(self.messages)
        while kept and kept[-1]["role"] == "assistant":
            kept.pop()
        if len(kept) == len(self.messages):
            raise UsageError("There is no answer yet to be given once more.")
        return Answer(self, kept, options)

    def reset(self) -> None:
        """Begin anew, with the same `system`."""
        self.messages = [m for m in self.messages[:1] if m["role"] == "system"]

    # ---- files -----------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], **facts: Any) -> None:
        """Write the conversation to a JSON file, replaced as a whole, with the model's name. `facts` are further plain
        values, given back by `read`. StorageError where it cannot be written."""
        target = Path(path)
        options = {key: option for key, option in self.options.items() if _is_json(option)}
        head = {"format": FORMAT, "version": VERSION, "model": getattr(self.llm, "model", None), **facts}
        value = {**head, "options": options, "messages": self.messages}
        draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            draft.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
            draft.replace(target)
        except OSError as e:
            draft.unlink(missing_ok=True)
            raise StorageError(f"The conversation could not be saved to {target}: {e.strerror}.") from e

    @classmethod
    def load(cls, path: str | os.PathLike[str], llm: Chatting, **options: Any) -> Session:
        """A conversation that `save` has written, to go on with `llm`; `options` come before the saved ones.

        The first turn evaluates all of it once.
        """
        saved = read(path)
        session = cls(llm, **{**saved["options"], **options})
        session.messages = saved["messages"]
        return session


class Answer:
    """The answer under way: iterate it for pieces of text, or take its `result()`, as of a generation."""

    def __init__(self, session: Session, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> None:
        self._session, self._messages = session, messages
        self._generation = session.llm.chat(messages, **{**session.options, **options})
        self._kept = False

    def __iter__(self) -> Iterator[str]:
        try:
            yield from self._generation
        except GeneratorExit:
            self._keep()
            raise
        self._keep()

    def result(self) -> Any:
        """What the generation gives: a `Completion`, or a Client's dictionary."""
        result = self._generation.result()
        self._keep()
        return result

    def text(self) -> str:
        """The whole text."""
        return _text(self.result())

    def cancel(self) -> None:
        """Give it up where it is. What there is of it stays in the conversation."""
        if hasattr(self._generation, "cancel"):
            self._generation.cancel()
        else:
            self._generation.close()
        self._keep()

    @property
    def forgotten(self) -> int:
        """How many messages did not fit, and were left out for this answer (`overflow="forget"`)."""
        return int(getattr(self._generation, "forgotten", 0))

    def _keep(self) -> None:
        if not self._kept:
            self._kept = True
            if hasattr(self._generation, "close") and not hasattr(self._generation, "cancel"):
                self._generation.close()
            result = self._generation.result()
            reason = result["finish_reason"] if isinstance(result, Mapping) else result.finish_reason
            if reason == "cancelled" and not _text(result):
                return  # as if nothing had been said
            message = result["message"] if isinstance(result, Mapping) else self._generation.message()
            self._session.messages = [*self._messages, message]


def _is_json(value: object) -> bool:
    """What is none (a `cancel` function) belongs to this process, and not to the conversation."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _text(result: Any) -> str:
    return str(result["text"] if isinstance(result, Mapping) else result.text)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `Session.save` has written, checked. StorageError where it cannot be read, UsageError where it is none."""
    try:
        if (size := Path(path).stat().st_size) > _MOST_BYTES:
            raise UsageError(f"{path} has {size} bytes; a conversation has at most {_MOST_BYTES}.")
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as e:
        raise StorageError(f"The conversation {path} cannot be read: {e.strerror}.") from e
    except (ValueError, RecursionError) as e:
        raise UsageError(f"{path} is no saved conversation: {e}.") from e
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise UsageError(f"{path} is no saved conversation of pocketllama.")
    if value.get("version") != VERSION:
        raise UsageError(f"{path} is of version {value.get('version')!r:.20}; this pocketllama knows {VERSION}.")
    messages, options = value.get("messages"), value.get("options")
    if not isinstance(messages, list) or not isinstance(options, dict):
        raise UsageError(f"{path} is damaged: it has no messages.")
    return {**value, "messages": check_messages(messages) if messages else []}
