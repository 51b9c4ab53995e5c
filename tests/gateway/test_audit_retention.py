"""Pruning comes round again, whatever one time brings; and an audit log has one where its settings ask for it."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from chaperone.settings.gateway import AuditSettings
from chaperone.settings.loading import SettingsError, load
from chaperone.store.interface import Pruned, Query
from chaperone.store.opening import open_store
from chaperone.store.verification import verify
from gateway.audit import AuditUnavailable
from gateway.audit_making import audit_log, writer_name
from gateway.audit_retention import Pruning


def test_a_pruning_that_fails_is_tried_again() -> None:
    calls: list[int] = []
    twice = threading.Event()

    def prune() -> Pruned:
        calls.append(1)
        if len(calls) == 1:
            raise OSError("the store is away")
        twice.set()
        return Pruned(3, 0)

    pruning = Pruning(prune, first=0.0, every=0.01)
    pruning.start()
    assert twice.wait(10)
    pruning.stop()


def test_a_log_into_a_store_can_be_searched_and_verified(tmp_path: Path) -> None:
    settings = AuditSettings(store=f"sqlite:///{tmp_path / 'audit.db'}", retention=7200.0)

    async def scenario() -> None:
        for number in range(2):
            log = audit_log(
                settings, gateway="Host.Example-8443", worker=0, shares=False, on_failure=lambda: None
            )
            log.start()
            await log.durable({"kind": "Event", "auditID": f"a-{number}", "stage": "RequestReceived"})
            log.write({"kind": "Event", "auditID": f"a-{number}", "stage": "ResponseComplete"})
            await log.close()

    asyncio.run(scenario())
    store = open_store(str(tmp_path))
    assert len(store.search(Query()).records) == 4
    store.close()
    found = verify(str(tmp_path)).verification
    assert found.is_good
    assert [(chain.writer, chain.closed) for chain in found.chains] == [("host.example-8443-0", True)]


@pytest.mark.parametrize("host", ["gw-7f9c", "UPPER_case", "-.-", "x" * 300, "ä", ""])
def test_a_writer_has_a_valid_name_whatever_the_host_is_called(host: str) -> None:
    from chaperone.core.chain import origin

    assert origin(writer_name(host, 63)).writer.endswith("-63")


def test_a_store_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    key = tmp_path / "audit.key"
    settings = AuditSettings(store="postgresql://me:hunter2@127.0.0.1:1/audit", signing_key=key)
    log = audit_log(settings, gateway="gw", worker=0, shares=False, on_failure=lambda: None)

    async def scenario() -> None:
        began = time.monotonic()
        with pytest.raises(AuditUnavailable, match="cannot be opened") as caught:
            log.start()
        assert "hunter2" not in str(caught.value)
        assert time.monotonic() - began < 60

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"store": "sqlite:///a.db", "path": "/a.jsonl"}, "not both"),
        ({"store": "mysql://x/y"}, "must begin with"),
        ({"store": "postgresql://x/y"}, "signingKey"),
        ({"retention": "7d"}, "needs a store"),
        ({"store": "sqlite:///a.db", "retention": "5m"}, "at least 1h"),
        ({"store": "sqlite:///a.db", "writer": "Über"}, "writer"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(document: dict[str, str], fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        load(AuditSettings, document)
