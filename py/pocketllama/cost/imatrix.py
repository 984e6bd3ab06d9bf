"""What a model's matrices are multiplied by on a text: the importance of their columns, for `pocketllama quantize`."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

from .. import gguf
from ..engine.scored import ScoredModel
from ..errors import UsageError
from ..quantize.importance import Importance, Sums, write
from .perplexity import Progress
from .windows import cut


def imatrix(
    files: Sequence[Path],
    text: str,
    out: Path,
    *,
    n_ctx: int = 512,
    limit: int | None = None,
    dataset: str = "",
    threads: int | None = None,
    progress: Progress = lambda now, done, total: None,
) -> Importance:
    """Evaluate `text` in contexts of `n_ctx` tokens and write what was found to `out`. `files` are the model's.

    The output matrix is not among it: it is quantized finely anyway, and each token's product with it costs much.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"At least one context must be read, not {limit}.")
    gguf.check_target(out)
    names = []
    for file in files:
        with gguf.read(file) as opened:
            names += [t.name for t in opened.tensors if len(t.shape) > 1]
    with ScoredModel(files[0], n_ctx, threads=threads) as model:
        windows = cut(model.encode(text), n_ctx, None, model.bos)[:limit]
        model.watch()
        for i, window in enumerate(windows):
            progress("imatrix", i, len(windows))
            model.evaluate(window.tokens, len(window.tokens))
        progress("done", len(windows), len(windows))
        sums: dict[str, Sums] = {}
        for name in names:
            if found := model.watched(name):
                squares, counts = found
                sums[name] = Sums(squares, counts)
    importance = Importance(out.name, _fitted(sums, files), len(windows), n_ctx, (dataset,) if dataset else ())
    write(out, importance)
    return importance


def _fitted(sums: dict[str, Sums], files: Sequence[Path]) -> dict[str, Sums]:
    """With as many counts as there are matrices in the tensor."""
    columns: dict[str, int] = {}
    for file in files:
        with gguf.read(file) as opened:
            columns |= {t.name: t.shape[0] for t in opened.tensors}
    return {
        name: Sums(found.squares, array("f", found.counts[: len(found.squares) // columns[name]]))
        for name, found in sums.items()
    }
