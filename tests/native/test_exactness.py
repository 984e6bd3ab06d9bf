"""What the engine adds to what a format lost: the distributions of next tokens beside those of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pocketllama.convert import convert
from pocketllama.engine.tokenizer import Tokenizer

from ..bench.exactness import divergence, float_twin, reference
from .heldout import TALES, windows
from .library import Library


def test_the_divergence_of_known_distributions() -> None:
    p, q = np.array([[0.5, 0.25, 0.25]]), np.array([[0.25, 0.5, 0.25]])
    kl, other = divergence(np.log(p).astype(np.float32) + 3, np.log(q).astype(np.float32))
    assert kl == pytest.approx(0.25 * np.log(2), rel=1e-5) and other == 1
    assert divergence(np.log(p).astype(np.float32), np.log(p).astype(np.float32)) == (0, 0)


@pytest.mark.skipif(not TALES.is_dir(), reason="the tales checkpoint is not here")
@pytest.mark.parametrize("form", ["f16", "q8_0", "q4_0"])
def test_real_text(form: str, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETLLAMA_LIB", str(library.path))  # the tokenizer's
    model = convert(TALES, tmp_path / "model.gguf", type=form)
    with Tokenizer(model) as tokenizer:
        texts = windows(tokenizer.encode)[:4]
    expected = reference(library, float_twin(model, tmp_path / "twin.gguf"), texts)
    with library.load(model, n_ctx=len(texts[0]), kv="f16") as engine:
        found = np.stack([engine.score(np.array(text, np.int32)) for text in texts])
    kl, _ = divergence(expected, found)
    assert kl < 1e-3
