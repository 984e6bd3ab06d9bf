"""`pocketllama chat`: puts the parts together."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

from .. import output
from ..chat import Facts
from ..chat import choose as choose_template
from . import lines
from .choose import FALLBACK, Choice, choose
from .commands import Commands, model_of
from .screen import Screen
from .talk import Setup, Talk


def chat(
    model: str | None,
    load: Callable[[str], Any],
    options: Mapping[str, Any],
    *,
    system: str | None = None,
    saved: str | None = None,
    stats: bool = False,
) -> int:
    """Chat until the input ends; the exit code: that of the first turn that failed, where no terminal shows it.

    `options` are those of `LLM.chat`; `load` gives the LLM of a name; `saved` is a kept conversation to go on with.
    """
    if template := options.get("template"):
        choose_template(Facts(), template)  # a name that is none is said before anything is loaded
    keyboard = sys.stdin is not None and sys.stdin.isatty()
    screen = Screen(live=keyboard and output.stream().isatty())
    ask = lines.yes if keyboard and sys.stderr.isatty() else None
    if saved and not model:
        model = model_of(saved)
    story = not (template or system)
    choice = Choice(model, story=story and model == FALLBACK) if model else choose(screen.say, ask)
    with closing(Talk(Setup(load, options, system, stats), choice, screen)) as talk:
        commands = Commands(ask)
        if saved:
            commands(talk, f"/load {saved}")
        if not screen.live:
            talk.listen(lines.from_pipe(), commands)
            return talk.exit_code
        talk.introduce()
        screen.say("/help lists the commands, Ctrl-D ends.")
        talk.listen(_typed(lines.Editor(list(commands.table))), commands)
    return 0


def _typed(editor: lines.Editor) -> Iterator[str]:
    while (line := editor.ask()) is not None:
        yield line
