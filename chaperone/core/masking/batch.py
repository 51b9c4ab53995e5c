"""Many texts as one block of bytes, so that an engine is asked once; and the way back from the block to the text."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from chaperone.core.masking.detection import Span
from chaperone.core.masking.rule import Rule, finds

_INNER = bytes(range(0x80, 0xC0))
"""Bytes of UTF-8 that begin no character."""

SEPARATOR = b"\n"
"""Ends a token in every rule; engines let `^` and `$` match at it."""


class Batch:
    """Texts as UTF-8, joined. A lone surrogate is encoded as it stands."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.parts = [text.encode(errors="surrogatepass") for text in texts]
        self.block = SEPARATOR.join(self.parts)
        self._starts: list[int] | None = None

    def index_at(self, last: int) -> int:
        """The text in which the byte at `last` stands; of a separator: the text before it."""
        return bisect_right(self._offsets(), last) - 1

    def spans(self, index: int, rule: Rule) -> Iterator[Span]:
        """What one rule finds in one text, in characters of the text."""
        for start, end in finds(rule, self.parts[index]):
            yield Span(*self._in_text(index, start, end), rule.name)

    def characters(self, index: int, start: int, end: int) -> tuple[int, int]:
        """The way back from [start, end) in the block to characters of the text at index."""
        first = self._offsets()[index]
        last = first + len(self.parts[index])
        return self._in_text(index, max(start - first, 0), min(end, last) - first)

    def _in_text(self, index: int, start: int, end: int) -> tuple[int, int]:
        raw = self.parts[index]
        if len(raw) == len(self.texts[index]):
            return start, end
        return _characters(raw[:start]), _characters(raw[:end])

    def _offsets(self) -> list[int]:
        if self._starts is None:
            self._starts = list(accumulate((len(part) + 1 for part in self.parts[:-1]), initial=0))
        return self._starts


def _characters(raw: bytes) -> int:
    """How many characters begin in these bytes: a cut inside one counts it."""
    return len(raw.translate(None, _INNER))
