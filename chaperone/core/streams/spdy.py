"""SPDY/3.1 frames and header blocks (draft-mbelshe-httpbis-spdy-00), read in arbitrary pieces.

The content of data frames is handed on as it comes; control frames are collected, and bounded. Every header block of
a direction must be read, for they share one compression state.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple

from chaperone.core.streams.events import StreamError
from chaperone.core.streams.spdy_dictionary import DICTIONARY

VERSION = 3
FIN = 0x01
UNIDIRECTIONAL = 0x02
STREAM_ID = 0x7FFFFFFF
MOST_CONTROL = 64 * 1024
"""Longest body of a control frame; the format allows 16 MiB."""
MOST_HEADERS = 64 * 1024
MOST_HEADER_COUNT = 64
HEAD = 8


class Type(IntEnum):
    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


EXACT = {Type.RST_STREAM: 8, Type.PING: 4, Type.GOAWAY: 8, Type.WINDOW_UPDATE: 8}
"""Bodies of one length only."""
BLOCK_AT = {Type.SYN_STREAM: 10, Type.SYN_REPLY: 4, Type.HEADERS: 4}
"""Where the header block begins in the body."""


class Control(NamedTuple):
    """A control frame. stream: the one it is about, 0 for none. raw: the frame as it came."""

    type: Type
    flags: int
    stream: int
    body: bytes
    raw: bytes


class Data(NamedTuple):
    """Part of a data frame. whole: the last part. fin: the sender has nothing more on this stream."""

    stream: int
    data: bytes
    whole: bool
    fin: bool


class FrameReader:
    """One direction of a connection."""

    __slots__ = ("_flags", "_left", "_rest", "_stream")

    def __init__(self) -> None:
        self._rest = b""
        self._stream = 0
        self._flags = 0
        self._left = 0

    @property
    def at_border(self) -> bool:
        """Between two frames."""
        return not (self._rest or self._left)

    def feed(self, data: bytes) -> Iterator[Control | Data]:
        """Raises StreamError."""
        if self._rest:
            data = self._rest + data
        at = 0
        while True:
            if self._left:
                taken = data[at : at + self._left]
                if not taken:
                    break
                at += len(taken)
                self._left -= len(taken)
                yield self._data(taken)
                continue
            if len(data) < at + HEAD:
                break
            length = int.from_bytes(data[at + 5 : at + HEAD], "big")
            if data[at] & 0x80:
                _check(data, at, length)
                if len(data) < at + HEAD + length:
                    break
                yield _control(data[at : at + HEAD + length])
                at += HEAD + length
                continue
            self._stream = int.from_bytes(data[at : at + 4], "big") & STREAM_ID
            self._flags, self._left = data[at + 4], length
            at += HEAD
            if not length:
                yield self._data(b"")
        self._rest = data[at:]

    def _data(self, taken: bytes) -> Data:
        if not self._stream or self._flags & ~FIN:
            raise StreamError("a SPDY data frame has no stream, or flags that are not known")
        whole = not self._left
        return Data(self._stream, taken, whole, whole and bool(self._flags & FIN))


def _check(data: bytes, at: int, length: int) -> None:
    """Of a control frame, before its body is waited for."""
    version, number = (
        int.from_bytes(data[at : at + 2], "big") & 0x7FFF,
        int.from_bytes(data[at + 2 : at + 4], "big"),
    )
    if version != VERSION or number not in Type.__members__.values():
        raise StreamError("a SPDY control frame has a version or a type that is not known")
    kind = Type(number)
    if length > MOST_CONTROL or length < BLOCK_AT.get(kind, 0) or EXACT.get(kind, length) != length:
        raise StreamError(f"a SPDY {kind.name} frame has a wrong length ({length})")


def _control(raw: bytes) -> Control:
    kind = Type(int.from_bytes(raw[2:4], "big"))
    body = raw[HEAD:]
    about = kind not in (Type.SETTINGS, Type.PING, Type.GOAWAY)
    return Control(kind, raw[4], int.from_bytes(body[:4], "big") & STREAM_ID if about else 0, body, raw)


def data_frame(stream: int, data: bytes, *, fin: bool = False) -> bytes:
    """One whole data frame of less than 16 MiB."""
    return b"".join(
        (stream.to_bytes(4, "big"), bytes((FIN if fin else 0,)), len(data).to_bytes(3, "big"), data)
    )


class HeaderReader:
    """The header blocks of one direction, in their order."""

    __slots__ = ("_inflater",)

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(zdict=DICTIONARY)

    def read(self, control: Control) -> Mapping[str, str]:
        """Names in lower case. Raises StreamError."""
        block = control.body[BLOCK_AT[control.type] :]
        try:
            plain = self._inflater.decompress(block, MOST_HEADERS + 1)
        except zlib.error as error:
            raise StreamError("a SPDY header block cannot be decompressed") from error
        if len(plain) > MOST_HEADERS or self._inflater.unconsumed_tail or self._inflater.eof:
            raise StreamError("a SPDY header block is too long, or ends the compression")
        return read_headers(plain)


def read_headers(block: bytes) -> Mapping[str, str]:
    """A decompressed header block. Raises StreamError unless it is exact, with each name once."""
    count, at = _number(block, 0), 4
    if count > MOST_HEADER_COUNT:
        raise StreamError("a SPDY header block has too many headers")
    found: dict[str, str] = {}
    for _ in range(count):
        name, at = _text(block, at)
        value, at = _text(block, at)
        if not name or name.lower() in found:
            raise StreamError("a SPDY header has no name, or the name of another")
        found[name.lower()] = value
    if at != len(block):
        raise StreamError("a SPDY header block does not end where it says")
    return found


def _number(block: bytes, at: int) -> int:
    if len(block) < at + 4:
        raise StreamError("a SPDY header block does not end where it says")
    return int.from_bytes(block[at : at + 4], "big")


def _text(block: bytes, at: int) -> tuple[str, int]:
    """A text with its length before it, and where the next begins."""
    end = at + 4 + _number(block, at)
    if end > len(block):
        raise StreamError("a SPDY header block does not end where it says")
    return block[at + 4 : end].decode("latin-1"), end
