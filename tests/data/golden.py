"""Makes golden.json beside it: the one greedy text that the CLI, JavaScript, Python and raw JSON-RPC must all give.

    PYTHONPATH=py python tests/data/golden.py

It is what ctransformers 0.2.27 gives, with its own class and its bundled library, and nothing of ours but the model.
Greedy there is top_k=1: the candidate that remains has probability 1, whatever the temperature and the seed.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

MODEL = Path(__file__).resolve().parents[2] / "py" / "pocketllama" / "data" / "tales.gguf"
GOLDEN = Path(__file__).with_name("golden.json")
PROMPT, MAX_TOKENS, PENALTY, LAST_N = "Once upon a time", 32, 1.1, 64


def golden() -> dict[str, Any]:
    """The text, and the ids of its tokens."""
    from ctransformers import LLM

    llm = LLM(str(MODEL), lib="avx2")
    prompt = llm.tokenize(PROMPT)
    generator = llm.generate(
        prompt, top_k=1, temperature=1.0, repetition_penalty=PENALTY, last_n_tokens=LAST_N, seed=1, threads=2
    )
    tokens = list(itertools.islice(generator, MAX_TOKENS))
    return {
        "prompt": PROMPT,
        "model": "tales",
        "temperature": 0,
        "repetition_penalty": PENALTY,
        "repetition_window": LAST_N,
        "max_tokens": MAX_TOKENS,
        "prompt_tokens": list(prompt),
        "text": "".join(llm.detokenize([t]) for t in tokens),
        "tokens": tokens,
    }


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
