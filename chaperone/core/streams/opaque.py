"""A connection to something behind a proxy subresource: it speaks whatever that speaks. Counted, and not looked into."""

from __future__ import annotations

from collections.abc import Iterator

from chaperone.core.streams.events import Channel, Chunk, Event, Kind

EVERYTHING = Channel(Kind.DATA, 0)


class OpaqueWire:
    """Implements events.Wire."""

    at_border = False

    def __init__(self, protocol: str) -> None:
        """protocol: of the upgrade, "websocket" or "spdy/3.1"."""
        self.name = f"{protocol}, not looked into"

    def from_client(self, piece: bytes) -> Iterator[Event]:
        yield Chunk(EVERYTHING, piece)

    def from_upstream(self, piece: bytes) -> Iterator[Event]:
        yield Chunk(EVERYTHING, piece)

    def to_client(self, chunk: Chunk) -> bytes:
        return chunk.data

    def to_upstream(self, chunk: Chunk) -> bytes:
        return chunk.data

    def farewell(self, text: str) -> bytes:
        """It has no place for words that is known here."""
        return b""
