"""One request body on its way in: bounded in itself, and together with all others of the worker."""

from __future__ import annotations

from gateway.http.framing import Fault
from gateway.http.front import Front


class BodyError(Exception):
    """The body did not come to its end as it should."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Upload:
    """The decoded pieces of one body. The worker's budget is charged until `release`."""

    __slots__ = ("_front", "_left", "_pieces", "_quiet", "_size")

    def __init__(self, front: Front, length: int | None) -> None:
        """length: announced; None for a chunked body, whose end the parser finds."""
        self._front = front
        self._left = length
        self._pieces: list[bytes] = []
        self._size = 0
        self._quiet = 0

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """What of these bytes is for the parser, and what lies behind the body."""
        if self._left is None:
            return data, b""
        mine, behind = data[: self._left], data[self._left :]
        self._left -= len(mine)
        return mine, behind

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._quiet = 0
        self._front.body_bytes += len(piece)
        if self._size <= self._front.limits.body_bytes:
            self._pieces.append(piece)

    def begin_read(self, count: int) -> None:
        """The parser is about to have so many bytes; those that bring no piece are extensions or trailers."""
        self._quiet += count

    def fault(self) -> Fault | None:
        """Is it too much?"""
        limits = self._front.limits
        if self._size > limits.body_bytes:
            return Fault(413, f"the body is larger than the limit of {limits.body_bytes} bytes")
        if self._front.body_bytes > limits.buffered_bodies:
            return Fault(503, "too many uploads at this moment; try again")
        if self._quiet > limits.pipelined_bytes:
            return Fault(400, "the body is all chunk extensions or trailers")
        return None

    def whole(self) -> bytes:
        return b"".join(self._pieces)

    def release(self) -> None:
        self._front.body_bytes -= self._size
        self._size = 0
        self._pieces = []
