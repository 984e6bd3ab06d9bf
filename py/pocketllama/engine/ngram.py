"""Guesses the next tokens of a text from the text itself: what followed the last time that it went like this.

The index is that of LZ77's hash chains: each pair of tokens knows where it stood last, and each such place the one
before it. A token costs a constant time, however long the text is; nothing is ever looked through again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

_CANDIDATES = 8  # earlier places that are compared, the latest first
_LOOK_BACK = 32  # … over so many tokens
_COPY = 8  # a match of this length is a copy under way: where one token differs, it is likely to go on behind it
_DETOURS = 3  # … but hardly behind so many
# By the length of the match, in tokens: the first of each class, and how likely the next token is before anything has
# been seen. 0 and 1 are those behind a token that differed.
_CLASSES = (0, 1, 2, 3, 4, 6, 9, 16, 25)
_PRIORS = (0.6, 0.7, 0.25, 0.4, 0.5, 0.6, 0.75, 0.85, 0.9)
_PRIOR_WEIGHT = 2.0  # in tokens
_MEMORY = 0.97  # of what has been seen, for each token seen since: a text changes its ways


class Ngrams:
    """The guesses, and how far they are to be trusted. See `speculate.Guesser`."""

    seconds = took = 0.0  # guesses take nothing beside an evaluation

    def __init__(self, prompt: Iterable[int]) -> None:
        self._text: list[int] = []
        self._latest: dict[tuple[int, int], int] = {}  # of a pair: the position behind it, where it stood last
        self._earlier = [0]  # by the position behind a pair: that of the one before it, or 0
        self._source = 0  # the position whose token is expected next; 0: none is
        self._matched = 0  # how many tokens in front of both agree
        self._detours = 0  # how many tokens have differed since a copy
        self._right = [p * _PRIOR_WEIGHT for p in _PRIORS]
        self._seen = [_PRIOR_WEIGHT] * len(_PRIORS)
        # How often the prompt repeats itself says nothing of how often the answer repeats the prompt: it is not judged.
        for token in prompt:
            place = self._append(token)
        if self._text:
            self._find(place)

    def feed(self, tokens: Iterable[int]) -> None:
        """The text goes on with `tokens`. What was expected in their place is compared with them, so that it is known
        what a guess would have been worth also where none is made."""
        for token in tokens:
            if self._source:
                self._judge(self._text[self._source] == token)
            place = self._append(token)
            if self._matched < 2:
                self._find(place)

    def _judge(self, right: bool) -> None:
        c = _class(self._matched)
        self._right[c] = self._right[c] * _MEMORY + right
        self._seen[c] = self._seen[c] * _MEMORY + 1.0
        self._source += 1
        if right:
            self._matched += 1
            if self._matched >= _COPY:
                self._detours = 0
        elif self._detours < _DETOURS and (self._matched >= _COPY or self._detours):
            self._detours += 1
            self._matched = 0
        else:
            self._source = self._matched = self._detours = 0

    def _append(self, token: int) -> int:
        """Note the newest pair; the position behind the last one of its kind, or 0."""
        text = self._text
        text.append(token)
        if len(text) < 2:
            self._earlier.append(0)
            return 0
        pair = (text[-2], token)
        place = self._latest.get(pair, 0)
        self._latest[pair] = len(text)
        self._earlier.append(place)
        return place

    def _find(self, place: int) -> None:
        """Of the latest places with the same pair, the one that agrees with the text's end the longest."""
        # What goes on behind a detour has more to say than two or three common words.
        best = 3 if self._source else 1
        for _ in range(_CANDIDATES):
            if not place:
                return
            length = self._agree(place)
            if length > best:
                best, self._source, self._matched, self._detours = length, place, length, 0
            place = self._earlier[place]

    def _agree(self, place: int) -> int:
        """How many tokens in front of `place` are also the text's last."""
        text = self._text
        n = 2  # the pair itself
        most = min(_LOOK_BACK, place)
        while n < most and text[place - 1 - n] == text[-1 - n]:
            n += 1
        return n

    def chances(self, n: int) -> Iterator[float]:
        """Of up to `n` guesses, how likely each is right if those before it are; none where nothing is expected."""
        if self._source:
            for matched in range(self._matched, self._matched + n):
                c = _class(matched)
                yield self._right[c] / self._seen[c]

    def guess(self, n: int) -> list[int]:
        """The next `n` tokens."""
        if not self._source:
            return []
        found = list(islice(self._text, self._source, self._source + n))
        period = len(self._text) - self._source
        while len(found) < n:  # it reaches the text's own end: a repetition, which goes on with itself
            found.append(found[-period])
        return found


_CLASS_OF = [max(i for i, first in enumerate(_CLASSES) if first <= length) for length in range(_CLASSES[-1] + 1)]


def _class(matched: int) -> int:
    return _CLASS_OF[min(matched, _CLASSES[-1])]
