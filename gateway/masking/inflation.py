"""Undoing gzip, in pieces of bounded size: a small answer must not become a large one in memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gateway.http.upstream import UpstreamError

PIECE = 256 * 1024
"""Bytes that are handed on at once."""
MOST = 1024 * 1024 * 1024
"""Bytes that one answer may become."""


class Inflation:
    """One gzip member. Whatever follows it is an error."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._size = 0

    def data(self, piece: bytes) -> Iterator[bytes]:
        """Raises UpstreamError."""
        while piece:
            if self._inflate.eof:
                raise UpstreamError("the compressed answer does not end where it says")
            try:
                out = self._inflate.decompress(piece, PIECE)
            except zlib.error:
                raise UpstreamError("the compressed answer cannot be read, so it is withheld") from None
            self._size += len(out)
            if self._size > MOST:
                raise UpstreamError("the compressed answer is too large")
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data
            if out:
                yield out

    def end(self) -> None:
        """Raises UpstreamError where the answer was not complete."""
        if not self._inflate.eof:
            raise UpstreamError("the compressed answer is not complete, so it is withheld")
