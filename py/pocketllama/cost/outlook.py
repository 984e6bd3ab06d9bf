"""What to expect of a model on this machine: the memory that it needs, whether that is there, about how fast it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..engine import cpu, native, own
from ..errors import PocketllamaError
from ..paths import data_dir
from ..units import available_memory, total_memory

DEFAULT_CONTEXT = 4096
# Of the measured bandwidth, what decoding reaches: the share that `pocketllama bench` shows, as a rule.
_REACHED = 0.6
_PROBE = 2  # which way of measuring: what an older one found is measured again
_ROWS = 256  # tokens that are evaluated together


def outlook(facts: Mapping[str, Any], n_ctx: int | None = None, *, threads: int | None = None) -> dict[str, Any]:
    """Of the model of which `facts` are what models.show() says, with a context of `n_ctx` tokens.

    context_length; bytes: weights, cache, arrays and need (their sum), available and total (null where the system does
    not say); fits: "yes", "tight" (other programs would have to make room), "no", or null; bandwidth and
    tokens_per_second, null where our own library is not there to measure them. What cannot be told from the header is
    null.
    """
    trained = facts.get("context_length")
    known = trained if isinstance(trained, int) and trained > 0 else None
    context = n_ctx or min(known or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    per_token, width = facts.get("kv_bytes_per_token"), facts.get("embedding_length")
    cache = context * per_token if per_token is not None else None
    vocab = facts.get("vocab_size")
    vocab = vocab if isinstance(vocab, int) else 0
    # About: the residual stream, queries, keys and values, the feed-forward block's inside, and a row of logits.
    arrays = 4 * (min(_ROWS, context) * 16 * width + vocab) if isinstance(width, int) else None
    need = facts["size"] + (cache or 0) + (arrays or 0)
    bandwidth = _bandwidth(cpu.default_threads() if threads is None else threads)
    read = facts.get("weight_bytes_per_token")
    speed = None
    if bandwidth and read:
        speed = _REACHED * bandwidth / (read + (per_token or 0) * min(context, 512))
    available, total = available_memory(), total_memory()
    return {
        "context_length": context,
        "weights": facts["size"],
        "cache": cache,
        "arrays": arrays,
        "need": need,
        "available": available,
        "total": total,
        "fits": _fits(need, available, total),
        "bandwidth_bytes_per_second": bandwidth,
        "tokens_per_second": speed,
    }


def _fits(need: int, available: int | None, total: int | None) -> str | None:
    if available is not None and need <= available:
        return "yes"
    if total is None:
        return None
    return "tight" if need <= 0.9 * total else "no"


def _bandwidth(threads: int) -> float | None:
    """Bytes a second that these threads read together: measured once for a processor, and remembered."""
    place = data_dir() / "bandwidth.json"
    key = f"{cpu.name()}, {threads} threads, probe {_PROBE}"
    with suppress(OSError, ValueError, TypeError, AttributeError):
        value = json.loads(place.read_text()).get(key)
        if isinstance(value, int | float) and 1e8 < value < 1e13:
            return float(value)
    try:
        library = native.find()
        measured = own.probe(own.bind(native.load(library)), "bandwidth", threads)
    except PocketllamaError:
        return None  # ctransformers' library measures nothing
    _remember(place, key, measured)
    return measured


def _remember(place: Path, key: str, value: float) -> None:
    """Next time it need not be measured; where nothing can be written, it is."""
    known: Any = {}
    with suppress(OSError, ValueError):
        known = json.loads(place.read_text())
    draft = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps({**(known if isinstance(known, dict) else {}), key: value}))
        draft.replace(place)
