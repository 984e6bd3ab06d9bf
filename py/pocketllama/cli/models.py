"""Commands for the models on this machine: pull, list, show, rm."""

from __future__ import annotations

import json

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


def show(model: str, as_json: bool = False) -> None:
    """Tell what a model is."""
    from .. import models

    facts = models.show(model)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        if value is not None:
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            output.write(f"{key + ':':<22} {shown}\n")


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
        "Tell what a model is: architecture, size, quantization, licence.",
        ("model",),
        options=(JSON,),
        examples=("pocketllama show tales",),
    ),
    "rm": Verb(rm, "Delete a model from this machine, and print what was deleted.", ("model",)),
}
