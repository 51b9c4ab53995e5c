"""Joins what one source says within a moment, so that a recording does not depend on how the network cut it."""

from __future__ import annotations

from typing import NamedTuple

GRAIN = 0.02
"""Seconds within which the words of one source are one event."""
LONGEST = 32 * 1024
"""Bytes of one event."""


class Said(NamedTuple):
    """at: seconds, when its first byte came."""

    source: str
    at: float
    data: bytes


class Gatherer:
    """Bytes of several sources, in order, cut only between characters of UTF-8 (where it is UTF-8)."""

    __slots__ = ("_rests", "_said", "_since", "_source")

    def __init__(self) -> None:
        self._source = ""
        self._since = 0.0
        self._said = bytearray()
        self._rests: dict[str, bytes] = {}

    def add(self, source: str, data: bytes, now: float) -> list[Said]:
        """What is complete by now."""
        out = self.take() if self._said and (source != self._source or now - self._since >= GRAIN) else []
        if not self._said:
            self._source, self._since = source, now
            self._said += self._rests.pop(source, b"")
        self._said += data
        while len(self._said) >= LONGEST:
            size = character_border(self._said[:LONGEST])
            out.append(Said(source, self._since, bytes(self._said[:size])))
            del self._said[:size]
        return out

    def settle(self, now: float) -> list[Said]:
        """As `add`, when nothing was added."""
        return self.take() if self._said and now - self._since >= GRAIN else []

    def take(self) -> list[Said]:
        """What was said so far, but for the beginning of a character, which waits for its end."""
        size = character_border(self._said)
        said, rest = bytes(self._said[:size]), bytes(self._said[size:])
        self._said.clear()
        if rest:
            self._rests[self._source] = rest
        return [Said(self._source, self._since, said)] if said else []

    def end(self, now: float) -> list[Said]:
        """All of it."""
        out = self.take()
        rests, self._rests = self._rests, {}
        return out + [Said(source, now, rest) for source, rest in rests.items()]


def character_border(data: bytes | bytearray) -> int:
    """The length without the beginning of a UTF-8 character at its end; the whole length when there is none."""
    size = len(data)
    for back in range(1, min(4, size + 1)):
        byte = data[size - back]
        if byte >= 0xC0:
            needs = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4 if byte < 0xF8 else 1
            return size - back if needs > back else size
        if byte < 0x80:
            break
    return size
