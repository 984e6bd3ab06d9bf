"""Files that llama.cpp's own converter writes, against transformers: each model of the table that the converter knows
is saved as its authors would publish it, and converted; the file must give the golden.

    python -m tests.native.check_converter LLAMA_CPP LIBRARY [NAME...]

LLAMA_CPP is llama.cpp's source tree, LIBRARY ours. Needs torch and transformers; run it in the repository's root with
py/ on PYTHONPATH.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from .cases import CASES
from .library import Library
from .make_goldens import GOLDENS, build
from .models import F32, N_VOCAB, Case, vocabulary
from .test_architectures import F16_CACHE, F32_CACHE, away

# Keys of configs that published files have, and today's transformers writes no more.
OLDER_KEYS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_ctx": 128},
    "gptneox": {"rotary_pct": 0.25},
    "cohere2": {"rotary_pct": 1.0},
}
# What cannot be tried so, and why.
LEFT_OUT = {
    "mistral-window": "the converter leaves the window out",
    "qwen2-windows": "the converter leaves the windows out",
    "gptj": "the converter does not know it",
    "mpt": "the converter knows its first authors' code, not transformers'",
    "mistral3": "the converter wants a tokenizer",
    "granite-without-rope": "transformers writes its config otherwise than its authors published it",
    "phi2": "the converter takes the width of its ffn for granted",
    "starcoder2": "the converter leaves the window out, and real ones have 4096",
    "qwen3moe-joined": "the converter leaves out that experts' weights are not normalized, and real ones are",
    "ernie4_5-moe": "the converter takes the width of shared experts for granted",
}


def main() -> int:
    llama_cpp, library = Path(sys.argv[1]), Library(Path(sys.argv[2]).resolve())
    names = sys.argv[3:] or [name for name in CASES if name not in LEFT_OUT]
    sys.path[:0] = [str(llama_cpp / "gguf-py"), str(llama_cpp)]
    os.environ["NO_LOCAL_GGUF"] = "1"
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.disable(logging.WARNING)
    goldens, wrong = np.load(GOLDENS), 0
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = convert(CASES[name], Path(folder))
            f32, f16 = (differences(library, path, CASES[name], goldens[name], kv) for kv in ("f32", "f16"))
            bad = f32 > F32_CACHE or f16 > F16_CACHE
            wrong += bad
            print(f"{name:24} {f32:.1e} {f16:.1e}{'  too far away' * bad}", flush=True)
    print(f"{len(names)} files of another's converter, {wrong} of them wrong")
    return min(wrong, 1)


def differences(library: Library, path: Path, case: Case, golden: F32, kv: str) -> float:
    with library.load(path, n_ctx=case.n_ctx, kv=kv) as model:
        return away(model.score(case.prompt()), golden)


def convert(case: Case, folder: Path) -> Path:
    """The case's file, as the converter writes it."""
    from conversion import ModelBase, get_model_class  # type: ignore[import-not-found]
    from conversion.base import ModelType, get_model_architecture, gguf  # type: ignore[import-not-found]

    source = folder / case.name
    build(case).save_pretrained(source)
    # Gemma 3's asks a tokenizer how many tokens there are.
    vocab = {"model": {"vocab": {str(i): i for i in range(N_VOCAB)}}, "added_tokens": []}
    (source / "tokenizer.json").write_text(json.dumps(vocab))
    hparams = ModelBase.load_hparams(source, False) | OLDER_KEYS.get(case.arch, {})
    if case.name == "falcon-7b":
        del hparams["num_kv_heads"]
    known = get_model_class(get_model_architecture(hparams, ModelType.TEXT))

    def set_vocab(self: Any) -> None:
        keys = {key.rpartition(".")[2]: value for key, (_, value) in vocabulary().items()}
        self.gguf_writer.add_tokenizer_model(keys["model"])
        self.gguf_writer.add_token_list(keys["tokens"])
        self.gguf_writer.add_token_scores(keys["scores"])
        self.gguf_writer.add_token_types([int(kind) for kind in keys["token_type"]])

    model = type("Tiny", (known,), {"model_arch": known.model_arch, "set_vocab": set_vocab})
    with torch.inference_mode():
        model(source, gguf.LlamaFileType.ALL_F32, folder / f"{case.name}.gguf", hparams=hparams).write()
    return folder / f"{case.name}.gguf"


if __name__ == "__main__":
    sys.exit(main())
