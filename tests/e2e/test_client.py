"""`pocketllama.Client`: the engine in another process, from Python."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, Client, Session, errors


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client("tales") as client:
        yield client


def test_all_calls(client: Client, golden: dict[str, Any]) -> None:
    options = {"max_tokens": golden["max_tokens"], "temperature": 0}
    stream = client.complete(golden["prompt"], **options)
    assert "".join(stream) == stream.text() == golden["text"] == client(golden["prompt"], **options)
    assert stream.result()["usage"] == {"prompt_tokens": 5, "completion_tokens": golden["max_tokens"]}
    assert client.detokenize(client.tokenize("Once 🎉")) == "Once 🎉"
    assert len(client.embed("a king")) == 256
    assert sum(x * x for x in client.embed("a king", normalize=True)) == pytest.approx(1)
    assert [m["name"] for m in client.models()] == ["tales"]
    assert client.show()["architecture"] == "llama"
    assert client.pull("tales")["source"] == "embedded"
    assert client.status()["pid"] == client.pid


def test_a_conversation(client: Client, tmp_path: Path) -> None:
    session = Session(client, system="Be brief.", temperature=0, max_tokens=8, template="vicuna")
    answer = session.say("Tell me of a king.")
    first = "".join(answer)
    assert answer.result()["message"] == {"role": "assistant", "content": first} == session.messages[-1]
    second = session.say("And of a queen.").result()
    usage, new = second["usage"], second["timings"]["prompt_tokens_evaluated"]
    assert 0 < new < usage["prompt_tokens"] / 2
    session.save(tmp_path / "talk.json")
    # In this process, and from the file: the same conversation gives the same answer.
    with LLM.from_pretrained("tales") as llm:
        again = Session.load(tmp_path / "talk.json", llm)
        again.messages = again.messages[:-1]
        assert llm.chat(again.messages, **again.options).text() == second["text"]
    with pytest.raises(errors.ContextOverflow) as e:
        session.say("x " * 3000).result()
    assert e.value.data["headroom"] < 0 and len(session.messages) == 5
    with client.chat([{"role": "user", "content": "Once"}], max_tokens=400, temperature=1.0, seed=3) as stream:
        next(iter(stream))
    assert stream.result()["finish_reason"] == "cancelled"


def test_the_template_that_the_runner_is_started_with(tmp_path: Path) -> None:
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}")
    with Client("tales", template=str(tmp_path / "mine.jinja")) as client:
        asked = client.chat([{"role": "user", "content": "Once upon a time"}], max_tokens=4, temperature=0).result()
        assert asked["text"] == client("Once upon a time", max_tokens=4, temperature=0)
    with Client("tales", template="nonsuch") as client, pytest.raises(errors.RunnerError, match="no chat template"):
        client.status()


def test_how_a_model_is_loaded() -> None:
    with Client("tales", context_length=32, mmap=False) as client:
        assert client("Once", max_tokens=1)
        assert client.status()["models"][0]["context_length"] == 32
    with Client("tales", kv_type="q4_0") as client, pytest.raises(errors.UsageError, match="q4_0"):
        client("Once", max_tokens=1)


def test_errors_are_ours(client: Client) -> None:
    with pytest.raises(errors.UsageError, match="temperature"):
        client("x", temperature=-1)
    with pytest.raises(errors.ContextOverflow) as e:
        client("x " * 3000)
    assert e.value.data["context_length"] == 512 and e.value.remedy
    with pytest.raises(errors.MethodNotFound):
        client.call("nonsense")
    with pytest.raises(errors.ModelNotFound):
        client.call("complete", {"prompt": "x", "model": "nonsuch"})


def test_cancel(client: Client) -> None:
    with client.complete("Once upon a time", max_tokens=400, seed=3, temperature=1.0) as stream:
        first = next(iter(stream))
    result = stream.result()
    assert result["finish_reason"] == "cancelled" and result["text"].startswith(first)


def test_from_several_threads(client: Client) -> None:
    texts: dict[int, str] = {}

    def ask(i: int) -> None:
        texts[i] = client("Once upon a time", max_tokens=8, seed=i % 2)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8 and len(set(texts.values())) == 2


def test_a_runner_that_dies_says_so_and_the_next_call_starts_another() -> None:
    with Client("tales") as client:
        stream = client.complete("Once upon a time", max_tokens=400, temperature=1.0, seed=3)
        pieces = iter(stream)
        next(pieces)
        assert client.pid
        os.kill(client.pid, signal.SIGKILL)
        with pytest.raises(errors.RunnerError, match="signal 9"):
            for _ in pieces:
                pass
        assert client.status()["answered"] == 1  # its own initialize


def test_a_runner_that_cannot_start() -> None:
    with Client(command=["/nowhere/python"]) as client, pytest.raises(errors.RunnerError, match="/nowhere/python"):
        client.status()
    broken = Client(command=[sys.executable, "-c", "import sys; sys.exit('no such luck')"])
    with broken as client, pytest.raises(errors.RunnerError, match="no such luck"):
        client.status()


def test_a_runner_that_talks_nonsense() -> None:
    babbler = Client(command=[sys.executable, "-c", "print('hello', flush=True); import time; time.sleep(600)"])
    with babbler as client, pytest.raises(errors.RunnerError, match="hello"):
        client.status()


def test_closing() -> None:
    client = Client("tales")
    assert client.status()
    pid = client.pid
    client.close()
    client.close()
    assert pid and client.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(errors.RunnerError, match="closed"):
        client.status()
