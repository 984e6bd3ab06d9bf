"""config.json and params.json, asked key by key, each value checked before it is believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelInvalid, ModelNotFound, StorageError
from ..units import human_size
from .range_file import refuse_pointer

_MAX_SIZE = 64 << 20  # bytes; a tokenizer.json of a quarter of a million tokens has 35 MB
_MOST = 2**31
_AGAIN = "Download it again."


def read_json(path: Path, most: int = _MAX_SIZE) -> dict[str, Any]:
    """The JSON object in a file of at most `most` bytes. ModelNotFound, StorageError, ModelInvalid."""
    try:
        with path.open("rb") as f:
            data = f.read(most + 1)
    except FileNotFoundError as e:
        raise ModelNotFound(f"There is no {path.name} in {path.parent}.") from e
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    if len(data) > most:
        raise ModelInvalid(f"{path.name} is larger than the {human_size(most)} that such a file may have.")
    refuse_pointer(path.name, data)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ModelInvalid(f"{path.name} is {'empty' if not data else 'not a JSON object'}.", remedy=_AGAIN)
    return value


class Config:
    """A JSON object with typed access. Several keys are names of one thing in different models: the first counts.

    A value of null is the same as none. ModelInvalid names the key and what was found.
    """

    def __init__(self, values: Mapping[str, Any], file: str) -> None:
        self.values, self.file = values, file

    def get(self, *keys: str) -> Any:
        """The value as it is; None where there is none."""
        for key in keys:
            if self.values.get(key) is not None:
                return self.values[key]
        return None

    def sub(self, key: str) -> Config:
        """The object under a key; an empty one where there is none."""
        value = self.get(key)
        if value is not None and not isinstance(value, dict):
            raise self._wrong((key,), "an object", value)
        return Config(value or {}, f"{self.file}: {key}")

    def size(self, *keys: str, default: int | None = None, zero: bool = False) -> int:
        value = self.get(*keys)
        value = default if value is None else value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not (0 if zero else 1) <= value < _MOST:
            raise self._wrong(keys, f"a whole number from {0 if zero else 1} on", value)
        return value

    def real(self, *keys: str, default: float | None = None, zero: bool = False) -> float:
        value = self.get(*keys)
        value = default if value is None else value
        if type(value) in (int, float) and (1e-30 < value < 3e38 or (zero and value == 0)):  # type: ignore[operator]
            return float(value)  # type: ignore[arg-type]
        raise self._wrong(keys, "a positive number", value)

    def flag(self, *keys: str, default: bool) -> bool:
        value = self.get(*keys)
        value = default if value is None else value
        if type(value) is not bool:
            raise self._wrong(keys, "true or false", value)
        return value

    def text(self, *keys: str, default: str) -> str:
        value = self.get(*keys)
        value = default if value is None else value
        if type(value) is not str:
            raise self._wrong(keys, "a text", value)
        return value

    def reals(self, *keys: str) -> list[float]:
        """A list of numbers; empty where there is none."""
        value = self.get(*keys) or []
        if not isinstance(value, list) or not all(type(x) in (int, float) and abs(x) < 3e38 for x in value):
            raise self._wrong(keys, "a list of numbers", value)
        return [float(x) for x in value]

    def _wrong(self, keys: tuple[str, ...], wanted: str, found: object) -> ModelInvalid:
        return ModelInvalid(f"{self.file}: {keys[0]!r} should be {wanted}, found {shown(found)}.")


def shown(value: object) -> str:
    """A value as a message may show it; a nested one could be very long or deep."""
    return ascii(value)[:60] if isinstance(value, (int, float, str, type(None))) else f"a {type(value).__name__}"
