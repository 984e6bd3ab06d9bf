"""ctransformers' own classes, without the half second that importing its package costs.

`import ctransformers` also imports its hub module and with it huggingface_hub and an HTTP stack, which a local file
never needs. Here the package object is made without running its `__init__`; the names that `__init__` would have
brought (`AutoModelForCausalLM`, …) are imported when somebody asks for them, so other code sees the package it knows.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from ..errors import EngineError

_HUB_NAMES = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")


def _package() -> Any:
    if (loaded := sys.modules.get("ctransformers")) is not None:
        return loaded
    spec = importlib.util.find_spec("ctransformers")
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(
            "The package ctransformers is not installed in this Python.", remedy="pip install ctransformers==0.2.27"
        )
    package: Any = importlib.util.module_from_spec(spec)

    def on_demand(name: str) -> Any:
        if name in _HUB_NAMES:
            return getattr(importlib.import_module("ctransformers.hub"), name)
        raise AttributeError(f"module 'ctransformers' has no attribute {name!r}")

    package.__getattr__ = on_demand
    sys.modules["ctransformers"] = package
    try:
        llm = importlib.import_module("ctransformers.llm")
    except BaseException:
        del sys.modules["ctransformers"]
        raise
    package.LLM, package.Config = llm.LLM, llm.Config
    return package


_ctransformers = _package()
Config: Any = _ctransformers.Config
StockLLM: Any = _ctransformers.LLM
LIBRARY_FOLDER = Path(_ctransformers.__path__[0]) / "lib"
