"""`Talk`: one chat, turn by turn. What is asked of it are lines; it does not know where they come from."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

from ..chat import Facts, Session
from ..chat import choose as choose_template
from ..engine.cancel import Cancel
from ..errors import ContextOverflow, PocketllamaError
from .choose import Choice
from .screen import Screen
from .story import Story


@dataclass(frozen=True)
class Setup:
    """How models are loaded, and what holds for every one of them."""

    load: Callable[[str], Any]  # a name → an LLM
    options: Mapping[str, Any]  # sampling, template, overflow
    system: str | None = None
    stats: bool = False


class Talk:
    """The conversation, its model, and what the commands change. Errors of a turn are shown, and the chat goes on."""

    def __init__(self, setup: Setup, choice: Choice, screen: Screen) -> None:
        self.setup, self.screen = setup, screen
        self.temperature: float | None = None
        self.stats = setup.stats
        self.input: str | None = None  # Alpaca's, for the next message
        self.last: Any = None  # the last answer's result
        self.exit_code = 0
        self.llm: Any = None
        self.choice = choice
        self.session: Session
        self.use(choice)
        self.session.system = setup.system

    def use(self, choice: Choice) -> None:
        """Load a model and go on with it; if it cannot be loaded, the one before is there again."""
        before, self.llm = self.llm, None
        if before is not None:
            before.close()  # two models at once may be more than the machine holds
        try:
            self.llm = self.setup.load(choice.name)
        except PocketllamaError:
            if before is not None:
                self.llm = self.setup.load(self.choice.name)
                self._begin()
            raise
        self.choice = choice
        self._begin()

    def _begin(self) -> None:
        messages = self.session.messages if hasattr(self, "session") else []
        if self.choice.story:
            names = ("template", "template_variables", "overflow")
            options = {k: v for k, v in self.setup.options.items() if k not in names}
            self.session = Story(self.llm, **options)
        else:
            self.session = Session(self.llm, **self.setup.options)
            self.session.messages = messages

    def go_on(self, saved: Mapping[str, Any]) -> None:
        """With a conversation that was kept (`session.read`), and its template unless another was asked for."""
        kept = saved["options"].get("template")
        template = kept if isinstance(kept, str) and self.setup.options.get("template") is None else None
        if template is not None:
            choose_template(Facts(), template)  # one that is none is said before anything is changed
        if self.choice.story and not saved.get("story"):
            self.choice = replace(self.choice, story=False)
            self._begin()
        self.session.messages = saved["messages"]
        if template is not None and not self.choice.story:
            self.session.options["template"] = template

    def introduce(self) -> None:
        """What is seen before the first line."""
        if self.choice.story:
            what = "goes on with what you write; an empty line lets it go on further"
        else:
            template = self.llm.template(self.session.options.get("template"))
            what = {
                "model": "with its own chat template",
                "file": f"with the chat template {template.name}",
                "built-in": f"with the chat template {template.name}",
                "fallback": f"It has no chat template; {template.name} is used. --template chooses another.",
            }[template.origin]
        self.screen.say(f"{self.choice.name}: {what}" if what[0].islower() else f"{self.choice.name}. {what}")

    # ---- turns -------------------------------------------------------------------------------------------------------

    def listen(self, lines: Iterable[str], commands: Callable[[Talk, str], bool]) -> None:
        """Answer each line; `commands` does those that are commands, and says whether to go on."""
        for line in lines:
            if line.startswith("/") and not line.startswith("//"):
                try:
                    if not commands(self, line):
                        return
                except PocketllamaError as e:
                    self._failed(e)
                except KeyboardInterrupt:
                    self.screen.say("")
                if self.screen.live:
                    self.screen.say("")
            elif line.strip() or self.choice.story:
                self.say(line.removeprefix("/") if line.startswith("//") else line)

    def say(self, text: str) -> None:
        """Answer one message."""
        message: str | dict[str, Any] = text
        if self.input is not None:
            message = {"role": "user", "content": text, "input": self.input}
            self.input = None
        self._answer(lambda **options: self.session.say(message, **options))

    def retry(self) -> None:
        """Another answer to the last message."""
        self._answer(lambda **options: self.session.retry(**options))

    def _answer(self, ask: Callable[..., Any]) -> None:
        options = {} if self.temperature is None else {"temperature": self.temperature}
        writer = self.screen.answer()
        try:
            with _stopped_by_ctrl_c() as cancel, self.screen.undisturbed():
                answer = ask(cancel=cancel, **options)
                if answer.forgotten:
                    self.screen.say(f"({answer.forgotten} messages are forgotten: the context is full.)")
                for piece in answer:
                    writer.feed(piece)
            writer.end()
            self.last = answer.result()
        except PocketllamaError as e:
            if self.screen.live:
                writer.end()
            self._failed(e)
            return
        if self.last.finish_reason == "cancelled" and self.screen.live:
            self.screen.say("(stopped)")
        elif self.last.finish_reason == "length" and self.screen.live:
            self.screen.say(f"({self._why_it_ended()})")
        if self.stats:
            self.show_stats()
        if self.screen.live:
            self.screen.say("")

    def _why_it_ended(self) -> str:
        if self.last.prompt_tokens + self.last.completion_tokens >= self.llm.context_length:
            return "The context is full. /reset begins a new conversation; --forget lets it forget its beginning."
        return f"Cut off after {self.last.completion_tokens} tokens; -n allows more."

    def _failed(self, e: PocketllamaError) -> None:
        if isinstance(e, ContextOverflow):  # the library's remedy is for a program's author
            e.remedy = "/reset begins a new conversation; --forget lets one forget its beginning, -c N gives more room."
        self.screen.say(e.describe())
        self.exit_code = self.exit_code or e.exit_code

    def show_stats(self) -> None:
        """Where the last answer's time went, and how full the context is."""
        if self.last is None:
            self.screen.say("There is no answer yet.")
            return
        r, t = self.last, self.last.timings
        used, room = r.prompt_tokens + r.completion_tokens, self.llm.context_length
        speed = t.prompt_tokens_evaluated / t.prompt_ms * 1e3 if t.prompt_ms else 0.0
        self.screen.say(
            f"prompt: {r.prompt_tokens} tokens, {t.prompt_tokens_evaluated} of them new, {speed:.1f} tokens/s\n"
            f"answer: {r.completion_tokens} tokens, {t.tokens_per_second:.1f} tokens/s, first after "
            f"{t.first_token_ms:.0f} ms\n"
            f"context: {used} of {room} tokens"
        )

    def close(self) -> None:
        if self.llm is not None:
            self.llm.close()


@contextmanager
def _stopped_by_ctrl_c() -> Iterator[Cancel]:
    """Ctrl-C ends the answer, and not the program."""
    cancel = Cancel()

    def stop(signum: int, frame: FrameType | None) -> None:
        cancel.set()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)
