"""Recordings at rest on the command line: played with their seal, pruned with the records, verified."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaperone.cli.recordings import split_address
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.signing import load_signer
from tests.cli.conftest import Shell
from tests.store.conftest import Bench, event
from tests.store.recording_places import gone
from tests.store.test_recording_retention import stream

NAME = "2026/01/31/a-1.cast"
OTHER = "2026/01/31/a-2.cast"
CAST = b'{"version":2,"width":80,"height":24,"timestamp":1,"command":"sh"}\n[0.1,"o","seen\\r\\n"]\n[0.2,"x","0"]\n'


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(f"sqlite:///{tmp_path / 'audit.db'}")
    yield made
    made.writer.close()


@pytest.fixture
def place(tmp_path: Path) -> FolderRecordings:
    return FolderRecordings(tmp_path / "recordings")


def arguments(bench: Bench, place: FolderRecordings) -> list[str]:
    return ["--store", bench.address, "--recordings", str(place.folder)]


@pytest.fixture
def kept(bench: Bench, place: FolderRecordings) -> list[str]:
    """Options of an audit store and a folder that hold one recording."""
    stream(bench, place, NAME, content=CAST)
    return arguments(bench, place)


@pytest.mark.parametrize("what", [NAME, "a-1"])
def test_a_recording_is_played_by_its_name_or_its_audit_id(shell: Shell, kept: list[str], what: str) -> None:
    done = shell("replay", what, *kept)
    assert (done.code, done.out) == (0, "seen\n")
    assert "are those in the audit record" in done.err


def test_an_address_is_its_place_and_its_name(shell: Shell, kept: list[str], place: FolderRecordings) -> None:
    done = shell("replay", f"file://{place.folder}/{NAME}")
    assert (done.code, done.out) == (0, "seen\n")
    assert split_address(f"s3://b/p/{NAME}") == ("s3://b/p", NAME)
    assert split_address(f"s3://b/{NAME}") == ("s3://b", NAME)
    assert split_address("s3://b/x.cast") is None
    assert split_address(f"folder/{NAME}") is None


def test_a_changed_one_is_said_before_it_is_played_and_fails(
    shell: Shell, kept: list[str], place: FolderRecordings
) -> None:
    (place.folder / NAME).write_bytes(CAST.replace(b"seen", b"sean"))
    done = shell("replay", NAME, *kept)
    assert done.code == 1
    assert done.out == "sean\n"
    assert done.err.startswith("It is NOT what the audit record sealed")


def test_one_that_is_gone_is_missing_and_not_removed(
    shell: Shell, kept: list[str], place: FolderRecordings
) -> None:
    (place.folder / NAME).unlink()
    done = shell("replay", NAME, *kept)
    assert done.code == 1
    assert "MISSING" in done.err
    assert "there is no recording" in shell("replay", NAME, "--recordings", str(place.folder)).err


def test_a_file_is_a_file_although_a_place_is_set(shell: Shell, kept: list[str], tmp_path: Path) -> None:
    mine = tmp_path / "mine.cast"
    mine.write_bytes(CAST.replace(b"seen", b"mine"))
    done = shell("replay", str(mine), *kept)
    assert (done.code, done.out) == (0, "mine\n")


@pytest.mark.parametrize("what", ["a-9", "../../etc/passwd", "2026/01/31/a-9.cast"])
def test_what_nobody_knows(shell: Shell, kept: list[str], what: str) -> None:
    done = shell("replay", what, *kept)
    assert (done.code, done.out) == (1, "")
    assert "names a recording" in done.err or "nor the audit know of it" in done.err


def test_one_that_is_still_written_plays_as_far_as_it_has_come(
    shell: Shell, bench: Bench, place: FolderRecordings
) -> None:
    bench.write(event("other"))
    writer = place.open(NAME, {})
    writer.append(CAST)
    writer.sync()
    done = shell("replay", NAME, *arguments(bench, place))
    assert (done.code, done.out) == (0, "seen\n")
    assert "still being written" in done.err
    writer.close()


def test_without_the_audit_a_named_recording_still_plays_and_says_so(
    shell: Shell, kept: list[str], place: FolderRecordings, tmp_path: Path
) -> None:
    gone_store = ["--store", f"sqlite:///{tmp_path / 'none.db'}", "--recordings", str(place.folder)]
    done = shell("replay", NAME, *gone_store)
    assert (done.code, done.out) == (0, "seen\n")
    assert "its seal cannot be looked for: there is no audit store" in done.err
    assert shell("replay", "a-1", *gone_store).code == 1


def test_a_place_that_does_not_answer_is_one_clear_error(
    shell: Shell, kept: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperone.cli.replay.place_of", lambda _address: gone())
    done = shell("replay", NAME, "--recordings", "s3://bucket")
    assert (done.code, done.out) == (1, "")
    assert f"the recording {NAME} cannot be read" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("place", ["ftp://x/y", "s3://"])
def test_a_place_that_is_none_is_wrong_usage(shell: Shell, place: str) -> None:
    done = shell("replay", NAME, "--recordings", place)
    assert done.code == 2
    assert "--recordings" in done.err


def test_a_recording_cut_at_any_byte_plays_up_to_the_cut(shell: Shell, place: FolderRecordings) -> None:
    path = place.folder / NAME
    path.parent.mkdir(parents=True)
    head, shown = CAST.index(b"\n") + 1, CAST.index(b"]\n") + 2
    for length in range(0, len(CAST), 7):
        path.write_bytes(CAST[:length])
        done = shell("replay", NAME, "--recordings", str(place.folder))
        if length < head:
            assert (done.code, done.out) == (1, ""), length
            assert "not a recording that can be read" in done.err
        else:
            assert (done.code, done.out) == (0, "seen\n" if length >= shown else ""), length
            whole = length in (head, shown)
            assert ("cut off" in done.err) is not whole, length


# Pruning and verification


def old(place: FolderRecordings, name: str, days: float = 100) -> None:
    then = time.time() - days * 86400
    os.utime(place.folder / name, (then, then))


def prune(shell: Shell, options: list[str], tmp_path: Path) -> str:
    done = shell("audit", "prune", *options, "--older-than", "90d", "--signing-key", str(tmp_path / "k.key"))
    assert done.code == 0, done.err
    return done.out


def test_pruned_with_the_records_and_told_afterwards(
    shell: Shell, bench: Bench, place: FolderRecordings, tmp_path: Path
) -> None:
    load_signer(tmp_path / "k.key")
    options = arguments(bench, place)
    for name, run, days in ((NAME, "run-1", 1), (OTHER, "held", 100), ("2026/01/31/a-3.cast", "run-1", 0)):
        stream(bench, place, name, run=run, content=CAST, at=time.time() - days * 86400)
    old(place, NAME)
    old(place, OTHER)
    assert shell("audit", "hold", "held", "--store", bench.address).code == 0
    said = prune(shell, options, tmp_path)
    assert "pruned: 1 recordings; 1 under legal hold were kept" in said
    done = shell("replay", NAME, *options)
    assert done.code == 1
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert f"it was removed by retention on {today} (older than 90 days)" in done.err
    assert shell("replay", OTHER, *options).code == 0
    done = shell("audit", "verify", bench.address, *options[2:])
    assert done.code == 0, done.err
    assert "recordings: 2 as they were sealed, 1 removed by retention" in done.out
    told = shell("sessions", "replay", "run-1", *options, "--speed", "0")
    assert told.code == 0
    assert "removed by retention" in told.err
    assert told.out.count("seen") == 1


def test_nothing_is_removed_that_was_not_named(
    shell: Shell, bench: Bench, place: FolderRecordings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is for those who look at recordings."""
    load_signer(tmp_path / "k.key")
    stream(bench, place, NAME, content=CAST)
    old(place, NAME)
    monkeypatch.setenv("CHAPERONE_RECORDINGS", str(place.folder))
    assert "recordings" not in prune(shell, ["--store", bench.address], tmp_path)
    assert (place.folder / NAME).exists()


def test_what_somebody_did_to_recordings_is_found(
    shell: Shell, bench: Bench, place: FolderRecordings
) -> None:
    names = [f"2026/01/31/a-{number}.cast" for number in range(5)]
    for name in names:
        stream(bench, place, name, content=CAST)
    (place.folder / names[0]).unlink()
    (place.folder / names[1]).write_bytes(CAST + b'[9,"o","added"]\n')
    (place.folder / names[2]).unlink()
    (place.folder / names[2]).symlink_to(place.folder / names[3])
    (place.folder / "2026/01/31/b-1.cast").write_bytes(CAST)
    done = shell("audit", "verify", bench.address, "--recordings", str(place.folder), "--json")
    assert done.code == 1
    assert "recordings were tampered with: Missing: recording 2026/01/31/a-0.cast" in done.err
    found = json.loads(done.out)
    assert found["good"], "the chains themselves are"
    assert not found["recordings"]["good"]
    assert found["recordings"]["counts"] == {
        "Sealed": 2,
        "Missing": 1,
        "Changed": 1,
        "Unreadable": 1,
        "Unrecorded": 1,
    }
    assert "a-1.cast" in shell("audit", "verify", bench.address, "--recordings", str(place.folder)).out


def test_an_export_holds_recordings_to_their_seals_as_well(
    shell: Shell, kept: list[str], bench: Bench, place: FolderRecordings, tmp_path: Path
) -> None:
    export = tmp_path / "export.jsonl"
    assert shell("audit", "export", "--store", bench.address, "-o", str(export)).code == 0
    for source in (export, tmp_path):
        done = shell("audit", "verify", str(source), "--recordings", str(place.folder))
        assert done.code == 0, done.err
        assert "recordings: 1 as they were sealed" in done.out
    (place.folder / NAME).unlink()
    assert shell("audit", "verify", str(export), "--recordings", str(place.folder)).code == 1


def test_a_place_that_is_gone_is_no_tampering(
    shell: Shell, kept: list[str], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperone.store.recording_check.open_recordings", lambda _address: gone())
    done = shell("audit", "verify", bench.address, "--recordings", "s3://bucket")
    assert done.code == 1
    assert "cannot be listed" in done.err
    assert "tampered" not in done.err
