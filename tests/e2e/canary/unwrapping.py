"""From the bytes of a connection to what they carry: bodies without chunks and compression, frames without headers.

Readers here are the test's own and forgiving: what they cannot read is kept as it is, so that nothing goes unsearched.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator

_ONCE, _TWICE = re.compile(rb"H4sI[A-Za-z0-9+/]{40,}"), re.compile(rb"SDRzS[A-Za-z0-9+/]{40,}")


def contents(received: bytes) -> Iterator[bytes]:
    """All that can be read out of what a client received on one connection, the raw bytes first."""
    yield received
    rest = received
    while rest.startswith(b"HTTP/1."):
        head, found, rest = rest.partition(b"\r\n\r\n")
        if not found:
            return
        code, fields = _head(head)
        if code == 101:
            yield from _streams(rest)
            return
        body, rest = _body(code, fields, rest)
        yield body
        if "gzip" in fields.get("content-encoding", ""):
            yield _gunzip(body)


def opened(content: bytes) -> Iterator[bytes]:
    """What is packed inside of a text: gzip in base64, once or twice, as Helm keeps its releases."""
    for packed in _TWICE.findall(content):
        yield from _unpacked(base64.b64decode(packed + b"=="))
    for packed in _ONCE.findall(content):
        yield from _unpacked(packed)


def _unpacked(packed: bytes) -> Iterator[bytes]:
    try:
        yield _gunzip(base64.b64decode(packed + b"=="))
    except ValueError:
        return


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split(" ")[1]), {name.strip().lower(): value.strip().lower() for name, _, value in pairs}


def _body(code: int, fields: dict[str, str], rest: bytes) -> tuple[bytes, bytes]:
    """The body and what comes after it."""
    if "chunked" in fields.get("transfer-encoding", ""):
        return _unchunked(rest)
    length = int(fields.get("content-length", "0" if code in (204, 304) or code < 200 else len(rest)))
    if rest.startswith(b"HTTP/1."):  # an answer to HEAD has a length and no body
        length = 0
    return rest[:length], rest[length:]


def _unchunked(rest: bytes) -> tuple[bytes, bytes]:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if length == 0:
            return body, rest.removeprefix(b"\r\n")
        body, rest = body + rest[:length], rest[length + 2 :]
    return body, b""


def _gunzip(body: bytes) -> bytes:
    """As far as it goes."""
    reader, text = zlib.decompressobj(31), b""
    try:
        text += reader.decompress(body)
        text += reader.flush()
    except zlib.error:
        pass
    return text


def _streams(rest: bytes) -> Iterator[bytes]:
    yield b"".join(_websocket(rest))
    channels: dict[int, bytes] = defaultdict(bytes)
    for payload in _websocket(rest):
        channels[payload[0] if payload else 0] += payload[1:]
    yield from channels.values()
    by_stream: dict[int, bytes] = defaultdict(bytes)
    for stream, payload in _spdy(rest):
        by_stream[stream] += payload
    yield from by_stream.values()


def _websocket(rest: bytes) -> Iterator[bytes]:
    """The payloads of frames from a server (RFC 6455: not masked)."""
    while len(rest) >= 2:
        length, at = rest[1] & 0x7F, 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(rest[2:at], "big")
        yield rest[at : at + length]
        rest = rest[at + length :]


def _spdy(rest: bytes) -> Iterator[tuple[int, bytes]]:
    """(stream, payload) of data frames (SPDY/3.1: 8 bytes of header, the first bit marks control frames)."""
    while len(rest) >= 8:
        length = int.from_bytes(rest[5:8], "big")
        if not rest[0] & 0x80:
            yield int.from_bytes(rest[:4], "big"), rest[8 : 8 + length]
        rest = rest[8 + length :]
