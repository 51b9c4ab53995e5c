"""One worker: listening socket, connections, pool, and an orderly end.

Stopping: nothing new is accepted, idle connections close, short requests finish, watches end at a border (clients
ask again), tunnels get what is left of the grace time; then whatever remains is aborted.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from chaperone.settings.gateway import GatewaySettings
from gateway.data_path import DataPath
from gateway.http.connection import ClientConnection
from gateway.http.deadlines import Deadlines
from gateway.http.front import Front
from gateway.http.limits import HttpLimits
from gateway.http.pool import Pool
from gateway.http.pool_settings import UpstreamSettings
from gateway.passage import Passage
from gateway.services import Services
from gateway.tls import ServingCertificate, UpstreamTrust

log = logging.getLogger(__name__)

BACKLOG = 1024
CERTIFICATE_CHECK = 5.0
"""Seconds between two looks at the certificate files."""
DRAIN_CHECK = 0.05
M_MMAP_THRESHOLD = -3
"""The parameter's number in malloc.h of glibc."""
LARGE_BLOCK = 128 * 1024
"""Bytes from which on a block gets pages of its own; the default, which setting it also keeps from growing."""
ABORT_SECONDS = 5.0
"""For what was aborted to be gone: connections, tasks, the listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What one worker serves. certificate and key None: plain HTTP. drain: seconds for an orderly end."""

    upstream: UpstreamSettings
    address: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    trust: UpstreamTrust | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)
    drain: float = 30.0


def server_settings(
    settings: GatewaySettings, upstream: UpstreamSettings, trust: UpstreamTrust | None = None
) -> ServerSettings:
    """The part of the gateway's settings that is about connections. upstream: see gateway.tls.upstream_settings.
    trust: what follows a change of the API server's CA."""
    limits = settings.limits
    return ServerSettings(
        upstream=upstream,
        address=settings.listen.address,
        port=settings.listen.port,
        certificate=settings.listen.certificate,
        key=settings.listen.key,
        trust=trust,
        limits=HttpLimits(
            head_bytes=limits.header_bytes,
            header_count=limits.header_count,
            request_line_bytes=limits.target_bytes,
            body_bytes=limits.body_bytes,
            connections=limits.connections,
            head_seconds=limits.header_time,
            idle_seconds=limits.idle_time,
        ),
        drain=settings.drain,
    )


def bind(address: str, port: int) -> socket.socket:
    """A socket that other workers may bind as well (SO_REUSEPORT); it does not listen yet. Raises OSError."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setblocking(False)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


class Server:
    """`start`, then `stop` once. Needs a running event loop."""

    def __init__(self, services: Services, settings: ServerSettings) -> None:
        self._settings = settings
        self._services = services
        self._loop = asyncio.get_running_loop()
        self.deadlines = Deadlines(self._loop)
        self.pool = Pool(settings.upstream, self.deadlines, self._loop)
        self.path = DataPath(services, self.pool, self._loop)
        self.front = Front(self.path, settings.limits, self.deadlines, self._loop)
        self.certificate = (
            ServingCertificate(settings.certificate, settings.key)
            if settings.certificate is not None and settings.key is not None
            else None
        )
        self._listener: asyncio.Server | None = None
        self._address: tuple[str, int] | None = None

    async def start(self, bound: socket.socket | None = None) -> None:
        """Listen. bound: a socket from `bind`. Raises OSError."""
        tls = self.certificate.context if self.certificate is not None else None
        handshake = self._settings.limits.handshake_seconds if tls is not None else None
        self._listener = await self._loop.create_server(
            lambda: ClientConnection(self.front),
            sock=bound or bind(self._settings.address, self._settings.port),
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=handshake,
            ssl_shutdown_timeout=5.0 if tls is not None else None,
        )
        name = self._listener.sockets[0].getsockname()
        self._address = str(name[0]), int(name[1])
        log.info("listening", extra={"address": self.address[0], "port": self.address[1]})

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that clients connect to."""
        if self._address is None:
            raise RuntimeError("the server has not been started")
        return self._address

    async def keep(self) -> None:
        """Reload renewed certificates and report the number of connections, until cancelled."""
        while True:
            self.refresh()
            await asyncio.sleep(CERTIFICATE_CHECK)

    def refresh(self) -> None:
        if self.certificate is not None:
            self.certificate.refresh()
        renewed = self._settings.trust.refresh() if self._settings.trust is not None else None
        if renewed is not None:
            self.pool.settings = renewed
        self._services.metrics.connections(len(self.front.connections))

    async def stop(self, grace: float | None = None) -> None:
        """grace: seconds, the setting `drain` when None. Returns when every connection is gone."""
        grace = self._settings.drain if grace is None else grace
        end = self._loop.time() + grace
        if self._listener is not None:
            self._listener.close()
        self.front.drain()
        for stream in self._services.limits.every_stream():
            if isinstance(stream, Passage):
                stream.end_soon()
        await self._until_empty(end)
        await self._abort_rest()

    async def _until_empty(self, end: float) -> None:
        while self.front.connections and self._loop.time() < end:  # noqa: ASYNC110 - once in a process's life
            await asyncio.sleep(DRAIN_CHECK)

    async def _abort_rest(self) -> None:
        for stream in self._services.limits.every_stream():
            stream.close("the gateway is stopping")
        await asyncio.sleep(0)
        self.front.abort()
        await self._until_empty(self._loop.time() + ABORT_SECONDS)
        await self.path.tasks.finish(ABORT_SECONDS)
        self.pool.close()
        self.deadlines.close()
        if self._listener is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(ABORT_SECONDS):
                    await self._listener.wait_closed()


def settle_memory() -> None:
    """What was made so far lives as long as the process: keep the collector from walking it again and again.

    A served request leaves no reference cycles, so collections may be rare. And large blocks stay apart: every TLS
    connection has a buffer of 256 kB of which it touches a few pages; on the heap, where glibc would put it after a
    while, it takes over pages that others have used, and they stay resident (a fifth of what an idle watch costs).
    """
    with suppress(AttributeError):  # another C library, which has no such setting
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def main(
    services: Services,
    settings: ServerSettings,
    stop: asyncio.Event,
    *,
    bound: socket.socket | None = None,
    started: Callable[[Server], None] | None = None,
) -> None:
    """Serve until `stop` is set, then drain. started: called when the port is open. Raises OSError, ssl.SSLError."""
    server = Server(services, settings)
    await server.start(bound)
    settle_memory()
    if started is not None:
        started(server)
    async with asyncio.TaskGroup() as group:
        keeper = group.create_task(server.keep())
        await stop.wait()
        keeper.cancel()
    await server.stop()
