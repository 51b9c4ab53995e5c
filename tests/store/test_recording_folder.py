"""What only a folder of recordings can get wrong: rights, links, locks, files that change while they are read."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaperone.store.recording_folder import YOUNG, FolderRecordings, FolderWriter
from chaperone.store.recording_store import PART
from tests.store.recording_places import META, read, write

NAME = "2026/11/23/a-1.cast"


@pytest.fixture
def place(tmp_path: Path) -> FolderRecordings:
    return FolderRecordings(tmp_path / "here" / "recordings")


@pytest.fixture(params=[0o000, 0o022, 0o077])
def any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("any_umask")
def test_files_and_folders_are_private_whatever_the_umask(place: FolderRecordings) -> None:
    writer = place.open(NAME, META)
    writer.append(b"one\n")
    assert mode(place.folder / f"{NAME}{PART}") == 0o600
    writer.close()
    path = place.folder / NAME
    assert mode(path) == 0o600
    for folder in (path.parent, *list(path.parents)[1:4]):
        assert mode(folder) == 0o700, folder
    assert not place.is_open_to_others()


def test_a_folder_that_was_given_keeps_its_rights_and_those_below_are_ours(place: FolderRecordings) -> None:
    day = place.folder / "2026/11/23"
    day.mkdir(parents=True)
    for folder in (day, day.parent, place.folder):
        folder.chmod(0o755)
    write(place, NAME, b"one\n")
    assert (mode(day), mode(day.parent), mode(place.folder)) == (0o700, 0o700, 0o755)
    assert place.is_open_to_others()


def test_links_lead_nowhere(place: FolderRecordings, tmp_path: Path) -> None:
    """A recording's name that is a link, and a day that is one."""
    secret = tmp_path / "elsewhere" / "a-1.cast"
    secret.parent.mkdir()
    secret.write_bytes(b"not a recording of ours\n")
    day = place.folder / "2026/11/23"
    day.mkdir(parents=True)
    (day / "a-1.cast").symlink_to(secret)
    with pytest.raises(OSError, match="symbolic link"):
        place.stored(NAME)
    assert list(place.sealed("2026/11/23")) == []
    (place.folder / "2026/11/24").symlink_to(secret.parent)
    other = "2026/11/24/a-1.cast"
    for attempt in (place.stored, lambda name: place.open(name, META), lambda name: place.remove([name])):
        with pytest.raises(OSError, match="leads out"):
            attempt(other)
    (secret.parent / "a-2.cast.part").write_bytes(b"head\n")
    assert list(place.cut_off(time.time() + 1000)) == []
    assert files(secret.parent) == ["a-1.cast", "a-2.cast.part"]


def test_a_recording_is_a_part_until_it_is_sealed(place: FolderRecordings) -> None:
    writer = place.open(NAME, META)
    path = place.folder / NAME
    writer.append(b"one\n")
    writer.sync()
    assert files(path.parent) == ["a-1.cast.part"]
    with pytest.raises(OSError, match="exists"):
        place.open(NAME, META)
    writer.close()
    assert files(path.parent) == ["a-1.cast"]


def test_one_that_is_about_to_be_written_is_not_taken_away(place: FolderRecordings) -> None:
    """Somebody looks for what was cut off between the opening of a file and its first line."""
    path = place.folder / f"{NAME}{PART}"
    path.parent.mkdir(parents=True)
    path.touch()
    assert list(place.cut_off(time.time() + YOUNG / 2)) == []
    assert path.exists()
    assert list(place.cut_off(time.time() + YOUNG + 1)) == []
    assert not path.exists()


def test_a_file_that_ends_early_while_it_is_read_is_an_error(place: FolderRecordings) -> None:
    write(place, NAME, b"x" * 100)
    found = place.stored(NAME)
    os.truncate(place.folder / NAME, 40)
    with pytest.raises(OSError, match="60 bytes early"):
        b"".join(found.chunks)


def test_what_cannot_be_repaired_stays(place: FolderRecordings) -> None:
    """A folder in the way of the sealed name."""
    blocked = place.folder / NAME
    (blocked / "x").mkdir(parents=True)
    part = blocked.with_name(blocked.name + PART)
    part.write_bytes(b"head\n")
    assert list(place.cut_off(time.time())) == []
    assert part.exists()


def test_a_long_line_that_was_cut_off_is_found(place: FolderRecordings) -> None:
    part = place.folder / f"{NAME}{PART}"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"head\none\n" + b"x" * 3_000_000)
    (found,) = place.cut_off(time.time())
    assert found.length == len(b"head\none\n")
    assert read(place, NAME) == b"head\none\n"


def test_removing_the_last_of_a_day_removes_its_folder(place: FolderRecordings) -> None:
    write(place, NAME, b"one\n")
    write(place, "2026/10/01/a-2.cast", b"one\n")
    place.remove([NAME])
    assert files(place.folder / "2026") == ["10"]
    assert place.folder.exists()


def test_a_full_disk_is_an_error() -> None:
    file = os.open("/dev/full", os.O_WRONLY)
    writer = FolderWriter.__new__(FolderWriter)
    writer._file = file
    with pytest.raises(OSError, match="No space left"):
        writer.append(b"x\n")
    os.close(file)
