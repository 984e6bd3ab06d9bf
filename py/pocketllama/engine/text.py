"""From the bytes of tokens to text that may be shown: whole UTF-8 characters, and stop strings cut off in time."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Utf8Stream:
    """Decodes UTF-8 that arrives in pieces cut anywhere; what never becomes a character becomes U+FFFD, not nothing."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, data: bytes) -> str:
        return self._decoder.decode(data)

    def flush(self) -> str:
        return self._decoder.decode(b"", final=True)


class StopStrings:
    """Ends a text at the first stop string, wherever the pieces were cut.

    What might still become a stop string is held back; so the streamed text is byte for byte the whole one.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [s for s in stops if s]
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """The part of everything fed so far that is now certain and was not returned before."""
        if self.found:
            return ""
        text = self._held + text
        # The earliest match in the text ends it; of two that begin together it does not matter which.
        starts = [i for s in self._stops if (i := text.find(s)) >= 0]
        if starts:
            self.found, self._held = True, ""
            return text[: min(starts)]
        keep = max((self._overlap(text, s) for s in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """The length of the longest end of `text` with which `stop` begins."""
        longest = min(len(text), len(stop) - 1)
        return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)

    def flush(self) -> str:
        """What was held back and turned out not to be a stop string."""
        held, self._held = self._held, ""
        return held


class TextOut:
    """The text of one answer as its tokens' bytes come: whole characters, up to the first stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._decoder, self._stops = Utf8Stream(), StopStrings(stops)
        self._pieces: list[str] = []

    def feed(self, piece: bytes) -> str:
        """What may be shown now."""
        return self._keep(self._stops.feed(self._decoder.feed(piece)))

    def flush(self) -> str:
        """What may be shown because nothing comes behind it."""
        rest = self._stops.feed(self._decoder.flush())
        return self._keep(rest if self.stopped else rest + self._stops.flush())

    def _keep(self, text: str) -> str:
        if text:
            self._pieces.append(text)
        return text

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops.found

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces)
