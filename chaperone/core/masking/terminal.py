"""Escape sequences of terminals: a text without them, and the way back to where its bytes stand among them (ECMA-48)."""

from __future__ import annotations

import re
from bisect import bisect_right

ESCAPE = b"\x1b"
MOST_UNFINISHED = 256
"""Bytes of a sequence without an end; more is no sequence."""

_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x00\x07\x1b\r\n]*(?:\x07|\x1b\\)|[PX^_][^\x00\x1b\r\n]*\x1b\\"
    rb"|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|[\]PX^_][^\x00\x07\x1b\r\n]*\x1b?|[ -/]*)\Z")


class Plain:
    """A line without its escape sequences. raw: the line as it is; text: what is left."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._plain_at = [0]
        self._raw_at = [0]
        parts: list[bytes] = []
        size = end = 0
        for match in _SEQUENCE.finditer(raw):
            parts.append(raw[end : match.start()])
            size += match.start() - end
            end = match.end()
            self._plain_at.append(size)
            self._raw_at.append(end)
        self.text = b"".join([*parts, raw[end:]])

    def raw_offset(self, offset: int) -> int:
        """Where a byte of the text stands in the raw line; sequences before it come first."""
        at = bisect_right(self._plain_at, offset) - 1
        return offset + self._raw_at[at] - self._plain_at[at]

    def starred(self) -> bytes:
        """As many bytes, a star for each that is in no sequence."""
        out = bytearray(b"*" * len(self.raw))
        for match in _SEQUENCE.finditer(self.raw):
            out[match.start() : match.end()] = match[0]
        return bytes(out)


def sequences(raw: bytes) -> list[bytes]:
    """The sequences alone."""
    return _SEQUENCE.findall(raw)


def without_sequences(raw: bytes) -> bytes:
    return _SEQUENCE.sub(b"", raw) if ESCAPE in raw else raw


def unfinished_at(raw: bytes) -> int:
    """Where a sequence begins that has not ended; the length of the bytes when there is none."""
    start = raw.rfind(ESCAPE, max(0, len(raw) - MOST_UNFINISHED))
    if start > 0 and raw[start - 1 : start + 1] != ESCAPE * 2 and raw.endswith(ESCAPE):
        start = _opening(raw, start)
    return start if start >= 0 and _UNFINISHED.match(raw, start) else len(raw)


def _opening(raw: bytes, start: int) -> int:
    """Of a string that may end in ESC \\: where it was opened, when it was."""
    before = raw.rfind(ESCAPE, max(0, start - MOST_UNFINISHED), start)
    return before if before >= 0 and _UNFINISHED.match(raw, before) else start
