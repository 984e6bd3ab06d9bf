"""Draws docs/terminal.svg: a terminal in which the README's first commands run. What is shown was printed by them.

python docs/terminal.py            # in a checkout, with node on PATH
"""

from __future__ import annotations

import html
import os
import subprocess
import tempfile
import textwrap
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
WIDTH, LINE, COLUMNS = 860, 22, 94
COLOURS = {"prompt": "#7ee787", "typed": "#e6edf3", "dim": "#8b949e", "answer": "#e6edf3"}

COMMANDS = [
    ['"Once upon a time"', "-n", "60", "--seed", "3"],
    ["run", '"The king said"', "-n", "24", "--temp", "0", "--json"],
]


def run(args: list[str], home: str) -> tuple[str, str]:
    """What a command writes: standard output and standard error."""
    words = [a.strip('"') for a in args]
    env = {**os.environ, "POCKETLLAMA_HOME": home}
    done = subprocess.run(["node", "bin/pocketllama.js", *words], cwd=REPO, env=env, capture_output=True, text=True)
    return done.stdout, done.stderr


def lines() -> list[tuple[float, list[tuple[str, str]]]]:
    """(seconds after the one before it, spans of (colour, text)) for each line."""
    out: list[tuple[float, list[tuple[str, str]]]] = []
    with tempfile.TemporaryDirectory() as home:
        for args in COMMANDS:
            answer, remarks = run(args, home)
            out.append((1.2, [("prompt", "$ "), ("typed", "npx pocketllama " + " ".join(args))]))
            out += [(0.7, [("dim", line)]) for line in remarks.splitlines()]
            text = answer.rstrip("\n")
            if "--json" not in args:
                text = args[0].strip('"') + text
            out += [(0.35, [("answer", line)]) for line in textwrap.wrap(text, COLUMNS)]
            out.append((0.6, []))
    return [*out, (0.3, [("prompt", "$ ")])]


def svg() -> str:
    shown = lines()
    height = 64 + LINE * len(shown)
    body, at = [], 0.3
    for i, (wait, spans) in enumerate(shown):
        at += wait
        words = "".join(f'<tspan fill="{COLOURS[c]}">{html.escape(t)}</tspan>' for c, t in spans)
        attributes = f'x="20" y="{62 + LINE * i}" xml:space="preserve" class="l" style="animation-delay:{at:.2f}s"'
        body.append(f"<text {attributes}>{words}</text>")
    dots = "".join(
        f'<circle cx="{22 + 20 * i}" cy="20" r="6" fill="{c}"/>'
        for i, c in enumerate(("#ff5f56", "#ffbd2e", "#27c93f"))
    )
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">
<title>pocketllama in a terminal</title>
<style>
.l {{ font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; animation: show .2s both }}
@keyframes show {{ from {{ opacity: 0 }} to {{ opacity: 1 }} }}
@media (prefers-reduced-motion: reduce) {{ .l {{ animation: none }} }}
</style>
<rect width="{WIDTH}" height="{height}" rx="10" fill="#0d1117"/>
{dots}
{os.linesep.join(body)}
</svg>
"""


if __name__ == "__main__":
    (REPO / "docs" / "terminal.svg").write_text(svg(), encoding="utf-8")
