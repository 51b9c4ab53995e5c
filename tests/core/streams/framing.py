"""Both ends of a stream, written by hand for tests: WebSocket messages and SPDY frames as clients and servers send them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chaperone.core.streams.events import Chunk, Event, Passed
from chaperone.core.streams.spdy_dictionary import DICTIONARY

KEY = b"\x11\x22\x33\x44"


def ws(opcode: int, data: bytes, *, key: bytes = b"", fin: bool = True) -> bytes:
    """One frame, independent of the writer under test."""
    first = (0x80 if fin else 0) | opcode
    size, mask = len(data), 0x80 if key else 0
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 65536:
        head = bytes([first, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + size.to_bytes(8, "big")
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(data)) if key else head + data


def shown(channel: int, data: bytes) -> bytes:
    """A message of a server."""
    return ws(2, bytes([channel]) + data)


def sent(channel: int, data: bytes, key: bytes = KEY) -> bytes:
    """A message of a client."""
    return ws(2, bytes([channel]) + data, key=key)


def text_message(channel: int, data: bytes, key: bytes = b"") -> bytes:
    """A message of a base64 subprotocol."""
    return ws(1, b"%d" % channel + base64.b64encode(data), key=key)


class SpdyEnd:
    """One side of a SPDY connection, with its own compression state."""

    def __init__(self) -> None:
        self._deflater = zlib.compressobj(
            9, zlib.DEFLATED, zlib.MAX_WBITS, 8, zlib.Z_DEFAULT_STRATEGY, DICTIONARY
        )

    def block(self, headers: dict[str, str]) -> bytes:
        plain = len(headers).to_bytes(4, "big")
        for name, value in headers.items():
            for text in (name, value):
                plain += len(text).to_bytes(4, "big") + text.encode("latin-1")
        return self.packed(plain)

    def packed(self, plain: bytes) -> bytes:
        return self._deflater.compress(plain) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def syn_stream(self, stream: int, *, flags: int = 0, **headers: str) -> bytes:
        return control(1, stream.to_bytes(4, "big") + bytes(6) + self.block(headers), flags)

    def syn_reply(self, stream: int, *, flags: int = 0, **headers: str) -> bytes:
        return control(2, stream.to_bytes(4, "big") + self.block(headers), flags)

    def headers(self, stream: int, *, flags: int = 0, **headers: str) -> bytes:
        return control(8, stream.to_bytes(4, "big") + self.block(headers), flags)


def control(kind: int, body: bytes, flags: int = 0, version: int = 3) -> bytes:
    return (
        (0x8000 | version).to_bytes(2, "big")
        + kind.to_bytes(2, "big")
        + bytes([flags])
        + len(body).to_bytes(3, "big")
        + body
    )


def data(stream: int, content: bytes, flags: int = 0) -> bytes:
    return stream.to_bytes(4, "big") + bytes([flags]) + len(content).to_bytes(3, "big") + content


def rst(stream: int, reason: int = 5) -> bytes:
    return control(3, stream.to_bytes(4, "big") + reason.to_bytes(4, "big"))


PING = control(6, bytes(4))
GOAWAY = control(7, bytes(8))
WINDOW_UPDATE = control(9, (1).to_bytes(4, "big") + (65536).to_bytes(4, "big"))
SETTINGS = control(4, bytes(4))

SUCCESS = json.dumps({"metadata": {}, "status": "Success"}).encode()


def failure(code: int) -> bytes:
    """The Status of a command that ended with this code."""
    cause = {"reason": "ExitCode", "message": str(code)}
    return json.dumps(
        {
            "metadata": {},
            "status": "Failure",
            "message": f"command terminated with non-zero exit code: {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [cause]},
        }
    ).encode()


def cuts(stream: bytes) -> Iterator[list[bytes]]:
    """Whole; byte by byte; in two at every place; in odd pieces."""
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for at in range(1, len(stream), max(1, len(stream) // 300)):
        yield [stream[:at], stream[at:]]
    for size in (3, 7, 64):
        yield [stream[at : at + size] for at in range(0, len(stream), size)]


def fed(feed: Callable[[bytes], Iterator[Any]], pieces: Iterable[bytes]) -> list[Any]:
    """All that a reader says about these pieces."""
    return [said for piece in pieces for said in feed(piece)]


def joined(events: Iterable[Event]) -> list[object]:
    """What events say, whatever their borders: (channel, content, ends), and what passes."""
    out: list[object] = []
    for event in events:
        if isinstance(event, Passed):
            out.append(event)
            continue
        last = out[-1] if out else None
        if isinstance(last, Chunk) and last.channel == event.channel and not last.ends and not last.whole:
            out[-1] = event._replace(data=last.data + event.data)
        else:
            out.append(event)
    return out
