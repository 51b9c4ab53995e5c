"""The audit store: records a second on one writer, searches over many records, and what it adds to the gateway's CPU.

`python -m bench.audit [--records N]`: about fifteen minutes on two cores. Each store stands beside the same chain written
as JSON lines. Progress goes to standard error, the tables come at the end; exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from bench import audit_share
from bench.__main__ import MASKED_GROUP, govern
from chaperone.store.engine import store_url
from chaperone.store.interface import Query, RecordWriter
from chaperone.store.opening import Store, open_store
from chaperone.store.signing import new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain
from gateway.audit_sinks import FileSink
from hack import generate_audit, postgres
from hack.cluster.errors import ClusterError
from hack.stack import up

BATCH = 512
WRITTEN = 51_200
ROUNDS = 5
RATE_TARGET = 10_000.0
SEARCH_TARGET = 1.0
FILLING = 300.0
"""Seconds after which a store is searched with the records that it has got by then."""


@dataclass(frozen=True)
class Table:
    """What one part came to. missed: a target was."""

    lines: tuple[str, ...]
    missed: bool


@dataclass(frozen=True)
class Rate:
    """Of the best round. microseconds: CPU of the writing thread for one record, sealing included."""

    name: str
    per_second: float
    microseconds: float


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument(
        "--records", type=int, default=1_000_000, help="records that are searched; 0: no search"
    )
    parser.add_argument(
        "--rounds", type=int, default=audit_share.ROUNDS, help="of the gateway's CPU; 0: no stack"
    )
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("bench: ended"))  # what was started ends with us
    with (
        tempfile.TemporaryDirectory(prefix="chaperone-bench-audit-") as folder,
        postgres.running(log=told) as server,
    ):
        tables = list(_tables(Path(folder), server.url, options.records, options.rounds))
    for table in tables:
        print("\n" + "\n".join(table.lines))
    missed = any(table.missed for table in tables)
    print("\nbench: a target was missed" if missed else "\nbench: all targets met")
    return 1 if missed else 0


def told(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _tables(folder: Path, postgres_url: str, count: int, rounds: int) -> Iterator[Table]:
    yield _rates(folder, postgres_url)
    if count:
        yield _searches("SQLite", str(folder / "searched.db"), count)
        yield _searches("PostgreSQL", postgres_url, count)
    if rounds:
        yield _shares(folder / "stack", postgres_url, rounds)


# Records a second


def _rates(folder: Path, postgres_url: str) -> Table:
    """The ledgers take turns, so that what else the machine does meets all of them; the best round of each counts."""
    signer = new_signer()
    key = (signer.name, signer.public)
    ledgers: dict[str, RecordWriter] = {
        "JSON lines": FileSink(folder / "audit.jsonl"),
        "SQLite": StoreWriter(store_url(f"sqlite:///{folder / 'written.db'}"), "bench-0", key),
        "PostgreSQL": StoreWriter(store_url(postgres_url), "bench-0", key),
    }
    rates: dict[str, list[Rate]] = {name: [] for name in ledgers}
    for number in range(ROUNDS):
        told(f"records a second, round {number + 1} of {ROUNDS}")
        for name, ledger in ledgers.items():
            chain = SignedChain("bench-0", signer, wall=time.time, clock=time.monotonic)
            rates[name].append(_written(name, ledger, chain))
    best = [max(found, key=lambda rate: rate.per_second) for found in rates.values()]
    lines = [f"{'one writer, batches of 512, each durable':<48}{'records/s':>12}{'CPU µs':>9}"]
    lines += [f"{rate.name:<48}{rate.per_second:>12.0f}{rate.microseconds:>9.1f}" for rate in best]
    lines.append(f"(target: at least {RATE_TARGET:.0f}/s)")
    return Table(tuple(lines), any(rate.per_second < RATE_TARGET for rate in best))


def _written(name: str, ledger: RecordWriter, chain: SignedChain) -> Rate:
    """Every batch is on stable storage before the next one begins. Making up the records is not counted."""
    end = ledger.open()
    if end is not None:
        chain.resume(end)
    made = generate_audit.records(WRITTEN, start=time.time(), step=0.0001)
    seconds = cpu = 0.0
    while batch := list(islice(made, BATCH)):
        began, used = time.perf_counter(), time.thread_time()
        ledger.append([chain.seal(record) for record in batch], None, durable=True)
        seconds, cpu = seconds + time.perf_counter() - began, cpu + time.thread_time() - used
    ledger.close()
    return Rate(name, WRITTEN / seconds, 1e6 * cpu / WRITTEN)


# Searches


def _searches(name: str, address: str, count: int) -> Table:
    made = _fill(name, address, count)
    store = open_store(address)
    try:
        asked = [(label, _seconds(ask)) for label, ask in _questions(store)]
    finally:
        store.close()
    slowest = max(seconds for _, seconds in asked)
    lines = [f"{f'search in {made} records, {name}':<48}{'ms':>8}"]
    lines += [f"{label:<48}{1000 * seconds:>8.0f}" for label, seconds in asked]
    lines.append(f"(target: under {1000 * SEARCH_TARGET:.0f} ms each)")
    return Table(tuple(lines), slowest >= SEARCH_TARGET)


def _fill(name: str, address: str, count: int) -> int:
    """How many records there are then."""
    end, made = time.monotonic() + FILLING, 0

    def go_on(written: int) -> bool:
        nonlocal made
        if written // 100_000 > made // 100_000:
            told(f"{name}: {written} of {count} records made")
        made = written
        return time.monotonic() < end

    generate_audit.fill(address, count, go_on=go_on)
    return made


def _seconds(ask: Callable[[], Any]) -> float:
    """Of the second time: the first one brings it into memory."""
    ask()
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _questions(store: Store) -> Iterator[tuple[str, Callable[[], Any]]]:
    run = store.runs(limit=1)[0].run
    week = time.time() - 7 * 86_400
    queries = {
        "the newest": Query(),
        "one run": Query(run=run),
        "a run that there is not": Query(run="none"),
        "an agent's deletes": Query(agent="agent-3", verb="delete"),
        "denied, critical": Query(verdict="Deny", risk="critical"),
        "an object by name": Query(object="deployments.apps/deployment-77"),
        "a name that there is not": Query(object="none"),
        "a code that there is not, in one namespace": Query(namespace="team-1", code=500),
        "an issuer, a verb, a verdict": Query(issuer=generate_audit.ISSUERS[0], verb="patch", verdict="Hold"),
    }
    for label, query in queries.items():
        yield label, lambda query=query: store.search(query)  # type: ignore[misc]
    yield "a run's timeline", lambda: store.timeline(run)
    yield "verdicts by hour over a week", lambda: store.counts(week, time.time(), 3600)
    page = store.search(Query(), limit=1)
    yield "one request by its id", lambda: store.get(str(page.records[0].record["auditID"]))


# What it adds to the gateway's CPU


def _shares(folder: Path, postgres_url: str, rounds: int) -> Table:
    told("starting a stack for the gateway's CPU")
    try:
        stack = up.start(folder, log=lambda text: None)
        masked, unmasked = govern(stack, MASKED_GROUP, {"profile": "Standard"}), govern(stack)
        shares = audit_share.measure(stack, masked, unmasked, postgres_url, rounds=rounds, told=told)
    except (ClusterError, RuntimeError, OSError) as error:
        return Table((f"the gateway's CPU could not be measured: {error}",), missed=True)
    finally:
        up.stop(folder, log=lambda text: None)
    return Table(tuple(audit_share.table(shares)), audit_share.missed(shares))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
