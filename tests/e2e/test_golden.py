"""One golden text, four ways to it: the command line, JavaScript, Python and raw JSON-RPC."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pocketllama import LLM, Client

from ..conftest import REPO
from .processes import CLI, PATIENCE, Runner, cli

SCRIPT = """
import { load } from %s;
const llm = await load("tales");
const pieces = [];
for await (const piece of llm.complete(%s, { maxTokens: %d, temperature: 0 })) pieces.push(piece);
process.stdout.write(JSON.stringify(pieces));
await llm.close();
"""


def test_four_ways_give_one_text(golden: dict[str, Any], tmp_path: Path) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("there is no Node on PATH")
    prompt, n, text = golden["prompt"], golden["max_tokens"], golden["text"]

    command_line = cli("run", prompt, "-n", str(n), "--temp", "0").stdout.removesuffix("\n")

    script = tmp_path / "story.mjs"
    script.write_text(SCRIPT % (json.dumps((REPO / "js" / "index.js").as_uri()), json.dumps(prompt), n))
    env = {**os.environ, "POCKETLLAMA_RUNNER": json.dumps(CLI)}
    done = subprocess.run([node, script], capture_output=True, env=env, timeout=PATIENCE, check=True)
    javascript = "".join(json.loads(done.stdout))

    with LLM.from_pretrained("tales") as llm:
        python = llm(prompt, max_new_tokens=n, temperature=0)
    with Client("tales") as client:
        client_text = client.complete(prompt, max_tokens=n, temperature=0).text()

    with Runner("-m", "tales") as runner:
        raw = runner.call("complete", prompt=prompt, max_tokens=n, temperature=0)["text"]

    assert [command_line, javascript, python, client_text, raw] == [text] * 5
