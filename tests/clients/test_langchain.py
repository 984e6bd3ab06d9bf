"""LangChain's OpenAI chat model against the server."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from tests.py.serve.server import Server

langchain_openai = pytest.importorskip("langchain_openai", reason="the clients are installed in CI only")


@pytest.fixture
def chat(server: Server) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=f"{server.url}/v1", api_key="none", model="tales", seed=1, max_tokens=200
    )


def test_invoke_and_stream(chat: Any) -> None:
    answer = chat.invoke([("system", "Tell a tale."), ("human", "Once upon a time")])
    assert answer.content and answer.usage_metadata["output_tokens"] <= 200
    streamed = list(chat.stream([("system", "Tell a tale."), ("human", "Once upon a time")]))
    assert len(streamed) > 3 and "".join(chunk.content for chunk in streamed) == answer.content


def test_structured_output_and_tools(chat: Any) -> None:
    from pydantic import BaseModel

    class Figure(BaseModel):
        """Somebody in a tale."""

        who: Literal["king", "wolf"]
        good: bool

    for method in ("json_schema", "function_calling"):
        figure = chat.with_structured_output(Figure, method=method).invoke("Who is it?")
        assert isinstance(figure, Figure)
    bound = chat.bind_tools([Figure], tool_choice="any", parallel_tool_calls=False)
    (call,) = bound.invoke("Who is it?").tool_calls
    assert call["name"] == "Figure" and call["args"]["who"] in ("king", "wolf")


def test_embeddings(server: Server) -> None:
    embeddings = langchain_openai.OpenAIEmbeddings(
        base_url=f"{server.url}/v1", api_key="none", model="tales", check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_query("a king")) == 256 and len(embeddings.embed_documents(["a", "b"])) == 2
