"""A small load generator: keep-alive connections that each send one request after another (HTTP/1.1, asyncio)."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True)
class Target:
    """Where to send what. ca: PEM file, for https; body: with its content type among the headers."""

    url: str
    headers: tuple[str, ...] = ()
    ca: str = ""
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True)
class Result:
    """requests answered 200, in how many seconds; latencies in seconds, sorted."""

    requests: int
    seconds: float
    latencies: tuple[float, ...]

    def percentile(self, share: float) -> float:
        """In milliseconds."""
        return 1000 * self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


def run(target: Target, *, connections: int, seconds: float) -> Result:
    """Raises RuntimeError at the first answer that is not 200: a benchmark of errors measures nothing."""
    return uvloop.run(_run(target, connections, seconds))


async def _run(target: Target, connections: int, seconds: float) -> Result:
    began = time.perf_counter()
    deadline = began + seconds
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_client(target, deadline)) for _ in range(connections)]
    latencies = sorted(latency for task in tasks for latency in task.result())
    return Result(len(latencies), time.perf_counter() - began, tuple(latencies))


async def _client(target: Target, deadline: float) -> list[float]:
    reader, writer = await connect(target)
    request = head(target, target.method) + target.body
    latencies = []
    while (began := time.perf_counter()) < deadline:
        writer.write(request)
        await _answer(reader)
        latencies.append(time.perf_counter() - began)
    writer.close()
    return latencies


async def connect(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(target.url)
    context = ssl.create_default_context(cafile=target.ca) if address.scheme == "https" else None
    return await asyncio.open_connection(address.hostname, address.port, ssl=context)


def head(target: Target, method: str = "GET") -> bytes:
    address = urlsplit(target.url)
    path = address.path + (f"?{address.query}" if address.query else "")
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {address.netloc}",
        "Accept: application/json",
        *target.headers,
        *([f"Content-Length: {len(target.body)}"] if target.body else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _answer(reader: asyncio.StreamReader) -> None:
    block = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    if not block.startswith("HTTP/1.1 200"):
        raise RuntimeError(f"the answer was {block.splitlines()[0]}; a benchmark needs 200")
    fields = dict(line.lower().split(": ", 1) for line in block.splitlines()[1:] if ": " in line)
    if "content-length" in fields:
        await reader.readexactly(int(fields["content-length"]))
        return
    while (size := int((await reader.readline()).split(b";")[0], 16)) > 0:
        await reader.readexactly(size + 2)
    await reader.readline()
