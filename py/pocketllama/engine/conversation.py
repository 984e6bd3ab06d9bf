"""What `LLM` does with conversations: messages → the model's template → tokens → a generation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .. import chat
from ..errors import ContextOverflow, UsageError
from .cancel import heard
from .choices import Choices
from .options import MAX_STOPS, Sampling

if TYPE_CHECKING:  # what a program that does not chat does not load
    from threading import Event

    from ..chat import Prompt, Template
    from .files import ModelFile
    from .generation import Generation
    from .grammar import Grammars
    from .vocab import Vocab

Messages = Sequence[Mapping[str, Any]]
OVERFLOWS = ("error", "forget")
REMEMBERED = 4  # conversations whose tokens are known


@dataclass(frozen=True)
class ChatPrompt:
    """A conversation as a model gets it: the text, its token ids, the template that made it, and how many messages were
    left out because they did not fit."""

    prompt: Prompt
    tokens: list[int]
    template: Template
    forgotten: int = 0

    @property
    def text(self) -> str:
        return self.prompt.text


class Conversations:
    """The part of `LLM` that chats."""

    file: ModelFile
    vocab: Vocab
    # The template of every conversation that does not ask for another: a name, a path, or None for the model's own.
    chat_template: str | Template | None = None
    _said: deque[tuple[ChatPrompt, list[int]]]  # prompts, and what was generated behind them

    if TYPE_CHECKING:  # what it needs of the rest

        @property
        def context_length(self) -> int: ...
        def encode(self, text: str, bos: bool = False, special: bool = False) -> list[int]: ...
        def piece(self, token: int) -> bytes: ...
        def complete(
            self,
            prompt: str | Sequence[int],
            options: Sampling | None = None,
            *,
            cancel: Callable[[], bool] = ...,
            choices: Choices | None = ...,
        ) -> Generation: ...

    @cached_property
    def grammars(self) -> Grammars:
        """The languages that this model's texts may be kept in."""
        from .grammar import Grammars

        return Grammars(self)  # type: ignore[arg-type]  # it is an LLM

    def template(self, asked: str | Template | None = None) -> Template:
        """The chat template of this model, or the one asked for: a built-in's name, or a file's path."""
        return chat.choose(self.file.chat, asked or self.chat_template)

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
        prompt = chosen.render(messages, tools, add_generation_prompt, self.file.chat, **variables)
        return ChatPrompt(prompt, self.prompt_tokens(prompt), chosen)

    def chat(
        self,
        messages: Messages,
        options: Sampling | None = None,
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        template: str | Template | None = None,
        template_variables: Mapping[str, Any] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
        parallel_tool_calls: bool | None = None,
        schema: Mapping[str, Any] | None = None,
        overflow: str = "error",
        cancel: Callable[[], bool] = lambda: False,
        signal: Event | None = None,
        **values: Any,
    ) -> Generation:
        """The assistant's answer to a conversation: iterate it for pieces of text, or take its `result()`.

        >>> llm.chat([{"role": "user", "content": "Hello"}], max_tokens=32).text()

        `messages` are {role, content}, as OpenAI has them. `options`, or its fields as keywords. `cancel` is a function
        that is asked, `signal` a `threading.Event`: either ends the answer early. UsageError for a conversation that
        the template does not take. What the cache holds of it already is not evaluated again.

        `tools` are functions that the model may call, as OpenAI has them; `Generation.message()` tells calls from other
        text. A call is one of a function that exists, with arguments of its schema. `tool_choice` is "auto" (the
        default), "none", "required", or {"type": "function", "function": {"name": …}}; with `parallel_tool_calls=False`
        one call comes at most. With `schema`, a JSON schema, an answer that calls nothing is JSON of it. Both hold
        token by token, by our own library and the package of the extra "serve" (EngineError where it is missing), and
        the default of `repetition_penalty` is 1 with them.

        A conversation that does not fit the context is a ContextOverflow, which says by how much; with
        `overflow="forget"` the oldest messages behind the system's are left out, up to a message of the user's, until
        the rest fits together with an answer of max_tokens, or of a quarter of the context if that is less.
        `Generation.forgotten` is how many those were.
        """
        if overflow not in OVERFLOWS:
            raise UsageError(f'overflow is "error" or "forget", not {overflow!r:.80}.')
        values = {name: value for name, value in values.items() if value is not None}
        chosen, shape = self.template(template), None
        if tools or schema is not None or tool_choice is not None:
            from .shape import shape_of

            shape = shape_of(
                self,
                chosen,
                schema=schema,
                tools=tools,
                tool_choice=tool_choice,
                parallel_tool_calls=parallel_tool_calls,
            )
            values = {**shape.defaults, **values}
        options = options or Sampling.of(**values)

        def render(some: Messages) -> ChatPrompt:
            told = shape.tools if shape else None
            return self.chat_prompt(some, tools=told, template=chosen, **(template_variables or {}))

        made = render(messages)
        if overflow == "forget":
            room = self.context_length - min(options.max_tokens, self.context_length // 4)
            made = _fit(chat.check_messages(messages), made, room, render)
        self.check_conversation(len(made.tokens))
        choices = Choices(shape.constraint()) if shape and shape.constrained else None
        options = with_stops(options, made.template.stops)
        generation = self.complete(made.tokens, options, cancel=heard(cancel, signal), choices=choices)
        generation.forgotten = made.forgotten
        generation.call_style = shape.style or None if shape else None
        self.remember(made, generation.generated)
        return generation

    def remember(self, prompt: ChatPrompt, generated: list[int]) -> None:
        """What was generated behind a prompt, for `prompt_tokens`; `generated` may still grow."""
        self._said.append((prompt, generated))

    def check_conversation(self, n: int) -> None:
        if n > self.context_length:
            raise ContextOverflow(
                f"The conversation has {n} tokens, {n - self.context_length} more than the context of "
                f"{self.context_length} holds.",
                remedy='Begin a new one, let it forget its beginning (overflow="forget"), or load the model with a '
                "larger context_length.",
                data={
                    "prompt_tokens": n,
                    "context_length": self.context_length,
                    "headroom": self.context_length - n,
                },
            )

    def prompt_tokens(self, prompt: Prompt) -> list[int]:
        """The tokens of a conversation; what the model itself has said keeps the tokens that it was said in.

        A text has many tokenizations, and the one that a model generates need not be the tokenizer's; but the cache
        holds that one. So where a conversation goes on from a remembered one, only what is new is tokenized.
        """
        facts = self.file.chat
        for before, generated in reversed(self._said):
            said = list(generated)
            if not prompt.continues(before.prompt) or any(t in facts.special_ids for t in said):
                continue
            words = b"".join(map(self.piece, said)).decode(errors="replace")
            n = len(before.text) + len(words)
            rest = prompt.behind(n)
            if prompt.text[len(before.text) : n] == words and rest.begins_with_special(facts):
                return [*before.tokens, *said, *rest.tokens(facts, self.encode)]
        bos = self.vocab.bos if self.vocab.add_bos else None
        return prompt.tokens(facts, self.encode, bos)


def _fit(
    messages: list[dict[str, Any]], made: ChatPrompt, room: int, render: Callable[[Messages], ChatPrompt]
) -> ChatPrompt:
    """The conversation without its oldest messages, if that makes it fit into `room` tokens."""
    if len(made.tokens) <= room:
        return made
    system = next((i for i, m in enumerate(messages) if m["role"] not in ("system", "developer")), 0)
    starts = [i for i in range(system + 1, len(messages)) if messages[i]["role"] == "user"]
    low, high = 0, len(starts) - 1
    best = made
    while low <= high:  # the first start from which it fits
        middle = (low + high) // 2
        made = replace(render(messages[:system] + messages[starts[middle] :]), forgotten=starts[middle] - system)
        if len(made.tokens) <= room:
            best, high = made, middle - 1
        else:
            low = middle + 1
    return best if low < len(starts) else made  # what cannot fit is said in the error


def with_stops(options: Sampling, stops: Sequence[str]) -> Sampling:
    """`options` that also end at a template's own `stops`, as far as there is room for them."""
    more = [stop for stop in stops if stop not in options.stop][: MAX_STOPS - len(options.stop)]
    return replace(options, stop=(*options.stop, *more)) if more else options
