"""Schemas and tools mean the same in Python, in JavaScript, in JSON-RPC and over HTTP: one request, one answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, Client, node
from pocketllama.errors import EngineError, UsageError

from .conftest import REPO
from .server import Server
from .test_shapes import SCHEMA, TOOLS, check_call

ASK = [{"role": "user", "content": "Is it raining?"}]
DRAW: dict[str, Any] = {"max_tokens": 120, "seed": 4, "temperature": 1.5}
NAMED = {"type": "function", "function": {"name": "add"}}
CASES: dict[str, dict[str, Any]] = {
    "a schema": {"schema": SCHEMA},
    "a call": {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
    "calls": {"tools": TOOLS, "tool_choice": "required", "seed": 1},
    "a function": {"tools": TOOLS, "tool_choice": NAMED},
    "a call or a schema": {"tools": TOOLS, "schema": SCHEMA, "parallel_tool_calls": False},
    "what it likes": {"tools": TOOLS, "max_tokens": 20},
    "no call": {"tools": TOOLS, "tool_choice": "none", "max_tokens": 20},
}


@pytest.fixture(scope="module")
def llm(settled: dict[str, str], tales: Path) -> Iterator[LLM]:
    with LLM(str(tales), lib=settled["POCKETLLAMA_LIB"]) as llm:
        yield llm


@pytest.fixture(scope="module")
def client(settled: dict[str, str]) -> Iterator[Client]:
    with Client("tales", env=settled) as client:
        yield client


@pytest.fixture(scope="module")
def from_javascript(settled: dict[str, str]) -> dict[str, Any]:
    """What JavaScript's client gives for each case."""
    found = node.find()
    if not found:
        pytest.skip("no Node")
    program = """
      import { load } from "./js/index.js";
      const { cases, ask, python } = JSON.parse(process.env.ASKED);
      const llm = await load("tales", { python });
      const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
      const answers = {};
      for (const [name, options] of Object.entries(cases)) {
        const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
        answers[name] = (await llm.chat(ask, named).result()).message;
      }
      await llm.close();
      console.log(JSON.stringify(answers));
    """
    asked = {"cases": {k: {**DRAW, **v} for k, v in CASES.items()}, "ask": ASK, "python": sys.executable}
    done = subprocess.run(
        [str(found), "--input-type=module", "-e", program],
        cwd=REPO,
        env={**os.environ, **settled, "ASKED": json.dumps(asked)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("name", CASES)
def test_one_answer(llm: LLM, client: Client, server: Server, from_javascript: dict[str, Any], name: str) -> None:
    options = {**DRAW, **CASES[name]}
    generation = llm.chat(ASK, **options)
    cut_off = generation.result().finish_reason == "length"
    message = generation.message()
    calls = message.get("tool_calls", [])
    for call in calls[:-1] if cut_off else calls:
        check_call(call, {"add"} if name == "a function" else {"weather", "add"})
    if name.startswith("a ") and not calls:
        assert "schema" in name and json.loads(message["content"])["who"] in ("king", "wolf")
    if name == "calls":
        assert len(calls) > 1
    if name == "no call":
        assert not calls and message["content"]

    over_http = {k: v for k, v in options.items() if k != "schema"}
    if schema := options.get("schema"):
        over_http["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    served = server.chat(*ASK, **over_http)["choices"][0]["message"]
    served["content"] = served["content"] or ""
    del served["refusal"]
    for answer in (client.chat(ASK, **options).result()["message"], from_javascript[name], served):
        ids = [call.pop("id") for call in answer.get("tool_calls", [])]
        assert all(len(made_up) == 9 for made_up in ids) and len(set(ids)) == len(calls)
        assert answer == {**message, **({"tool_calls": [_without_id(call) for call in calls]} if calls else {})}


def _without_id(call: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in call.items() if k != "id"}


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "nothing"}}},
        {"tools": TOOLS, "tool_choice": "sometimes"},
        {"tools": TOOLS, "tool_choice": {"name": "add"}},
        {"tools": [TOOLS[0], TOOLS[0]]},
        {"tools": [{"type": "function", "function": {"name": 5}}]},
        {"tools": [{"type": "function", "function": {"name": "x", "parameters": [1]}}]},
        {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "nothing"}}}]},
        {"tools": TOOLS, "schema": [1]},
        {"schema": {"type": "nothing"}},
    ],
    ids=str,
)
def test_what_cannot_be_kept_to(llm: LLM, client: Client, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as here:
        llm.chat(ASK, **options)
    with pytest.raises(UsageError) as there:
        client.chat(ASK, **options).result()
    # The protocol checks some kinds before the engine does, in other words.
    if "param" in here.value.data and not isinstance(options.get("schema"), list):
        assert str(here.value) == str(there.value) and there.value.data["param"] == here.value.data["param"]


def test_large_schemas_are_refused_by_the_runner(client: Client) -> None:
    with pytest.raises(UsageError, match="schema has"):
        client.chat(ASK, schema={"description": "x" * (5 << 20)}).result()


def test_without_the_package(
    llm: LLM, settled: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "llguidance.py").write_text("raise ModuleNotFoundError('llguidance')\n")
    path = f"{tmp_path}{os.pathsep}{settled['PYTHONPATH']}"
    with Client("tales", env={**settled, "PYTHONPATH": path}) as client:
        for options in ({"schema": {"type": "boolean"}}, {"tools": TOOLS}):
            with pytest.raises(EngineError, match="llguidance") as e:
                client.chat(ASK, **options).result()
            assert "pocketllama[serve]" in str(e.value.remedy) and "setup --with serve" in str(e.value.remedy)
        assert client.chat(ASK, max_tokens=3).text()
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(EngineError, match="llguidance"):
        llm.chat(ASK, tools=TOOLS)


def test_a_signal_ends_an_answer(llm: LLM, client: Client) -> None:
    for model in (llm, client):
        signal = threading.Event()
        answer = model.chat(ASK, max_tokens=400, temperature=1.0, seed=3, signal=signal)
        first = next(iter(answer))
        signal.set()
        result: Any = answer.result()
        text, reason = (result["text"], result["finish_reason"]) if isinstance(result, dict) else (
            result.text, result.finish_reason
        )  # fmt: skip
        assert reason == "cancelled" and text.startswith(first)
    with pytest.raises(UsageError, match="signal must be"):
        llm.chat(ASK, signal=True)  # type: ignore[arg-type]
