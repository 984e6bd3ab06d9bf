"""Which model a chat is with, where none was named: one that is here, or one that is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .. import models
from ..engine import native
from ..engine.files import BUNDLED_ARCHITECTURES
from ..errors import Cancelled, DownloadError, PocketllamaError, StorageError
from ..models import env
from ..models.model import Model
from ..models.progress import bar
from ..units import human_size, total_memory

FALLBACK = "tales"
# In this order, the first that this machine has the memory for (weights, cache and everybody else), and whose
# architecture the engine knows.
_RECOMMENDED = (("qwen3-1.7b", 6e9), ("qwen3-0.6b", 2e9), ("smollm2-1.7b", 4e9), ("smollm2-135m", 0.0))


@dataclass(frozen=True)
class Choice:
    """A model's name, and whether it can only continue texts."""

    name: str
    story: bool = False


def choose(say: Callable[[str], None], ask: Callable[[str], bool] | None) -> Choice:
    """The model to chat with. `ask` puts a question to the user, None where there is nobody to answer.

    One that was pulled comes before all; of several the recommended one, or the one that came last. Where there is
    none, the recommended one is offered. What is left is the embedded one, which tells stories and does not chat.
    """
    here = [m for m in models.list_models() if m.source != "embedded"]
    best = recommended()
    if here:
        model = next((m for m in here if _is(m, best)), None) or max(here, key=_age)
        if len(here) > 1:
            say(f"Using {model.name}; -m chooses another of the {len(here)} models here.")
        return Choice(model.name)
    if variable := env.offline():
        say(f"There is no model to chat with on this machine, and {variable} forbids to fetch one.")
        return _stories(say)
    if ask is None:
        say(
            f"There is no model to chat with on this machine. To fetch one: pocketllama pull {best.name}  "
            f"({human_size(best.size)})"
        )
        return _stories(say)
    say("There is no model to chat with on this machine yet. A good one to begin with:")
    say(f"  {best.name}: {facts(best)}")
    say(f"  {best.good_for}")
    if not ask("Fetch it?"):
        say("All that can be had: pocketllama list --known")
        return _stories(say)
    return Choice(best.name) if fetch(best.name, say) else _stories(say)


def facts(alias: models.Alias) -> str:
    """What to know before fetching: how large it is, in two ways, and its licence."""
    return f"{alias.parameters} parameters, {human_size(alias.size)} to download, licence {alias.licence}"


def fetch(name: str, say: Callable[[str], None]) -> bool:
    """Bring a model here; False, and said why, where the network or the disk does not allow it."""
    say(f"Fetching {name} …")
    try:
        with bar() as show:
            models.pull(name, progress=show)
    except (DownloadError, StorageError, Cancelled) as e:
        say(e.describe())
        return False
    except KeyboardInterrupt:
        say("\nStopped; what has come is kept, and the next try goes on from there.")
        return False
    return True


def recommended() -> models.Alias:
    """The alias to begin with on this machine."""
    known = models.aliases()
    memory = total_memory() or 4e9
    try:
        bundled = native.find(None).kind == "bundled"
    except PocketllamaError:
        bundled = False
    fitting = [known[name] for name, need in _RECOMMENDED if memory >= need]
    return next((a for a in fitting if not bundled or a.architecture in BUNDLED_ARCHITECTURES), known["smollm2-135m"])


def _stories(say: Callable[[str], None]) -> Choice:
    say(f"Here is {FALLBACK} instead, which comes with pocketllama: it does not converse, but goes on with any text.")
    return Choice(FALLBACK, story=True)


def _is(model: Model, alias: models.Alias) -> bool:
    return model.name == alias.name or alias.repo.lower() in model.name.lower()


def _age(model: Model) -> float:
    try:
        return model.path.stat().st_mtime
    except OSError:
        return 0.0
