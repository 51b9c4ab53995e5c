"""Recordings in a folder: private, whole or marked as part, repaired after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.recording.folder import PART, Cut, FolderSink, FolderWriter, cut_record, repaired

NAME = "2026/11/23/a-1.cast"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def sink(tmp_path: Path) -> FolderSink:
    return FolderSink(tmp_path / "recordings")


@pytest.fixture
def abandoned(sink: FolderSink) -> Iterator[FolderWriter]:
    """Open, as after a kill: nobody holds its lock any more."""
    writer = sink.open(NAME, {})
    assert isinstance(writer, FolderWriter)
    writer.append(b"head\none\n")
    os.close(writer._file)
    writer._file = os.open(writer._part, os.O_WRONLY | os.O_APPEND)
    yield writer
    os.close(writer._file)


def test_a_recording_is_a_part_until_it_is_sealed(sink: FolderSink) -> None:
    writer = sink.open(NAME, {})
    path = sink.folder / NAME
    writer.append(b"one\n")
    writer.sync()
    assert not path.exists()
    writer.append(b"two\n")
    writer.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert names(path.parent) == ["a-1.cast"]


def test_what_never_began_leaves_nothing(sink: FolderSink) -> None:
    writer = sink.open(NAME, {})
    writer.append(b"one\n")
    writer.abort()
    assert names((sink.folder / NAME).parent) == []


def test_nothing_is_written_over(sink: FolderSink) -> None:
    writer = sink.open(NAME, {})
    with pytest.raises(OSError, match="exists"):
        sink.open(NAME, {})
    writer.close()
    with pytest.raises(FileExistsError, match="already"):
        sink.open(NAME, {})


def test_what_a_kill_cut_off_is_sealed_up_to_its_last_whole_line(
    sink: FolderSink, abandoned: FolderWriter
) -> None:
    abandoned.append(b"two\nthr")
    whole = b"head\none\ntwo\n"
    assert list(repaired(sink.folder)) == [
        Cut(NAME, "a-1", len(whole), hashlib.sha256(whole).hexdigest(), {})
    ]
    assert (sink.folder / NAME).read_bytes() == whole
    assert list(repaired(sink.folder)) == []


def test_the_record_of_a_cut_says_whose_stream_it_was(sink: FolderSink, abandoned: FolderWriter) -> None:
    about = {"kind": "exec", "namespace": "dev", "pod": "web", "user": "repo:acme/app", "run": "run-7"}
    os.ftruncate(abandoned._file, 0)
    abandoned.append(
        json.dumps({"version": 2, "width": 80, "height": 24, "chaperone": about}).encode() + b"\n[1,"
    )
    (found,) = repaired(sink.folder)
    written = cut_record(found, 1_800_000_000.0)
    assert (written["stage"], written["auditID"], written["run"]) == ("Panic", "a-1", "run-7")
    assert written["user"]["username"] == "repo:acme/app"
    assert written["objectRef"]["name"] == "web"
    assert written["recording"] == {
        "name": NAME,
        "bytes": found.length,
        "sha256": hashlib.sha256((sink.folder / NAME).read_bytes()).hexdigest(),
        "state": "cut",
    }
    assert "cut off" in written["reason"]


def test_a_long_line_that_was_cut_off_is_found(sink: FolderSink, abandoned: FolderWriter) -> None:
    abandoned.append(b"x" * 3_000_000)
    (found,) = repaired(sink.folder)
    assert found.length == len(b"head\none\n")


def test_what_is_still_being_written_is_left_alone(sink: FolderSink) -> None:
    writer = sink.open(NAME, {})
    writer.append(b"head\n")
    assert list(repaired(sink.folder)) == []
    writer.close()
    assert (sink.folder / NAME).read_bytes() == b"head\n"


def test_what_has_no_whole_line_is_removed(sink: FolderSink, abandoned: FolderWriter) -> None:
    os.ftruncate(abandoned._file, 3)
    assert list(repaired(sink.folder)) == []
    assert names((sink.folder / NAME).parent) == []


def test_what_cannot_be_repaired_stays(sink: FolderSink, abandoned: FolderWriter) -> None:
    """A folder in the way of the sealed name."""
    blocked = sink.folder / NAME
    blocked.mkdir()
    (blocked / "x").touch()
    assert list(repaired(sink.folder)) == []
    assert blocked.with_name(blocked.name + PART).exists()


def test_a_folder_that_is_not_there_has_nothing_to_repair(tmp_path: Path) -> None:
    assert list(repaired(tmp_path / "none")) == []


def test_a_full_disk_is_an_error() -> None:
    file = os.open("/dev/full", os.O_WRONLY)
    writer = FolderWriter.__new__(FolderWriter)
    writer._file = file
    with pytest.raises(OSError, match="No space left"):
        writer.append(b"x\n")
    os.close(file)
