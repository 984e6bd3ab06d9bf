"""Checks the parameters of a method against its list, so that a handler only sees values of the right kind."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..engine.options import check_text
from ..errors import UsageError

Check = Callable[[str, Any], Any]


@dataclass(frozen=True)
class Param:
    """One parameter: how it is checked, and whether it must be there. null counts as absent."""

    check: Check
    required: bool = False


def text(name: str, value: Any) -> str:
    return check_text(name, value)


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{name} must be true or false, not {value!r:.80}.")
    return value


def integers(name: str, value: Any) -> list[int]:
    if not isinstance(value, list) or not all(isinstance(v, int) and not isinstance(v, bool) for v in value):
        raise UsageError(f"{name} must be an array of whole numbers.")
    return value


def text_or_integers(name: str, value: Any) -> str | list[int]:
    if isinstance(value, str):
        return check_text(name, value)
    if isinstance(value, list):
        return integers(name, value)
    raise UsageError(f"{name} must be a string or an array of token ids, not {value!r:.80}.")


def objects(name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise UsageError(f"{name} must be an array of objects.")
    return value


def an_object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name} must be an object, not {value!r:.80}.")
    return value


def anything(name: str, value: Any) -> Any:
    """For values that have their own check further in."""
    return value


def take(params: Mapping[str, Any], spec: Mapping[str, Param]) -> dict[str, Any]:
    """The checked parameters; absent ones are left out. UsageError for a wrong, missing or unknown one."""
    for name in params:
        if name not in spec and not name.startswith("_"):  # `_meta` and the like belong to the client
            near = difflib.get_close_matches(name, spec, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The parameters are {', '.join(spec) or 'none'}."
            raise UsageError(f"Unknown parameter {name[:80]!r}.", remedy=hint)
    missing = [name for name, p in spec.items() if p.required and params.get(name) is None]
    if missing:
        raise UsageError(f"The parameter {missing[0]} is missing.")
    return {name: p.check(name, params[name]) for name, p in spec.items() if params.get(name) is not None}
