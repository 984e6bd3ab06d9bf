"""What several commands share: the options, how a model is loaded, how a prompt is read."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import output
from ..argv import Option
from ..errors import StorageError, UsageError

MODEL = Option("model", ("-m", "--model"), str, "a name, hf:owner/repo[:quant], a URL or a path (tales)", "MODEL")
CTX = Option("ctx", ("-c", "--ctx"), int, "the context length in tokens (the model's own, up to 4096)", "N")
TEMPLATE = Option(
    "template", ("--template",), str, "the chat template: a built-in one's name, or a Jinja file (the model's own)", "T"
)
THREADS = Option("threads", ("-t", "--threads"), int, "threads (one for each physical core)", "N")
# How the next token is chosen, in the order in which it is done. Names and defaults are engine.Sampling's.
SAMPLING = (
    Option("max_tokens", ("-n", "--max-tokens"), int, "the most new tokens (256)", "N"),
    Option("temperature", ("--temp", "--temperature"), float, "0: the likeliest text, 1: variety (0.8)", "T"),
    Option("top_k", ("--top-k",), int, "choose among the K likeliest tokens; 0 for all (40)", "K"),
    Option("top_p", ("--top-p",), float, "… that together have probability P (0.95)", "P"),
    Option("min_p", ("--min-p",), float, "… that are at least P times as likely as the likeliest (0)", "P"),
    Option("typical_p", ("--typical-p",), float, "locally typical sampling; 1: off (1)", "P"),
    Option("repetition_penalty", ("--repetition-penalty",), float, "1 for none (1.1)", "X"),
    Option("last_n_tokens", ("--last-n-tokens",), int, "what penalties look at; -1: the whole context (64)", "N"),
    Option("frequency_penalty", ("--frequency-penalty",), float, "for each time that a token was there (0)", "X"),
    Option("presence_penalty", ("--presence-penalty",), float, "… once, if it was (0)", "X"),
    Option("dry_multiplier", ("--dry-multiplier",), float, "penalty for going on with a repetition; 0: off (0)", "X"),
    Option("xtc_probability", ("--xtc-probability",), float, "how often the likeliest tokens are left out (0)", "P"),
    Option("mirostat", ("--mirostat",), int, "2: keep the surprise near --mirostat-tau (0)", "0|2"),
    Option("mirostat_tau", ("--mirostat-tau",), float, "… in bits (5)", "X"),
    Option("seed", ("--seed",), int, "one seed, one text; -1 for a new one each time (-1)", "S"),
    Option("stop", ("--stop",), list, "end before this text; may be given several times", "TEXT"),
)
SHIFTING = (
    Option("context_shift", ("--context-shift",), bool, "a full context forgets its older half, and goes on"),
    Option("keep", ("--keep",), int, "… but not the first N tokens of it (4)", "N"),
)
SPECULATE = Option("speculate", ("--speculate",), str, "guess ahead: ngram, from the text so far (off)", "HOW")
DRAFT = Option("draft", ("--draft",), str, "a smaller model of the same vocabulary, whose guesses save time", "MODEL")
LOADING = (
    Option("kv_type", ("--kv-type",), str, "what the cache holds: f16, f32, or q8_0 for half the memory (f16)", "TYPE"),
    Option("no_mmap", ("--no-mmap",), bool, "read the file into memory: it may then change, or its disk go away"),
)
JSON = Option("as_json", ("--json",), bool, "print one JSON object")
NAMES = """
MODEL is one of
  tales                       the small story-teller that comes with pocketllama
  an alias                    pocketllama list --known shows them
  hf:owner/repo[:quant|file]  from the Hugging Face hub, such as hf:TheBloke/Llama-2-7B-GGUF:Q4_K_M
  https://…/model.gguf        any server
  a path                      ./model.gguf
"""


def read_prompt(prompt: str | None) -> str:
    """`-`, or nothing with something piped in, reads standard input; the newline that ends it is not part of it."""
    if prompt not in (None, "-"):
        return str(prompt)
    if prompt is None and sys.stdin.isatty():
        raise UsageError("pocketllama run needs a PROMPT.", remedy='Try: pocketllama run "Once upon a time"')
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as e:
        raise UsageError(f"Standard input is not UTF-8: {e.reason} at byte {e.start}.") from e
    return text.removesuffix("\n").removesuffix("\r")


def load(model: str, **options: Any) -> Any:
    from ..engine import LLM
    from ..models import progress

    with progress.bar() as show:
        return LLM.from_pretrained(model, progress=show, **{k: v for k, v in options.items() if v is not None})


def print_json(value: Any) -> None:
    output.write(json.dumps(value, ensure_ascii=False, indent=None) + "\n")


def check_output(path: Path) -> None:
    """What can be wrong with a text to be written, said before minutes of work."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", remedy="Name the file too.")
    if not path.parent.is_dir():
        raise StorageError(f"There is no folder {path.parent} to write to.", remedy="Make it, or choose another.")


def write_output(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise StorageError(f"{path} could not be written: {e.strerror or e}.") from e


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP stop the work as Ctrl-C does, so that nothing half-written stays."""

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), stop) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
