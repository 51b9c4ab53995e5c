"""Recordings at rest: in a folder, and in a bucket of a real S3 protocol server on loopback, behind one interface."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest

from chaperone.core.recording.naming import day_of
from chaperone.store import recording_objects
from chaperone.store.interface import StoreMismatchError
from chaperone.store.recording_folder import FolderRecordings, FolderWriter
from chaperone.store.recording_objects import ABANDONED, ObjectRecordings, first_line
from chaperone.store.recording_store import Recordings, lines_of
from chaperone.store.recordings import open_recordings
from hack.s3_server import new_bucket, s3_server
from tests.store.recording_places import META, bucket_recordings, gone, read, write

DAY = "2026/11/23"
NAME = f"{DAY}/a-1.cast"
OTHER = f"{DAY}/a-2.jsonl"
ABOUT = {"kind": "exec", "namespace": "dev", "pod": "web", "user": "repo:acme/app", "run": "run-7"}
HEADER = json.dumps({"version": 2, "width": 80, "height": 24, "chaperone": ABOUT}).encode() + b"\n"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def bucket(s3: str) -> ObjectRecordings:
    place = bucket_recordings(s3, new_bucket(s3))
    assert isinstance(place, ObjectRecordings)
    return place


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Recordings:
    if request.param == "folder":
        return open_recordings(str(tmp_path / "recordings"))
    found: Recordings = request.getfixturevalue("bucket")
    return found


def names(place: Recordings, day: str = DAY) -> list[str]:
    return [found.name.text for found in place.sealed(day)]


def abandon(place: Recordings, name: str, *pieces: bytes) -> None:
    """Written, and then its process ended."""
    writer = place.open(name, META)
    for piece in pieces:
        writer.append(piece)
        writer.sync()
    if isinstance(writer, FolderWriter):
        os.close(writer._file)


def test_what_was_written_is_read_back(place: Recordings) -> None:
    before = time.time()
    write(place, NAME, b"one\n", b"two\n")
    found = place.stored(NAME)
    assert (found.size, found.is_sealed) == (8, True)
    assert b"".join(found.chunks) == b"one\ntwo\n"
    (listed,) = place.sealed(DAY)
    assert (listed.name.text, listed.size) == (NAME, 8)
    assert before - 5 < listed.modified < time.time() + 5
    assert list(place.days()) == [DAY]
    assert names(place, "2027/01/01") == []


def test_a_recording_under_way_can_be_followed_and_is_not_listed(place: Recordings) -> None:
    writer = place.open(NAME, META)
    writer.append(b"one\n")
    writer.sync()
    found = place.stored(NAME)
    assert (found.size, found.is_sealed) == (4, False)
    writer.append(b"two\n")
    assert b"".join(found.chunks) == b"one\n"
    assert names(place) == []
    writer.sync()
    writer.sync()
    assert read(place, NAME) == b"one\ntwo\n"
    writer.close()
    assert read(place, NAME) == b"one\ntwo\n"
    assert names(place) == [NAME]


def test_what_is_not_there_is_not_there(place: Recordings) -> None:
    with pytest.raises(FileNotFoundError, match="there is no recording"):
        place.stored(NAME)
    assert list(place.days()) == []
    assert list(place.cut_off(time.time())) == []
    place.remove([NAME])


def test_a_recording_is_never_written_over(place: Recordings) -> None:
    write(place, NAME, b"first\n")
    with pytest.raises(FileExistsError):
        place.open(NAME, META)
    assert read(place, NAME) == b"first\n"


def test_nothing_is_left_of_one_that_was_given_up(place: Recordings) -> None:
    writer = place.open(NAME, META)
    writer.append(b"one\n")
    writer.sync()
    writer.abort()
    with pytest.raises(FileNotFoundError):
        place.stored(NAME)


def test_a_long_recording_comes_and_goes_in_pieces(place: Recordings) -> None:
    block = bytes(range(256)) * 4096
    write(place, NAME, *[block] * 20)
    found, digest, longest = place.stored(NAME), hashlib.sha256(), 0
    for chunk in found.chunks:
        digest.update(chunk)
        longest = max(longest, len(chunk))
    assert digest.digest() == hashlib.sha256(block * 20).digest()
    assert longest < found.size / 2


def test_removed_is_removed_and_nothing_else(place: Recordings) -> None:
    for name in (NAME, OTHER, "2026/11/24/a-3.cast"):
        write(place, name, b"one\n")
    place.remove([NAME, f"{DAY}/a-9.cast", "2026/11/24/a-3.cast"])
    assert names(place) == [OTHER]
    assert list(place.days()) == [DAY]
    write(place, "2026/11/24/a-4.cast", b"again\n")
    assert list(place.days()) == [DAY, "2026/11/24"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", f"{DAY}/../../../x.cast", f"{DAY}/a-1.cast.part", "", "/x.cast", "x\0.cast"]
)
def test_a_name_never_leads_anywhere_else(place: Recordings, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no recording is called"):
        place.stored(name)
    with pytest.raises(FileNotFoundError, match="no recording is called"):
        place.open(name, META)
    with pytest.raises(FileNotFoundError, match="no recording is called"):
        place.remove([name])
    assert list(place.sealed("../..")) == []


def test_what_the_end_of_a_gateway_cut_off_is_sealed_with_its_run(place: Recordings) -> None:
    abandon(place, NAME, HEADER, b"[0.1,", b'"o","x"]\n[0.2,"o"')
    abandon(place, OTHER, b"no whole line")
    whole = HEADER + b'[0.1,"o","x"]\n'
    (found,) = place.cut_off(time.time() + ABANDONED + 60)
    assert (found.name, found.audit_id, found.length) == (NAME, "a-1", len(whole))
    assert found.sha256 == hashlib.sha256(whole).hexdigest()
    assert found.about == ABOUT
    assert read(place, NAME) == whole
    assert list(place.cut_off(time.time() + 3 * ABANDONED)) == []
    with pytest.raises(FileNotFoundError):
        place.stored(OTHER)


def test_a_long_recording_that_was_cut_off_is_whole_again(place: Recordings) -> None:
    line = b"x" * 999_999 + b"\n"
    abandon(place, NAME, HEADER, *[line] * 10, b"half")
    (found,) = place.cut_off(time.time() + ABANDONED + 60)
    assert found.length == len(HEADER) + 10 * len(line)
    assert hashlib.sha256(read(place, NAME)).hexdigest() == found.sha256


def test_what_is_still_being_written_is_left_alone(place: Recordings) -> None:
    writer = place.open(NAME, META)
    writer.append(HEADER)
    writer.sync()
    assert list(place.cut_off(time.time())) == []
    writer.close()
    assert read(place, NAME) == HEADER


def test_later_looks_are_for_what_began_lately(place: Recordings) -> None:
    now = time.time() + ABANDONED + 60
    lately, before = f"{day_of(now)}/a-3.cast", "2001/01/01/a-4.cast"
    assert list(place.cut_off(now)) == []
    abandon(place, lately, HEADER)
    abandon(place, before, HEADER)
    assert [cut.name for cut in place.cut_off(now)] == [lately]
    vars(place)["_looked"] = False  # as another gateway would
    assert [cut.name for cut in place.cut_off(now)] == [before]


def test_strangers_in_the_place_are_passed_over(place: Recordings) -> None:
    write(place, NAME, b"one\n")
    strangers = (f"{DAY}/notes.txt", f"{DAY}/B.cast", "readme", "2026/99/01/a-1.cast", f"{DAY}/x.part/1")
    for name in strangers:
        if isinstance(place, FolderRecordings):
            path = place.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine\n")
        else:
            assert isinstance(place, ObjectRecordings)
            obstore.put(place._store, name, b"mine\n")
    assert list(place.days()) == [DAY]
    assert names(place) == [NAME]
    assert list(place.cut_off(time.time() + 3 * ABANDONED)) == []


# In a bucket


def test_pieces_that_outlived_their_sealing_do_not_replace_it(bucket: ObjectRecordings) -> None:
    """The end came between sealing and tidying up. Until then it counts as unfinished: nobody may remove it."""
    write(bucket, NAME, b"one\n", seal=False)
    other = bucket.open(NAME, META)
    other.append(b"sealed\n")
    other.close()
    assert names(bucket) == []
    assert list(bucket.cut_off(time.time() + 2 * ABANDONED)) == []
    assert read(bucket, NAME) == b"sealed\n"
    assert names(bucket) == [NAME]


@pytest.mark.parametrize("size", [7, recording_objects.UPLOAD + 7])
def test_two_that_seal_the_same_name_do_not_overwrite_each_other(bucket: ObjectRecordings, size: int) -> None:
    first, second = bucket.open(NAME, META), bucket.open(NAME, META)
    first.append(b"first\n")
    second.append(b"x" * size)
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    assert read(bucket, NAME) == b"first\n"


def test_a_mended_recording_says_whose_it_is(bucket: ObjectRecordings) -> None:
    abandon(bucket, NAME, HEADER)
    (cut,) = bucket.cut_off(time.time() + ABANDONED + 60)
    said = obstore.get(bucket._store, NAME).attributes
    assert (said["run"], said["auditid"], said["sha256"]) == ("run-7", "a-1", cut.sha256)


def test_a_store_that_is_gone_fails_at_once_and_says_so() -> None:
    away = gone()
    with pytest.raises(OSError, match=f"the recording {NAME} cannot be opened"):
        away.open(NAME, META)
    with pytest.raises(OSError, match="cannot be read") as caught:
        away.stored(NAME)
    assert "RetryError" not in "".join(traceback.format_exception(caught.value)), "it quotes the request"
    with pytest.raises(OSError, match="listed"):
        list(away.days())
    with pytest.raises(OSError, match="cannot be removed"):
        away.remove([NAME])


@pytest.mark.parametrize(
    "address", ["", "ftp://x/y", "s3://", "://x", "file://", "file://host/x", "memory:///"]
)
def test_an_address_that_is_no_place_is_refused(address: str) -> None:
    with pytest.raises(StoreMismatchError, match="place for recordings"):
        open_recordings(address)


def test_a_signature_in_an_address_is_not_told() -> None:
    fault = OSError("Error performing GET https://x.blob.example/c/a?sv=1&sig=S3CRET after 3 retries\nmore")
    assert first_line(fault) == "Error performing GET https://x.blob.example/c/a?… after 3 retries"


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    found = open_recordings(f"file://{tmp_path}/a%20b")
    assert isinstance(found, FolderRecordings)
    assert found.folder == tmp_path / "a b"


def test_ten_thousand_recordings_are_listed_in_order(tmp_path: Path) -> None:
    place = FolderRecordings(tmp_path)
    for day in ("2026/11/22", DAY):
        (tmp_path / day).mkdir(parents=True)
        for number in range(5000):
            (tmp_path / day / f"{number:05}.cast").touch()
    found = [recording.name.text for day in place.days() for recording in place.sealed(day)]
    assert len(found) == 10_000
    assert found == sorted(found)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_the_same_however_chunks_are_cut(size: int) -> None:
    data = b"a\n\nbb\r\nccc\n" + b"d" * 10
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    assert list(lines_of(chunks)) == [b"a\n", b"\n", b"bb\r\n", b"ccc\n", b"d" * 10]
