"""AdmissionReviews of 10 kB over TLS on 50 keep-alive connections: the webhook beside a bare Flask application.

The webhook is the one of the stack, under the bench policy with its 50 rules. Two kinds of reviews are sent: creates of
a pod by an agent's identity, which are read and judged whole, and by a stranger, which an old API server sends as well.
The bare application is started with the same server, TLS, threads and workers, and never looks at what it is sent. All
are measured in turns; the best of the rounds counts. The load generator shares the machine's cores with the server.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop

from bench import load, usage
from hack.stack import pki, programs, up
from hack.stack.layout import ROOT
from hack.stack.ports import free_port

CONNECTIONS = 50
BYTES = 10_000
ROUNDS = 3
SECONDS = 4.0
AGENT = "system:serviceaccount:agents:bench"
POLICY = "bench"
THREADS = 16
TARGET = 1000.0
"""Judged reviews a second, on a machine with two cores that does nothing else."""


@dataclass(frozen=True)
class Figure:
    """Of the best round. microseconds: CPU of the server's processes for one review; p50, p99: milliseconds."""

    name: str
    microseconds: float
    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Figures:
    """judged: reviews of an agent; stranger: of somebody whom no policy names; bare: the peer."""

    judged: Figure
    stranger: Figure
    bare: Figure

    @property
    def ratio(self) -> float:
        """CPU of a judged review to that of the bare application."""
        return self.judged.microseconds / self.bare.microseconds


def measure(stack: up.Stack) -> Figures:
    """Figures of the stack's webhook and of its peer. The policy `bench` must be there already."""
    files = pki.server_files(stack.layout, "webhook")
    context = ssl.create_default_context(cafile=str(stack.layout.ca_file))
    webhook = (stack.webhook_url, programs.running(stack.layout)["webhook"])
    workers = max(1, len(usage.family(webhook[1])) - 1)
    with bare_flask(files, context, workers) as bare:
        sides = [
            (
                "judged",
                webhook,
                review(AGENT, {"chaperone.dev/policy": [POLICY], "chaperone.dev/run": ["r"]}),
            ),
            ("stranger", webhook, review("system:serviceaccount:default:somebody", {})),
            ("bare Flask", bare, review(AGENT, {})),
        ]
        rounds: dict[str, list[Figure]] = {name: [] for name, _, _ in sides}
        for number in range(ROUNDS):
            for name, (url, pid), body in sides:
                rounds[name].append(_round(name, url, pid, body, context))
            print(f"bench: admission, round {number + 1} of {ROUNDS}", flush=True)
    best = [max(found, key=lambda figure: figure.per_second) for found in rounds.values()]
    return Figures(*best)


def table(figures: Figures) -> list[str]:
    """Lines to print."""
    heading = (
        f"{'10 kB review, 50 connections':<28}{'CPU µs':>10}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}"
    )
    rows = [
        f"{item.name:<28}{item.microseconds:>10.0f}{item.per_second:>12.0f}{item.p50:>9.1f}{item.p99:>9.1f}"
        for item in (figures.judged, figures.stranger, figures.bare)
    ]
    ratio = (
        f"{'judged : bare Flask':<28}{figures.ratio:>10.2f}   (target: {TARGET:.0f} judged reviews a second)"
    )
    return [heading, *rows, ratio]


def review(username: str, extra: dict[str, list[str]]) -> bytes:
    """A review of BYTES bytes: the create of a pod with much in its environment."""
    environment: list[dict[str, str]] = []
    while len(encoded := json.dumps(_review(username, extra, environment)).encode()) < BYTES:
        environment.append({"name": f"VARIABLE_{len(environment)}", "value": "a value of some length"})
    return encoded


def _review(username: str, extra: dict[str, list[str]], environment: list[dict[str, str]]) -> dict[str, Any]:
    main = {"name": "main", "image": "registry.example.org/app:1", "env": environment}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "namespace": "dev", "labels": {"app": "app"}},
        "spec": {"containers": [main], "serviceAccountName": "default"},
    }
    request = {
        "uid": "bench",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "requestResource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "app",
        "namespace": "dev",
        "operation": "CREATE",
        "userInfo": {
            "username": username,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "extra": extra,
        },
        "object": pod,
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}


def _round(name: str, url: str, pid: int, body: bytes, context: ssl.SSLContext) -> Figure:
    before = usage.cpu_seconds(pid)
    result = uvloop.run(_load(url, body, context))
    used = usage.cpu_seconds(pid) - before
    return Figure(
        name,
        1e6 * used / result.requests,
        result.requests / result.seconds,
        result.percentile(0.5),
        result.percentile(0.99),
    )


async def _load(url: str, body: bytes, context: ssl.SSLContext) -> load.Result:
    """Every connection has had its first answer before the clock starts: API servers keep theirs for hours."""
    address = url.removeprefix("https://")
    host, _, port = address.partition(":")
    message = (
        f"POST /guard HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    streams = await asyncio.gather(
        *(_connected(host, int(port), context, message) for _ in range(CONNECTIONS))
    )
    began = time.perf_counter()
    deadline = began + SECONDS
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_client(*stream, message, deadline)) for stream in streams]
    latencies = sorted(latency for task in tasks for latency in task.result())
    return load.Result(len(latencies), time.perf_counter() - began, tuple(latencies))


async def _connected(
    host: str, port: int, context: ssl.SSLContext, message: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    await _ask(reader, writer, message)
    return reader, writer


async def _client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes, deadline: float
) -> list[float]:
    latencies = []
    while (began := time.perf_counter()) < deadline:
        await _ask(reader, writer, message)
        latencies.append(time.perf_counter() - began)
    writer.close()
    return latencies


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: bytes) -> None:
    """Raises RuntimeError at an answer that does not allow: a benchmark of errors measures nothing."""
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
    answer = await reader.readexactly(length)
    if b'"allowed":true' not in answer:
        raise RuntimeError(
            f"the answer was {head[:40]!r} {answer[:600]!r}; a benchmark needs an allowed review"
        )


@contextmanager
def bare_flask(files: pki.Files, context: ssl.SSLContext, workers: int) -> Iterator[tuple[str, int]]:
    """(URL, process id) of the bare application under gunicorn."""
    port = free_port()
    options = ("--worker-class", "gthread", "--threads", str(THREADS), "--workers", str(workers))
    tls = ("--certfile", str(files.certificate), "--keyfile", str(files.key))
    bind = ("--bind", f"127.0.0.1:{port}", "--keep-alive", "75", "--log-level", "error")
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, *tls, *bind, "bench.bare_flask:app"], cwd=ROOT
    )
    url = f"https://127.0.0.1:{port}"
    try:
        _wait(url, context)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, context: ssl.SSLContext) -> None:
    """Until it answers, if only that there is no such page."""
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=1, context=context)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")
