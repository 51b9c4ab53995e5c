"""The first worker looks after the recordings: what was cut off is on the record, whatever goes wrong beside it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.recording_seal import Match, match, seal_of
from chaperone.settings.gateway import AuditSettings
from chaperone.store.engine import store_url
from chaperone.store.interface import Pruned, StoreUnavailableError
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_store import Cut
from chaperone.store.writing import StoreWriter
from gateway.audit_retention import Pruning, signer_of_settings
from gateway.recording import keeping
from gateway.recording.keeping import Keeper, cut_record, prune_by_age
from tests.store.recording_places import write
from tests.store.test_recordings import HEADER, NAME, OTHER, abandon

CUT = Cut(
    NAME,
    "a-1",
    120,
    "0f" * 32,
    {"kind": "exec", "namespace": "dev", "pod": "web", "user": "repo:acme/app", "run": "run-7"},
)


class Records:
    """An audit log that may refuse."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.written: list[Mapping[str, Any]] = []

    def write(self, record: Mapping[str, Any]) -> None:
        if self.refuses:
            self.refuses -= 1
            raise StoreUnavailableError("full")
        self.written.append(record)


class Broken(FolderRecordings):
    """Finds one, and then the store is gone."""

    def cut_off(self, now: float) -> Iterator[Cut]:
        yield CUT
        raise OSError("gone")


def kept(keeper: Keeper, until: Any) -> None:
    async def scenario() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(keeper.run())
            while not until():  # noqa: ASYNC110  what is waited for happens in a thread
                await asyncio.sleep(0.01)
            task.cancel()

    asyncio.run(scenario())


def test_the_record_of_a_cut_says_whose_stream_it_was() -> None:
    written = cut_record(CUT, 1_800_000_000.0)
    assert (written["stage"], written["auditID"], written["run"]) == ("Panic", "a-1", "run-7")
    assert written["user"]["username"] == "repo:acme/app"
    assert written["objectRef"]["name"] == "web"
    assert "cut off" in written["reason"]
    seal = seal_of([written], NAME)
    assert (seal.state, seal.run) == ("cut", "run-7")
    assert match(seal, 120, "0f" * 32)[0] is Match.SEALED


def test_what_was_cut_off_is_recorded_at_the_start_and_later(tmp_path: Path) -> None:
    place, audit = FolderRecordings(tmp_path), Records(refuses=1)
    abandon(place, NAME, HEADER)
    abandon(place, OTHER, HEADER)
    keeper = Keeper(place, audit, every=0.01)
    kept(keeper, lambda: len(audit.written) == 1)
    assert audit.written[0]["recording"]["name"] == OTHER, "the first could not be recorded, the second could"
    abandon(place, "2026/11/23/a-3.cast", HEADER)
    kept(keeper, lambda: len(audit.written) == 2)


def test_what_was_found_before_a_fault_is_recorded(tmp_path: Path) -> None:
    audit = Records()
    kept(Keeper(Broken(tmp_path), audit, every=0.01), lambda: len(audit.written) > 1)


def test_a_folder_that_others_may_enter_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o755)
    kept(Keeper(FolderRecordings(tmp_path), Records()), lambda: "chmod 700" in caplog.text)


def test_the_keeper_prunes_by_age_and_stops_with_its_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = AuditSettings(store=f"sqlite:///{tmp_path / 'audit.db'}")
    signer = signer_of_settings(audit)
    assert (tmp_path / "audit.key").exists()
    writer = StoreWriter(store_url(audit.store), "gw-0", (signer.name, signer.public))
    writer.open()
    writer.close()
    place = FolderRecordings(tmp_path / "recordings")
    write(place, NAME, HEADER)
    write(place, OTHER, HEADER)
    os.utime(place.folder / NAME, (0, 0))
    remove, made = prune_by_age(audit, place, 3600.0), []
    pruned: list[Pruned] = []

    def prune() -> Pruned:
        pruned.append(remove())
        return pruned[-1]

    def soon(prune: Callable[[], Pruned], what: str) -> Pruning:
        made.append(Pruning(prune, what, first=0.0, every=0.01))
        return made[-1]

    monkeypatch.setattr(keeping, "Pruning", soon)
    kept(Keeper(place, Records(), prune), lambda: len(pruned) > 1)
    assert pruned[:2] == [Pruned(1, 0), Pruned(0, 0)]
    assert [found.name.text for found in place.sealed("2026/11/23")] == [OTHER]
    made[0]._thread.join(20)
    assert not made[0]._thread.is_alive()
