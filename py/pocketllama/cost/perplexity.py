"""Perplexity: how much a text surprises a model; and how far its answers are from a base model's."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..engine.scored import Loss, ScoredModel
from ..errors import StorageError, UsageError
from .logits_file import LogitsReader, LogitsWriter
from .windows import cut

# Called with what is being done (the perplexity so far), and how many windows are done of all.
Progress = Callable[[str, int, int], None]
QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


def read_text(path: Path | str) -> str:
    """The text in the file at `path`. UsageError, StorageError."""
    path = Path(path)
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as e:
        raise UsageError(f"There is no text at {path}.") from e
    except OSError as e:
        raise StorageError(f"{path} cannot be read: {e.strerror or e}.") from e
    except UnicodeDecodeError as e:
        raise UsageError(f"{path.name} is no UTF-8: {e.reason} at byte {e.start}.") from e


def perplexity(
    model: Path,
    text: str,
    *,
    n_ctx: int = 512,
    stride: int | None = None,
    limit: int | None = None,
    save_base: Path | None = None,
    base: Path | None = None,
    kv_type: str = "f16",
    threads: int | None = None,
    progress: Progress = lambda now, done, total: None,
) -> dict[str, Any]:
    """The figures of the model in the file `model` on `text`; plain values, as --json prints them.

    See `windows` for what `n_ctx` and `stride` do; `limit` stops after so many windows. `save_base` keeps the model's
    answers in a file, and `base` is such a file of another model: then there is "divergence" as well. The errors are
    those of means: standard deviations of single tokens by the root of their number, as if tokens were independent.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"At least one context must be read, not {limit}.")
    if save_base is not None and base is not None:
        raise UsageError("A model's logits are either kept or compared with others, not both at once.")
    with ExitStack() as stack:
        scored = stack.enter_context(ScoredModel(model, n_ctx, threads=threads, kv_type=kv_type))
        tokens = scored.encode(text)
        windows = cut(tokens, n_ctx, stride, scored.bos)[:limit]
        facts = {
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "n_vocab": scored.n_vocab,
            "context": n_ctx,
            "stride": stride,
        }
        reader = stack.enter_context(LogitsReader(base)) if base is not None else None
        if reader is not None:
            reader.expect(facts)
            if reader.facts.get("windows", 0) < len(windows):
                windows = windows[: reader.facts.get("windows", 0)]
        writer = None
        if save_base is not None:
            rows = sum(len(w.scored) for w in windows)
            about = {**facts, "windows": len(windows), "model": model.name}
            writer = stack.enter_context(LogitsWriter(save_base, about, rows * scored.bytes_per_row))
        found: list[Loss] = []
        for i, window in enumerate(windows):
            progress(f"perplexity {_mean_perplexity(found):.3f}" if found else "perplexity", i, len(windows))
            scored.evaluate(window.tokens, window.first)
            n = len(window.scored)
            found += scored.losses(window.scored, reader.read(n * scored.bytes_per_row) if reader else None)
            if writer is not None:
                writer.write(scored.pack(n))
        progress("done", len(windows), len(windows))
    return {
        "tokens": len(tokens),
        "context": n_ctx,
        "trained_context": scored.trained_context,
        "stride": stride,
        "windows": len(windows),
        "scored": len(found),
        **_perplexity(found),
        **({"divergence": _divergence(found)} if base is not None else {}),
    }


def _mean_perplexity(found: Sequence[Loss]) -> float:
    return math.exp(math.fsum(f.loss for f in found) / len(found))


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean, and its standard error."""
    n = len(values)
    mean = math.fsum(values) / n
    variance = math.fsum((v - mean) ** 2 for v in values) / max(n - 1, 1)
    return mean, math.sqrt(variance / n)


def _perplexity(found: Sequence[Loss]) -> dict[str, float]:
    loss, error = _mean([f.loss for f in found])
    value = math.exp(loss)
    return {"loss": loss, "perplexity": value, "standard_error": value * error}


def _divergence(found: Sequence[Loss]) -> dict[str, Any]:
    """Of the model from the base: Kullback-Leibler, natural, and what else there is to say of the two."""
    kl = sorted(f.divergence for f in found)
    mean, error = _mean(kl)
    ratio, ratio_error = _mean([f.loss - f.base_loss for f in found])
    same, same_error = _mean([float(f.same_top) for f in found])
    return {
        "mean": mean,
        "standard_error": error,
        "quantiles": {f"{q:g}": kl[min(len(kl) - 1, math.ceil(q * len(kl)) - 1)] for q in QUANTILES},
        "same_top": same,
        "same_top_standard_error": same_error,
        "base_perplexity": math.exp(_mean([f.base_loss for f in found])[0]),
        # Of the same tokens by both models: far surer than the difference of two perplexities.
        "perplexity_ratio": math.exp(ratio),
        "perplexity_ratio_standard_error": math.exp(ratio) * ratio_error,
    }


def beyond(trained: int) -> str:
    """What there is to say of contexts longer than the model was trained with."""
    return f"trained on contexts of {trained} tokens: it does worse beyond them"


def render(figures: dict[str, Any]) -> str:
    """The lines that `pocketllama perplexity` prints."""
    how = f"stride {figures['stride']}" if figures["stride"] else "the second half of each"
    lines = [
        f"perplexity  {figures['perplexity']:.4f} ± {figures['standard_error']:.4f}",
        f"            {figures['scored']} tokens scored, {figures['windows']} contexts of {figures['context']}, {how}",
    ]
    if figures["context"] > figures["trained_context"] > 0:
        lines.append(f"            {beyond(figures['trained_context'])}")
    if d := figures.get("divergence"):
        quantiles = ", ".join(f"{'max' if q == '1' else q} {value:.4f}" for q, value in d["quantiles"].items())
        lines += [
            f"base        {d['base_perplexity']:.4f}; ratio {d['perplexity_ratio']:.5f} "
            f"± {d['perplexity_ratio_standard_error']:.5f}",
            f"divergence  {d['mean']:.6f} ± {d['standard_error']:.6f} (Kullback-Leibler, natural)",
            f"quantiles   {quantiles}",
            f"same top    {100 * d['same_top']:.2f} ± {100 * d['same_top_standard_error']:.2f} %",
        ]
    return "\n".join(lines) + "\n"
