"""A chat's commands, on the embedded model, without a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketllama import errors, output
from pocketllama.chat import Session
from pocketllama.chat.session import read
from pocketllama.engine import LLM
from pocketllama.terminal import commands as slash
from pocketllama.terminal.choose import Choice
from pocketllama.terminal.commands import Commands
from pocketllama.terminal.screen import Screen
from pocketllama.terminal.talk import Setup, Talk

OPTIONS: dict[str, Any] = {"temperature": 0, "max_tokens": 5, "overflow": "error", "template": "alpaca"}


class Notes(Screen):
    """Keeps what is said about the chat."""

    def __init__(self) -> None:
        super().__init__(live=False)
        self.notes: list[str] = []

    def say(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []
    monkeypatch.setattr(output, "write", written.append)
    return written


@pytest.fixture
def talk(answers: list[str]) -> Iterator[Talk]:
    talk = Talk(Setup(LLM.from_pretrained, OPTIONS), Choice("tales"), Notes())
    yield talk
    talk.close()


def listen(talk: Talk, *lines: str, ask: Any = None) -> str:
    """What is said about the chat over these lines."""
    assert isinstance(talk.screen, Notes)
    talk.screen.notes.clear()
    talk.listen(lines, Commands(ask))
    return "\n".join(talk.screen.notes)


def roles(talk: Talk) -> str:
    return "".join(m["role"][0] for m in talk.session.messages)


def test_lines_are_answered(talk: Talk, answers: list[str]) -> None:
    assert listen(talk, "Tell me of a king.", "", "   ", "And a queen.") == ""
    assert roles(talk) == "uaua" and "".join(answers).count("\n") >= 2
    assert talk.session.messages[0]["content"] == "Tell me of a king."
    assert talk.exit_code == 0


def test_a_message_may_begin_with_a_slash(talk: Talk) -> None:
    listen(talk, "//etc is a folder")
    assert talk.session.messages[0]["content"] == "/etc is a folder"


def test_help_names_every_command(talk: Talk) -> None:
    told = listen(talk, "/help")
    for name in ("help", "system", "input", "reset", "retry", "save", "load", "model", "temp", "stats", "exit"):
        assert f"/{name}" in told


def test_what_is_no_command(talk: Talk) -> None:
    assert "Did you mean /retry?" in listen(talk, "/retyr")
    assert talk.exit_code == 2 and talk.session.messages == []


def test_exit_ends(talk: Talk) -> None:
    listen(talk, "/exit", "not said any more")
    assert talk.session.messages == []


def test_the_system(talk: Talk) -> None:
    assert listen(talk, "/system Be brief.") == "system: Be brief."
    listen(talk, "Hi", "/reset")
    assert roles(talk) == "s"
    assert listen(talk, "/system -") == "system: (nothing)" and roles(talk) == ""


def test_input_is_of_one_instruction(talk: Talk) -> None:
    listen(talk, "/input Hund", "Translate.", "Name a colour.")
    first, _, second, _ = talk.session.messages
    assert first == {"role": "user", "content": "Translate.", "input": "Hund"}
    assert second == {"role": "user", "content": "Name a colour."}
    assert "paired with an input" in talk.llm.chat_prompt([first], template="alpaca").text
    assert "needs the text" in listen(talk, "/input")


def test_retry(talk: Talk, answers: list[str]) -> None:
    assert "no answer yet" in listen(talk, "/retry")
    listen(talk, "Tell me of a king.", "/retry")
    said = "".join(answers)
    assert roles(talk) == "ua" and said[: len(said) // 2] == said[len(said) // 2 :]


def test_the_temperature(talk: Talk) -> None:
    assert listen(talk, "/temp") == "temperature: 0"
    assert listen(talk, "/temp 1.5") == "temperature: 1.5"
    listen(talk, "Hi")
    for wrong in ("x", "-1", "nan", "inf"):
        assert "takes a number" in listen(talk, f"/temp {wrong}")
    assert talk.temperature == 1.5


def test_stats_tell_what_was_new(talk: Talk) -> None:
    assert listen(talk, "/stats") == "There is no answer yet."
    listen(talk, "Tell me of a king.", "And a queen.")
    told = listen(talk, "/stats on")
    timings = talk.last.timings
    assert f"{timings.prompt_tokens_evaluated} of them new" in told
    assert timings.prompt_tokens_evaluated < talk.last.prompt_tokens / 2
    assert f"{talk.last.prompt_tokens + 5} of 512" in told
    assert "prompt:" in listen(talk, "Go on.") and "prompt:" not in listen(talk, "/stats off", "Go on.")


def test_kept_and_gone_on_with(talk: Talk, own_home: Path, tmp_path: Path) -> None:
    assert "No conversation is kept" in listen(talk, "/load")
    listen(talk, "Tell me of a king.")
    kept = list(talk.session.messages)
    told = listen(talk, "/save king", f"/save {tmp_path / 'talk.json'}", "/reset")
    assert str(own_home / "pocketllama" / "chats" / "king.json") in told
    assert "king  Tell me of a king." in listen(talk, "/load")
    assert "2 messages" in listen(talk, "/load king") and talk.session.messages == kept
    listen(talk, "/reset", f"/load {tmp_path / 'talk.json'}")
    assert talk.session.messages == kept
    listen(talk, "/save king", "/save")
    assert len(list((own_home / "pocketllama" / "chats").glob("*.json"))) == 2


def test_a_kept_conversation_is_gone_on_with_as_it_was(answers: list[str], tmp_path: Path) -> None:
    """Where only texts were gone on with, a story stays one; a program's conversation becomes one with its template."""
    options: dict[str, Any] = {"temperature": 0, "max_tokens": 5, "template": None}
    talk = Talk(Setup(LLM.from_pretrained, options), Choice("tales", story=True), Notes())
    try:
        with LLM.from_pretrained("tales") as llm:
            session = Session(llm, template="vicuna", max_tokens=5)
            session.say("Tell me of a king.").text()
            session.save(tmp_path / "king.json")
        assert read(tmp_path / "king.json")["model"] == "tales"
        listen(talk, "Once", f"/save {tmp_path / 'tale.json'}", f"/load {tmp_path / 'tale.json'}")
        assert talk.choice.story and roles(talk) == "ua"
        listen(talk, f"/load {tmp_path / 'king.json'}", "And of a queen.")
        assert not talk.choice.story and talk.session.options["template"] == "vicuna" and roles(talk) == "uaua"
        assert talk.last.prompt_tokens > 20  # all of it, and not the last line alone
        (tmp_path / "bad.json").write_text((tmp_path / "king.json").read_text().replace("vicuna", "nonsuch"))
        assert "nonsuch" in listen(talk, f"/load {tmp_path / 'bad.json'}") and roles(talk) == "uaua"
    finally:
        talk.close()


def test_a_file_that_is_no_conversation_is_not_overwritten(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert "is no conversation" in listen(talk, f"/save {tmp_path / 'precious.txt'}")
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert "no saved conversation" in listen(talk, f"/load {tmp_path / 'precious.txt'}")
    assert "cannot be read" in listen(talk, "/load nonsuch")


def test_another_model(talk: Talk, tales: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    other.symlink_to(tales)
    assert "context of 512" in listen(talk, "/model")
    listen(talk, "Hi", f"/model {other}")
    assert talk.choice.name == str(other) and roles(talk) == "ua"
    listen(talk, "And now?")
    assert roles(talk) == "uaua"


def test_a_model_that_is_not_here(talk: Talk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    assert "nonsuch" in listen(talk, "/model nonsuch", ask=asked.append) and asked == []
    assert "pocketllama pull tinyllama" in listen(talk, "/model tinyllama", ask=lambda q: asked.append(q))
    assert len(asked) == 1 and "670 MB to download, licence apache-2.0" in asked[0]
    monkeypatch.setenv("POCKETLLAMA_OFFLINE", "1")  # then nothing is asked that could not be done
    assert "POCKETLLAMA_OFFLINE forbids" in listen(talk, "/model tinyllama", ask=asked.append) and len(asked) == 1
    monkeypatch.delenv("POCKETLLAMA_OFFLINE")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 20)
    assert "broken.gguf" in listen(talk, f"/model {broken}")
    listen(talk, "Are you still there?")  # the one before has been loaded again
    assert roles(talk) == "ua" and talk.choice.name == "tales"
    monkeypatch.setattr(slash.choose, "fetch", lambda name, say: False)
    listen(talk, "/model tinyllama", ask=lambda q: True)
    assert talk.choice.name == "tales"


def test_too_much_is_said_and_the_chat_goes_on(talk: Talk) -> None:
    said = listen(talk, "x " * 600, "Hi")
    assert "more than the context of 512" in said and "/reset" in said and "context_length" not in said
    assert roles(talk) == "ua" and talk.exit_code == errors.ContextOverflow.exit_code


def test_a_full_context_may_forget(answers: list[str]) -> None:
    talk = Talk(Setup(LLM.from_pretrained, {**OPTIONS, "overflow": "forget"}), Choice("tales"), Notes())
    told = listen(talk, *[f"word {i} " * 30 for i in range(4)])
    assert "are forgotten" in told and talk.exit_code == 0 and roles(talk) == "uauauaua"
    talk.close()


def test_stories_go_on(answers: list[str], golden: dict[str, Any]) -> None:
    options = {"temperature": 0, "max_tokens": golden["max_tokens"], "overflow": "error"}
    talk = Talk(Setup(LLM.from_pretrained, options), Choice("tales", story=True), Notes())
    listen(talk, golden["prompt"])
    assert "".join(answers).strip() == golden["text"].strip()
    first = talk.session.messages[-1]["content"]
    listen(talk, "")
    assert roles(talk) == "uaua" and talk.last.prompt_tokens > golden["max_tokens"]
    whole = talk.llm.complete(golden["prompt"] + first, temperature=0, max_tokens=golden["max_tokens"]).text()
    assert talk.session.messages[-1]["content"] == whole
    assert "knows no system" in listen(talk, "/system x")
    listen(talk, "The queen")
    assert roles(talk) == "ua"
    talk.close()


@pytest.mark.parametrize(("template", "says"), [(None, "no chat template; alpaca is used"), ("chatml", "chatml")])
def test_the_introduction_names_the_template(answers: list[str], template: str | None, says: str) -> None:
    options = {**OPTIONS, "template": template}
    talk = Talk(Setup(LLM.from_pretrained, options), Choice("tales"), notes := Notes())
    talk.introduce()
    assert says in notes.notes[0]
    talk.close()
