"""Commands about pocketllama itself: js, doctor, setup, build, version."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .. import output
from .._version import __version__
from ..argv import Option, Verb
from .common import JSON, print_json


def js(script: str, args: Sequence[str] = ()) -> None:
    """Run a JavaScript file in which `import "pocketllama"` works."""
    from .. import node

    raise SystemExit(node.run(Path(script), args))


def doctor(as_json: bool = False, no_setup: bool = False) -> None:
    """Look at everything that must be there."""
    from .. import doctor as checks

    report = checks.examine()
    if as_json:
        print_json(report)
    else:
        output.write(checks.render(report))
    if report["problems"]:
        raise SystemExit(1)


def setup() -> None:
    """The npx entry does this itself; a Python that can run this line is set up."""
    output.write(f"pocketllama {__version__} is installed in {sys.prefix}; there is nothing to set up.\n")


def build() -> None:
    """Build the engine's own library."""
    from ..engine import build as builder

    path = builder.build(lambda line: print(f"pocketllama: {line} …", file=sys.stderr, flush=True))
    output.write(f"{path}\n")


def version() -> None:
    """Print the version."""
    output.write(f"pocketllama {__version__}\n")


VERBS: dict[str, Verb] = {
    "js": Verb(
        js,
        'Run a JavaScript file in which import "pocketllama" works, with Node from PATH or from the extra "node".',
        ("script",),
        rest=True,
        examples=("pocketllama js story.mjs",),
    ),
    "doctor": Verb(
        doctor,
        "Say what was found (Node, Python, environment, library, models, disk, memory) and what is wrong.",
        options=(JSON, Option("no_setup", ("--no-setup",), bool, "only look; do not create the environment")),
    ),
    "setup": Verb(
        setup,
        "Create the Python environment and build the engine now (npx pocketllama does it at its first run).",
        details="Options of the npx entry: --wheelhouse DIR, --offline, --force; see docs/install.md.",
    ),
    "build": Verb(
        build,
        "Build the engine's own library with this machine's C++ compiler (npx pocketllama does it at its first run).",
        details="Takes $CXX, c++, g++ or clang++ on PATH (GCC 10, Clang 11 or newer), or zig of the package ziglang;\n"
        "the npx entry brings that where there is no other. POCKETLLAMA_BUILD=0 keeps the npx entry from building.",
    ),
    "version": Verb(version, "Print the version."),
}
