"""`Prompt`: a rendered conversation, and its tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .facts import Facts
from .marked import Spans


@dataclass(frozen=True)
class Prompt:
    """The text that a template made of a conversation; `spans` are the characters that the template itself wrote."""

    text: str
    spans: Spans = ()

    def tokens(self, facts: Facts, encode: Callable[[str], list[int]], bos: int | None = None) -> list[int]:
        """The token ids. `encode` gives those of a text in which no name stands for a control token.

        A control token comes only from a name that lies wholly in what the template wrote: no message, and no
        two messages side by side, can make one (but the words of a name that a vocabulary has as an ordinary token are
        that token, as in any text). `bos` is put in front where the model's texts begin with it and the template
        has not written it.
        """
        ids: list[int] = []
        at = 0
        for start, end, token in self._specials(facts):
            if start > at:
                ids += _encode(self.text[at:start], facts, encode)
            ids.append(token)
            at = end
            if facts.space_after_specials and token in _taking_space(facts):
                at += len(self.text) - at - len(self.text[at:].lstrip())
        if at < len(self.text):
            ids += _encode(self.text[at:], facts, encode)
        return ids if bos is None or ids[:1] == [bos] else [bos, *ids]

    def behind(self, n: int) -> Prompt:
        """What stands behind the first `n` characters."""
        return Prompt(self.text[n:], tuple((max(a, n) - n, b - n) for a, b in self.spans if b > n))

    def continues(self, other: Prompt) -> bool:
        """Whether it begins with all of `other`, written by the same hands."""
        n = len(other.text)
        mine = tuple((a, min(b, n)) for a, b in self.spans if a < n)
        return self.text.startswith(other.text) and mine == other.spans

    def begins_with_special(self, facts: Facts) -> bool:
        """Whether a control token is the first thing in it."""
        return any(start == 0 for start, _, _ in self._specials(facts)[:1])

    def _specials(self, facts: Facts) -> list[tuple[int, int, int]]:
        if facts.pattern is None:
            return []
        return [
            (match.start(), match.end(), facts.names[match[0]])
            for start, end in self.spans
            for match in facts.pattern.finditer(self.text, start, end)
        ]


def _encode(text: str, facts: Facts, encode: Callable[[str], list[int]]) -> list[int]:
    """The ids of text that nobody vouches for. A mark in it, which `encode` would find, is cut behind its first
    letter."""
    if facts.marks_pattern is None:
        return encode(text)
    ids: list[int] = []
    at = 0
    while match := facts.marks_pattern.search(text, at):
        ids += encode(text[at : match.start() + 1])
        at = match.start() + 1
    return ids + encode(text[at:])


def _taking_space(facts: Facts) -> set[int]:
    plain = {facts.tokens.get("unk_token"), facts.tokens.get("bos_token"), "<|endoftext|>"}
    return {i for name, i in facts.names.items() if name not in plain}
