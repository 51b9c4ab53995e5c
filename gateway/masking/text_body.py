"""Bodies of plain text: logs, metrics, errors that are no Status, whatever a proxied server says in words."""

from __future__ import annotations

import re
from typing import Protocol

from gateway.masking.sight import Sight

PATIENCE = 0.1
"""Seconds of silence after which what may be let go of a line that has not ended is let go."""
MOST_TAIL = 4096
"""Bytes of a last word that is held back where the end may have been cut off."""
CUT_OFF = b"(cut off)"
CUT_OFF_RULE = "cut-off-end"

_LAST_WORD = re.compile(rb"[^\s\0]*\Z")


class TextStream(Protocol):
    """As chaperone.core.masking.stream.TextStream has it."""

    @property
    def held(self) -> int:
        """Bytes that are held back."""

    def feed(self, piece: bytes) -> bytes: ...
    def idle(self) -> bytes: ...
    def flush(self) -> bytes: ...


class TextBody:
    """live: what comes goes at once, but for a word or a block that has not ended."""

    def __init__(self, stream: TextStream, *, live: bool) -> None:
        self._stream = stream
        self.live = live

    @property
    def patience(self) -> float:
        return PATIENCE if self.live and self._stream.held else 0.0

    def data(self, piece: bytes) -> bytes:
        return self._stream.feed(piece)

    def idle(self) -> bytes:
        return self._stream.idle()

    def cut(self) -> bytes:
        return self._stream.flush()

    def end(self) -> bytes:
        return self._stream.flush()


class LimitedTextBody(TextBody):
    """A text of at most so many bytes (`limitBytes` of a log): where it is full, its last word may be the beginning of
    a secret, which no rule would know, and is not shown."""

    def __init__(self, stream: TextStream, sight: Sight, *, live: bool, limit: int) -> None:
        super().__init__(stream, live=live)
        self._sight = sight
        self._left = limit
        self._tail = b""

    def data(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        text = self._tail + piece
        word = _LAST_WORD.search(text, max(0, len(text) - MOST_TAIL))
        at = word.start() if word is not None else len(text)
        self._tail = text[at:]
        return self._stream.feed(text[:at])

    def end(self) -> bytes:
        tail, self._tail = self._tail, b""
        if tail and self._left <= 0:
            out = self._stream.flush() + CUT_OFF
            self._sight.counts[CUT_OFF_RULE] = self._sight.counts.get(CUT_OFF_RULE, 0) + 1
            return out
        return self._stream.feed(tail) + self._stream.flush()

    cut = end
