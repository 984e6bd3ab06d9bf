"""The command line as a person uses it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pocketllama.cli import VERBS

from ..conftest import REPO
from .processes import CLI, PATIENCE, cli


def test_run(golden: dict[str, Any]) -> None:
    done = cli("run", golden["prompt"], "-n", str(golden["max_tokens"]), "--temp", "0")
    assert (done.returncode, done.stdout, done.stderr) == (0, golden["text"] + "\n", "")


def test_the_default_verb_and_json(golden: dict[str, Any]) -> None:
    done = cli(golden["prompt"], "-n", str(golden["max_tokens"]), "--temp", "0", "--json")
    result = json.loads(done.stdout)
    assert result["text"] == golden["text"] and result["model"] == "tales" and result["finish_reason"] == "length"


def test_a_prompt_from_standard_input(golden: dict[str, Any]) -> None:
    done = cli("run", "-", "-n", str(golden["max_tokens"]), "--temp", "0", stdin=golden["prompt"] + "\n")
    assert done.stdout == golden["text"] + "\n"


@pytest.mark.parametrize("prompt", ["42", "None", "[1, 2]", "-5 degrees", "True", '"quoted"', "a=b", "{}"])
def test_prompts_reach_the_model_as_they_are(prompt: str) -> None:
    done = cli("run", prompt, "-n", "0", "--json")
    tokens = json.loads(cli("tokenize", "--bos", "--json", "--", prompt).stdout)["tokens"]
    assert json.loads(done.stdout)["usage"] == {"prompt_tokens": len(tokens), "completion_tokens": 0}


def test_stop_and_stats() -> None:
    done = cli("run", "Once upon a time", "--temp", "0", "--stop", "son", "--stop=queen", "--stats")
    assert done.stdout == " there lived a king who had a \n"
    assert "tokens/s" in done.stderr and "ended by stop" in done.stderr


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["run", "x", "--temp", "-1"], 2, "temperature must be"),
        (["run", "x", "--tmep", "1"], 2, "Did you mean --temp"),
        (["run", "a\udcffb"], 2, "not valid Unicode"),
        (["run", "x", "-m", "nonsuch-model"], 3, "nonsuch-model"),
        (["run", "x " * 3000], 2, "the context holds 512"),
        (["show", "/nowhere/m.gguf"], 3, "/nowhere/m.gguf"),
        (["run", "x", "-m", __file__], 3, "not a GGUF"),
        (["rpc", "--queue", "0"], 2, "--queue"),
        (["js", "nowhere.mjs"], 2, "nowhere.mjs"),
    ],
)
def test_errors_have_their_exit_codes(argv: list[str], code: int, says: str) -> None:
    done = cli(*argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr and done.stderr.startswith("pocketllama: ") and "Traceback" not in done.stderr


def test_input_that_is_no_text() -> None:
    done = cli("run", "-", stdin=b"\xff\xfe")
    assert done.returncode == 2 and "not UTF-8" in done.stderr


def test_help_prints_and_returns() -> None:
    for argv in (["--help"], ["run", "--help"], ["help"], ["help", "rpc"], ["pull", "-h"], []):
        done = cli(*argv)
        assert done.returncode == 0 and done.stdout.startswith(("pocketllama", "Usage:")) and done.stderr == ""


def test_version() -> None:
    assert cli("version").stdout == cli("--version").stdout == "pocketllama 0.1.0\n"


def test_list_and_show() -> None:
    assert cli("list").stdout.startswith("tales ")
    assert [m["name"] for m in json.loads(cli("list", "--json").stdout)] == ["tales"]
    facts = json.loads(cli("show", "tales", "--json").stdout)
    assert facts["architecture"] == "llama" and facts["parameters"] == 6819072


def test_tokenize_with_names_of_control_tokens() -> None:
    done = cli("tokenize", "--special", "--json", "a</s>")
    # The bundled library cannot, and says so.
    assert done.returncode == 2 or json.loads(done.stdout)["tokens"][-1] == 2


def test_tokenize() -> None:
    assert [line.split()[1] for line in cli("tokenize", "a\n🎉").stdout.splitlines()][:2] == ["'", "'\\n'"]


def test_doctor() -> None:
    report = json.loads(cli("doctor", "--json").stdout)
    assert (
        report["python"] == sys.executable
        and report["problems"] == []
        and report["library"]["kind"] in ("bundled", "native")
    )
    text = cli("doctor")
    assert "Nothing is wrong" in text.stdout and text.returncode == 0


def test_doctor_says_what_is_wrong() -> None:
    done = cli("doctor", "--json", POCKETLLAMA_LIB="/nowhere.so")
    assert done.returncode == 1 and "/nowhere.so" in json.loads(done.stdout)["problems"][0]["what"]


def test_control_c_stops_cleanly() -> None:
    process = subprocess.Popen(
        [*CLI, "run", "Once", "-n", "400", "--temp", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout and process.stderr
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and b"Traceback" not in err


def test_a_broken_pipe_is_silent() -> None:
    process = subprocess.Popen([*CLI, "run", "Once", "-n", "400"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(PATIENCE) == 141
    process.stderr.close()


def test_a_script_in_javascript(tmp_path: Path, golden: dict[str, Any]) -> None:
    script = tmp_path / "story.mjs"
    script.write_text(
        'import { load } from "pocketllama";\n'
        'const llm = await load("tales");\n'
        f"const text = await llm.complete({json.dumps(golden['prompt'])}, "
        f"{{ maxTokens: {golden['max_tokens']}, temperature: 0 }}).text();\n"
        "process.stdout.write(JSON.stringify([text, process.argv.slice(2)]));\n"
        "await llm.close();\n"
    )
    done = cli("js", str(script), "--help", "1")
    assert json.loads(done.stdout) == [golden["text"], ["--help", "1"]]


def test_exit_codes_are_documented() -> None:
    from pocketllama import errors

    text = (REPO / "docs" / "cli.md").read_text()
    protocol = (REPO / "docs" / "protocol.md").read_text()
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.PocketllamaError):
            assert f"| {cls.exit_code} |" in text, cls
            assert f"| {cls.rpc_code} |" in protocol, cls
            assert f"`{cls.__name__}`" in protocol, cls


def test_help_in_the_docs_is_what_help_says() -> None:
    documented = (REPO / "docs" / "cli.md").read_text()
    assert cli("--help").stdout in documented
    for verb in VERBS:
        assert cli("help", verb).stdout in documented, verb
    assert os.environ["POCKETLLAMA_HOME"] not in documented


def test_show_is_for_people() -> None:
    done = cli("show", "tales", "-c", "100000")
    lines = dict(line.split(":", 1) for line in done.stdout.splitlines())
    assert done.returncode == 0 and lines["parameters"].strip() == "6.82 million"
    assert lines["context"].strip() == "512 tokens: less than the 100000 asked for"
    assert all(len(f"{key}:{value}") <= 80 for key, value in lines.items() if key != "file")
    assert "less than" not in cli("show", "tales").stdout
