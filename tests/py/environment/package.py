"""A copy of the package that sets itself up in a second and without a network.

Its locks name a few tiny wheels, made here and installed from a folder; its Python side tells what it was started with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[3]
NODE = shutil.which("node")
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
PATIENCE = 180

MAIN = """
import json, os, signal, sys, time
def tell():
    kept = {k: v for k, v in os.environ.items() if k.startswith(("POCKETLLAMA_", "PYTHON"))}
    facts = {"argv": sys.argv[1:], "env": kept, "prefix": sys.prefix, "path": sys.path, "version": sys.version_info[:2]}
    print(json.dumps(facts), flush=True)
def build(how):
    home = os.environ["POCKETLLAMA_HOME"]
    def say(text): print(f"pocketllama: {text}", file=sys.stderr, flush=True)
    with open(os.path.join(home, "builds"), "a") as log: log.write(f"{os.getpid()}\\n")
    say("building the engine with fake …")
    match how:
        case "badly": sys.exit(say("abi.cc could not be compiled (no such header):\\nand more\\n  a remedy") or 6)
        case "forever": time.sleep(600)
        case "slowly": time.sleep(2)
        case "zig":
            try: import ziglang
            except ImportError: sys.exit(say("No C++20 compiler could be used (none).\\n  a remedy") or 6)
    library = os.path.join(home, "native", "fake", "library")
    os.makedirs(os.path.dirname(library), exist_ok=True)
    open(library, "w").close()
    print(library)
match sys.argv[1:]:
    case ["build"]: build(os.environ.get("FAKE_BUILD"))
    case ["leave", code]: sys.exit(int(code))
    case ["die", number]: os.kill(os.getpid(), int(number))
    case ["wait", *_]:
        def stop(number, frame):
            os.write(1, f"signal {number}\\n".encode())  # print may be what it interrupted
            sys.exit(9)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, stop)
        os.write(1, b"waiting\\n")
        while True: time.sleep(1)
    case ["convert", *_]:
        import extra, tiny
        print(extra.NAME, tiny.NAME)
    case ["import", name]: print(__import__(name).__file__)
    case _: tell()
"""


def make_wheel(folder: Path, name: str, files: dict[str, str]) -> str:
    """A wheel of version 1.0; its line in a lock."""
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
        for path, text in files.items()
    )
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


class Package:
    """The copy, a home and a PATH to run it with."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "päckage"
        self.home = folder / "hömé dir"
        self.wheels = folder / "wheels"
        self.bin = folder / "bin"
        for path in (self.wheels, self.bin, self.root / "py" / "pocketllama", self.root / "py" / "locks"):
            path.mkdir(parents=True)
        for name in ("js", "bin"):
            shutil.copytree(REPO / name, self.root / name)
        shutil.copy(REPO / "package.json", self.root)
        shutil.copy(REPO / "py" / "pocketllama" / "_version.py", self.root / "py" / "pocketllama")
        (self.root / "py" / "pocketllama" / "__init__.py").touch()
        (self.root / "py" / "pocketllama" / "__main__.py").write_text(MAIN)
        tiny = make_wheel(self.wheels, "tiny", {"tiny.py": "NAME = 'tiny'\n"})
        extra = make_wheel(self.wheels, "extra", {"extra.py": "NAME = 'extra'\n"})
        tests = "import sys, os; print('pytest', sys.argv[1:], os.getcwd()); sys.exit(6)\n"
        pytest_ = make_wheel(self.wheels, "pytest", {"pytest.py": tests})
        for layer, lines in {
            "base": [tiny],
            "convert": [extra, tiny],
            "node": [tiny],
            "serve": [tiny],
            "test": [extra, pytest_, tiny],
        }.items():
            (self.root / "py" / "locks" / f"{layer}.txt").write_text("".join(lines))
        self.link("python3", BASE)

    def add_sources(self) -> None:
        """Something to build an engine from, as far as Node can tell."""
        for name in ("include/pocketllama.h", "src/abi.cc"):
            path = self.root / "native" / name
            path.parent.mkdir(parents=True)
            path.write_text(f"// {name}\n")

    def link(self, name: str, target: str) -> None:
        (self.bin / name).symlink_to(target)

    def script(self, name: str, text: str) -> Path:
        """An executable on PATH; on a PATH of its own it still has the shell."""
        path = self.bin / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def environ(self, **env: Any) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "UV_", "VIRTUAL_ENV"))}
        kept |= {"PATH": str(self.bin), "POCKETLLAMA_HOME": str(self.home)}
        return {k: v for k, v in {**kept, **env}.items() if v is not None}

    def command(self, *args: str) -> list[str]:
        assert NODE
        return [NODE, str(self.root / "bin" / "pocketllama.js"), *args]

    def run(self, *args: str, cwd: Path | None = None, **env: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*args),
            env=self.environ(**env),
            cwd=cwd or self.root.parent,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *args: str, **env: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*args),
            env=self.environ(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def setup(self, *args: str, **env: Any) -> subprocess.CompletedProcess[str]:
        done = self.run("setup", "--wheelhouse", str(self.wheels), *args, **env)
        assert done.returncode == 0, done.stderr
        return done

    @property
    def envs(self) -> Path:
        return self.home / "envs"

    def environments(self) -> list[Path]:
        return sorted(path for path in self.envs.iterdir() if path.is_dir() and not path.name.startswith("."))

    def leftovers(self) -> list[str]:
        return [path.name for path in self.envs.iterdir() if path.name.startswith(".")]

    def assert_sound(self, environments: int = 1) -> None:
        """What there is is complete, and nothing else is there."""
        assert self.leftovers() == []
        assert len(self.environments()) == environments
        for path in self.environments():
            record = json.loads((path / "READY").read_text())
            assert record["key"] == path.name
            subprocess.run(
                [path / record["python"], "-c", "import tiny"], check=True, timeout=PATIENCE, env=self.environ()
            )


def facts(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
