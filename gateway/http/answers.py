"""Responses on the wire: status lines, header filters, and the gateway's own answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

from gateway.http.framing import Header

STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}
CONTINUE = STATUS_LINES[100] + b"\r\n"
CLOSE = b"Connection: close\r\n"
VIA = b"Via: 1.1 kube-chaperone\r\n"
"""On every answer (RFC 9110, section 7.6.3): how a client tells the gateway from the API server itself."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110, section 7.6.1; each side of the gateway has its own."""
SPECIAL = HOP_BY_HOP | {b"content-length", b"content-type"}


def status_line(code: int) -> bytes:
    return STATUS_LINES.get(code) or b"HTTP/1.1 %d Status\r\n" % code


@lru_cache(512)
def special(name: bytes) -> bytes:
    """The lower-case name of a header that is more to us than something to pass on; b"" for all others. Servers write
    the same few names again and again."""
    lower = name.lower()
    return lower if lower in SPECIAL else b""


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """The headers of an upstream answer that are for the client."""
    kept: list[Header] = []
    named: set[bytes] = set()
    for header in headers:
        lower = special(header[0])
        if not lower or lower not in HOP_BY_HOP:
            kept.append(header)
        elif lower == b"connection":
            named.update(token.strip(b" \t").lower() for token in header[1].split(b","))
    named.discard(b"content-length")
    return [header for header in kept if header[0].lower() not in named] if named else kept


def own_answer(
    code: int,
    document: Mapping[str, Any],
    headers: Iterable[tuple[str, str]] = (),
    *,
    close: bool,
    head_only: bool = False,
) -> bytes:
    """A whole response with a JSON body. head_only: the answer to HEAD."""
    lines = [(name.encode("ascii"), value.encode("ascii", "replace")) for name, value in headers]
    lines.append((b"Content-Type", b"application/json"))
    lines.append((b"Cache-Control", b"no-cache, private"))
    return raw_answer(code, orjson.dumps(document), lines, close=close, head_only=head_only)


def raw_answer(
    code: int, body: bytes, headers: Iterable[Header], *, close: bool, head_only: bool = False
) -> bytes:
    """A whole response. Raises ValueError for a header that would become two lines."""
    parts = [status_line(code), VIA]
    parts.extend(header_line(name, value) for name, value in headers if name.lower() != b"content-length")
    parts.append(b"Content-Length: %d\r\n" % len(body))
    if close:
        parts.append(CLOSE)
    parts.append(b"\r\n")
    if not head_only:
        parts.append(body)
    return b"".join(parts)


def header_line(name: bytes, value: bytes) -> bytes:
    """One line. Raises ValueError for a value that would become two."""
    if b"\r" in value or b"\n" in value or b"\0" in value:
        raise ValueError(f"the header {name!r} holds a line break")
    return b"%s: %s\r\n" % (name, value)
