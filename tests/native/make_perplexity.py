"""Make tests/native/perplexity.json: the perplexity of the tales checkpoint on held-out text, by PyTorch in float32.

    python -m tests.native.make_perplexity            # write the file
    python -m tests.native.make_perplexity --check    # compute again and compare

Needs torch, sentencepiece and the checkpoint's folder (see tests/conftest.py); run it in the repository's root.
The forward pass is written from the LLaMA paper, by names of Meta's checkpoint, and shares nothing with the engine.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import torch.nn.functional as F

from .heldout import TALES, WINDOW, WINDOWS, windows

STORED = Path(__file__).parent / "perplexity.json"


def rotate(x: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotary embedding of (tokens, heads, dim), pairs (2i, 2i + 1)."""
    n, _, dim = x.shape
    angles = torch.outer(torch.arange(n, dtype=torch.float64), theta ** (-torch.arange(0, dim, 2).double() / dim))
    turn = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)[:, None]
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2)


def logits(w: dict[str, torch.Tensor], p: dict[str, Any], ids: list[int]) -> torch.Tensor:
    n, heads, kv, eps = len(ids), p["n_heads"], p["n_kv_heads"], p["norm_eps"]
    mask = torch.full((n, n), -math.inf).triu(1)
    x = w["tok_embeddings.weight"][ids]
    for i in range(p["n_layers"]):
        at = f"layers.{i}."
        m = {k.removeprefix(at).removesuffix(".weight"): v for k, v in w.items() if k.startswith(at)}
        h = F.rms_norm(x, x.shape[-1:], m["attention_norm"], eps)
        q, k, v = ((h @ m[f"w{c}"].T).view(n, -1, p["dim"] // heads) for c in "qkv")
        q, k = rotate(q, p["rope_theta"]), rotate(k, p["rope_theta"])
        k, v = (t.repeat_interleave(heads // kv, 1) for t in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1]) + mask
        x = x + torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1) @ m["wo"].T
        h = F.rms_norm(x, x.shape[-1:], m["ffn_norm"], eps)
        x = x + (F.silu(h @ m["w1"].T) * (h @ m["w3"].T)) @ m["w2"].T
    return F.rms_norm(x, x.shape[-1:], w["norm.weight"], eps) @ w["output.weight"].T


def perplexity() -> float:
    weights = torch.load(TALES / "consolidated.00.pth", weights_only=True)
    weights = {name: tensor.float() for name, tensor in weights.items()}
    params = json.loads((TALES / "params.json").read_text())
    processor = sentencepiece.SentencePieceProcessor(str(TALES / "tokenizer.model"))
    loss = 0.0
    with torch.no_grad():
        for ids in windows(processor.encode):
            loss += F.cross_entropy(logits(weights, params, ids)[:-1], torch.tensor(ids[1:]), reduction="sum").item()
    return math.exp(loss / (WINDOWS * (WINDOW - 1)))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    value = perplexity()
    if parser.parse_args().check:
        stored = json.loads(STORED.read_text())["perplexity"]
        print(f"perplexity {value:.6f}, stored {stored:.6f}")
        return int(abs(value / stored - 1) > 1e-5)
    STORED.write_text(json.dumps({"perplexity": value, "windows": WINDOWS, "torch": torch.__version__}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
