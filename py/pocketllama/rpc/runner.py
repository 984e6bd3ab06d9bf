"""`pocketllama rpc`: one engine, one peer on stdio."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable
from typing import Any

from .. import models
from ..chat import Facts, choose
from ..engine.pool import Pool
from ..errors import ModelError, UsageError
from .service import Limits, Service
from .stdio import serve


def _loader(template: str | None, drafts: dict[str, str], loading: dict[str, Any]) -> Callable[[str], Any]:
    options = {name: value for name, value in loading.items() if value is not None}

    def load(name: str) -> Any:
        from ..engine import LLM

        # Only what is here: a download is asked for with models/pull, never started by a completion.
        draft = str(models.find(drafts[name]).path) if name in drafts else None
        llm = LLM.from_pretrained(str(models.find(name).path), draft=draft, **options)
        llm.chat_template = template
        return llm

    return load


def main(
    model: str, queue: int | None = None, template: str | None = None, draft: str | None = None, **loading: Any
) -> int:
    """Serve until the peer goes; the exit code. `loading` is given to each model that is loaded, `template` is the chat
    template of all of them, `draft` the draft of `model`."""
    if template:
        choose(Facts(), template)  # said now, if there is none
    if queue is not None and queue < 1:
        raise UsageError(f"--queue takes a whole number from 1, not {queue}.")
    faulthandler.enable(sys.stderr)  # if native code dies, say where
    drafts = {model: draft} if draft else {}
    service = Service(Pool(_loader(template, drafts, loading)), model, Limits(max_queue=queue or Limits.max_queue))
    try:
        for name in (model, *drafts.values()):
            models.find(name)
    except ModelError as e:
        # The peer may pull it, or ask for another.
        print(f"pocketllama rpc: {e.describe()}", file=sys.stderr)
    else:
        service.preload()
    return serve(service)
