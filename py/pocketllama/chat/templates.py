"""Which template a model's conversations are written in, and writing them.

In this order: the one that was asked for (`--template NAME|FILE`), the one in the model's own file, and for files that
have none
  1. the built-in one whose control tokens the vocabulary has: chatml, llama-3, gemma, phi-3;
  2. the built-in one that the model's name tells: alpaca, vicuna, zephyr, "llama-2 … chat", "mistral … instruct";
  3. alpaca, which needs no control tokens: what a plain model makes of it is not much worse than of any other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .facts import Facts
from .messages import Message, check_messages, check_tools
from .prompt import Prompt
from .tools import told, written

_FOLDER = Path(__file__).with_name("templates")
_LONGEST = 1 << 20  # characters of a template

# The built-in ones: the control tokens by which a vocabulary shows that it was made for one, and texts at which an
# answer has ended, for models that do not say so with a token.
_MARKS: dict[str, tuple[str, ...]] = {
    "chatml": ("<|im_start|>", "<|im_end|>"),
    "llama-3": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "phi-3": ("<|user|>", "<|assistant|>", "<|end|>"),
}
_STOPS: dict[str, tuple[str, ...]] = {
    "alpaca": ("\n### Instruction:", "\n### Input:", "\n### Response:"),
    "chatml": ("<|im_end|>", "<|im_start|>"),
    "gemma": ("<end_of_turn>", "<start_of_turn>"),
    "llama-2": ("[INST]",),
    "llama-3": ("<|eot_id|>", "<|start_header_id|>"),
    "mistral": ("[INST]",),
    "phi-3": ("<|end|>", "<|user|>"),
    "vicuna": ("USER:",),
    "zephyr": ("<|user|>", "<|system|>"),
}
NAMES = tuple(_STOPS)
_ROLES = ("system", "user", "assistant", "tool")  # what the built-in ones know
_NAMED: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("alpaca", ("alpaca",)),
    ("vicuna", ("vicuna",)),
    ("zephyr", ("zephyr",)),
    ("mistral", ("mistral", "instruct")),
    ("mistral", ("mixtral", "instruct")),
    ("llama-2", ("llama2", "chat")),
)


@dataclass(frozen=True)
class Template:
    """A Jinja source and where it comes from: "built-in", "file" (the user's), "model", or "fallback" (see above).

    `tool_source` is the one for conversations with tools, where the model's file has one of its own.
    """

    name: str
    source: str
    origin: str
    stops: tuple[str, ...] = ()
    tool_source: str | None = None

    @property
    def takes_tools(self) -> bool:
        """Whether it tells the model of tools itself."""
        return self.tool_source is not None or re.search(r"\btools\b", self.source) is not None

    def render(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        facts: Facts | None = None,
        **variables: Any,
    ) -> Prompt:
        """The conversation as text. `add_generation_prompt`: up to where the assistant begins to speak. `facts` know
        the names of the model's tokens; `variables` are further ones that a template may know (`enable_thinking`).

        UsageError for messages that are not well-formed, or that the template does not take; ModelInvalid for a
        template that does not work, or takes more than a second.
        """
        conversation, known = self._roles(check_messages(messages)), check_tools(tools)
        if not self.takes_tools:
            conversation, known = told(conversation, known), None
        if "tool_call" not in self.source and not self.takes_tools:
            conversation = written(conversation)
        given = {
            **variables,
            "messages": conversation,
            "tools": known,
            "documents": variables.get("documents"),
            "add_generation_prompt": add_generation_prompt,
        }
        names = dict(facts.tokens) if facts else {}
        own = {name: names.get(name, "") for name in ("bos_token", "eos_token")} | names
        if self.origin in ("built-in", "fallback"):
            from . import jinja  # ours: no need to be afraid of it

            try:
                return Prompt(*jinja.render(self.source, given, own))
            except jinja.Refused as e:
                raise UsageError(f"The chat template {self.name} does not take this conversation: {e}") from e
        from . import sandbox

        source = self.tool_source if given["tools"] and self.tool_source else self.source
        try:
            return Prompt(*sandbox.render(source, given, own, self.name))
        except (TypeError, ValueError) as e:
            raise UsageError(f"The variables of a template must be JSON values: {e}.") from e

    def _roles(self, conversation: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """With roles that the template knows: OpenAI's newer word for "system" is that one where it has no other, and a
        built-in one does not take a misspelt role for the user's."""
        if "developer" not in self.source + (self.tool_source or ""):
            conversation = [{**m, "role": "system"} if m["role"] == "developer" else m for m in conversation]
        if self.origin in ("built-in", "fallback"):
            for i, message in enumerate(conversation):
                if message["role"] not in _ROLES:
                    raise UsageError(
                        f"messages[{i}].role is {message['role']!r:.80}; the chat template {self.name} knows "
                        f"{', '.join(_ROLES[:-1])} and {_ROLES[-1]}."
                    )
        return conversation


@cache
def builtin(name: str) -> Template:
    """A built-in template by its name; UsageError where there is none of it."""
    plain = _squeeze(name)
    found = next((known for known in NAMES if _squeeze(known) == plain), None)
    if found is None:
        raise UsageError(f"There is no chat template {name!r:.80}.", remedy=f"The built-in ones: {', '.join(NAMES)}.")
    source = (_FOLDER / f"{found}.jinja").read_text(encoding="utf-8")
    return Template(found, source, "built-in", _STOPS[found])


def from_file(path: Path) -> Template:
    """A template of the user's own; UsageError where it cannot be read."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is not UTF-8"
        raise UsageError(f"The chat template {path} cannot be read: {why}.") from e
    return Template(path.name, _checked(path.name, source), "file")


def choose(facts: Facts, asked: str | Template | None = None) -> Template:
    """The template for a model; see the top of this file. `asked` is a built-in name or a file's path."""
    if isinstance(asked, Template):
        return asked
    if asked:
        is_path = "/" in asked or "\\" in asked or asked.endswith((".jinja", ".jinja2", ".j2", ".txt"))
        return from_file(Path(asked)) if is_path or Path(asked).is_file() else builtin(asked)
    main = facts.templates.get("") or facts.templates.get("default")
    if main:
        return Template(facts.name, _checked(facts.name, main), "model", (), facts.templates.get("tool_use"))
    for known, marks in _MARKS.items():
        if all(mark in facts.specials for mark in marks):
            return builtin(known)
    name = _squeeze(facts.hints)
    for known, words in _NAMED:
        if all(word in name for word in words):
            return builtin(known)
    fallback = builtin("alpaca")
    return Template(fallback.name, fallback.source, "fallback", fallback.stops)


def _checked(name: str, source: str) -> str:
    if len(source) > _LONGEST:
        raise UsageError(f"The chat template of {name} has {len(source)} characters; at most {_LONGEST} are read.")
    return source


def _squeeze(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
