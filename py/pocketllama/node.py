"""Node for people who came by pip: find one, and run a script in which `import "pocketllama"` works."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import EngineError, UsageError
from .paths import PACKAGE

OLDEST = 18


def find() -> Path | None:
    """A Node of version 18 or newer: the one that started us, one on PATH, or that of the extra `node` (nodejs-bin)."""
    candidates = [_launcher(), shutil.which("node"), _packaged()]
    return next((Path(c) for c in candidates if c and (version(Path(c)) or (0,))[0] >= OLDEST), None)


def _launcher() -> str | None:
    """The npx entry says which Node runs it."""
    try:
        path = json.loads(os.environ.get("POCKETLLAMA_NODE", "{}"))["path"]
    except (ValueError, KeyError, TypeError):
        return None
    return path if isinstance(path, str) else None


def _packaged() -> str | None:
    # Its place is all we need, so it is not imported.
    spec = importlib.util.find_spec("nodejs")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0])
    path = folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"
    return str(path) if path.is_file() else None


def version(node: Path) -> tuple[int, ...] | None:
    """The version of the Node at `node`, None if it does not answer like one."""
    try:
        out = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
        return tuple(int(part) for part in out.strip().removeprefix("v").split("."))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def js_folder() -> Path:
    """Where the JavaScript side lies: in the wheel beside us, in a checkout at its top."""
    packaged = PACKAGE / "_node" / "js"
    return packaged if packaged.is_dir() else PACKAGE.parent.parent / "js"


def run(script: Path, args: Sequence[str]) -> int:
    """Run `script` with `args`; its exit code. The script's output is this process' real standard output."""
    from . import output

    if not script.is_file():
        raise UsageError(f"There is no script at {script}.")
    node = find()
    if node is None:
        raise EngineError(
            f"No Node of version {OLDEST} or newer was found on PATH.",
            remedy="Install one from nodejs.org, or: pip install 'pocketllama[node]'",
        )
    env = {
        **os.environ,
        # The script's runner is this very installation; nothing is set up anew.
        "POCKETLLAMA_RUNNER": json.dumps([sys.executable, "-m", "pocketllama"]),
        "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    command = [str(node), str(js_folder() / "run.mjs"), str(script), *args]
    process = subprocess.Popen(command, env=env, stdout=output.protocol_fd())
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            continue  # the terminal told Node too; it decides
