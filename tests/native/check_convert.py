"""Save each case's model with transformers, convert the folder, and compare our engine's logits with transformers'.

    POCKETLLAMA_NATIVE_LIB=… python -m tests.native.check_convert [CASE…]

Each model is saved as safetensors in one file and in several, and with torch.save. The file's keys and tensors must be
such as the gguf package knows, and it reads the numbers that we wrote. Needs torch, transformers and gguf; run it in
the repository's root with py/ on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers

from pocketllama.convert import convert

from .cases import CASES
from .check_names import WITHOUT_CONVERTER, known_tensors, texts
from .library import Library
from .models import F32, N_VOCAB, Case

GOLDENS = Path(__file__).parent / "goldens.npz"
TOLERANCE = 1e-4  # relative RMS, as in test_architectures.py
# Cases of what transformers has under another name, or of files as older converters wrote them: test_hf.py has those.
ALIASES = {"exaone", "internlm2", "xverse", "baichuan", "qwen2vl", "qwen3vl", "qwen3vlmoe", "minicpm"}
SAVED_BEFORE = {"mixtral-separate-experts", "qwen3moe-joined", "deepseek2-of-2024"}


def model_of(case: Case) -> Any:
    model_class, config_class = case.hf
    config = getattr(transformers, config_class)(**case.config, attn_implementation="eager", dtype="float32")
    model = getattr(transformers, model_class)(config).eval()
    state = {name: torch.from_numpy(w) for name, w in case.weights().items()}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    return model


def tokenizer() -> dict[str, Any]:
    """The smallest that is one."""
    texts = ["<s>", "</s>", *map(chr, range(0x21, 0x7F))]
    texts += [a + b for a in "abcdefgh" for b in "abcdefgh"][: N_VOCAB - len(texts)]
    vocab = {text: i for i, text in enumerate(texts)}
    merges = [[text[0], text[1]] for text in texts if len(text) == 2]
    added = [{"id": i, "content": texts[i], "special": True} for i in (0, 1)]
    return {
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False},
        "added_tokens": added,
    }


def save(model: Any, folder: Path, how: str) -> None:
    if how == "bin":
        model.config.save_pretrained(folder)
        # As transformers 4 saved: names and shapes of the checkpoint, not of the modules.
        model.save_pretrained(folder / "temporary")
        from safetensors.torch import load_file

        torch.save(load_file(folder / "temporary" / "model.safetensors"), folder / "pytorch_model.bin")
    else:
        model.save_pretrained(folder, max_shard_size="100KB" if how == "shards" else "5GB")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))


def strange(file: Path, case: Case) -> list[str]:
    """What the gguf package would not know in a file, or reads otherwise than we wrote it."""
    reader = gguf.GGUFReader(file)
    arch = next(a for a, name in gguf.MODEL_ARCH_NAMES.items() if name == case.arch)
    templates = set(texts(gguf.Keys))
    known = {t.format(arch=case.arch) for t in templates if "{" not in t.replace("{arch}", "")}
    out = [f"the key {key}" for key in reader.fields if not key.startswith("GGUF.") and key not in known]
    if case.arch not in WITHOUT_CONVERTER:
        names = known_tensors(arch, case.n_layers)
        out += [f"the tensor {t.name}" for t in reader.tensors if t.name.rpartition(".")[0] not in names]
    expected = case.tensors()
    for tensor in reader.tensors:
        wanted = expected.get(tensor.name)
        if wanted is not None and not np.allclose(tensor.data.reshape(-1), wanted.reshape(-1), rtol=1e-6, atol=0):
            out.append(f"the numbers of {tensor.name}")
    return out


def away(found: F32, expected: F32) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main() -> int:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    library = Library(Path(os.environ["POCKETLLAMA_NATIVE_LIB"]))
    goldens, wrong = np.load(GOLDENS), 0
    asked = sys.argv[1:] or [name for name in CASES if name not in ALIASES | SAVED_BEFORE]
    for name in asked:
        case = CASES[name]
        model = model_of(case)
        line = f"{name:24}"
        for how in ("one", "shards", "bin"):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary) / name
                folder.mkdir()
                try:
                    save(model, folder, how)
                    file = convert(folder, Path(temporary), type="f32")
                    with library.load(file, n_ctx=case.n_ctx) as loaded:
                        difference = away(loaded.score(case.prompt()), goldens[name])
                    if other := strange(file, case):
                        raise ValueError(f"gguf does not know {other[:3]}")
                except Exception as e:
                    line += f"  {how}: {type(e).__name__} {e}"
                    wrong += 1
                    continue
                wrong += not difference <= TOLERANCE
                line += f"  {how} {difference:.1e}"
        print(line, flush=True)
    print(f"{len(asked)} models, {wrong} wrong")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
