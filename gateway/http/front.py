"""What all client connections of a worker share, and what a connection asks of those it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from gateway.http.deadlines import Deadlines
from gateway.http.framing import Fault, Head
from gateway.http.limits import HttpLimits
from gateway.http.read_buffer import ReadBuffer

if TYPE_CHECKING:
    from gateway.http.connection import ClientConnection


class Served(Protocol):
    """The request being served, seen from its connection."""

    def start(self) -> None: ...
    def client_gone(self) -> None: ...
    def client_writable(self, writable: bool) -> None: ...


class ClientStream(Protocol):
    """What takes over after an upgrade."""

    def client_data(self, data: bytes) -> None: ...
    def client_eof(self) -> bool: ...
    def client_lost(self) -> None: ...
    def client_writable(self, writable: bool) -> None: ...


class Handler(Protocol):
    def begin(self, connection: ClientConnection, head: Head) -> Served: ...

    def fault(
        self, connection: ClientConnection, fault: Fault, method: str, target: str
    ) -> Mapping[str, Any]:
        """Record a request that is refused before it is read; the Status to answer with."""
        ...


class Front:
    """What all client connections of a worker share."""

    __slots__ = ("body_bytes", "buffer", "connections", "deadlines", "draining", "handler", "limits", "loop")

    def __init__(
        self, handler: Handler, limits: HttpLimits, deadlines: Deadlines, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.deadlines = deadlines
        self.loop = loop
        self.buffer = ReadBuffer()
        self.connections: set[ClientConnection] = set()
        self.body_bytes = 0
        self.draining = False

    def drain(self) -> None:
        """Close what is idle; every other connection closes after its answer."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        for connection in tuple(self.connections):
            connection.abort()
