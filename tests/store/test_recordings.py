"""Recordings in an object store: a real S3 protocol server on loopback, and a folder behind the same interface."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from chaperone.store import recordings
from chaperone.store.interface import StoreMismatchError
from chaperone.store.recordings import ObjectRecordings, open_recordings
from hack.s3_server import s3_server

NAME = "2026/11/23/a-1.cast"
META = {"auditID": "a-1", "run": "run-1", "user": "ä", "kind": "exec"}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["s3", "file"])
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectRecordings:
    if request.param == "file":
        return open_recordings(f"file://{tmp_path}")
    return _bucket(request.getfixturevalue("s3"), f"b{time.time_ns()}")


def _bucket(endpoint: str, name: str) -> ObjectRecordings:
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=10).close()
    return open_recordings(
        f"s3://{name}/recordings",
        config={
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "test",
        },
        client_options={"allow_http": True},
        retry_config={"max_retries": 1, "retry_timeout": _seconds(2)},
    )


def _seconds(count: int) -> timedelta:
    return timedelta(seconds=count)


def write(sink: ObjectRecordings, name: str, *pieces: bytes, seal: bool = True) -> None:
    writer = sink.open(name, META)
    for piece in pieces:
        writer.append(piece)
        writer.sync()
    if seal:
        writer.close()


def test_what_was_written_is_read_back(sink: ObjectRecordings) -> None:
    write(sink, NAME, b"one\n", b"two\n")
    assert sink.read(NAME, 100) == b"one\ntwo\n"
    assert [(found.name, found.size) for found in sink.sealed()] == [(NAME, 8)]
    assert [found.name for found in sink.sealed("2026/11/23")] == [NAME]
    assert list(sink.sealed("2027")) == []


def test_a_recording_under_way_can_be_followed_and_is_not_listed(sink: ObjectRecordings) -> None:
    writer = sink.open(NAME, META)
    writer.append(b"one\n")
    with pytest.raises(FileNotFoundError):
        sink.read(NAME, 100)
    writer.sync()
    writer.append(b"two\n")
    assert sink.read(NAME, 100) == b"one\n"
    assert list(sink.sealed()) == []
    writer.sync()
    writer.sync()
    assert sink.read(NAME, 100) == b"one\ntwo\n"
    writer.close()
    assert sink.read(NAME, 100) == b"one\ntwo\n"
    assert [found.name for found in sink.sealed()] == [NAME]


def test_a_recording_is_never_written_over(sink: ObjectRecordings) -> None:
    first, second = sink.open(NAME, META), sink.open(NAME, META)
    first.append(b"first\n")
    second.append(b"second\n")
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    with pytest.raises(FileExistsError):
        sink.open(NAME, META)
    assert sink.read(NAME, 100) == b"first\n"


def test_nothing_is_left_of_one_that_was_given_up(sink: ObjectRecordings) -> None:
    writer = sink.open(NAME, META)
    writer.append(b"one\n")
    writer.sync()
    writer.abort()
    with pytest.raises(FileNotFoundError):
        sink.read(NAME, 100)


def test_a_long_recording_goes_up_in_parts(sink: ObjectRecordings) -> None:
    block = bytes(range(256)) * 4096
    write(sink, NAME, *[block] * 20)
    assert hashlib.sha256(sink.read(NAME, 1 << 30)).digest() == hashlib.sha256(block * 20).digest()
    with pytest.raises(OSError, match="longer than 1000 bytes"):
        sink.read(NAME, 1000)


def test_what_the_end_of_a_gateway_cut_off_is_mended(sink: ObjectRecordings) -> None:
    write(sink, NAME, b"one\n", b"two\nthr", seal=False)
    write(sink, "2026/11/23/a-2.jsonl", b"no whole line", seal=False)
    now = time.time()
    assert list(sink.mend(now)) == [], "it may still be written"
    (mended,) = sink.mend(now + recordings.ABANDONED + 60)
    assert (mended.name, mended.size) == (NAME, 8)
    assert mended.sha256 == hashlib.sha256(b"one\ntwo\n").hexdigest()
    assert sink.read(NAME, 100) == b"one\ntwo\n"
    assert list(sink.mend(now + 2 * recordings.ABANDONED)) == []
    with pytest.raises(FileNotFoundError):
        sink.read("2026/11/23/a-2.jsonl", 100)


def test_pieces_that_outlived_their_sealing_do_not_replace_it(sink: ObjectRecordings) -> None:
    """The end came between sealing and tidying up."""
    write(sink, NAME, b"one\n", seal=False)
    other = sink.open(NAME, META)
    other.append(b"sealed\n")
    other.close()
    assert list(sink.mend(time.time() + 2 * recordings.ABANDONED)) == []
    assert sink.read(NAME, 100) == b"sealed\n"


def test_a_store_that_is_gone_fails_at_once_and_says_so(s3: str) -> None:
    gone = _gone()
    with pytest.raises(OSError, match=f"the recording {NAME} cannot be opened"):
        gone.open(NAME, META)
    with pytest.raises(OSError, match="listed"):
        list(gone.sealed())


def _gone() -> ObjectRecordings:
    return open_recordings(
        "s3://bucket",
        config={
            "endpoint": "http://127.0.0.1:1",
            "region": "us-east-1",
            "access_key_id": "a",
            "secret_access_key": "b",
        },
        client_options={"allow_http": True, "connect_timeout": _seconds(1)},
        retry_config={"max_retries": 0, "retry_timeout": _seconds(1)},
    )


@pytest.mark.parametrize("address", ["/var/recordings", "ftp://x/y", "s3://", "://x"])
def test_an_address_that_is_no_object_store_is_refused(address: str) -> None:
    with pytest.raises(StoreMismatchError):
        open_recordings(address)
