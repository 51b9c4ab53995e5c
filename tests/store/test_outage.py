"""A real PostgreSQL server that goes away and comes back under a gateway's audit log."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaperone.settings.gateway import AuditSettings
from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from chaperone.store.verification import verify
from gateway.audit import AuditLog, AuditUnavailable
from gateway.audit_making import audit_log
from hack import postgres
from tests.store.conftest import event


@pytest.fixture
def own_server() -> Iterator[postgres.Postgres]:
    with postgres.running(log=lambda text: None) as found:
        yield found


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110  the claim is about a thread, nothing signals it
        await asyncio.sleep(0.05)


def ids(address: str) -> list[str]:
    store = open_store(address)
    found = [str(found.record["auditID"]) for found in store.search(Query(), limit=1000).records]
    store.close()
    return found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_goes_and_comes_back(
    own_server: postgres.Postgres, tmp_path: Path, how: signal.Signals
) -> None:
    """Mutations are refused while it is away, queued reads survive, and the chain has neither hole nor double."""
    address = own_server.url
    settings = AuditSettings(store=address, signing_key=tmp_path / "audit.key", wait=20.0)

    async def scenario() -> None:
        log = audit_log(settings, gateway="gw", worker=0, shares=False, on_failure=lambda: None)
        log.start()
        await log.durable(event("before"))
        own_server.stop(how)
        log.write(event("read"))
        with pytest.raises(AuditUnavailable):
            await log.durable(event("refused"))
        with pytest.raises(AuditUnavailable):
            log.write(event("refused read"))
        assert log.failure
        own_server.start()
        await until(lambda: not log.failure and not log.depth)
        await log.durable(event("after"))
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 120))
    assert sorted(ids(address)) == ["after", "before", "read"]
    assert verify(address).verification.is_good


def test_a_server_that_dies_again_and_again_loses_nothing_that_was_acknowledged(
    own_server: postgres.Postgres, tmp_path: Path
) -> None:
    address = own_server.url
    settings = AuditSettings(store=address, signing_key=tmp_path / "audit.key", wait=20.0)
    acknowledged: list[str] = []
    refused: list[str] = []

    async def write(log: AuditLog, stop: asyncio.Event) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                await log.durable(event(f"r{number}"))
            except AuditUnavailable:
                refused.append(f"r{number}")
                await asyncio.sleep(0.05)
            else:
                acknowledged.append(f"r{number}")

    async def crash(log: AuditLog) -> None:
        known = len(acknowledged)
        await until(lambda: len(acknowledged) > known + 5)
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        await until(lambda: bool(log.failure))
        await asyncio.to_thread(own_server.start)
        await until(lambda: not log.failure)

    async def scenario() -> None:
        log = audit_log(settings, gateway="gw", worker=0, shares=False, on_failure=lambda: None)
        log.start()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(write(log, stop))
            for _ in range(3):
                await crash(log)
            stop.set()
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 200))
    found = ids(address)
    assert len(found) == len(set(found)), "a record was written twice"
    assert set(acknowledged) <= set(found)
    assert set(found) <= set(acknowledged) | set(refused)
    assert refused
    assert verify(address).verification.is_good
