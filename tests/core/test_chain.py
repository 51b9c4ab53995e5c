"""The chain's bytes: what is sealed, what a line claims to be, and what is signed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.chain import (
    MAX_SEQUENCE,
    NOTHING_KEPT,
    Kept,
    Link,
    Reason,
    checkpoint_line,
    checkpoint_payload,
    keep,
    origin,
    read_checkpoint,
    read_sealed,
    seal,
)

SIGNATURE = bytes(range(64))
NOW = 1_769_850_000.0


def test_a_sealed_record_is_the_record_with_its_place() -> None:
    first = seal(origin("gw-0"), b'{"auditID":"a"}')
    second = seal(first.link, b'{"auditID":"b"}')
    read = json.loads(second.line)
    assert read["auditID"] == "b"
    assert read["chain"] == {
        "writer": "gw-0",
        "sequence": 2,
        "previous": first.link.hash.hex(),
        "hash": second.link.hash.hex(),
    }


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40), min_size=1, max_size=4))
def test_what_was_sealed_is_read_back_and_intact(record: dict[str, str]) -> None:
    sealed = seal(origin("gw-0"), json.dumps(record).encode())
    read = read_sealed(sealed.line)
    assert read is not None
    assert (read.link, read.previous, read.line) == (sealed.link, sealed.previous, sealed.line)
    assert read.is_intact


def test_no_byte_of_a_sealed_record_can_be_changed() -> None:
    line = seal(origin("gw-0"), b'{"auditID":"a","verb":"delete"}').line
    for at in range(len(line)):
        changed = line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
        read = read_sealed(changed)
        assert read is None or not read.is_intact


def test_two_writers_begin_differently() -> None:
    assert origin("gw-0").hash != origin("gw-1").hash
    assert seal(origin("gw-0"), b'{"a":1}').link.hash != seal(origin("gw-1"), b'{"a":1}').link.hash


@pytest.mark.parametrize("name", ["", "GW", "a b", "-a", 'x"', "a" * 129, "ä"])
def test_a_writer_has_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="no name for an audit writer"):
        origin(name)


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"a":1', b"null"])
def test_only_objects_are_sealed(line: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be put into a chain"):
        seal(origin("gw-0"), line)


def test_a_chain_has_an_end() -> None:
    with pytest.raises(ValueError, match="cannot be put into a chain"):
        seal(Link("gw-0", MAX_SEQUENCE - 1, b"\0" * 32), b'{"a":1}')


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"a":1}',
        seal(origin("gw-0"), b'{"a":1}').line + b" ",
        seal(origin("gw-0"), b'{"a":1}').line[:-1],
        seal(origin("gw-0"), b'{"a":1}').line.replace(b'"sequence":1', b'"sequence":01'),
        seal(origin("gw-0"), b'{"a":1}').line.replace(b"gw-0", b"GW-0"),
    ],
)
def test_what_is_not_sealed_is_not_read(line: bytes) -> None:
    assert read_sealed(line) is None


def test_a_place_inside_the_record_is_not_its_place() -> None:
    """What an agent writes may look like the end of a record; only the end counts."""
    inner = seal(origin("gw-9"), b'{"a":1}').line
    sealed = seal(origin("gw-0"), json.dumps({"userAgent": inner.decode()}).encode())
    read = read_sealed(sealed.line)
    assert read is not None
    assert read.link.writer == "gw-0"


# Checkpoints


def checkpoint(reason: Reason = Reason.INTERVAL, kept: Kept = NOTHING_KEPT) -> bytes:
    link = Link("gw-0", 7, b"\x11" * 32)
    return checkpoint_line(checkpoint_payload(link, NOW, reason, "ed25519:ab", kept), SIGNATURE)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_checkpoint_is_read_back(reason: Reason) -> None:
    line = checkpoint(reason)
    assert json.loads(line)["kind"] == "AuditCheckpoint"
    read = read_checkpoint(line)
    assert read is not None
    assert (read.link, read.reason, read.key) == (Link("gw-0", 7, b"\x11" * 32), reason, "ed25519:ab")
    assert (read.time, read.signature) == ("2026-01-31T09:00:00.000000Z", SIGNATURE)
    assert line.startswith(read.payload)
    assert read_sealed(line) is None


@pytest.mark.parametrize(
    ("sequences", "written"),
    [((), ""), ((1,), "1"), ((1, 2, 3), "1-3"), ((1, 3, 4, 9), "1,3-4,9")],
)
def test_what_a_pruning_kept_is_signed_too(sequences: tuple[int, ...], written: str) -> None:
    links = [Link("gw-0", number, bytes([number]) * 32) for number in sequences]
    line = checkpoint(Reason.PRUNE, keep(links))
    assert json.loads(line)["kept"]["sequences"] == written
    read = read_checkpoint(line)
    assert read is not None
    assert read.kept == keep(links)


def test_what_was_kept_is_known_by_its_hashes() -> None:
    assert keep([Link("a", 1, b"\1" * 32)]).digest != keep([Link("a", 1, b"\2" * 32)]).digest
    assert keep([]) == NOTHING_KEPT


@pytest.mark.parametrize(
    "changed",
    [
        lambda line: b"",
        lambda line: line[1:],
        lambda line: line[:-1],
        lambda line: line.replace(b'"signature":"AAE', b'"signature":"*AE'),
        lambda line: line.replace(b'"writer":"gw-0"', b'"writer":"GW 0"'),
        lambda line: line.replace(b'"writer":"gw-0"', b'"writer":12345'),
        lambda line: line.replace(b'"sequence":7', b'"sequence":"7"'),
        lambda line: line.replace(b'"sequence":7', b'"sequence":7,'),
        lambda line: line.replace(b'"hash":"11', b'"hash":"zz'),
        lambda line: line.replace(b'"Interval"', b'"Whenever"'),
        lambda line: line.replace(b'"key":', b'"cey":'),
    ],
)
def test_what_is_no_checkpoint_is_not_read(changed: object) -> None:
    assert callable(changed)
    assert read_checkpoint(changed(checkpoint())) is None


@pytest.mark.parametrize("written", [b"1-10000001", b"1-5,7-10000002", b"1-9999999999999"])
def test_a_checkpoint_that_claims_to_have_kept_endlessly_many_is_none(written: bytes) -> None:
    """It is read before its signature is checked, and must not fill the memory."""
    line = checkpoint(Reason.PRUNE, keep([Link("gw-0", 1, b"\1" * 32)]))
    assert read_checkpoint(line) is not None
    assert read_checkpoint(line.replace(b'"sequences":"1"', b'"sequences":"%b"' % written)) is None
