"""The environment variables that say where models are and what may be asked for. Read at each call, never cached."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from pocketllama.errors import UsageError


def flag(name: str) -> bool:
    """Whether a variable says yes (1, on, yes, true; as huggingface_hub reads them)."""
    return os.environ.get(name, "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def offline() -> str | None:
    """The variable that forbids the network, or None."""
    names = ("POCKETLLAMA_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((name for name in names if flag(name)), None)


def endpoint() -> str:
    """The hub's address without a final slash: HF_ENDPOINT, or https://huggingface.co."""
    url = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"HF_ENDPOINT={url!r} is no web address", remedy="unset it, or use https://huggingface.co")
    return url


def hub_cache() -> Path:
    """huggingface_hub's cache by its own rules, without importing it (that would slow every start)."""

    def expanded(path: str) -> str:
        return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111

    base = os.environ.get("XDG_CACHE_HOME", str(Path("~") / ".cache"))
    home = expanded(os.environ.get("HF_HOME", str(Path(base) / "huggingface")))
    legacy = os.environ.get("HUGGINGFACE_HUB_CACHE", str(Path(home) / "hub"))
    return Path(expanded(os.environ.get("HF_HUB_CACHE", legacy))).absolute()
