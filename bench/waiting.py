"""Memory for what only waits: idle watches, held requests. Proportional set size before and with them, divided."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from dataclasses import dataclass

import uvloop

from bench import load, usage
from hack.stack import programs, up

WATCHES = 1000
HELD = 200


@dataclass(frozen=True)
class Figure:
    name: str
    count: int
    kilobytes: float


def watches(stack: up.Stack, token: str) -> Figure:
    """Idle watches of config maps in a namespace where nothing happens."""
    path = "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=600"
    target = load.Target(
        stack.gateway_url + path, (f"Authorization: Bearer {token}",), str(stack.layout.ca_file)
    )
    return Figure(
        "idle watch", WATCHES, uvloop.run(_cost(stack, [load.head(target)] * WATCHES, target, answers=True))
    )


def held(stack: up.Stack, token: str) -> Figure:
    """Deletes of different config maps, each waiting for its approval."""
    target = load.Target(stack.gateway_url, (f"Authorization: Bearer {token}",), str(stack.layout.ca_file))
    requests = []
    for number in range(HELD):
        path = f"/api/v1/namespaces/bench/configmaps/held-{number}"
        body = json.dumps({"propagationPolicy": "Background"})
        fields = (*target.headers, "Content-Type: application/json", f"Content-Length: {len(body)}")
        one = load.Target(target.url + path, fields, target.ca)
        requests.append(load.head(one, "DELETE") + body.encode())
    return Figure("held request", HELD, uvloop.run(_cost(stack, requests, target, answers=False)))


async def _cost(stack: up.Stack, requests: list[bytes], target: load.Target, *, answers: bool) -> float:
    """Kilobytes of the gateway for one of the requests while all of them are open."""
    pid = programs.running(stack.layout)["gateway"]
    context = ssl.create_default_context(cafile=target.ca)
    before = usage.resident_bytes(pid)
    streams = [await _open(target, context, request, answers=answers) for request in requests]
    await asyncio.sleep(3)
    after = usage.resident_bytes(pid)
    for _, writer in streams:
        writer.transport.abort()
    await asyncio.sleep(1)
    return (after - before) / len(requests) / 1000


async def _open(
    target: load.Target, context: ssl.SSLContext, request: bytes, *, answers: bool
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = target.url.split("/")[2]
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context, limit=4096)
    writer.write(request)
    if answers:
        status = (await reader.readuntil(b"\r\n\r\n")).splitlines()[0]
        if b" 200 " not in status:
            raise RuntimeError(f"a watch was answered {status.decode()}")
    return reader, writer


def settle(stack: up.Stack) -> None:
    """Config maps for the held deletes, in a namespace of their own."""
    items = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "bench"}}]
    items += [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"held-{number}", "namespace": "bench"},
        }
        for number in range(HELD)
    ]
    stack.admin.apply("making config maps", items)
    time.sleep(1)
