"""What is packed inside a text: base64 in base64, gzip in base64. Opened with limits, packed again by the same rules."""

from __future__ import annotations

import base64
import re
import zlib
from binascii import Error
from collections.abc import Iterator

MAX_UNPACKED = 16 * 1024 * 1024
"""Bytes that one packed text may grow to."""
MAX_LAYERS = 4

_BASE64 = re.compile(r"[A-Za-z0-9+/_\-]{16,}+(?:\s++[A-Za-z0-9+/_\-]++)*+={0,2}\s*+")


class TooLargeError(ValueError):
    """What is packed inside is larger than MAX_UNPACKED."""


def unpacked(text: str) -> Iterator[str | bytes]:
    """What a text of base64 holds, layer by layer: text, or bytes that are none. Nothing when it is no base64.

    Raises TooLargeError.
    """
    raw = decoded(text)
    for _ in range(MAX_LAYERS):
        if raw is None:
            return
        content = as_text(raw)
        yield content
        raw = decoded(content) if isinstance(content, str) else gunzip(raw)


def may_be_packed(text: str) -> bool:
    """Whether a text is made of the letters of base64, with a capital among them: else it is a name or a digest."""
    return _BASE64.fullmatch(text) is not None and text != text.lower()


def decoded(text: str) -> bytes | None:
    """The bytes of a text in base64 (standard or URL-safe, in one line or many), or None."""
    if not may_be_packed(text):
        return None
    compact = "".join(text.split()).rstrip("=")
    url_safe = "-" in compact or "_" in compact
    if url_safe and ("+" in compact or "/" in compact):
        return None
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4), b"-_" if url_safe else None)
    except Error:
        return None


def strictly_decoded(text: str) -> bytes | None:
    """The bytes of a text in base64 as the API writes bytes, of any length; None when it is something else."""
    try:
        return base64.b64decode(text, validate=True)
    except (Error, ValueError):
        return None


def gunzip(raw: bytes) -> bytes | None:
    """None when it is no gzip, or a damaged one. Raises TooLargeError."""
    opener = zlib.decompressobj(wbits=31)
    try:
        opened = opener.decompress(raw, MAX_UNPACKED)
    except zlib.error:
        return None
    if opener.unconsumed_tail:
        raise TooLargeError(f"a packed text unpacks to more than {MAX_UNPACKED} bytes")
    return opened if opener.eof else None


def gzipped(raw: bytes) -> bytes:
    """As `gunzip` reads it; always the same bytes for the same content: no time of packing is in it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(raw) + packer.flush()


def as_text(raw: bytes) -> str | bytes:
    """The text of bytes in UTF-8; the bytes when they are none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
