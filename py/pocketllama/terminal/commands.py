"""What begins with a slash. A message that does is written with two."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .. import models
from ..chat import session as sessions
from ..errors import ModelNotFound, PocketllamaError, UsageError
from ..models import env
from ..paths import data_dir
from . import choose
from .talk import Talk


@dataclass(frozen=True)
class Command:
    """A command: what it takes, what it does, and how the help says it."""

    takes: str
    help: str
    call: Callable[[Talk, str], None]


class Commands:
    """Does the commands; `ask` puts a question to the user, None where there is nobody."""

    def __init__(self, ask: Callable[[str], bool] | None) -> None:
        self._ask = ask
        self.table: dict[str, Command] = {
            "/help": Command("", "this list", self._help),
            "/system": Command("[TEXT]", "what the model is told first; - for nothing", self._system),
            "/input": Command("TEXT", "what the next instruction is about (alpaca)", self._input),
            "/reset": Command("", "begin a new conversation", self._reset),
            "/retry": Command("", "another answer to the last message", lambda talk, _: talk.retry()),
            "/save": Command("[NAME]", "keep the conversation, by a name or in a file", self._save),
            "/load": Command("[NAME]", "go on with a kept one; without a name: list them", self._load),
            "/model": Command("[MODEL]", "go on with another model", self._model),
            "/temp": Command("[T]", "0: the likeliest text, 1: variety", self._temp),
            "/stats": Command("[on|off]", "how fast the last answer was; after every answer", self._stats),
            "/exit": Command("", "end (Ctrl-D does too)", lambda talk, _: None),
        }

    def __call__(self, talk: Talk, line: str) -> bool:
        """Do one; whether the chat goes on."""
        word, _, rest = line.partition(" ")
        name = {"/quit": "/exit", "/bye": "/exit", "/?": "/help", "/temperature": "/temp"}.get(word, word)
        command = self.table.get(name)
        if command is None:
            near = difflib.get_close_matches(word, self.table, n=1)
            hint = f"Did you mean {near[0]}?" if near else "/help lists the commands."
            raise UsageError(f"There is no command {word}.", remedy=f"{hint} A message may begin with //.")
        command.call(talk, rest.strip())
        return name != "/exit"

    def _help(self, talk: Talk, _: str) -> None:
        width = max(len(name) + 1 + len(c.takes) for name, c in self.table.items())
        narrow = talk.screen.width < width + 30
        for name, command in self.table.items():
            head = f"{name} {command.takes}".rstrip()
            talk.screen.say(f"{head}\n    {command.help}" if narrow else f"{head:<{width}}  {command.help}")
        talk.screen.say("Alt-Enter begins a new line; Ctrl-C stops an answer.")

    def _system(self, talk: Talk, text: str) -> None:
        if talk.choice.story:
            raise UsageError(f"{talk.choice.name} knows no system: it only goes on with a text.")
        if text:
            talk.session.system = None if text == "-" else text
        talk.screen.say(f"system: {talk.session.system or '(nothing)'}")

    def _input(self, talk: Talk, text: str) -> None:
        if not text:
            raise UsageError("/input needs the text that the next instruction is about.")
        talk.input = text

    def _reset(self, talk: Talk, _: str) -> None:
        talk.session.reset()
        talk.screen.say("A new conversation.")

    # ---- kept conversations ------------------------------------------------------------------------------------------

    def _save(self, talk: Talk, name: str) -> None:
        path = _path(name or time.strftime("%Y-%m-%d-%H%M%S"))
        if not name or path.parent == _folder():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            try:
                sessions.read(path)
            except PocketllamaError as e:
                raise UsageError(
                    f"{path} is there already, and is no conversation.", remedy="Take another name."
                ) from e
        talk.session.save(path, model=talk.choice.name, story=talk.choice.story)
        talk.screen.say(f"Kept in {path}")

    def _load(self, talk: Talk, name: str) -> None:
        if not name:
            kept = sorted(_folder().glob("*.json"), key=lambda p: p.stat().st_mtime)
            for path in kept:
                talk.screen.say(f"{path.stem}  {_beginning(path)}")
            if not kept:
                talk.screen.say("No conversation is kept yet; /save keeps one.")
            return
        saved = sessions.read(_path(name))
        talk.go_on(saved)
        if (model := saved.get("model")) and model != talk.choice.name:
            talk.screen.say(f"This was a conversation with {model}; it goes on with {talk.choice.name}.")
        talk.screen.say(f"{len(saved['messages'])} messages; the last ones:")
        for message in saved["messages"][-2:]:
            shown = str(message.get("content", "")).strip()
            talk.screen.say(f"{message['role']}: {shown if len(shown) < 400 else shown[:400] + ' …'}")

    # ---- the model -------------------------------------------------------------------------------------------------

    def _model(self, talk: Talk, name: str) -> None:
        if not name:
            facts = talk.llm.describe()
            talk.screen.say(
                f"{talk.choice.name}: {facts['architecture']}, context of {facts['context_length']} tokens, "
                f"{facts['threads']} threads"
            )
            return
        try:
            models.find(name)
        except ModelNotFound:
            fetchable = name in models.aliases() or name.startswith(("hf:", "https:", "http:"))
            if not fetchable:
                raise
            if env.offline():
                models.pull(name)  # says which variable forbids it
            known = models.aliases().get(name)
            about = f": {choose.facts(known)}" if known else ""
            if not self._ask or not self._ask(f"{name} is not here{about}. Fetch it?"):
                raise
            if not choose.fetch(name, talk.screen.say):
                return
        talk.use(choose.Choice(name, story=name == choose.FALLBACK))
        talk.introduce()

    def _temp(self, talk: Talk, value: str) -> None:
        if value:
            try:
                temperature = float(value)
            except ValueError:
                raise UsageError(f"/temp takes a number, not {value!r:.40}.") from None
            if not 0 <= temperature <= 100:
                raise UsageError(f"/temp takes a number from 0 to 100, not {value!r:.40}.")
            talk.temperature = temperature
        now = talk.temperature if talk.temperature is not None else talk.setup.options.get("temperature", 0.8)
        talk.screen.say(f"temperature: {now:g}")

    def _stats(self, talk: Talk, value: str) -> None:
        if value in ("on", "off"):
            talk.stats = value == "on"
        elif value:
            raise UsageError(f"/stats takes on or off, not {value!r:.40}.")
        if value != "off":
            talk.show_stats()


def _folder() -> Path:
    return data_dir() / "chats"


def model_of(name: str) -> str | None:
    """The model that a kept conversation was with, if it is on this machine."""
    model = sessions.read(_path(name)).get("model")
    try:
        return models.find(model).name if isinstance(model, str) else None
    except PocketllamaError:
        return None


def _path(name: str) -> Path:
    """A plain word is a conversation in our own folder; anything else is a file's path."""
    if all(c.isalnum() or c in "-_" for c in name):
        return _folder() / f"{name}.json"
    return Path(name).expanduser()


def _beginning(path: Path) -> str:
    try:
        messages = sessions.read(path)["messages"]
    except PocketllamaError:
        return "(cannot be read)"
    first = next((str(m.get("content", "")) for m in messages if m["role"] == "user"), "")
    return " ".join(first.split())[:60]
