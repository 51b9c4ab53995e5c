"""One buffer into which all connections of a side read, one after the other.

A read is handed on, as a copy of its own size, before the next one begins, so one buffer does for a whole worker. A
new buffer for each read, as plain protocols have it under TLS, costs three system calls and the memory's first touch.
"""

from __future__ import annotations

READ_SIZE = 256 * 1024


class ReadBuffer:
    __slots__ = ("view",)

    def __init__(self) -> None:
        self.view = memoryview(bytearray(READ_SIZE))

    def taken(self, count: int) -> bytes:
        """What has just been read."""
        return bytes(self.view[:count])
