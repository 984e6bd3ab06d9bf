"""Looks at everything that must be there, and says what is wrong and what to do about it."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Any

from . import models
from ._version import __version__
from .engine import build, cpu, native, own
from .errors import PocketllamaError
from .paths import data_dir
from .units import available_memory, free_disk, human_size, total_memory

_LITTLE_DISK = 1 << 30
_LITTLE_MEMORY = 512 << 20
_SHOWN_FLAGS = ("avx", "f16c", "fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")


def examine() -> dict[str, Any]:
    """Plain values: what was found, and under `problems` what is wrong, each with a remedy."""
    problems: list[dict[str, str]] = []
    launcher = _launcher()
    report: dict[str, Any] = {
        "version": __version__,
        "platform": {"system": platform.system(), "machine": cpu.machine(), "cores": cpu.physical_cores()},
        "node": launcher.get("node") or _node(),
        "python": sys.executable,
        "python_version": platform.python_version(),
        "environment": launcher.get("environment"),
        "library": _library(problems),
        "engine": _engine(problems),
        "models": _models(problems),
        "disk": _disk(problems),
        "memory": _memory(problems),
        "problems": problems,
    }
    return report


def _launcher() -> dict[str, Any]:
    """What the npx entry knows of itself and of the environment it made."""
    try:
        told = json.loads(os.environ.get("POCKETLLAMA_DOCTOR", "{}"))
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _node() -> dict[str, str] | None:
    from . import node

    path = node.find()
    return {"path": str(path), "version": ".".join(map(str, node.version(path) or ()))} if path else None


def _library(problems: list[dict[str, str]]) -> dict[str, Any] | None:
    """The library that would be used, and whether it can be loaded."""
    found: dict[str, Any] = {"cpu": [f for f in _SHOWN_FLAGS if f in cpu.isa_flags()]}
    try:
        library = native.find()
        found |= library.as_json()
        found |= own.identify(library, native.load(library)).as_json()
    except PocketllamaError as e:
        problems.append(_problem(e))
    return found


def _engine(problems: list[dict[str, str]]) -> dict[str, Any]:
    """Our own library: where it is and what built it, or why it is not here."""
    path, failure = native.find_own(), build.failure()
    if path is None and failure:
        problems.append(
            {
                "what": f"The engine could not be built: {failure}.",
                "remedy": "Mend that, or install another compiler (Debian: apt install g++); then: pocketllama build",
            }
        )
    built = build.how() if path == build.find() else "came with the package"
    return {"path": str(path) if path else None, "built": built if path else None, "failure": failure}


def _models(problems: list[dict[str, str]]) -> list[dict[str, Any]]:
    try:
        return [{"name": m.name, "size": m.size, "path": str(m.path)} for m in models.list_models()]
    except PocketllamaError as e:
        problems.append(_problem(e))
        return []


def _disk(problems: list[dict[str, str]]) -> dict[str, Any]:
    place = data_dir()
    free = free_disk(place)
    if free is not None and free < _LITTLE_DISK:
        problems.append(
            {
                "what": f"Only {human_size(free)} are free on the disk of {place}.",
                "remedy": "Free some, or point POCKETLLAMA_HOME and HF_HOME at another disk.",
            }
        )
    return {"path": str(place), "free_bytes": free}


def _memory(problems: list[dict[str, str]]) -> dict[str, Any]:
    free = available_memory()
    if free is not None and free < _LITTLE_MEMORY:
        problems.append(
            {
                "what": f"Only {human_size(free)} of memory are available.",
                "remedy": "Close other programs, or choose a smaller model.",
            }
        )
    return {"total_bytes": total_memory(), "available_bytes": free}


def _problem(e: PocketllamaError) -> dict[str, str]:
    return {"what": str(e), "remedy": e.remedy or ""}


def _state(engine: dict[str, Any]) -> str:
    if engine["path"]:
        return f"{engine['built'] or 'built here'} ({engine['path']})"
    return f"not built: {engine['failure']}" if engine["failure"] else f"not here. {build.advice()}"


def render(report: dict[str, Any]) -> str:
    """The report as a person reads it."""
    library, node, environment = report["library"], report["node"], report["environment"]
    memory, disk, machine = report["memory"], report["disk"], report["platform"]

    def size(n: int | None) -> str:
        return "unknown" if n is None else human_size(n)

    rows = [
        ("pocketllama", report["version"]),
        ("machine", f"{machine['system']} {machine['machine']}, {machine['cores']} cores; {' '.join(library['cpu'])}"),
        ("memory", f"{size(memory['available_bytes'])} available of {size(memory['total_bytes'])}"),
        ("disk", f"{size(disk['free_bytes'])} free at {disk['path']}"),
        (
            "node",
            f"{node['version'].removeprefix('v')} ({node['path']})"
            if node
            else "none (only JavaScript programs need it)",
        ),
        ("python", f"{report['python_version']} ({report['python']})"),
        ("environment", environment["path"] if environment else "this Python's own"),
        ("library", f"{library['kind']} {library['isa']} ({library['path']})" if "path" in library else "none"),
        ("engine", _state(report["engine"])),
        *(("model", f"{m['name']} ({human_size(m['size'])})") for m in report["models"]),
    ]
    lines = [f"{name:<12} {value}" for name, value in rows]
    for problem in report["problems"]:
        lines += ["", f"✗ {problem['what']}", *([f"  {problem['remedy']}"] if problem["remedy"] else [])]
    if not report["problems"]:
        lines += ["", "✓ Nothing is wrong."]
    return "\n".join(lines) + "\n"
