"""WebSocket frames (RFC 6455, 13), read in arbitrary pieces and written whole. No extension is ever negotiated.

Payloads are handed on as they come, so a frame of any length needs no memory; control frames are collected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from chaperone.core.streams.events import StreamError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
CONTROL = frozenset({CLOSE, PING, PONG})
KNOWN = CONTROL | {CONTINUATION, TEXT, BINARY}
MOST_CONTROL = 125
NORMAL_CLOSURE = (1000).to_bytes(2, "big")


class Piece(NamedTuple):
    """Part of a message, unmasked. opcode: of the message. start, end: its first and its last part. key: the masking
    key it came with, b"" without."""

    opcode: int
    data: bytes
    start: bool
    end: bool
    key: bytes = b""


class Header(NamedTuple):
    """A frame's header; size: its own length in bytes."""

    fin: bool
    opcode: int
    length: int
    key: bytes
    size: int


class FrameReader:
    """One direction of a connection. masked: whether its sender must mask, as clients must and servers must not."""

    __slots__ = ("_done", "_frame", "_masked", "_message", "_rest")

    def __init__(self, *, masked: bool) -> None:
        self._masked = masked
        self._rest = b""
        self._frame: Header | None = None  # a data frame whose payload has not come to its end
        self._done = 0
        self._message = 0  # the opcode of a message that has not come to its end

    @property
    def at_border(self) -> bool:
        """Between two messages."""
        return not (self._rest or self._frame or self._message)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Raises StreamError at what the standard forbids."""
        if self._rest:
            data = self._rest + data
        at = 0
        while True:
            if self._frame is not None:
                taken = data[at : at + self._frame.length - self._done]
                if not taken:
                    break
                at += len(taken)
                yield self._payload(self._frame, taken)
                continue
            header = read_header(data, at, masked=self._masked)
            if header is None or (header.opcode in CONTROL and len(data) < at + header.size + header.length):
                break
            at += header.size
            if header.opcode in CONTROL:
                body, at = data[at : at + header.length], at + header.length
                yield Piece(header.opcode, masked(body, header.key), True, True, header.key)
            elif (piece := self._begin(header)) is not None:
                yield piece
        self._rest = data[at:]

    def _begin(self, header: Header) -> Piece | None:
        """A data frame begins. A piece at once only for an empty one."""
        if (header.opcode == CONTINUATION) != bool(self._message):
            raise StreamError("a WebSocket message is continued that did not begin, or begins inside another")
        if header.length:
            self._frame, self._done = header, 0
            return None
        return self._piece(header, b"", ends=True)

    def _payload(self, frame: Header, taken: bytes) -> Piece:
        plain = masked(taken, frame.key, self._done)
        self._done += len(taken)
        ends = self._done == frame.length
        if ends:
            self._frame = None
        return self._piece(frame, plain, ends=ends)

    def _piece(self, frame: Header, data: bytes, *, ends: bool) -> Piece:
        start = not self._message
        opcode = self._message or frame.opcode
        end = ends and frame.fin
        self._message = 0 if end else opcode
        return Piece(opcode, data, start, end, frame.key)


def read_header(data: bytes, at: int, *, masked: bool) -> Header | None:
    """The frame header at this place; None: not all of it is here. Raises StreamError."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    opcode, short = first & 0x0F, second & 0x7F
    if first & 0x70 or opcode not in KNOWN:
        raise StreamError("a WebSocket frame uses an extension or an opcode that was not negotiated")
    if bool(second & 0x80) != masked:
        raise StreamError("a WebSocket frame is masked by a server, or not masked by a client")
    if opcode in CONTROL and (short > MOST_CONTROL or not first & 0x80):
        raise StreamError("a WebSocket control frame is too long or in fragments")
    wide = {126: 2, 127: 8}.get(short, 0)
    size = 2 + wide + (4 if masked else 0)
    if len(data) < at + size:
        return None
    length = int.from_bytes(data[at + 2 : at + 2 + wide], "big") if wide else short
    if wide and (length <= MOST_CONTROL or (wide == 8 and not 0xFFFF < length < 1 << 63)):
        raise StreamError("the length of a WebSocket frame is not in its shortest form")
    return Header(
        bool(first & 0x80), opcode, length, data[at + size - 4 : at + size] if masked else b"", size
    )


def masked(data: bytes, key: bytes, offset: int = 0) -> bytes:
    """Masked or unmasked, which is the same. offset: how much of the frame's payload came before."""
    if not key or not data:
        return data
    turned = key[offset % 4 :] + key[: offset % 4]
    pad = (turned * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(len(data), "little")


def frame(opcode: int, data: bytes, key: bytes = b"") -> bytes:
    """One whole frame. key: masks it."""
    length, bit = len(data), 0x80 if key else 0
    if length <= MOST_CONTROL:
        head = bytes((0x80 | opcode, bit | length))
    elif length <= 0xFFFF:
        head = bytes((0x80 | opcode, bit | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, bit | 127)) + length.to_bytes(8, "big")
    return b"".join((head, key, masked(data, key)))
