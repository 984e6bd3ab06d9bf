"""Make tests/native/goldens.npz: what Hugging Face transformers computes for each case, in float32 on the CPU.

    python -m tests.native.make_goldens            # write the file
    python -m tests.native.make_goldens --check    # compute again and compare with the file

Needs torch and transformers; run it in the repository's root with py/ on PYTHONPATH.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from .cases import CASES
from .models import F32, Case

GOLDENS = Path(__file__).parent / "goldens.npz"
VERSIONS = "versions"
# Another processor adds in another order; nothing else may differ.
TOLERANCE = 2e-5


def build(case: Case) -> Any:
    """The case's model in transformers, with its weights."""
    model_class, config_class = case.hf
    config = getattr(transformers, config_class)(**case.config, attn_implementation="eager", dtype="float32")
    model = getattr(transformers, model_class)(config).eval()
    state = {name: torch.from_numpy(w) for name, w in case.weights().items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if set(missing) - tied or unexpected:
        raise SystemExit(f"{case.name}: the state dict lacks {missing} and has no place for {unexpected}")
    model.tie_weights()
    return model


def logits(case: Case) -> F32:
    """(N_PROMPT, N_VOCAB) of the whole prompt at once."""
    model = build(case)
    with torch.no_grad():
        out = model(torch.from_numpy(case.prompt().astype(np.int64))[None], use_cache=False).logits[0]
    array: F32 = out.numpy()
    if array.dtype != np.float32 or not np.isfinite(array).all():
        raise SystemExit(f"{case.name}: logits are {array.dtype}, or not all finite")
    return array


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the stored file")
    check = parser.parse_args().check
    transformers.utils.logging.set_verbosity_error()
    stored = np.load(GOLDENS) if check else {}
    if check and set(stored) - {VERSIONS} != set(CASES):
        print(f"{GOLDENS.name} has other cases than the table")
        return 1
    made, worst = {}, 0.0
    for name, case in CASES.items():
        made[name] = logits(case)
        line = f"{name:24} std {made[name].std():.3f}"
        if check:
            difference = float(np.linalg.norm(made[name] - stored[name]) / np.linalg.norm(stored[name]))
            worst = max(worst, difference)
            line += f"  difference {difference:.1e}"
        print(line, flush=True)
    if check:
        return int(worst > TOLERANCE)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    np.savez_compressed(GOLDENS, **made, **{VERSIONS: np.array(versions)})
    print(f"{GOLDENS.name}: {GOLDENS.stat().st_size} bytes, {versions}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
