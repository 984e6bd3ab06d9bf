"""The commands. One verb is one function that calls one part of the library; `VERBS` is what `--help` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from .. import output
from ..argv import Command, Verb, fitted, parse, usage
from . import bench, chat, convert, cost, house, models, quantize, run, serve

# In the order of the help: what one does with a model, with models, with files, and with the program.
_ROOMS = (run, chat, serve, models, convert, quantize, cost, bench, house)
VERBS: dict[str, Verb] = {name: verb for room in _ROOMS for name, verb in room.VERBS.items()}


def overview() -> str:
    """What `pocketllama --help` prints."""
    width = max(map(len, VERBS))
    lines = ["pocketllama: run language models on this computer", "", 'Usage: pocketllama "PROMPT"', ""]
    lines += ["       pocketllama COMMAND [OPTIONS]", "", "Commands:"]
    lines += [f"  {name:<{width}}  {verb.summary}" for name, verb in VERBS.items()]
    lines += ["", "Examples:", *(f"  {e}" for e in VERBS["run"].examples)]
    lines += ["", "pocketllama COMMAND --help tells more about one. Exit codes: docs/cli.md.", ""]
    return "\n".join(lines)


def _columns() -> int | None:
    """How wide the terminal is that reads the answer; None if none does."""
    try:
        return os.get_terminal_size(output.protocol_fd()).columns or None
    except OSError:
        return None


def execute(argv: Sequence[str]) -> None:
    """Do what a command line says. Errors and SystemExit are the caller's."""
    command: Command = parse(argv, VERBS, "run")
    if command.wants_help:
        text = overview() if command.verb is None else usage(command.verb, VERBS[command.verb])
        output.write(fitted(text, _columns()))
        return
    import fire  # not before it is needed: --help answers without it

    verb = VERBS[str(command.verb)]
    # Every value arrives as the JSON that for_fire wrote, so that none is guessed at.
    function = fire.decorators.SetParseFn(json.loads)(verb.call)
    fire.Fire({str(command.verb): function}, command=command.for_fire(), name="pocketllama")
