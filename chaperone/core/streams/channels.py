"""Channels over WebSocket messages: the subprotocols v1 to v5 and their base64 forms (k8s.io/apimachinery, wsstream).

The first byte of each message is the channel. Messages are written anew, each in one frame: Kubernetes servers take
every frame for a message, so a fragment would be read as another channel than was judged here.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chaperone.core.streams import websocket
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
from chaperone.core.streams.websocket import FrameReader, Piece, frame

CLOSE_CHANNEL = 255
COMMAND_CHANNELS = (Kind.STDIN, Kind.STDOUT, Kind.STDERR, Kind.ERROR, Kind.RESIZE)


@dataclass(frozen=True, slots=True)
class Subprotocol:
    """version: of the channel protocol; base64: messages are text, an ASCII digit and then base64."""

    name: str
    version: int
    base64: bool = False


SUBPROTOCOLS = {
    known.name: known
    for known in (
        Subprotocol("", 1),
        Subprotocol("channel.k8s.io", 1),
        Subprotocol("base64.channel.k8s.io", 1, base64=True),
        Subprotocol("v4.channel.k8s.io", 4),
        Subprotocol("v4.base64.channel.k8s.io", 4, base64=True),
        Subprotocol("v5.channel.k8s.io", 5),
    )
}


@dataclass(frozen=True, slots=True)
class Part:
    """Part of a message: its channel number and decoded content. number None: a message without even a channel."""

    number: int | None
    data: bytes
    whole: bool


class MessageReader:
    """From the pieces of messages to parts with a channel."""

    __slots__ = ("_any_type", "_base64", "_number", "_padded", "_rest")

    def __init__(self, *, base64: bool, any_type: bool) -> None:
        """any_type: text and binary messages mean the same. Servers take both, and the Python client types in text
        messages whatever was agreed; clients do not."""
        self._base64 = base64
        self._any_type = any_type
        self._number: int | None = None
        self._rest = b""
        self._padded = False

    def read(self, piece: Piece) -> Part | None:
        """None: nothing can be said yet. Raises StreamError."""
        if not self._any_type and piece.opcode != (websocket.TEXT if self._base64 else websocket.BINARY):
            raise StreamError("a message has the wrong type, text or binary, for the negotiated subprotocol")
        data = piece.data
        if piece.start:
            self._number, self._rest, self._padded = None, b"", False
        if self._number is None and data:
            self._number, data = self._channel(data[0]), data[1:]
        if self._base64:
            data = self._decoded(data, end=piece.end)
        return Part(self._number, data, piece.end) if data or piece.end else None

    def _channel(self, first: int) -> int:
        if not self._base64:
            return first
        if not 0x30 <= first <= 0x39:
            raise StreamError("a base64 message does not begin with the digit of a channel")
        return first - 0x30

    def _decoded(self, text: bytes, *, end: bool) -> bytes:
        text = self._rest + text
        size = len(text) - len(text) % 4
        text, self._rest = text[:size], text[size:]
        if (end and self._rest) or (self._padded and text):
            raise StreamError("a message is not valid base64")
        self._padded = self._padded or text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error as error:
            raise StreamError("a message is not valid base64") from error


class ChannelWire:
    """exec and attach over WebSocket; port-forward in its older form. Implements events.Wire.

    ports: what is forwarded, two channels each (data, error); empty for commands.
    """

    def __init__(self, subprotocol: Subprotocol, ports: Sequence[int] = ()) -> None:
        self._protocol = subprotocol
        self._channels = _port_channels(ports) if ports else _command_channels()
        self._client = FrameReader(masked=True)
        self._upstream = FrameReader(masked=False)
        self._typed = MessageReader(base64=subprotocol.base64, any_type=True)
        self._shown = MessageReader(base64=subprotocol.base64, any_type=False)
        self._closing: dict[bool, bytes] = {}
        self._key = b""
        self._opcode = websocket.TEXT if subprotocol.base64 else websocket.BINARY

    @property
    def name(self) -> str:
        return f"WebSocket {self._protocol.name or 'channel.k8s.io'}"

    @property
    def at_border(self) -> bool:
        return self._upstream.at_border

    def from_client(self, piece: bytes) -> Iterator[Event]:
        for part in self._client.feed(piece):
            self._key = part.key
            event = self._event(part, self._typed)
            if event is not None:
                yield checked(event, TO_UPSTREAM, "the client") if isinstance(event, Chunk) else event

    def from_upstream(self, piece: bytes) -> Iterator[Event]:
        for part in self._upstream.feed(piece):
            event = self._event(part, self._shown)
            if event is not None:
                yield checked(event, TO_CLIENT, "the API server") if isinstance(event, Chunk) else event

    def _event(self, piece: Piece, reader: MessageReader) -> Event | None:
        if piece.opcode in websocket.CONTROL:
            raw = frame(piece.opcode, piece.data, piece.key)
            return Passed(raw, everything=piece.opcode == websocket.CLOSE)
        part = reader.read(piece)
        if part is None:
            return None
        if part.number is None:
            return Passed(frame(self._opcode, b"", piece.key))
        if part.number == CLOSE_CHANNEL and self._protocol.version >= 5:
            return self._close(part, from_client=reader is self._typed)
        return Chunk(self._channel(part.number), part.data, part.whole)

    def _close(self, part: Part, *, from_client: bool) -> Event | None:
        """A half-close: two bytes in all, the second names the channel."""
        named = self._closing.pop(from_client, b"") + part.data
        if len(named) > 1 or (part.whole and not named):
            raise StreamError("the closing of a channel does not name one channel")
        if not part.whole:
            self._closing[from_client] = named
            return None
        return Chunk(self._channel(named[0]), b"", whole=True, ends=True)

    def _channel(self, number: int) -> Channel:
        if number >= len(self._channels):
            raise StreamError(f"channel {number} is not known")
        return self._channels[number]

    def to_client(self, chunk: Chunk) -> bytes:
        return self._written(chunk, b"")

    def to_upstream(self, chunk: Chunk) -> bytes:
        return self._written(chunk, self._key)

    def _written(self, chunk: Chunk, key: bytes) -> bytes:
        number, data = chunk.channel.number, chunk.data
        if chunk.ends and not data:
            return frame(self._opcode, bytes((CLOSE_CHANNEL, number)), key)
        if self._protocol.base64:
            message = b"%d%s" % (number, binascii.b2a_base64(data, newline=False))
        else:
            message = bytes((number,)) + data
        closing = frame(self._opcode, bytes((CLOSE_CHANNEL, number)), key) if chunk.ends else b""
        return frame(self._opcode, message, key) + closing

    def farewell(self, text: str) -> bytes:
        said = reason_bytes(text, self._protocol.version)
        errors = [channel for channel in self._channels if channel.kind is Kind.ERROR] if text else []
        told = [self.to_client(Chunk(channel, said)) for channel in errors]
        return b"".join([*told, frame(websocket.CLOSE, websocket.NORMAL_CLOSURE)])


def _command_channels() -> tuple[Channel, ...]:
    return tuple(Channel(kind, number) for number, kind in enumerate(COMMAND_CHANNELS))


def _port_channels(ports: Sequence[int]) -> tuple[Channel, ...]:
    return tuple(
        Channel(kind, 2 * place + side, port)
        for place, port in enumerate(ports)
        for side, kind in enumerate((Kind.DATA, Kind.ERROR))
    )
