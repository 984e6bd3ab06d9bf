"""Reads a command line against a table of verbs and options, and explains what does not fit.

Fire calls the verb; but Fire guesses the type of every word, and a prompt must stay the text it is (`42`, `None`,
`[1, 2]`, `-5 degrees`). So words are sorted here first, and Fire gets each one as `--name=value`.
"""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from .errors import UsageError


@dataclass(frozen=True)
class Option:
    """One option of a verb. `kind` is str, int, float, list (may be given several times) or bool (takes no value)."""

    name: str  # the parameter of the verb's function
    flags: tuple[str, ...]
    kind: type
    help: str
    value: str = ""  # what the help calls its value


@dataclass(frozen=True)
class Verb:
    """A command: the function that does it, what it takes, and how to use it."""

    call: Callable[..., None]
    summary: str
    positional: tuple[str, ...] = ()  # names of parameters, in order
    optional: int = 0  # how many of them, from the end, may be missing
    options: tuple[Option, ...] = ()
    examples: tuple[str, ...] = ()
    details: str = ""
    text: bool = False  # its positional words are free text: whatever is no option belongs to them
    rest: bool = False  # the words behind the last positional are passed on as they are, as `args`
    aliases: tuple[str, ...] = field(default=())


HELP = ("-h", "--help")


@dataclass(frozen=True)
class Command:
    """A command line, understood: the verb's name and its arguments by name; `wants_help` instead of running it."""

    verb: str | None
    values: dict[str, str | int | float | bool | list[str]]
    wants_help: bool = False

    def for_fire(self) -> list[str]:
        """The words that make Fire call the verb with exactly these values, each in the form its parser gives back."""
        return [str(self.verb), *(f"--{name}={json.dumps(value)}" for name, value in self.values.items())]


def parse(argv: Sequence[str], verbs: Mapping[str, Verb], default: str) -> Command:
    """Understand `argv`; a line that begins with no verb belongs to `default`. UsageError says what is wrong."""
    words = list(argv)
    if not words or words[0] in HELP or (words[:1] == ["help"] and len(words) == 1):
        return Command(None, {}, wants_help=True)
    if words[0] == "help" and len(words) == 2 and words[1] in verbs:
        return Command(words[1], {}, wants_help=True)
    if words[0] in ("--version", "-V"):
        return Command("version", {})
    name = next((n for n, v in verbs.items() if words[0] == n or words[0] in v.aliases), None)
    if name is None:
        name = default
    else:
        words = words[1:]
    return _parse_verb(name, verbs[name], words)


def _parse_verb(name: str, verb: Verb, words: list[str]) -> Command:
    by_flag = {flag: option for option in verb.options for flag in option.flags}
    values: dict[str, str | int | float | bool | list[str]] = {}
    plain: list[str] = []
    strange: list[str] = []  # begin with "-" and are no option: a mistake, or text
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if verb.rest and len(plain) == len(verb.positional):
            values.setdefault("args", []).append(word)  # type: ignore[union-attr]
            continue
        if word == "--":
            plain += words[at:]
            break
        if word in HELP:
            return Command(name, {}, wants_help=True)
        flag, equals, value = word.partition("=")
        option = by_flag.get(word) or (by_flag.get(flag) if equals and flag.startswith("--") else None)
        if option is None:
            (strange if word.startswith("-") and word != "-" else plain).append(word)
        elif option.kind is bool:
            if equals:
                raise UsageError(f"{flag} takes no value.")
            values[option.name] = True
        else:
            if not equals:
                if at >= len(words):
                    raise UsageError(f"{flag} needs a value ({option.help}).")
                value, at = words[at], at + 1
            _store(values, option, flag, value)
    return Command(name, values | _positional(name, verb, plain, strange, by_flag))


def _store(values: dict[str, str | int | float | bool | list[str]], option: Option, flag: str, value: str) -> None:
    if option.kind is list:
        values.setdefault(option.name, []).append(value)  # type: ignore[union-attr]
        return
    try:
        values[option.name] = option.kind(value)
    except ValueError:
        what = "a whole number" if option.kind is int else "a number"
        raise UsageError(f"{flag} takes {what}, not {value!r}.") from None


def _positional(
    name: str, verb: Verb, plain: list[str], strange: list[str], by_flag: Mapping[str, Option]
) -> dict[str, str | int | float | bool | list[str]]:
    if verb.text and len(strange) == 1 and not plain and not _near(strange[0], by_flag):
        plain, strange = strange, []  # a prompt may begin with "-"
    if strange:
        near = _near(strange[0], by_flag)
        hint = f"Did you mean {near}? " if near else f"pocketllama {name} --help lists its options. "
        also = 'Text that begins with "-" may follow "--".' if verb.text else ""
        raise UsageError(f"pocketllama {name} has no option {strange[0]!r}.", remedy=(hint + also).strip())
    if len(plain) > len(verb.positional):
        extra = plain[len(verb.positional)]
        quotes = " Put a text of several words in quotes." if verb.text else ""
        raise UsageError(
            f"pocketllama {name} does not know what to do with {extra!r}.{quotes}",
            remedy=f"pocketllama {name} --help shows how to use it.",
        )
    if len(plain) < len(verb.positional) - verb.optional:
        missing = verb.positional[len(plain)].upper()
        raise UsageError(f"pocketllama {name} needs {missing}.", remedy=f"pocketllama {name} --help shows examples.")
    return dict(zip(verb.positional, plain, strict=False))


def _near(word: str, by_flag: Mapping[str, Option]) -> str | None:
    """The option that `word` may have been meant to be; text with spaces was not."""
    flag = word.partition("=")[0]
    if not flag.startswith("--") or any(c.isspace() for c in flag):
        return None
    near = difflib.get_close_matches(flag, by_flag, n=1, cutoff=0.7)
    return near[0] if near else None


def usage(name: str, verb: Verb) -> str:
    """The help text of one verb."""
    needed = len(verb.positional) - verb.optional
    places = [p.upper() if i < needed else f"[{p.upper()}]" for i, p in enumerate(verb.positional)]
    lines = [f"Usage: pocketllama {' '.join([name, *places, *(['[ARGS…]'] if verb.rest else [])])} [OPTIONS]", ""]
    lines += [verb.summary, ""]
    if verb.details:
        lines += [verb.details.strip("\n"), ""]
    if verb.options:
        lines.append("Options:")
        heads = [", ".join(o.flags) + (f" {o.value}" if o.value else "") for o in verb.options]
        width = max(map(len, heads))
        lines += [f"  {head:<{width}}  {o.help}" for head, o in zip(heads, verb.options, strict=True)]
        lines.append("")
    if verb.examples:
        lines += ["Examples:", *(f"  {e}" for e in verb.examples), ""]
    return "\n".join(lines)


def fitted(text: str, columns: int | None) -> str:
    """A help text in a terminal so wide: paragraphs are filled again, and what stands in columns hangs in its own.

    Examples stay as they are, to be copied. None is no terminal: nothing changes.
    """
    if columns is None or all(len(line) <= columns for line in text.splitlines()):
        return text
    text, examples, commands = text.partition("\nExamples:\n")
    lines: list[str] = []
    for line in text.split("\n"):
        goes_on = lines and lines[-1] and line and not line.startswith(" ") and not lines[-1].startswith(" ")
        if goes_on and not lines[-1].endswith(":"):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(map(partial(_filled, columns=columns), lines)) + examples + commands


def _filled(line: str, columns: int) -> str:
    if len(line) <= columns:
        return line
    column = re.match(r" +(?:\S+ )*\S+ {2,}", line)
    hang = column.end() if column and column.end() <= columns // 2 else 4 if line.startswith(" ") else 0
    return textwrap.fill(line, columns, subsequent_indent=" " * hang, break_long_words=False, break_on_hyphens=False)
