"""A copy of an answer's body as the API server sent it, beside what the client is given: for whoever records it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import orjson

from gateway.http.framing import Header
from gateway.http.upstream import UpstreamConnection

_GZIP = 16 + zlib.MAX_WBITS


class NoCopyError(Exception):
    """Why there is no object to be had from an answer, in words that hold nothing of it."""


class AnswerCopy:
    """limit: bytes, of the body as it comes and of what it unpacks to; a longer one is not kept."""

    __slots__ = ("_body", "_encoding", "_limit", "_size", "_type")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._body: list[bytes] = []
        self._size = 0
        self._type = self._encoding = b""

    def take(self, upstream: UpstreamConnection, pieces: Iterable[bytes]) -> None:
        """Each piece as it comes, until there are too many bytes."""
        if not self._type:
            self._type = _value(upstream.headers, b"content-type")
            self._encoding = _value(upstream.headers, b"content-encoding")
        for piece in pieces:
            self._size += len(piece)
            if self._size <= self._limit:
                self._body.append(piece)
            else:
                self._body.clear()

    def document(self) -> dict[str, Any]:
        """The object in the whole body. Raises NoCopyError."""
        if self._size > self._limit:
            raise NoCopyError(self._too_large)
        if b"json" not in self._type:
            raise NoCopyError("it is not JSON")
        try:
            value = orjson.loads(self._unpacked())
        except orjson.JSONDecodeError:
            value = None
        if not isinstance(value, dict):
            raise NoCopyError("it is not one JSON object")
        return value

    @property
    def _too_large(self) -> str:
        return f"it is larger than {self._limit} bytes"

    def _unpacked(self) -> bytes:
        body = b"".join(self._body)
        if self._encoding in (b"", b"identity"):
            return body
        if self._encoding != b"gzip":
            raise NoCopyError("it is encoded in a way that is not known")
        inflate = zlib.decompressobj(_GZIP)
        try:
            whole = inflate.decompress(body, self._limit)
        except zlib.error:
            raise NoCopyError("it is damaged") from None
        if inflate.unconsumed_tail:
            raise NoCopyError(self._too_large)
        return whole


def _value(headers: Iterable[Header], name: bytes) -> bytes:
    return next((value.strip().lower() for key, value in headers if key.lower() == name), b"")
