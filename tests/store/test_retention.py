"""Pruning removes what is old and nothing else, holds are kept, and what is left verifies; by hand it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chaperone.core.chain import Reason
from chaperone.core.chain_check import Kind
from chaperone.store import retention
from chaperone.store.engine import store_url
from chaperone.store.interface import Pruned, Query, StoreUnavailableError
from chaperone.store.opening import Store
from chaperone.store.verification import verify
from tests.store.conftest import NOW, Bench, event

DAY = 86_400.0


def prune(bench: Bench, days: float) -> Pruned:
    return retention.prune(store_url(bench.address), NOW + days * DAY, bench.signer, now=NOW + 100 * DAY)


def days(bench: Bench, count: int, **fields: str) -> None:
    """One record a day."""
    for day in range(count):
        run = "held" if fields.get("every_third") and day % 3 == 0 else "run-1"
        bench.write(
            event(f"d{day}", at=NOW + day * DAY, run=run), checkpoint=Reason.INTERVAL if day % 2 else None
        )


def left(store: Store) -> list[str]:
    return [str(found.record["auditID"]) for found in store.search(Query(), limit=1000).records][::-1]


def test_old_records_go_and_the_rest_verifies(bench: Bench, store: Store) -> None:
    days(bench, 10)
    assert prune(bench, 6) == Pruned(6, 0)
    assert left(store) == ["d6", "d7", "d8", "d9"]
    result = verify(bench.address)
    assert result.verification.is_good
    assert result.verification.chains[0].pruned == 6
    assert prune(bench, 6) == Pruned(0, 0)
    assert prune(bench, 8) == Pruned(2, 0)
    assert verify(bench.address).verification.is_good


def test_a_chain_that_was_pruned_whole_goes_on(bench: Bench, store: Store) -> None:
    days(bench, 3)
    assert prune(bench, 50) == Pruned(3, 0)
    assert left(store) == []
    bench.writer.close()
    again = Bench(bench.address, signer=bench.signer)
    assert again.chain.link == bench.chain.link
    again.write(event("after"), checkpoint=Reason.CLOSE)
    again.writer.close()
    result = verify(bench.address).verification
    assert result.is_good
    assert (result.chains[0].first, result.chains[0].last) == (4, 4)


def test_a_run_under_legal_hold_is_kept_until_it_is_released(bench: Bench, store: Store) -> None:
    days(bench, 10, every_third="yes")
    store.hold("held", reason="case 7", by="legal", now=NOW)
    assert [(hold.run, hold.reason, hold.by, hold.since) for hold in store.holds()] == [
        ("held", "case 7", "legal", NOW)
    ]
    assert prune(bench, 8) == Pruned(5, 3)
    assert left(store) == ["d0", "d3", "d6", "d8", "d9"]
    assert verify(bench.address).verification.is_good
    assert store.release("held")
    assert not store.release("held")
    assert prune(bench, 8) == Pruned(3, 0)
    assert left(store) == ["d8", "d9"]
    assert verify(bench.address).verification.is_good


def test_pieces_are_small(bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PIECE", 3)
    days(bench, 10, every_third="yes")
    store.hold("held", reason="", by="", now=NOW)
    assert prune(bench, 9).removed == 6
    assert left(store) == ["d0", "d3", "d6", "d9"]
    assert verify(bench.address).verification.is_good


def test_a_clock_that_was_behind_removes_nothing_young(bench: Bench, store: Store) -> None:
    """Only the front of the chain goes, up to the first record that is young."""
    for day in (0, 1, 20, 2, 3):
        bench.write(event(f"d{day}", at=NOW + day * DAY))
    assert prune(bench, 10).removed == 2
    assert verify(bench.address).verification.is_good


def test_every_chain_is_pruned_for_itself(bench: Bench, another: Callable[..., Bench], store: Store) -> None:
    second = another("gw-1")
    days(bench, 4)
    second.write(event("x", at=NOW), event("y", at=NOW + 20 * DAY))
    assert prune(bench, 10) == Pruned(5, 0)
    assert left(store) == ["y"]
    result = verify(bench.address).verification
    assert result.is_good
    assert [chain.pruned for chain in result.chains] == [4, 1]


def test_counts_of_what_was_pruned_go_too(bench: Bench, store: Store) -> None:
    days(bench, 4)
    prune(bench, 2)
    assert sum(tally.count for tally in store.counts(NOW - DAY, NOW + 10 * DAY, 3600)) == 2


def test_a_changed_chain_is_not_pruned(bench: Bench, store: Store) -> None:
    """What somebody did to it would be gone with it."""
    days(bench, 4)
    bench.sql("UPDATE records SET line = :line WHERE audit_id = 'd2'", line=b'{"forged":1}')
    with pytest.raises(StoreUnavailableError, match="not as it was written"):
        prune(bench, 3)
    assert len(store.search(Query()).records) == 4


# By hand, in the database itself


def faults(bench: Bench) -> list[tuple[Kind, int]]:
    return [(fault.kind, fault.sequence) for fault in verify(bench.address).verification.faults]


def test_pruning_by_hand_is_found(bench: Bench) -> None:
    days(bench, 6)
    bench.sql("DELETE FROM records WHERE audit_id IN ('d0', 'd1')")
    assert faults(bench)[0] == (Kind.TRUNCATED, 1), "a checkpoint covers them"


def test_a_held_record_that_is_removed_by_hand_is_found(bench: Bench, store: Store) -> None:
    days(bench, 8, every_third="yes")
    store.hold("held", reason="", by="", now=NOW)
    prune(bench, 7)
    bench.sql("DELETE FROM records WHERE audit_id = 'd3'")
    assert faults(bench) == [(Kind.MISSING, 4)]


def test_a_record_edited_in_the_database_is_found(bench: Bench) -> None:
    (_, second, _) = bench.write(event("a"), event("b", verdict="Deny"), event("c"))
    bench.sql(
        "UPDATE records SET line = :line, verdict = 'Allow' WHERE audit_id = 'b'",
        line=second.line.replace(b'"Deny"', b'"Allow"'),
    )
    assert faults(bench) == [(Kind.EDITED, 2)]


@pytest.mark.parametrize(
    "change",
    [
        "verdict = 'Deny'",
        "at = 5",
        "caller = 0",
        "caller = 999",
        "name = 'x'",
        "audit_id = 'x'",
        "stage = ''",
        "code = 7",
    ],
)
def test_a_column_that_lies_is_found(bench: Bench, change: str) -> None:
    bench.write(event("a"), event("b"))
    bench.sql(f"UPDATE records SET {change} WHERE audit_id = 'b'")  # noqa: S608
    assert faults(bench) == [(Kind.COLUMNS, 2)]


def test_a_caller_that_was_renamed_is_found(bench: Bench) -> None:
    bench.write(event("a"), event("b", run="run-2"))
    bench.sql("UPDATE callers SET run = 'innocent' WHERE run = 'run-2'")
    assert faults(bench) == [(Kind.COLUMNS, 2)]


def test_a_removed_tail_is_found_by_its_checkpoint(bench: Bench) -> None:
    bench.write(*(event(f"a{number}") for number in range(5)), checkpoint=Reason.CLOSE)
    bench.sql("DELETE FROM records WHERE audit_id IN ('a3', 'a4')")
    assert faults(bench) == [(Kind.TRUNCATED, 4)]


def test_records_that_changed_places_are_found(bench: Bench) -> None:
    bench.write(*(event(f"a{number}") for number in range(4)))
    bench.sql("UPDATE records SET id = 0 WHERE audit_id = 'a1'")
    bench.sql("UPDATE records SET id = id - 1 WHERE audit_id = 'a2'")
    bench.sql(
        "UPDATE records SET id = (SELECT id + 1 FROM records WHERE audit_id = 'a2') WHERE audit_id = 'a1'"
    )
    assert not verify(bench.address).verification.is_good


def test_a_key_that_is_not_the_pinned_one_proves_nothing(bench: Bench, another: Callable[..., Bench]) -> None:
    bench.write(event("a"), checkpoint=Reason.CLOSE)
    stranger = another("gw-9")
    stranger.write(event("b"), checkpoint=Reason.CLOSE)
    result = verify(bench.address, trusted=[bench.signer.public]).verification
    assert [(fault.kind, fault.writer) for fault in result.faults] == [(Kind.KEY, "gw-9")]
    both = verify(bench.address)
    assert both.verification.is_good
    assert both.own
