"""A fake API server that records every byte it gets, and answers as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

Headers = list[tuple[str, str]]


def _system_holds() -> int:
    maxima = (Path(f"/proc/sys/net/ipv4/{name}").read_text().split()[2] for name in ("tcp_rmem", "tcp_wmem"))
    return sum(map(int, maxima))


MOST_ON_THE_WAY = 2 * _system_holds() + (4 << 20)
"""Bytes between a client and this upstream when one of them has stopped reading: what the system's buffers of two
connections may grow to, and a few MB of our own. A gateway without back-pressure takes any number."""


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        (value,) = self.values(name)
        return value

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.headers}


def reply(code: int = 200, body: bytes = b'{"kind":"PodList"}', *headers: str, reason: str = "Some") -> bytes:
    lines = [f"HTTP/1.1 {code} {reason}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode() + body


def chunks(*pieces: bytes, end: bool = True) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return framed + (b"0\r\n\r\n" if end else b"")


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

Handler = Callable[[Seen, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Upstream:
    """answer: bytes for every request, or what to do with one. Bytes that are not a request still count."""

    answer: bytes | Handler = field(default_factory=reply)
    tls: ssl.SSLContext | None = None
    received: bytearray = field(default_factory=bytearray)
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    closed: int = 0
    port: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to have happened here."""
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.changed.set()
        try:
            while (seen := await self._read(reader)) is not None:
                self.requests.append(seen)
                self.changed.set()
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                else:
                    await self.answer(seen, reader, writer)
                await writer.drain()
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            self.closed += 1
            self.changed.set()
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> Seen | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            self.received += error.partial
            return None
        self.received += head
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        seen = Seen(method, target, headers)
        if lengths := seen.values("content-length"):
            seen.body = await reader.readexactly(int(lengths[0]))
            self.received += seen.body
        return seen
