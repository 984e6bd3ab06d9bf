"""`pocketllama rpc`: one engine, one peer on stdio."""

from __future__ import annotations

import faulthandler
import sys

from .. import models
from ..engine.pool import Pool
from ..errors import ModelError, UsageError
from .service import Limits, Service
from .stdio import serve


def _load(name: str) -> object:
    from ..engine import LLM

    # Only what is here: a download is asked for with models/pull, never started by a completion.
    return LLM(str(models.find(name).path))


def main(model: str, queue: int | None = None) -> int:
    """Serve until the peer goes; the exit code."""
    if queue is not None and queue < 1:
        raise UsageError(f"--queue takes a whole number from 1, not {queue}.")
    faulthandler.enable(sys.stderr)  # if native code dies, say where
    service = Service(Pool(_load), model, Limits(max_queue=queue or Limits.max_queue))  # type: ignore[arg-type]
    try:
        models.find(model)
    except ModelError as e:
        # The peer may pull it, or ask for another.
        print(f"pocketllama rpc: {e.describe()}", file=sys.stderr)
    else:
        service.preload()
    return serve(service)
