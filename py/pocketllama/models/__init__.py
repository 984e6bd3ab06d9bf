"""Models as files: a name to a complete, verified file on this machine. It knows files, not tokens.

    find(name)              the model, if it is here (see refs.py for what a name may be)
    pull(name)              the same, brought here first if need be: resumed, verified, atomically visible
    list_models()           every model here
    show(name)              what a model is, from its header
    remove(name)            deletes what only this model uses
    verify(name)            hashes its files again

Importing this package costs neither huggingface_hub nor an HTTP client: only pull does.
"""

from __future__ import annotations

from collections.abc import Callable

from pocketllama.models.header import show
from pocketllama.models.model import Model
from pocketllama.models.progress import Progress, ProgressEvent
from pocketllama.models.registry import Alias, aliases
from pocketllama.models.rehash import Verified, verify
from pocketllama.models.rm import remove
from pocketllama.models.store import find, list_models

__all__ = [
    "Alias",
    "Model",
    "Progress",
    "ProgressEvent",
    "Verified",
    "aliases",
    "find",
    "list_models",
    "pull",
    "remove",
    "show",
    "verify",
]


def pull(name: str, *, progress: Progress | None = None, cancel: Callable[[], bool] | None = None) -> Model:
    """The model called `name`, brought to this machine if it is not complete here.

    `progress` gets an event about ten times a second for the file under way. `cancel` is asked ten times a second
    while there is something to wait for; once it says True, Cancelled is raised and the next pull resumes.

    Raises ModelNotFound, UsageError, DownloadError (DownloadCorrupt, OfflineError), StorageError, Cancelled.
    """
    from pocketllama.models import download

    return download.pull(name, progress, cancel)
