"""The server as a peer sees it: answers, errors, streams, cancellation, limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pocketllama import errors
from pocketllama.rpc.service import Limits

from .fakes import Peer


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def narrow() -> Iterator[Peer]:
    """A server with room for two waiting requests, messages of 2000 bytes and prompts of 100."""
    peer = Peer(Limits(max_message_bytes=2000, max_queue=2, max_prompt_bytes=100))
    yield peer
    peer.close()


# ---- the specification's own cases -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code", "msg_id"),
    [
        (b"{", -32700, None),
        (b"\xff\xfe{}", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b'{"jsonrpc":"2.0","id":1,"method":"status","params":{"x":NaN}}', -32700, None),
        (b"1" * 5000, -32700, None),
        (b"42", -32600, None),
        (b"[]", -32600, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"status"}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":2}', -32600, 2),
        (b'{"jsonrpc":"2.0","id":{},"method":"status"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":true,"method":"status"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":3,"method":"status","params":[1]}', -32600, 3),
        (b'{"jsonrpc":"2.0","id":"4","method":"nonsense"}', -32601, "4"),
        (b'{"jsonrpc":"2.0","id":5,"method":"complete"}', -32602, 5),
    ],
)
def test_errors_of_the_specification(peer: Peer, sent: bytes, code: int, msg_id: Any) -> None:
    peer.send(sent)
    answer = peer.hear()
    assert (answer["error"]["code"], answer["id"], answer["jsonrpc"]) == (code, msg_id, "2.0")
    assert answer["error"]["message"]
    assert peer.call("status")["version"]  # and the server goes on


def test_notifications_are_never_answered(peer: Peer) -> None:
    peer.notify("nonsense")
    peer.notify("complete")
    peer.notify("complete", prompt="a b")
    peer.notify("status")
    assert peer.call("tokenize", text="x")["tokens"] == [120]  # behind all of them, and the first to be answered


def test_a_response_is_no_request(peer: Peer) -> None:
    peer.send({"jsonrpc": "2.0", "id": 1, "result": None})
    assert peer.call("status")["pid"]


def test_a_batch_is_answered_as_one(peer: Peer) -> None:
    def one(msg_id: Any, method: str, **params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": msg_id, "method": method, "params": params}

    peer.send([one(1, "complete", prompt="a b"), one(2, "status"), {"jsonrpc": "2.0", "method": "status"}, 7,
               one(3, "nope")])  # fmt: skip
    answers = {a["id"]: a for a in peer.hear()}
    assert len(answers) == 4
    assert answers[1]["result"]["text"] == "ab" and answers[2]["result"]["version"]
    assert answers[None]["error"]["code"] == -32600 and answers[3]["error"]["code"] == -32601


def test_a_batch_of_notifications_is_not_answered(peer: Peer) -> None:
    peer.send([{"jsonrpc": "2.0", "method": "status"}] * 2)
    assert peer.call("status")["pid"]


def test_an_id_under_way_cannot_be_taken_and_an_answered_one_can(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.request(1, "status")
    assert peer.hear()["error"]["code"] == -32600
    peer.engine.go.set()
    assert peer.hear()["result"]["text"] == "a"
    peer.request(1, "status")
    assert peer.hear()["result"]["pid"]


# ---- the methods -----------------------------------------------------------------------------------------------------


def test_initialize(peer: Peer) -> None:
    told = peer.call("initialize", protocolVersion=1, clientInfo={"name": "x"}, processId=1, capabilities={})
    assert told["protocolVersion"] == 1 and told["serverInfo"]["name"] == "pocketllama"
    assert told["limits"]["maxQueue"] == 64 and told["capabilities"]["complete"] == {"stream": True}


def test_a_completion(peer: Peer) -> None:
    answer = peer.call("complete", prompt="a b c", max_tokens=2)
    timings = answer.pop("timings")
    assert answer == {
        "text": "ab", "finish_reason": "length", "usage": {"prompt_tokens": 3, "completion_tokens": 2}, "model": "fake",
    }  # fmt: skip
    assert timings["prompt_ms"] == 0


def test_a_stream_comes_first_and_then_the_same_result(peer: Peer) -> None:
    peer.request("s", "complete", prompt="a b", stream=True)
    first, second, answer = peer.hear(), peer.hear(), peer.hear()
    assert first == {
        "jsonrpc": "2.0", "method": "$/progress", "params": {"token": "s", "value": {"index": 0, "text": "a"}},
    }  # fmt: skip
    assert second["params"]["value"] == {"index": 1, "text": "b"}
    assert answer["id"] == "s" and answer["result"]["text"] == "ab" and answer["result"]["finish_reason"] == "stop"


def test_a_chat(peer: Peer) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a b c"}]
    peer.request(
        "s", "chat", messages=messages, stream=True, max_tokens=2, tools=[], template="ChatML", overflow="forget"
    )
    assert [peer.hear()["params"]["value"] for _ in "ab"] == [{"index": 0, "text": "a"}, {"index": 1, "text": "b"}]
    answer = peer.hear()["result"]
    assert answer["message"] == {"role": "assistant", "content": "ab"} and answer["text"] == "ab"
    assert (answer["finish_reason"], answer["forgotten"], answer["model"]) == ("length", 0, "fake")
    told = peer.engine.chatted
    assert told["template"].name == "chatml" and told["tools"] == [] and told["overflow"] == "forget"


def test_a_chat_that_is_cancelled(peer: Peer) -> None:
    peer.engine.go.clear()
    for msg_id in (1, 2):
        peer.request(msg_id, "chat", messages=[{"role": "user", "content": "a b"}])
    peer.begun()
    peer.notify("$/cancelRequest", id=2)
    answer = peer.hear()
    assert answer["id"] == 2 and answer["result"]["finish_reason"] == "cancelled"
    assert answer["result"]["message"] == {"role": "assistant", "content": ""}
    peer.notify("$/cancelRequest", id=1)
    assert peer.hear()["result"]["finish_reason"] == "cancelled"


def test_a_chat_of_nothing_and_of_files(peer: Peer) -> None:
    hi = [{"role": "user", "content": "a"}]
    assert "array of objects" in peer.call("chat", messages="Hi")["message"]
    assert "array of objects" in peer.call("chat", messages=["Hi"])["message"]
    assert "must be an object" in peer.call("chat", messages=hi, template_variables=[])["message"]
    answer = peer.call("chat", messages=hi, template="/etc/passwd")
    assert answer["code"] == -32602 and "no chat template" in answer["message"]


def test_the_small_methods(peer: Peer) -> None:
    assert peer.call("tokenize", text="ab", bos=True) == {"tokens": [1, 97, 98], "model": "fake"}
    assert peer.call("tokenize", text="a<s>", special=True)["tokens"] == [97, 1]
    assert peer.call("detokenize", tokens=[97]) == {"text": "a", "model": "fake"}
    assert peer.call("embed", input="ab") == {"embedding": [3.0], "usage": {"prompt_tokens": 3}, "model": "fake"}
    assert peer.call("embed", input=[5])["embedding"] == [1.0]
    assert peer.call("embed", input=[5, 6], pooling="mean", normalize=True)["embedding"] == [1.0, 0.5]
    assert any(m["name"] == "tales" for m in peer.call("models/list")["models"])
    assert peer.call("models/show", model="tales")["architecture"] == "llama"
    status = peer.call("status")
    assert status["models"] == [{"model": "fake", "fake": True}] and status["queue"]["limit"] == 64


@pytest.mark.parametrize(
    ("method", "params", "says"),
    [
        ("complete", {"prompt": 7}, "prompt must be a string"),
        ("complete", {"prompt": "x", "max_token": 3}, "max_token"),
        ("complete", {"prompt": "x", "max_tokens": -1}, "max_tokens must be"),
        ("complete", {"prompt": "x", "max_tokens": 1.5}, "max_tokens must be"),
        ("complete", {"prompt": "x", "max_tokens": True}, "max_tokens must be"),
        ("complete", {"prompt": "x", "temperature": -1}, "temperature must be"),
        ("complete", {"prompt": "x", "top_p": "1"}, "top_p must be"),
        ("complete", {"prompt": "x", "stop": [""]}, "stop"),
        ("complete", {"prompt": "x", "stop": ["a"] * 17}, "stop"),
        ("complete", {"prompt": "x", "stop": 3}, "stop"),
        ("complete", {"prompt": "x", "seed": 2**63}, "seed"),
        ("complete", {"prompt": "\ud800"}, "surrogate"),
        ("complete", {"prompt": "x", "stream": 1}, "stream must be"),
        ("tokenize", {"text": "x", "bos": "yes"}, "bos must be"),
        ("detokenize", {"tokens": [1, "2"]}, "tokens must be"),
        ("embed", {"input": {}}, "input must be"),
        ("models/pull", {}, "model is missing"),
    ],
)
def test_wrong_parameters_are_named(peer: Peer, method: str, params: dict[str, Any], says: str) -> None:
    error = peer.call(method, **params)
    assert error["code"] == -32602 and says in error["message"] + error["data"].get("remedy", "")


def test_null_counts_as_absent_and_meta_is_the_clients(peer: Peer) -> None:
    assert peer.call("complete", prompt="a", max_tokens=None, stop=None, _meta={"x": 1})["text"] == "a"


def test_an_unknown_model_is_a_typed_error_with_its_remedy(peer: Peer) -> None:
    error = peer.call("complete", prompt="a", model="other")
    assert error["code"] == errors.ModelNotFound.rpc_code and "pull other" in error["data"]["remedy"]


def test_a_bug_is_an_internal_error_and_not_the_end(peer: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    error = peer.call("complete", prompt="crash")
    assert error["code"] == -32603 and "a bug" in error["message"]
    assert "Traceback" in capsys.readouterr().err
    assert peer.call("complete", prompt="a")["text"] == "a"


# ---- cancellation ----------------------------------------------------------------------------------------------------


def test_cancel_while_decoding_gives_the_partial_text(peer: Peer) -> None:
    peer.request(1, "complete", prompt="a b c", stream=True)
    assert [peer.hear() for _ in range(4)][-1]["result"]["text"] == "abc"
    peer.engine.go.clear()
    peer.request(2, "complete", prompt="a b c", stream=True)
    peer.begun()
    peer.begun()
    peer.notify("$/cancelRequest", id=2)
    answer = peer.hear()
    assert answer["id"] == 2 and answer["result"]["finish_reason"] == "cancelled" and answer["result"]["text"] == ""
    assert peer.call("status")["pid"]  # read behind the cancellation
    assert peer.engine.flag.value == 1  # what a library hears while it computes


def test_cancel_while_queued_is_answered_at_once(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.begun()
    peer.request(2, "complete", prompt="b")
    peer.request(3, "tokenize", text="c")
    peer.notify("$/cancelRequest", id=2)
    answer = peer.hear()
    assert answer["id"] == 2 and answer["result"]["finish_reason"] == "cancelled"
    assert answer["result"]["usage"] == {"prompt_tokens": 0, "completion_tokens": 0}
    peer.notify("$/cancelRequest", id=3)
    answer = peer.hear()
    assert answer["id"] == 3 and answer["error"]["code"] == -32800
    peer.engine.go.set()
    assert peer.hear()["result"]["text"] == "a"


def test_cancelled_notification_is_not_answered(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.begun()
    peer.request(2, "complete", prompt="b")
    peer.notify("notifications/cancelled", requestId=2, reason="no longer wanted")
    peer.notify("notifications/cancelled", requestId=1)
    assert peer.call("status")["pid"]
    peer.engine.go.set()
    assert peer.call("complete", prompt="c")["text"] == "c"  # the engine is free, and 1 and 2 stayed silent


def test_a_cancelled_request_leaves_its_batch(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.send([{"jsonrpc": "2.0", "id": i, "method": "complete", "params": {"prompt": "a"}} for i in (1, 2)])
    peer.begun()
    peer.notify("notifications/cancelled", requestId=2)
    peer.call("status")
    peer.engine.go.set()
    assert [a["id"] for a in peer.hear()] == [1]


@pytest.mark.parametrize("target", [99, None, {}, [1]])
def test_cancelling_nothing_is_nothing(peer: Peer, target: Any) -> None:
    peer.notify("$/cancelRequest", id=target)
    assert peer.call("status")["pid"]


# ---- limits and the end ----------------------------------------------------------------------------------------------


def test_a_full_queue_refuses_at_once(narrow: Peer) -> None:
    narrow.engine.go.clear()
    narrow.request(0, "complete", prompt="a")
    narrow.begun()
    for i in (1, 2, 3):
        narrow.request(i, "complete", prompt="a")
    answer = narrow.hear()
    assert answer["id"] == 3 and answer["error"]["code"] == errors.Busy.rpc_code
    narrow.engine.go.set()
    assert [narrow.hear()["id"] for _ in range(3)] == [0, 1, 2]


def test_a_message_and_a_prompt_too_long(narrow: Peer) -> None:
    assert narrow.call("chat", messages=[{"role": "user", "content": "é" * 60}])["code"] == -32011
    narrow.request(1, "complete", prompt="x" * 3000)
    assert narrow.hear()["error"]["code"] == errors.MessageTooLarge.rpc_code
    error = narrow.call("complete", prompt="é" * 51)
    assert error["code"] == errors.PromptTooLarge.rpc_code and error["data"]["limit_bytes"] == 100


def test_the_end_of_input_lets_what_was_asked_be_answered(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.request(2, "complete", prompt="b")
    peer.hang_up()
    peer.engine.go.set()
    assert [peer.hear()["result"]["text"] for _ in range(2)] == ["a", "b"]
    assert peer.joined()


def test_a_peer_that_died_is_not_waited_for(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.begun()
    peer.gone = True
    peer.hang_up()
    assert peer.joined()


def test_a_peer_that_stops_reading_ends_its_calls(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a b c", stream=True)
    peer.begun()
    peer.gone = True
    peer.engine.go.set()
    peer.hang_up()
    assert peer.joined() and peer.connection.closed


def test_shutdown_then_exit(peer: Peer) -> None:
    assert peer.call("shutdown") is None
    assert peer.call("status")["code"] == -32600
    peer.notify("exit")
    assert peer.joined() and peer.connection.exit_requested


def test_exit_does_not_wait(peer: Peer) -> None:
    peer.engine.go.clear()
    peer.request(1, "complete", prompt="a")
    peer.begun()
    peer.notify("exit")
    assert peer.joined()
