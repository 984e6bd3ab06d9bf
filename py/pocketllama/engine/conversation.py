"""What `LLM` does with conversations: messages → the model's template → tokens → a generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..chat import Prompt, Template, choose
from .options import MAX_STOPS, Sampling

if TYPE_CHECKING:
    from .files import ModelFile
    from .generation import Generation
    from .vocab import Vocab

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation as a model gets it: the text, its token ids, and the template that made it."""

    prompt: Prompt
    tokens: list[int]
    template: Template

    @property
    def text(self) -> str:
        return self.prompt.text


class Conversations:
    """The part of `LLM` that chats."""

    file: ModelFile
    vocab: Vocab
    if TYPE_CHECKING:  # what it needs of the rest

        def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]: ...
        def complete(
            self, prompt: str | Sequence[int], options: Sampling | None = None, *, cancel: Callable[[], bool] = ...
        ) -> Generation: ...

    def template(self, asked: str | Template | None = None) -> Template:
        """The chat template of this model, or the one asked for: a built-in's name, or a file's path."""
        return choose(self.file.chat, asked)

    def chat_prompt(
        self,
        messages: Messages,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: str | Template | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> ChatPrompt:
        """`messages` as `chat` gives them to the model; `variables` are the template's own, such as enable_thinking.

        No message can produce a control token; see `Prompt.tokens`.
        """
        chosen = self.template(template)
        facts = self.file.chat
        prompt = chosen.render(messages, tools, add_generation_prompt, facts, **variables)
        bos = self.vocab.bos if self.vocab.add_bos else None
        return ChatPrompt(prompt, prompt.tokens(facts, self.encode, bos), chosen)

    def chat(
        self,
        messages: Messages,
        options: Sampling | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: str | Template | None = None,
        template_variables: Mapping[str, Any] | None = None,
        cancel: Callable[[], bool] = lambda: False,
        **values: Any,
    ) -> Generation:
        """The assistant's answer to a conversation: iterate it for pieces of text, or take its `result()`.

        >>> llm.chat([{"role": "user", "content": "Hello"}], max_tokens=32).text()

        `messages` are {role, content}, and `tools` functions, as OpenAI has them. `options`, or its fields as keywords.
        UsageError for a conversation that the template does not take; ContextOverflow, which says by how
        much, where it does not fit. What the cache already holds of it is not evaluated again.
        """
        made = self.chat_prompt(messages, tools=tools, template=template, **(template_variables or {}))
        options = with_stops(options or Sampling.of(**values), made.template.stops)
        return self.complete(made.tokens, options, cancel=cancel)


def with_stops(options: Sampling, stops: Sequence[str]) -> Sampling:
    """`options` that also end at a template's own `stops`, as far as there is room for them."""
    more = [stop for stop in stops if stop not in options.stop][: MAX_STOPS - len(options.stop)]
    return replace(options, stop=(*options.stop, *more)) if more else options
