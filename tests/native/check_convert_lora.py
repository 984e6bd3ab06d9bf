"""Train nothing, but let PEFT save adapters of random numbers, add them at conversion, and compare with PEFT's logits.

    POCKETLLAMA_NATIVE_LIB=… python -m tests.native.check_convert_lora

Needs torch, transformers and peft; run it in the repository's root with py/ on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model

from pocketllama.convert import convert

from .cases import CASES
from .check_convert import TOLERANCE, away, model_of, tokenizer
from .library import Library

ADAPTERS: dict[str, dict[str, Any]] = {
    "llama": {"target_modules": "all-linear"},
    "qwen2": {"target_modules": ["q_proj", "k_proj", "v_proj", "down_proj"], "use_rslora": True},
    "gpt2": {"target_modules": ["c_attn", "c_fc", "c_proj"], "fan_in_fan_out": True},
    "gemma3": {"target_modules": ["q_proj", "up_proj"], "alpha_pattern": {"up_proj": 3}},
}


def differences(name: str, library: Library, at: Path) -> list[float]:
    """Relative RMS with the adapter as safetensors, as a pickle, and without it."""
    case = CASES[name]
    model = model_of(case)
    model.save_pretrained(at / "base")
    (at / "base" / "tokenizer.json").write_text(json.dumps(tokenizer()))
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=7, task_type="CAUSAL_LM", **ADAPTERS[name]))
    torch.manual_seed(1)
    for parameter_name, parameter in adapted.named_parameters():
        if "lora_B" in parameter_name:  # which PEFT begins with zeros
            torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        ids = torch.from_numpy(case.prompt().astype(np.int64))[None]
        wanted = adapted.eval()(ids, use_cache=False).logits[0].numpy()
    out = []
    for safe in (True, False, None):
        lora = []
        if safe is not None:
            adapted.save_pretrained(at / str(safe), safe_serialization=safe)
            lora = [at / str(safe)]
        file = convert(at / "base", at / "out.gguf", type="f32", lora=lora)
        with library.load(file, n_ctx=case.n_ctx) as loaded:
            out.append(away(loaded.score(case.prompt()), wanted))
    return out


def main() -> int:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    library, wrong = Library(Path(os.environ["POCKETLLAMA_NATIVE_LIB"])), 0
    for name in ADAPTERS:
        with tempfile.TemporaryDirectory() as temporary:
            safe, pickle, without = differences(name, library, Path(temporary))
        wrong += not (safe <= TOLERANCE and pickle <= TOLERANCE and without > 100 * TOLERANCE)
        print(f"{name:24} safetensors {safe:.1e}  bin {pickle:.1e}  without {without:.1e}", flush=True)
    print(f"{len(ADAPTERS)} adapters, {wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
