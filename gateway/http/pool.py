"""Connections to the API server, kept alive between requests. One pool for each worker."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from gateway.http.deadlines import NEVER, Deadlines
from gateway.http.pool_settings import UpstreamSettings
from gateway.http.read_buffer import ReadBuffer
from gateway.http.upstream import UpstreamConnection, UpstreamError


class Pool:
    """Last in, first out, so that connections which are not needed grow old and are closed."""

    __slots__ = ("_closing", "_idle", "_loop", "_open", "buffer", "deadlines", "settings")

    def __init__(
        self, settings: UpstreamSettings, deadlines: Deadlines, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.settings = settings
        self.buffer = ReadBuffer()
        self.deadlines = deadlines
        self._loop = loop
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def idle_count(self) -> int:
        return len(self._idle)

    def take(self) -> UpstreamConnection | None:
        """An idle connection that was alive when last looked at, or None."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                connection.deadline = NEVER
                return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises UpstreamError (502, or 504 when it took too long)."""
        settings = self.settings
        try:
            async with asyncio.timeout(settings.connect_seconds):
                _, connection = await self._loop.create_connection(
                    lambda: UpstreamConnection(self),
                    settings.host,
                    settings.port,
                    ssl=settings.tls,
                    server_hostname=(settings.server_name or settings.host) if settings.tls else None,
                )
        except TimeoutError as error:
            raise UpstreamError(
                "connecting to the API server took too long", code=504, kind="timeout"
            ) from error
        except ssl.SSLError as error:
            raise UpstreamError(f"the API server's certificate or TLS: {error.reason}", kind="tls") from error
        except OSError as error:
            raise UpstreamError(
                f"cannot connect to the API server: {error.strerror or error}", kind="connect"
            ) from error
        if not connection.is_open or self._closing:
            connection.abort()
            raise UpstreamError("the connection to the API server was closed at once", kind="connect")
        return connection

    def adopt(self, connection: UpstreamConnection) -> None:
        """A connection is there. Its deadline until it is asked something catches those whose asker has gone."""
        if connection.transport is not None:
            keep_alive(connection.transport)
        self._open.add(connection)
        self.deadlines.add(connection)
        connection.deadline = self.deadlines.now() + self.settings.connect_seconds

    def give_back(self, connection: UpstreamConnection) -> None:
        if self._closing or len(self._idle) >= self.settings.most_idle:
            connection.abort()
            return
        connection.resume_reading()
        connection.deadline = self.deadlines.now() + self.settings.idle_seconds
        self._idle.append(connection)

    def linger(self, connection: UpstreamConnection) -> None:
        """Give a closing connection so long to write what it still has."""
        connection.deadline = self.deadlines.now() + self.settings.idle_seconds

    def forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self.deadlines.discard(connection)
        with suppress(ValueError):
            self._idle.remove(connection)

    def close(self) -> None:
        """Drop everything, asked or idle; nothing can be taken afterwards."""
        self._closing = True
        for connection in tuple(self._open):
            connection.abort()


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """TCP keep-alive: finds peers that are gone without a word, on streams that may be silent for hours."""
    raw = transport.get_extra_info("socket")
    if raw is None or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
