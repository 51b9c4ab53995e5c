"""Verification finds whatever was done to a chain by hand, names the first bad record, and knows a crash when it sees one."""

from __future__ import annotations

import hashlib
import itertools
import random

import pytest

from chaperone.core import chain_check
from chaperone.core.chain import (
    Checkpoint,
    Link,
    Reason,
    Sealed,
    checkpoint_line,
    checkpoint_payload,
    keep,
    origin,
    seal,
)
from chaperone.core.chain_check import ChainCheck, Kind, Trust, Verification

NOW = 1_769_850_000.0
KEY = "ed25519:test"


def sign(payload: bytes) -> bytes:
    """Stands for Ed25519: 64 bytes that only the payload gives."""
    return hashlib.sha512(b"secret" + payload).digest()


def check_signature(checkpoint: Checkpoint) -> Trust:
    if checkpoint.key != KEY:
        return Trust.UNKNOWN_KEY
    return Trust.GOOD if sign(checkpoint.payload) == checkpoint.signature else Trust.BAD


def chain(count: int, writer: str = "gw-0", *, seconds: tuple[int, ...] = ()) -> list[Sealed]:
    link, found = origin(writer), []
    for number in range(count):
        second = seconds[number] if seconds else number % 60
        line = f'{{"auditID":"a-{number}","stageTimestamp":"2026-01-31T09:00:{second:02}.000000Z"}}'
        found.append(seal(link, line.encode()))
        link = found[-1].link
    return found


def signed(
    link: Link, reason: Reason = Reason.INTERVAL, key: str = KEY, kept: tuple[Link, ...] = ()
) -> bytes:
    payload = checkpoint_payload(link, NOW, reason, key, keep(kept))
    return checkpoint_line(payload, sign(payload))


def lines_of(records: list[Sealed]) -> list[bytes]:
    return [record.line for record in records]


def verify(
    lines: list[bytes], *, excerpt: bool = False, cut: bool = False, kept: tuple[bytes, ...] = ()
) -> Verification:
    check = ChainCheck(check_signature, excerpt=excerpt)
    for line in kept:
        check.expect(line, "kept")
    for number, line in enumerate(lines, 1):
        check.line(line, f"line {number}", cut=cut and number == len(lines))
    return check.result()


def found(verification: Verification) -> list[tuple[Kind, int]]:
    return [(finding.kind, finding.sequence) for finding in verification.findings]


def test_an_untouched_chain_is_good() -> None:
    records = chain(10)
    result = verify([*lines_of(records), signed(records[-1].link, Reason.CLOSE)])
    assert result.is_good
    assert result.findings == ()
    (summary,) = result.chains
    assert (summary.first, summary.last, summary.records, summary.signed, summary.closed) == (
        1,
        10,
        10,
        10,
        True,
    )
    assert summary.unsigned == 0


def test_a_chain_that_was_closed_and_went_on_is_open() -> None:
    records = chain(4)
    ended = [*lines_of(records[:3]), signed(records[2].link, Reason.CLOSE)]
    assert verify([*ended, signed(records[2].link)]).chains[0].closed
    assert not verify([*ended, records[3].line]).chains[0].closed


def test_nothing_is_good_and_says_so() -> None:
    assert verify([]).is_good
    assert verify([b""]).chains == ()


def test_chains_of_several_writers_may_be_mixed() -> None:
    first, second = chain(5, "gw-0"), chain(5, "gw-1")
    mixed = [line for pair in zip(lines_of(first), lines_of(second), strict=True) for line in pair]
    result = verify(mixed)
    assert result.is_good
    assert [(summary.writer, summary.records) for summary in result.chains] == [("gw-0", 5), ("gw-1", 5)]


# By hand


@pytest.mark.parametrize("at", range(10))
def test_an_edited_record_is_named(at: int) -> None:
    lines = lines_of(chain(10))
    lines[at] = lines[at].replace(b'"a-', b'"b-')
    result = verify(lines)
    assert found(result) == [(Kind.EDITED, at + 1)]
    assert result.faults[0].where == f"line {at + 1}"


@pytest.mark.parametrize("at", range(9))
def test_a_record_whose_hash_was_made_to_fit_does_not_fit_the_next(at: int) -> None:
    records = chain(10)
    lines = lines_of(records)
    before = records[at - 1].link if at else origin("gw-0")
    lines[at] = seal(before, b'{"auditID":"forged"}').line
    assert found(verify(lines)) == [(Kind.REPLACED, at + 2)]


def test_a_tail_that_was_rewritten_whole_contradicts_the_checkpoint() -> None:
    records = chain(10)
    link, lines = records[4].link, lines_of(records[:5])
    for _ in range(5):
        forged = seal(link, b'{"auditID":"forged"}')
        lines.append(forged.line)
        link = forged.link
    assert found(verify([*lines, signed(records[-1].link)])) == [(Kind.CHECKPOINT, 10)]
    assert found(verify(lines, kept=(signed(records[7].link),))) == [(Kind.CHECKPOINT, 8)]


@pytest.mark.parametrize("at", range(9))
def test_a_removed_record_is_named(at: int) -> None:
    lines = lines_of(chain(10))
    del lines[at]
    assert found(verify(lines)) == [(Kind.MISSING, at + 1)]


def test_several_removed_records_are_one_finding() -> None:
    lines = lines_of(chain(10))
    result = verify(lines[:3] + lines[6:])
    assert found(result) == [(Kind.MISSING, 4)]
    assert "records 4 to 6" in result.faults[0].text


@pytest.mark.parametrize("at", range(1, 9))
def test_two_records_that_changed_places_are_found(at: int) -> None:
    lines = lines_of(chain(10))
    lines[at - 1], lines[at] = lines[at], lines[at - 1]
    result = verify(lines)
    assert not result.is_good
    assert (Kind.REORDERED, at) in found(result)
    assert result.faults[0].sequence == at


def test_records_appended_by_hand_are_found() -> None:
    lines = lines_of(chain(3))
    made_up = seal(Link("gw-0", 3, b"\0" * 32), b'{"auditID":"forged"}').line
    assert found(verify([*lines, made_up])) == [(Kind.REPLACED, 4)]
    plain = verify([*lines, b'{"auditID":"forged"}'])
    assert found(plain) == [(Kind.NO_RECORD, 0)]
    assert plain.faults[0].where == "line 4"
    second = seal(chain(2)[-1].link, b'{"auditID":"forged"}').line
    assert found(verify([*lines, second])) == [(Kind.FORGED, 3)]


def test_an_edited_record_behind_the_end_is_no_delivery() -> None:
    lines = lines_of(chain(3))
    again = lines[1].replace(b'"a-', b'"b-')
    assert found(verify([*lines, again])) == [(Kind.EDITED, 2), (Kind.FORGED, 2)]


def test_a_tail_cut_off_before_its_checkpoint_is_found() -> None:
    records = chain(10)
    result = verify([*lines_of(records[:6]), signed(records[-1].link, Reason.CLOSE)])
    assert found(result) == [(Kind.TRUNCATED, 7)]
    assert result.chains[0].last == 10


def test_a_tail_cut_off_with_its_checkpoint_is_found_by_one_kept_elsewhere() -> None:
    records = chain(10)
    result = verify(lines_of(records[:6]), kept=(signed(records[-1].link), signed(records[4].link)))
    assert found(result) == [(Kind.TRUNCATED, 7)]
    assert result.chains[0].signed == 5
    assert verify(lines_of(records), kept=(signed(records[-1].link),)).is_good


def test_a_record_that_is_gone_is_named_once() -> None:
    records = chain(10)
    lines = lines_of(records[:4] + records[5:])
    assert found(verify(lines, kept=(signed(records[4].link),))) == [(Kind.MISSING, 5)]


def test_a_chain_that_is_gone_is_found_by_a_checkpoint_kept_elsewhere() -> None:
    assert found(verify([], kept=(signed(chain(3)[-1].link),))) == [(Kind.TRUNCATED, 1)]


def test_what_no_signature_covers_is_counted() -> None:
    records = chain(10)
    result = verify([*lines_of(records[:6]), signed(records[5].link), *lines_of(records[6:])])
    assert result.is_good
    assert result.chains[0].unsigned == 4
    assert not result.chains[0].closed


@pytest.mark.parametrize("change", [(b'"sequence":3', b'"sequence":2'), (b'"Interval"', b'"Close"')])
def test_an_edited_checkpoint_is_found(change: tuple[bytes, bytes]) -> None:
    records = chain(3)
    line = signed(records[-1].link).replace(*change)
    assert [kind for kind, _ in found(verify([*lines_of(records), line]))] == [Kind.SIGNATURE]


def test_a_checkpoint_of_a_stranger_is_no_proof() -> None:
    records = chain(3)
    stranger = signed(records[-1].link, key="ed25519:other")
    result = verify([*lines_of(records), stranger])
    assert found(result) == [(Kind.KEY, 3)]
    assert result.chains[0].signed == 0
    assert found(verify(lines_of(records), kept=(stranger,)))[0][0] is Kind.KEY
    assert found(verify(lines_of(records), kept=(b"rubbish",)))[0][0] is Kind.NO_RECORD


def test_a_late_checkpoint_covers_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    records = chain(10)
    result = verify([*lines_of(records), signed(records[4].link)])
    assert result.chains[0].signed == 5
    monkeypatch.setattr(chain_check, "REMEMBERED", 3)
    assert verify([*lines_of(records), signed(records[4].link)]).chains[0].signed == 0


def test_columns_that_lie_are_the_callers_to_report() -> None:
    check = ChainCheck(check_signature)
    (record,) = chain(1)
    check.found(Kind.COLUMNS, record.link, "here", "they lie")
    assert found(check.result()) == [(Kind.COLUMNS, 1)]


def test_findings_are_bounded_and_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain_check, "MOST_FINDINGS", 5)
    result = verify([b"rubbish"] * 20)
    assert len(result.findings) == 5
    assert result.counts == {Kind.NO_RECORD: 20}


def test_any_one_change_to_a_signed_file_is_found() -> None:
    """Drop, swap, double, or change a byte of any line: only the exact delivery twice is not a fault."""
    records = chain(12)
    whole = [*lines_of(records), signed(records[-1].link, Reason.CLOSE)]
    chosen = random.Random(7)
    for at in range(12):
        byte = chosen.randrange(len(whole[at]))
        edited = whole[at][:byte] + bytes([whole[at][byte] ^ 1]) + whole[at][byte + 1 :]
        assert not verify([*whole[:at], edited, *whole[at + 1 :]]).is_good
        assert not verify(whole[:at] + whole[at + 1 :]).is_good
        assert verify([*whole[: at + 1], whole[at], *whole[at + 1 :]]).is_good
    for first, second in itertools.combinations(range(12), 2):
        swapped = list(whole)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        assert not verify(swapped).is_good


# Not by hand


def test_a_half_written_last_line_is_a_crash() -> None:
    lines = lines_of(chain(4))
    result = verify([*lines[:3], lines[3][:40]], cut=True)
    assert result.is_good
    assert found(result) == [(Kind.HALF_WRITTEN, 0)]
    assert not verify([*lines[:2], lines[2][:40], lines[3]]).is_good


def test_a_record_that_was_delivered_twice_is_noted() -> None:
    lines = lines_of(chain(4))
    result = verify([*lines[:3], lines[1], lines[2], lines[3]])
    assert result.is_good
    assert found(result) == [(Kind.TWICE, 2), (Kind.TWICE, 3)]
    assert result.chains[0].records == 4


def test_a_clock_that_goes_back_is_noted() -> None:
    result = verify(lines_of(chain(4, seconds=(1, 5, 2, 6))))
    assert result.is_good
    assert found(result) == [(Kind.CLOCK, 3)]
    assert "from 2026-01-31T09:00:05 to 2026-01-31T09:00:02" in result.findings[0].text


def test_a_record_without_a_time_has_no_clock() -> None:
    first = seal(origin("gw-0"), b'{"auditID":"a"}')
    assert verify([first.line, seal(first.link, b'{"auditID":"b"}').line]).findings == ()


def test_an_excerpt_may_begin_late() -> None:
    records = chain(10)
    late = lines_of(records[4:])
    assert found(verify(late)) == [(Kind.MISSING, 1)]
    result = verify(late, excerpt=True)
    assert result.is_good
    assert found(result) == [(Kind.LATER, 5)]
    assert not verify([late[0], *late[2:]], excerpt=True).is_good
    headed = verify([signed(records[3].link, Reason.ROTATE), *late], excerpt=True)
    assert headed.findings == ()
    assert headed.chains[0].signed == 4


def test_a_checkpoint_at_the_head_of_a_new_file_is_one_like_any() -> None:
    records = chain(6)
    rotated = [*lines_of(records[:3]), signed(records[2].link, Reason.ROTATE), *lines_of(records[3:])]
    assert verify(rotated).is_good


# After a pruning


def pruned(records: list[Sealed], through: int, *kept: int) -> list[bytes]:
    links = tuple(records[number - 1].link for number in kept)
    anchor = signed(records[through - 1].link, Reason.PRUNE, kept=links)
    return [anchor, *(records[number - 1].line for number in kept), *lines_of(records[through:])]


def test_what_is_left_of_a_pruned_chain_is_good() -> None:
    records = chain(10)
    result = verify(pruned(records, 6))
    assert result.is_good
    (summary,) = result.chains
    assert (summary.first, summary.last, summary.records, summary.pruned) == (7, 10, 4, 6)
    assert verify(pruned(records, 10)).is_good
    assert verify(pruned(records, 6, 2, 3, 6)).chains[0].records == 7
    assert verify(pruned(records, 10, 2)).is_good


def test_a_pruned_chain_must_go_on_where_it_was_cut() -> None:
    records = chain(10)
    assert found(verify([pruned(records, 6)[0], *lines_of(records[7:])])) == [(Kind.MISSING, 7)]
    other = pruned(chain(10, seconds=(9,) * 10), 6)[0]
    assert found(verify([other, *lines_of(records[6:])])) == [(Kind.REPLACED, 7)]


def test_a_record_under_legal_hold_that_is_gone_is_named() -> None:
    records = chain(10)
    lines = pruned(records, 6, 2, 3, 5)
    assert found(verify([line for line in lines if line != records[2].line])) == [(Kind.MISSING, 3)]
    assert found(verify([line for line in lines if line != records[4].line])) == [(Kind.MISSING, 5)]
    assert found(verify(pruned(chain(3), 3, 1)[:1])) == [(Kind.MISSING, 1)]


def test_a_record_under_legal_hold_that_was_changed_is_found() -> None:
    records = chain(10)
    lines = pruned(records, 6, 2, 3)
    edited = [line.replace(b'"a-1"', b'"b-1"') for line in lines]
    assert found(verify(edited)) == [(Kind.EDITED, 2)]
    forged = seal(records[0].link, b'{"auditID":"forged"}').line
    assert found(verify([forged if line == records[1].line else line for line in lines])) == [
        (Kind.REPLACED, 2)
    ]


def test_a_record_that_a_pruning_did_not_keep_is_forged() -> None:
    records = chain(10)
    lines = pruned(records, 6, 2)
    assert found(verify([*lines[:2], records[3].line, *lines[2:]])) == [(Kind.FORGED, 4)]
    assert found(verify([lines[0], records[0].line, *lines[1:]])) == [(Kind.FORGED, 1)]


def test_a_pruning_that_comes_behind_its_records_is_a_checkpoint() -> None:
    records = chain(10)
    result = verify([*lines_of(records), pruned(records, 6)[0]])
    assert result.is_good
    assert result.chains[0].signed == 6
