"""What the parsers of upgraded connections say, whatever protocol they read: content by channel, and what just passes."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple, Protocol


class StreamError(ValueError):
    """These bytes are not what this protocol allows. The message is for the audit record and for the client."""


class Kind(Enum):
    """What a channel carries. DATA: a forwarded port's own bytes; ERROR: a `Status`, or text in old protocols."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"
    ERROR = "error"
    RESIZE = "resize"
    DATA = "data"


class Channel(NamedTuple):
    """One stream of a connection. number: its SPDY stream id or WebSocket channel. port: of a forwarded one."""

    kind: Kind
    number: int
    port: int = 0


class Chunk(NamedTuple):
    """Content of one channel. whole: it ends a message or frame. ends: nothing more comes this way on it."""

    channel: Channel
    data: bytes
    whole: bool = False
    ends: bool = False


class Passed(NamedTuple):
    """Bytes that go on as they are. closes: what is held back for this channel must go before them; everything: for
    all channels."""

    raw: bytes
    closes: Channel | None = None
    everything: bool = False


Event = Chunk | Passed

TO_UPSTREAM = frozenset({Kind.STDIN, Kind.RESIZE, Kind.DATA})
"""What a client may send."""
TO_CLIENT = frozenset({Kind.STDOUT, Kind.STDERR, Kind.ERROR, Kind.DATA})
"""What the API server may send."""


class Wire(Protocol):
    """One upgraded connection in its own protocol. An iterator is read to its end before the next call."""

    @property
    def name(self) -> str:
        """For people and records: "SPDY/3.1 v4.channel.k8s.io"."""
        ...

    @property
    def at_border(self) -> bool:
        """True when everything that upstream has sent so far is whole, so that something may be put behind it."""
        ...

    def from_client(self, piece: bytes) -> Iterator[Event]:
        """Raises StreamError."""
        ...

    def from_upstream(self, piece: bytes) -> Iterator[Event]:
        """Raises StreamError."""
        ...

    def to_client(self, chunk: Chunk) -> bytes: ...
    def to_upstream(self, chunk: Chunk) -> bytes: ...

    def farewell(self, text: str) -> bytes:
        """The end of the connection towards the client, with the reason where its protocol has a place for it."""
        ...


def checked(chunk: Chunk, allowed: frozenset[Kind], sender: str) -> Chunk:
    """The chunk, when this side may send it. Raises StreamError. Empty ones open a channel and say nothing."""
    if chunk.data and chunk.channel.kind not in allowed:
        raise StreamError(f"{sender} sent data on the {chunk.channel.kind.value} channel")
    return chunk
