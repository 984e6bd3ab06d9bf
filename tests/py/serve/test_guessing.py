"""Guesses in the server change no answer."""

from __future__ import annotations

from collections.abc import Callable

from .server import Server


def test_the_same_answer_with_and_without(start: Callable[..., Server], server: Server) -> None:
    # Another copy of tales guesses, and is right each time.
    drafted = start("--draft", "tales")
    for body in ({"temperature": 0}, {"temperature": 1.0, "seed": 4}, {"seed": 5, "stop": ["the"]}):
        asked = {"model": "tales", "prompt": "Once upon a time", "max_tokens": 40, **body}
        texts = {
            how: s.http.post("/v1/completions", json={**asked, "speculate": how}).json()["choices"][0]["text"]
            for s, how in ((server, "off"), (server, "ngram"), (drafted, "draft"), (drafted, "auto"))
        }
        assert len(set(texts.values())) == 1, texts


def test_what_cannot_be(server: Server) -> None:
    asked = {"model": "tales", "prompt": "Once", "max_tokens": 4}
    refused = server.http.post("/v1/completions", json={**asked, "speculate": "draft"})
    assert refused.status_code == 400 and "has no draft" in refused.json()["error"]["message"]
    assert server.http.post("/v1/completions", json={**asked, "speculate": "yes"}).status_code == 400
