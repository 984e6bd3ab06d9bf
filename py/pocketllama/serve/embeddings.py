"""POST /v1/embeddings: the final hidden states of texts."""

from __future__ import annotations

import base64
import struct
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ..engine import LLM
from ..engine.cancel import Cancel
from .answers import json_response
from .body import read_json
from .completions import tokens_of
from .requests import EmbeddingBody, invalid, read
from .state import state_of
from .stream import ClientGone, unless_gone
from .ticket import Job


async def embeddings(request: Request) -> Response:
    state = state_of(request)
    body = read(EmbeddingBody, await read_json(request, state.settings))
    worker = state.worker(body.model)
    # A mean says more of a text than its last token does; ctransformers' library has none.
    pooling = body.pooling or ("mean" if worker.llm.describe().get("memory") else "last")
    normalize = body.normalize is not False

    def job(index: int, text: str | list[int]) -> Job:
        def call(llm: LLM, cancel: Cancel) -> tuple[list[float], int]:
            # One at a time and not all before: what a client has left is not even tokenized.
            tokens = tokens_of(llm, text)
            return llm.embed(tokens, pooling=pooling, normalize=normalize, cancel=cancel), len(tokens)

        return Job(index, call=call)

    ticket = worker.submit([job(i, text) for i, text in enumerate(body.inputs())])
    try:
        chunks = await unless_gone(request.receive, ticket, ticket.results())
    except ClientGone:
        request.scope["note"] = "left by the client"
        return Response(status_code=499)
    vectors = [chunk.end[0] for chunk in chunks]
    if body.dimensions not in (None, len(vectors[0])):
        raise invalid("dimensions", f"Embeddings of this model have {len(vectors[0])} dimensions, and cannot be cut.")
    n_tokens = sum(chunk.end[1] for chunk in chunks)
    encoded: list[Any] = list(map(_base64, vectors)) if body.encoding_format == "base64" else vectors
    return json_response(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(encoded)],
            "model": worker.name,
            "usage": {"prompt_tokens": n_tokens, "total_tokens": n_tokens},
        }
    )


def _base64(vector: list[float]) -> str:
    """float32, little-endian, as OpenAI's clients ask for it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
