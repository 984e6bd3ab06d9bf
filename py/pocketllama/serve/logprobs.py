"""How likely tokens were, in the two forms that OpenAI has for that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..engine import LLM
from ..engine.choices import TokenLogprobs
from ..engine.own import Own
from ..errors import UsageError

_NEVER = -9999.0  # JSON has no infinity


def check_possible(llm: LLM) -> None:
    """UsageError where the library does not tell."""
    if not isinstance(llm._backend, Own):
        raise UsageError(
            "ctransformers' library does not tell how likely tokens were, and cannot constrain them.",
            remedy="pocketllama build",
        )


def for_chat(llm: LLM, noted: Sequence[TokenLogprobs]) -> dict[str, Any]:
    """The `logprobs` of a chat's choice."""
    return {
        "content": [
            {**_one(llm, t.token, t.logprob), "top_logprobs": [_one(llm, token, p) for token, p in t.top]}
            for t in noted
        ],
        "refusal": None,
    }


def _one(llm: LLM, token: int, logprob: float) -> dict[str, Any]:
    raw = _bytes(llm, token)
    return {"token": raw.decode(errors="replace"), "logprob": _finite(logprob), "bytes": list(raw)}


def for_completion(llm: LLM, noted: Sequence[TokenLogprobs], offset: int) -> dict[str, Any]:
    """The `logprobs` of a completion's choice, whose text begins at character `offset`."""
    texts = [_bytes(llm, t.token).decode(errors="replace") for t in noted]
    offsets = [offset]
    for text in texts[:-1]:
        offsets.append(offsets[-1] + len(text))
    return {
        "tokens": texts,
        "token_logprobs": [_finite(t.logprob) for t in noted],
        "top_logprobs": [
            {_bytes(llm, token).decode(errors="replace"): _finite(p) for token, p in reversed(t.top)} for t in noted
        ],
        "text_offset": offsets[: len(noted)],
    }


def _bytes(llm: LLM, token: int) -> bytes:
    """A token's bytes; a control token's name. Our library's tokenizer needs no turn on the engine."""
    names = {i: name for name, i in llm.file.chat.specials.items()} if token in llm.file.chat.special_ids else {}
    return names[token].encode() if token in names else llm._backend.piece(token)


def _finite(logprob: float) -> float:
    return logprob if math.isfinite(logprob) else _NEVER
