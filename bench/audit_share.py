"""What the audit adds to the gateway's CPU: gateways that differ in nothing else, asked in turns.

One gateway makes no records at all (`bench.unaudited`); the others write them to a file, to SQLite and to PostgreSQL.
Every round asks each of them for the same seconds, in another order; of each the best round counts, as other work on the
machine only ever adds. CPU time is that of the gateway's whole process, all threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import yaml

from bench import load, small_get, usage
from hack.cluster.pki import write_private
from hack.stack import programs, up
from hack.stack.ports import free_port
from hack.stack.programs import Program

TARGET = 0.10
CONNECTIONS = 16
ROUNDS = 12
SECONDS = 1.5
SETTLE = 0.5
"""Seconds in which the records of a round are written before its CPU time is read."""
NAMESPACE = "bench"
PATCHED = f"/api/v1/namespaces/{NAMESPACE}/configmaps/bench"
PATCH = b'{"data":{"n":"1"}}'
WITHOUT = "no audit"
READ = "small GET"
"""Under a policy's default terms: what most requests of agents are."""


@dataclass(frozen=True)
class Side:
    """One gateway, by where its records go. pid: of its process."""

    audit: str
    url: str
    pid: int


@dataclass(frozen=True)
class Share:
    """microseconds: CPU of the gateway for one request, of each round; without: the same of the gateway that makes no
    records."""

    requests: str
    audit: str
    microseconds: tuple[float, ...]
    without: tuple[float, ...]

    @property
    def added(self) -> float:
        return min(self.microseconds) / min(self.without) - 1


def measure(
    stack: up.Stack,
    masked: str,
    unmasked: str,
    postgres_url: str,
    *,
    rounds: int = ROUNDS,
    told: Callable[[str], None] = print,
) -> list[Share]:
    """Of reads, of reads that nothing is masked in, and of mutations. masked, unmasked: tokens of agents under a policy's
    default terms of masking and under none. Raises ClusterError, and RuntimeError when a request is refused."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    patched = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bench", "namespace": NAMESPACE},
    }
    stack.admin.apply("making what is patched", [namespace, patched])
    ca, default, plain = str(stack.layout.ca_file), _bearer(masked), _bearer(unmasked)
    patch = (default, "Content-Type: application/merge-patch+json")
    with gateways(stack, postgres_url) as sides:
        asked = {
            READ: {side: load.Target(side.url + small_get.PATH, (default,), ca) for side in sides},
            "the same, masking Off": {
                side: load.Target(side.url + small_get.PATH, (plain,), ca) for side in sides
            },
            "small PATCH": {
                side: load.Target(side.url + PATCHED, patch, ca, "PATCH", PATCH) for side in sides
            },
        }
        return [share for name in asked for share in _in_turns(name, asked[name], rounds, told)]


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def table(shares: list[Share]) -> list[str]:
    lines = [f"{'CPU of the gateway, 16 connections':<36}{'best µs':>9}{'median':>9}{'added':>9}"]
    for share in shares:
        name, used = f"{share.requests}, {share.audit}", share.microseconds
        lines.append(f"{name:<36}{min(used):>9.0f}{median(used):>9.0f}{share.added:>+9.1%}")
    return [*lines, f"(target: a store adds at most {TARGET:.0%} to a {READ})"]


def missed(shares: list[Share]) -> bool:
    return any(share.added > TARGET for share in shares if share.requests == READ)


def _in_turns(
    requests: str, targets: Mapping[Side, load.Target], rounds: int, told: Callable[[str], None]
) -> list[Share]:
    sides = list(targets)
    for target in targets.values():
        load.run(target, connections=CONNECTIONS, seconds=1)
    used: dict[Side, list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        turn = number % len(sides)
        for side in sides[turn:] + sides[:turn]:
            used[side].append(_round(side, targets[side]))
        told(f"the gateway's CPU, {requests}, round {number + 1} of {rounds}")
    without = tuple(used[next(side for side in sides if side.audit == WITHOUT)])
    return [Share(requests, side.audit, tuple(used[side]), without) for side in sides]


def _round(side: Side, target: load.Target) -> float:
    """Microseconds of one request."""
    before = usage.cpu_seconds(side.pid)
    result = load.run(target, connections=CONNECTIONS, seconds=SECONDS)
    time.sleep(SETTLE)
    return 1e6 * (usage.cpu_seconds(side.pid) - before) / result.requests


@contextmanager
def gateways(stack: up.Stack, postgres_url: str) -> Iterator[list[Side]]:
    """The same gateway once for each place where records can go; all end with the block."""
    folder = stack.layout.audit
    key = {"signingKey": str(folder / "bench.key")}
    audits: list[tuple[str, str, dict[str, str]]] = [
        (WITHOUT, "bench.unaudited", {"path": "-"}),
        ("JSON lines", "gateway", {"path": str(folder / "bench.jsonl"), **key}),
        ("SQLite", "gateway", {"store": f"sqlite:///{folder / 'bench.db'}", **key}),
        ("PostgreSQL", "gateway", {"store": postgres_url, "writer": "bench-share", **key}),
    ]
    with ExitStack() as running:
        yield [running.enter_context(_gateway(stack, number, *audit)) for number, audit in enumerate(audits)]


@contextmanager
def _gateway(
    stack: up.Stack, number: int, name: str, module: str, audit: Mapping[str, str]
) -> Iterator[Side]:
    layout, port, health = stack.layout, free_port(), free_port()
    settings: dict[str, Any] = yaml.safe_load(layout.config("gateway").read_text())
    settings["listen"]["port"], settings["health"]["port"], settings["audit"] = port, health, dict(audit)
    program_name = f"gateway-bench-{number}"
    path = layout.config(program_name)
    write_private(path, yaml.safe_dump(settings).encode())
    program = Program(
        program_name, ("-m", module, "--config", str(path)), f"http://127.0.0.1:{health}/readyz"
    )
    programs.start(layout, program)
    try:
        programs.wait_well(layout, program)
        yield Side(name, f"https://127.0.0.1:{port}", programs.running(layout)[program_name])
    finally:
        programs.stop(layout, program)
