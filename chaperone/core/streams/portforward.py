"""Port-forward over WebSocket: its messages carry the bytes of a SPDY connection (subprotocol
`SPDY/3.1+portforward.k8s.io`; client-go tools/portforward, the tunneling dialer)."""

from __future__ import annotations

from collections.abc import Iterator

from chaperone.core.streams import websocket
from chaperone.core.streams.events import Chunk, Event, Passed, StreamError
from chaperone.core.streams.spdy_streams import PORT_FORWARD, SpdyWire
from chaperone.core.streams.websocket import FrameReader, Piece, frame

SUBPROTOCOL = "SPDY/3.1+portforward.k8s.io"


class TunnelWire:
    """Two layers unwrapped, and wrapped again. Implements events.Wire."""

    def __init__(self) -> None:
        self._inner = SpdyWire(PORT_FORWARD)
        self._client = FrameReader(masked=True)
        self._upstream = FrameReader(masked=False)
        self._key = b""

    @property
    def name(self) -> str:
        return f"WebSocket {SUBPROTOCOL}"

    @property
    def at_border(self) -> bool:
        return self._upstream.at_border and self._inner.at_border

    def from_client(self, piece: bytes) -> Iterator[Event]:
        for part in self._client.feed(piece):
            self._key = part.key
            yield from (
                _wrapped(part) if _is_control(part) else map(self._up, self._inner.from_client(part.data))
            )

    def from_upstream(self, piece: bytes) -> Iterator[Event]:
        for part in self._upstream.feed(piece):
            yield from (
                _wrapped(part) if _is_control(part) else map(self._down, self._inner.from_upstream(part.data))
            )

    def _up(self, event: Event) -> Event:
        return (
            event._replace(raw=frame(websocket.BINARY, event.raw, self._key))
            if isinstance(event, Passed)
            else event
        )

    def _down(self, event: Event) -> Event:
        return event._replace(raw=frame(websocket.BINARY, event.raw)) if isinstance(event, Passed) else event

    def to_client(self, chunk: Chunk) -> bytes:
        return _message(self._inner.to_client(chunk), b"")

    def to_upstream(self, chunk: Chunk) -> bytes:
        return _message(self._inner.to_upstream(chunk), self._key)

    def farewell(self, text: str) -> bytes:
        return _message(self._inner.farewell(text), b"") + frame(websocket.CLOSE, websocket.NORMAL_CLOSURE)


def _is_control(piece: Piece) -> bool:
    """Raises StreamError for a text message: the tunnel carries bytes."""
    if piece.opcode == websocket.TEXT:
        raise StreamError("a tunnelled connection carries no text messages")
    return piece.opcode in websocket.CONTROL


def _wrapped(piece: Piece) -> Iterator[Event]:
    raw = frame(piece.opcode, piece.data, piece.key)
    yield Passed(raw, everything=piece.opcode == websocket.CLOSE)


def _message(raw: bytes, key: bytes) -> bytes:
    return frame(websocket.BINARY, raw, key) if raw else b""
