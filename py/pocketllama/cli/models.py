"""Commands for the models on this machine: pull, list, show, rm."""

from __future__ import annotations

from typing import Any

from .. import output
from ..argv import Option, Verb
from .common import JSON, NAMES, print_json


def pull(model: str, as_json: bool = False) -> None:
    """Fetch a model."""
    from .. import models
    from ..models import progress

    with progress.bar() as show:
        found = models.pull(model, progress=show)
    if as_json:
        print_json(found.as_json())
    else:
        output.write(f"{found.path}\n")


def list_models(as_json: bool = False, known: bool = False) -> None:
    """List the models on this machine, or the aliases that can be pulled."""
    from .. import models
    from ..units import human_size

    if known:
        _list_known(as_json)
        return
    found = models.list_models()
    if as_json:
        print_json([model.as_json() for model in found])
        return
    width = max((len(m.name) for m in found), default=0)
    for m in found:
        output.write(f"{m.name:<{width}}  {human_size(m.size):>10}  {m.source:<8}  {m.path}\n")


def _list_known(as_json: bool) -> None:
    from .. import models
    from ..units import human_size

    found = list(models.aliases().values())
    if as_json:
        print_json([alias.as_json() for alias in found])
        return
    width = max(len(a.name) for a in found)
    for a in found:
        output.write(f"{a.name:<{width}}  {human_size(a.size):>10}  {a.licence:<11} {a.good_for}\n")


def show(model: str, ctx: int | None = None, as_json: bool = False) -> None:
    """Tell what a model is, and what to expect of it here."""
    from .. import models
    from ..cost.outlook import outlook
    from ..errors import UsageError
    from ..models import progress

    if ctx is not None and ctx < 1:
        raise UsageError(f"A context has at least one token, not {ctx}.")
    with progress.bar() as told:
        facts = models.show(model, remote=True, progress=told)
    here = outlook(facts, ctx)
    if as_json:
        print_json({**facts, "outlook": here})
    else:
        output.write(_described(facts, here))


def _described(facts: dict[str, Any], here: dict[str, Any]) -> str:
    """What a person wants to know before running a model."""
    from ..units import human_count, human_size

    def of(value: int | None) -> str:
        return human_size(value) if value is not None else "?"

    mix = facts["quantization"] or {}
    spread = ", ".join(f"{kind} {share:.0%}" for kind, share in _shares(mix))
    parameters = facts["parameters"]
    fits = {
        "yes": f"yes, {of(here['available'])} of memory are available",
        "tight": f"only if other programs make room: {of(here['available'])} of {of(here['total'])} are available",
        "no": f"no, this machine has {of(here['total'])}; it would run from the disk, slowly, if at all",
    }.get(here["fits"], "?")
    speed = here["tokens_per_second"]
    bandwidth = here["bandwidth_bytes_per_second"]
    lines = {
        "name": facts["name"],
        "title": facts["title"],
        "file": facts["path"] or f"not downloaded yet; pocketllama pull {facts['name']}",
        "size": human_size(facts["size"]),
        "architecture": facts["architecture"],
        "parameters": human_count(parameters) if parameters else None,
        "layers": facts["layers"],
        "context": _context(facts["context_length"], here["context_length"]),
        "vocabulary": f"{facts['vocab_size']} tokens ({facts['tokenizer']})" if facts["vocab_size"] else None,
        "quantization": f"{spread}; {8 * facts['size'] / parameters:.2f} bits a weight" if parameters and mix else None,
        "chat template": {True: "its own", False: "none in the file"}.get(facts["chat_template"]),
        "licence": facts["licence"] or "not stated",
        "memory": f"{of(here['need'])} with a context of {here['context_length']} tokens",
        "of it": f"weights {of(here['weights'])}, cache {of(here['cache'])}, arrays {of(here['arrays'])}",
        "fits": fits,
        "speed": _speed(speed, bandwidth) if speed else None,
    }
    return "".join(f"{key + ':':<15} {value}\n" for key, value in lines.items() if value is not None)


def _context(trained: int | None, asked: int) -> str | None:
    if not trained:
        return None
    return f"{trained} tokens" + (f": less than the {asked} asked for" if asked > trained else "")


def _speed(tokens_per_second: float, bandwidth: float) -> str:
    """What memory allows: of a model that fits the processor's caches, that is not what bounds it."""
    if tokens_per_second > 1000:
        return "more than a thousand tokens/s"
    return f"about {tokens_per_second:.0f} tokens/s, of {bandwidth / 1e9:.0f} GB/s that memory gives"


def _shares(mix: dict[str, dict[str, int]]) -> list[tuple[str, float]]:
    """Type → its share of the bytes, of those that have any to speak of."""
    total = sum(entry["bytes"] for entry in mix.values()) or 1
    return [(kind, entry["bytes"] / total) for kind, entry in mix.items() if entry["bytes"] >= total / 200]


def rm(model: str) -> None:
    """Delete a model from this machine."""
    from .. import models

    for path in models.remove(model):
        output.write(f"{path}\n")


VERBS: dict[str, Verb] = {
    "pull": Verb(
        pull,
        "Fetch a model, verify it, and print its path. What is there already is not fetched again.",
        ("model",),
        options=(JSON,),
        examples=("pocketllama pull tinyllama", "pocketllama pull hf:TheBloke/Llama-2-7B-GGUF:Q4_K_M"),
        details=NAMES,
    ),
    "list": Verb(
        list_models,
        "List the models on this machine.",
        options=(Option("known", ("--known",), bool, "the aliases that can be pulled, with size and licence"), JSON),
        examples=("pocketllama list --known",),
        aliases=("ls",),
    ),
    "show": Verb(
        show,
        "Tell what a model is, whether it fits this machine, and about how fast it will be.",
        ("model",),
        options=(
            Option("ctx", ("-c", "--ctx"), int, "memory for a context of N tokens (its own, up to 4096)", "N"),
            JSON,
        ),
        examples=("pocketllama show tales", "pocketllama show hf:TheBloke/Llama-2-7B-GGUF:Q4_K_M -c 2048"),
        details=(
            "A model of the hub need not be downloaded: its header is enough, a few megabytes. The speed is that of\n"
            "generating, from how fast memory is read here, which is measured once."
        ),
    ),
    "rm": Verb(rm, "Delete a model from this machine, and print what was deleted.", ("model",)),
}
