"""Writes the help texts of docs/cli.md again, in place: PYTHONPATH=py python docs/help.py

The overview is the first block of the page, each command's text the first block under its heading. A command without a
heading gets one, in the order of the overview.
"""

from __future__ import annotations

import re
from pathlib import Path

from pocketllama.argv import usage
from pocketllama.cli import VERBS, overview

PAGE = Path(__file__).with_name("cli.md")
_BLOCK = re.compile(r"^```\n.*?^```\n", re.MULTILINE | re.DOTALL)


def block(text: str) -> str:
    return f"```\n{text.rstrip()}\n```\n"


def main() -> None:
    page = PAGE.read_text()
    # What stands before the first command, each command's section, and what follows the last one.
    head, *parts = re.split(r"^(?=## )", page, flags=re.MULTILINE)
    sections = {part.partition("\n")[0].removeprefix("## "): part for part in parts}
    written = [_BLOCK.sub(lambda _: block(overview()), head, count=1)]
    for name, verb in VERBS.items():
        section = sections.pop(name, f"## {name}\n\n{block('')}\n")
        text = block(usage(name, verb))
        written.append(_BLOCK.sub(lambda _, text=text: text, section, count=1))
    PAGE.write_text("".join(written + list(sections.values())))


if __name__ == "__main__":
    main()
