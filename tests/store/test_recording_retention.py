"""Old recordings go, with a record before each; held ones, unfinished ones and strangers stay; and verify tells
pruning from tampering."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from chaperone.core.recording_seal import absence, seal_of
from chaperone.store import recording_retention
from chaperone.store.engine import store_url
from chaperone.store.interface import Pruned, Query
from chaperone.store.opening import Store
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_objects import ObjectRecordings
from chaperone.store.recording_retention import prune_recordings
from chaperone.store.recording_store import Recordings, digest_of
from chaperone.store.recordings import open_recordings
from chaperone.store.retention import turn_of_recordings
from chaperone.store.signing import new_signer
from chaperone.store.verification import verify
from hack.s3_server import new_bucket, s3_server
from tests.store.conftest import NOW, Bench, event
from tests.store.recording_places import META, bucket_recordings, write
from tests.store.test_recordings import HEADER

DAY = 86_400.0
NAME = "2026/01/31/a-1.cast"
OTHER = "2026/01/31/a-2.cast"
LATER = time.time() + 100 * DAY
"""When pruning comes round: stores say themselves when something was sealed."""


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Recordings:
    if request.param == "folder":
        return open_recordings(str(tmp_path / "recordings"))
    endpoint = request.getfixturevalue("s3")
    return bucket_recordings(endpoint, new_bucket(endpoint))


@pytest.fixture
def folder(tmp_path: Path) -> FolderRecordings:
    return FolderRecordings(tmp_path / "recordings")


def stream(
    bench: Bench,
    place: Recordings,
    name: str,
    *,
    run: str = "run-1",
    content: bytes = HEADER,
    at: float = NOW,
) -> None:
    """A recording, and the record of the stream's end."""
    write(place, name, content)
    size, digest = digest_of(place.stored(name).chunks)
    said = {"name": name, "state": "sealed", "bytes": size, "sha256": digest}
    audit_id = name.rpartition("/")[2].partition(".")[0]
    bench.write(event(audit_id, at=at, run=run, recording=said))


def prune(bench: Bench, place: Recordings, *, now: float = LATER, days: float = 90) -> Pruned:
    return prune_recordings(store_url(bench.address), place, days * DAY, bench.signer, now=now)


def left(place: Recordings) -> list[str]:
    return [found.name.text for day in place.days() for found in place.sealed(day)]


def why(store: Store, name: str) -> str:
    audit_id = name.rpartition("/")[2].partition(".")[0]
    return absence(seal_of([found.record for found in store.get(audit_id)], name))


def test_old_ones_go_and_their_removal_is_on_the_record(
    bench: Bench, store: Store, place: Recordings
) -> None:
    stream(bench, place, NAME)
    assert prune(bench, place, days=101) == Pruned(0, 0)
    assert verify(bench.address).verification.chains[-1].writer == "gw-0", "nothing was removed: no record"
    assert prune(bench, place) == Pruned(1, 0)
    assert left(place) == []
    with pytest.raises(FileNotFoundError):
        place.stored(NAME)
    removed = time.strftime("%Y-%m-%d", time.gmtime(LATER))
    assert why(store, NAME) == f"it was removed by retention on {removed} (older than 90 days)"
    result = verify(bench.address).verification
    assert result.is_good
    assert [(chain.writer, chain.records, chain.signed) for chain in result.chains] == [
        ("gw-0", 1, 0),
        ("retention", 1, 1),
    ]
    assert prune(bench, place) == Pruned(0, 0)


def test_the_record_of_a_removal_is_told_with_its_run_and_counts_as_no_request(
    bench: Bench, store: Store, folder: FolderRecordings
) -> None:
    stream(bench, folder, NAME)
    prune(bench, folder)
    told = store.timeline("run-1").records
    assert [found.record["stage"] for found in told] == ["ResponseComplete", "RecordingRemoved"]
    assert len(store.runs()) == 1
    assert sum(tally.count for tally in store.counts(0, LATER + DAY, 3600)) == 1
    assert len(store.search(Query(verdict="Allow")).records) == 1


def test_a_held_run_keeps_its_recordings_until_it_is_released(
    bench: Bench, store: Store, place: Recordings
) -> None:
    stream(bench, place, NAME, run="held")
    stream(bench, place, OTHER, run="free")
    store.hold("held", reason="case 7", by="legal", now=LATER)
    assert prune(bench, place) == Pruned(1, 1)
    assert left(place) == [NAME]
    assert store.release("held")
    assert prune(bench, place) == Pruned(1, 0)
    assert left(place) == []
    assert verify(bench.address).verification.is_good


def test_whose_it_is_stands_in_the_header_where_no_record_tells(
    bench: Bench, store: Store, place: Recordings
) -> None:
    """Its stream's records were pruned before."""
    write(place, NAME, HEADER)
    store.hold("run-7", reason="", by="", now=LATER)
    assert prune(bench, place) == Pruned(0, 1)
    store.release("run-7")
    assert prune(bench, place) == Pruned(1, 0)
    assert [found.record["run"] for found in store.get("a-1")] == ["run-7"]
    assert "removed by retention" in why(store, NAME)


def test_one_that_nobody_can_tell_whose_it_is_stays_while_anything_is_held(
    bench: Bench, store: Store, place: Recordings
) -> None:
    write(place, NAME, b"this is no header\n")
    store.hold("some-run", reason="", by="", now=LATER)
    assert prune(bench, place) == Pruned(0, 1)
    store.release("some-run")
    assert prune(bench, place) == Pruned(1, 0)


def test_the_record_tells_whose_it_is_not_the_header(bench: Bench, store: Store, place: Recordings) -> None:
    """Somebody may have changed the file; not the chain."""
    stream(bench, place, NAME, run="held", content=HEADER)
    store.hold("held", reason="", by="", now=LATER)
    assert prune(bench, place) == Pruned(0, 1)


def test_one_that_is_still_written_stays(bench: Bench, place: Recordings) -> None:
    writer = place.open(NAME, META)
    writer.append(HEADER)
    writer.sync()
    assert prune(bench, place) == Pruned(0, 0)
    assert not place.stored(NAME).is_sealed
    writer.close()
    assert left(place) == [NAME]


def test_when_it_was_sealed_counts_not_when_it_began(bench: Bench, place: Recordings) -> None:
    stream(bench, place, "2001/01/01/a-1.cast")
    assert prune(bench, place, now=time.time() + DAY, days=2) == Pruned(0, 0)
    assert left(place) == ["2001/01/01/a-1.cast"]


def test_strangers_stay(bench: Bench, folder: FolderRecordings) -> None:
    stream(bench, folder, NAME)
    stranger = folder.folder / "2026/01/31/notes.txt"
    stranger.write_text("mine")
    prune(bench, folder)
    assert stranger.exists()


def test_many_go_in_batches(
    bench: Bench, store: Store, place: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_retention, "BATCH", 3)
    for number in range(8):
        stream(bench, place, f"2026/01/31/a-{number}.cast", run="held" if number % 4 == 0 else "run-1")
    store.hold("held", reason="", by="", now=LATER)
    assert prune(bench, place) == Pruned(6, 2)
    assert left(place) == ["2026/01/31/a-0.cast", "2026/01/31/a-4.cast"]
    assert verify(bench.address).verification.is_good


class Failing(FolderRecordings):
    """Cannot remove, as a store that is away or a folder that is read-only."""

    broken = True

    def remove(self, names: Any) -> None:
        if self.broken:
            raise OSError("read-only")
        super().remove(names)


def test_a_removal_that_was_interrupted_is_ended_without_a_second_record(
    bench: Bench, store: Store, tmp_path: Path
) -> None:
    place = Failing(tmp_path / "recordings")
    stream(bench, place, NAME)
    with pytest.raises(OSError, match="read-only"):
        prune(bench, place)
    assert left(place) == [NAME]
    place.broken = False
    assert prune(bench, place) == Pruned(1, 0)
    assert len(store.get("a-1")) == 2


def test_without_a_record_nothing_goes(bench: Bench, folder: FolderRecordings) -> None:
    """The audit store takes no record: another process has its chain, or it is full."""
    from chaperone.store.interface import StoreUnavailableError

    stream(bench, folder, NAME)
    other = Bench(bench.address, name="retention")
    try:
        with pytest.raises(StoreUnavailableError):
            prune(bench, folder)
    finally:
        other.writer.close()
    assert left(folder) == [NAME]


def test_a_hold_waits_for_the_batch_under_way_and_counts_from_then_on(
    bench: Bench, store: Store, folder: FolderRecordings
) -> None:
    stream(bench, folder, NAME)
    placed = threading.Event()

    def place_hold() -> None:
        own = bench.store()
        own.hold("run-1", reason="", by="", now=LATER)
        own.close()
        placed.set()

    with turn_of_recordings(store.engine):
        thread = threading.Thread(target=place_hold)
        thread.start()
        assert not placed.wait(0.3)
        assert store.holds() == ()
    assert placed.wait(20)
    thread.join()
    assert prune(bench, folder) == Pruned(0, 1)


def test_two_that_prune_at_once_remove_each_only_once(
    bench: Bench, store: Store, folder: FolderRecordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording_retention, "BATCH", 2)
    for number in range(10):
        stream(bench, folder, f"2026/01/31/a-{number}.cast")
    threads = [threading.Thread(target=prune, args=(bench, folder)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert left(folder) == []
    stages = [found.record["stage"] for found in store.search(Query(), limit=100).records]
    assert stages.count("RecordingRemoved") == 10
    assert verify(bench.address).verification.is_good


def test_another_gateways_key_goes_on_with_the_chain(bench: Bench, folder: FolderRecordings) -> None:
    stream(bench, folder, NAME)
    prune(bench, folder)
    stream(bench, folder, OTHER)
    other = new_signer()
    assert prune_recordings(store_url(bench.address), folder, DAY, other, now=LATER) == Pruned(1, 0)
    assert verify(bench.address).verification.is_good


def test_the_time_of_a_file_in_the_future_keeps_it(bench: Bench, folder: FolderRecordings) -> None:
    stream(bench, folder, NAME)
    os.utime(folder.folder / NAME, (LATER + DAY, LATER + DAY))
    assert prune(bench, folder) == Pruned(0, 0)


def test_an_object_whose_pieces_are_still_there_stays(bench: Bench, s3: str) -> None:
    place = bucket_recordings(s3, new_bucket(s3))
    assert isinstance(place, ObjectRecordings)
    stream(bench, place, NAME)
    obstore.put(place._store, f"{NAME}.part/00000000", HEADER)
    assert prune(bench, place) == Pruned(0, 0)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (86400, "1 day"),
        (90 * 86400, "90 days"),
        (3600, "1 hour"),
        (5400, "1.5 hours"),
        (1, "0.000277778 hours"),
    ],
)
def test_an_age_in_words(seconds: float, told: str) -> None:
    assert recording_retention._words(seconds) == told
