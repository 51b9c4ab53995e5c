"""CPU time for one small GET: the gateway (TLS on both sides, token cached, 50 rules) beside `kubectl proxy`.

`kubectl proxy` is a plain Go reverse proxy: it takes plain HTTP from the client and speaks TLS to the API server, so it
has less to do than the gateway. Both are measured in turns against the same API server, the best of the rounds counts.
"""

from __future__ import annotations

import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench import load, usage
from hack.stack import programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.ports import free_port

PATH = "/api/v1/namespaces/default"
ROUNDS = 5
SECONDS = 3.0
CONNECTIONS = 16


@dataclass(frozen=True)
class Figure:
    """Of the best round. microseconds: CPU of the proxy's processes for one request."""

    name: str
    microseconds: float
    per_second: float
    p50: float
    p99: float


def measure(stack: up.Stack, token: str) -> list[Figure]:
    """Figures for the gateway and for kubectl proxy, in this order."""
    gateway = load.Target(
        stack.gateway_url + PATH, (f"Authorization: Bearer {token}",), str(stack.layout.ca_file)
    )
    with kubectl_proxy(stack.admin) as (url, peer_pid):
        sides = [
            ("gateway", gateway, programs.running(stack.layout)["gateway"]),
            ("kubectl proxy", load.Target(url + PATH), peer_pid),
        ]
        figures: dict[str, list[Figure]] = {name: [] for name, _, _ in sides}
        for target in (side[1] for side in sides):
            load.run(target, connections=CONNECTIONS, seconds=1)
        for number in range(ROUNDS):
            for name, target, pid in sides:
                figures[name].append(_round(name, target, pid))
            print(f"bench: small GET, round {number + 1} of {ROUNDS}", flush=True)
    return [min(rounds, key=lambda figure: figure.microseconds) for rounds in figures.values()]


def _round(name: str, target: load.Target, pid: int) -> Figure:
    before = usage.cpu_seconds(pid)
    result = load.run(target, connections=CONNECTIONS, seconds=SECONDS)
    used = usage.cpu_seconds(pid) - before
    return Figure(
        name,
        1e6 * used / result.requests,
        result.requests / result.seconds,
        result.percentile(0.5),
        result.percentile(0.99),
    )


@contextmanager
def kubectl_proxy(admin: Kubectl) -> Iterator[tuple[str, int]]:
    """(URL, process id) of a running `kubectl proxy`."""
    port = free_port()
    process = subprocess.Popen(
        admin.command("proxy", f"--port={port}"), env=admin.environment(), stdout=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{url}/version")
        yield url, process.pid
    finally:
        process.kill()
        process.wait()


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")
