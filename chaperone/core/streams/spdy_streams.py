"""Commands and forwarded ports over SPDY: streams told apart by the header `streamtype` (k8s.io/apimachinery, spdy).

The client opens every stream. Control frames pass as they came; the content of data frames is framed anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from chaperone.core.streams.events import (
    TO_CLIENT,
    TO_UPSTREAM,
    Channel,
    Chunk,
    Event,
    Kind,
    Passed,
    StreamError,
    checked,
)
from chaperone.core.streams.reason import reason_bytes
from chaperone.core.streams.spdy import FIN, Control, Data, FrameReader, HeaderReader, Type, data_frame

COMMAND_VERSIONS = {f"v{version}.channel.k8s.io": version for version in range(2, 6)} | {
    "": 1,
    "channel.k8s.io": 1,
}
PORT_FORWARD = "portforward.k8s.io"
COMMAND_STREAMS = {
    kind.value: kind for kind in (Kind.STDIN, Kind.STDOUT, Kind.STDERR, Kind.ERROR, Kind.RESIZE)
}
PORT_STREAMS = {kind.value: kind for kind in (Kind.DATA, Kind.ERROR)}
MOST_STREAMS = 4096
"""Open at a time."""


class SpdyWire:
    """exec, attach and port-forward over SPDY/3.1. Implements events.Wire. Raises StreamError for another protocol."""

    def __init__(self, protocol: str) -> None:
        self._forwards = protocol == PORT_FORWARD
        if not self._forwards and protocol not in COMMAND_VERSIONS:
            raise StreamError("the API server chose a stream protocol that is not known")
        self._version = 1 if self._forwards else COMMAND_VERSIONS[protocol]
        self._protocol = protocol or "channel.k8s.io"
        self._client, self._upstream = FrameReader(), FrameReader()
        self._client_headers, self._upstream_headers = HeaderReader(), HeaderReader()
        self._open: dict[int, Channel] = {}
        self._half: set[tuple[int, bool]] = set()
        self._last = 0

    @property
    def name(self) -> str:
        return f"SPDY/3.1 {self._protocol}"

    @property
    def at_border(self) -> bool:
        return self._upstream.at_border

    # -- reading

    def from_client(self, piece: bytes) -> Iterator[Event]:
        for found in self._client.feed(piece):
            if isinstance(found, Data):
                yield from self._content(found, from_client=True)
                continue
            if found.type is Type.SYN_STREAM:
                self._opened(found, self._client_headers.read(found))
            elif found.type is Type.HEADERS:
                self._client_headers.read(found)
            elif found.type is Type.SYN_REPLY:
                raise StreamError("the client accepts a stream that nobody opened")
            elif found.type is Type.RST_STREAM:
                self._forget(found.stream)
            yield Passed(found.raw)

    def from_upstream(self, piece: bytes) -> Iterator[Event]:
        for found in self._upstream.feed(piece):
            if isinstance(found, Data):
                yield from self._content(found, from_client=False)
            else:
                yield self._control(found)

    def _control(self, found: Control) -> Passed:
        if found.type is Type.SYN_STREAM:
            raise StreamError("the API server opens a stream, which only clients do")
        if found.type in (Type.SYN_REPLY, Type.HEADERS):
            self._upstream_headers.read(found)
        channel = self._open.get(found.stream)
        if found.type is Type.RST_STREAM:
            self._forget(found.stream)
            return Passed(found.raw, closes=channel)
        if found.flags & FIN and found.type in (Type.SYN_REPLY, Type.HEADERS):
            self._done(found.stream, from_client=False)
            return Passed(found.raw, closes=channel)
        return Passed(found.raw, everything=found.type is Type.GOAWAY)

    def _opened(self, frame: Control, headers: Mapping[str, str]) -> None:
        if frame.stream <= self._last or frame.stream % 2 == 0 or len(self._open) >= MOST_STREAMS:
            raise StreamError("the client opens a stream out of order, or too many")
        kind = (PORT_STREAMS if self._forwards else COMMAND_STREAMS).get(
            headers.get("streamtype", "").lower()
        )
        if kind is None:
            raise StreamError("the client opens a stream of a type that is not known")
        port = _port(headers.get("port", "")) if self._forwards else 0
        self._last = frame.stream
        self._open[frame.stream] = Channel(kind, frame.stream, port)
        if frame.flags & FIN:
            self._done(frame.stream, from_client=True)

    def _content(self, found: Data, *, from_client: bool) -> Iterator[Chunk]:
        channel = self._open.get(found.stream)
        if channel is None:
            if found.stream > self._last:
                raise StreamError("data comes on a SPDY stream that was never opened")
            return  # under way while the other side closed the stream: nobody waits for it any more
        if found.fin:
            self._done(found.stream, from_client=from_client)
        chunk = Chunk(channel, found.data, found.whole, found.fin)
        yield (
            checked(chunk, TO_UPSTREAM, "the client")
            if from_client
            else checked(chunk, TO_CLIENT, "the API server")
        )

    def _done(self, stream: int, *, from_client: bool) -> None:
        """One side has ended it; it is gone when both have."""
        if (stream, not from_client) in self._half:
            self._forget(stream)
        elif stream in self._open:
            self._half.add((stream, from_client))

    def _forget(self, stream: int) -> None:
        self._open.pop(stream, None)
        self._half -= {(stream, True), (stream, False)}

    # -- writing

    def to_client(self, chunk: Chunk) -> bytes:
        return _written(chunk)

    def to_upstream(self, chunk: Chunk) -> bytes:
        return _written(chunk)

    def farewell(self, text: str) -> bytes:
        said = reason_bytes(text, self._version) if text else b""
        waiting = [channel for number, channel in self._open.items() if (number, False) not in self._half]
        errors = [
            data_frame(item.number, said, fin=True) for item in waiting if item.kind is Kind.ERROR and said
        ]
        others = [data_frame(item.number, b"", fin=True) for item in waiting if item.kind in _ENDED_LAST]
        return b"".join([*errors, *others])


_ENDED_LAST = frozenset({Kind.STDOUT, Kind.STDERR, Kind.DATA})


def _written(chunk: Chunk) -> bytes:
    if not chunk.data and not chunk.ends:
        return b""
    return data_frame(chunk.channel.number, chunk.data, fin=chunk.ends)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise StreamError("a forwarded stream names no port")
    return int(text[:6])
