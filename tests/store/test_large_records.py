"""Records of hundreds of kilobytes: lists read their briefs, whole ones come in bounded pages, chains in bounded pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.chain import Reason
from chaperone.store import reading
from chaperone.store.briefs import LARGE, LONGEST_FIELD, agrees, brief_of, shortened
from chaperone.store.interface import Query
from chaperone.store.opening import Store
from chaperone.store.verification import verify
from tests.store.conftest import NOW, Bench, event

OBJECT = {"kind": "ConfigMap", "data": {f"key-{number}": "x" * 100 for number in range(2000)}}


def large(audit_id: str, number: int = 0) -> dict[str, Any]:
    states: dict[str, Any] = {"requestObject": OBJECT, "objectBefore": {"state": "Present", "object": OBJECT}}
    return event(audit_id, at=NOW + number, verb="update", **states)


def test_lists_get_the_brief_and_nobody_else(bench: Bench, store: Store) -> None:
    bench.write(event("small"), large("large", 1))
    found, small = store.search(Query(), brief=True).records
    assert found.line == b""
    assert set(found.record["omitted"]) == {"requestObject", "objectBefore"}
    assert found.record["omitted"]["requestObject"] > 200_000
    assert found.record["verdict"] == "Allow"
    assert found.record["chain"]["sequence"] == found.sequence == 2
    assert (small.record["auditID"], "omitted" in small.record, bool(small.line)) == ("small", False, True)
    assert store.timeline("run-1", brief=True).records[1] == found
    whole = store.search(Query()).records[0]
    assert (
        whole.record["requestObject"] == store.timeline("run-1").records[1].record["requestObject"] == OBJECT
    )
    assert store.get("large")[0].record["objectBefore"]["object"] == OBJECT


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three large records are too many for one page."""
    monkeypatch.setattr(reading, "MOST_BYTES", 1_200_000)


def test_whole_records_come_in_bounded_pages_without_a_gap(bench: Bench, store: Store, narrow: None) -> None:
    bench.write(*(large(f"r{number}", number) for number in range(8)))
    pages: list[list[str]] = []
    cursor = ""
    while not pages or cursor:
        page = store.timeline("run-1", after=cursor)
        pages.append([str(item.record["auditID"]) for item in page.records])
        cursor = page.cursor
    assert pages == [["r0", "r1"], ["r2", "r3"], ["r4", "r5"], ["r6", "r7"]]
    newest = store.search(Query(verb="update"), limit=1000)
    assert [item.record["auditID"] for item in newest.records] == ["r7", "r6"]
    following = store.search(Query(verb="update"), limit=1000, cursor=newest.cursor)
    assert [item.record["auditID"] for item in following.records] == ["r5", "r4"]
    assert len(store.search(Query(verb="update"), limit=1000, brief=True).records) == 8


def test_one_record_longer_than_a_page_comes_alone(
    bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 1000)
    bench.write(event("a"), large("b", 1), event("c", at=NOW + 2))
    found: list[str] = []
    cursor = ""
    while not found or cursor:
        page = store.timeline("run-1", after=cursor)
        found.append("".join(item.record["auditID"] for item in page.records))
        cursor = page.cursor
    assert found == ["a", "b", "c"]


def test_a_chain_of_large_records_is_whole(bench: Bench, store: Store, narrow: None) -> None:
    sealed = bench.write(*(large(f"r{number}", number) for number in range(5)), checkpoint=Reason.CLOSE)
    lines = [line for line, _ in store.lines("gw-0")]
    assert lines[:-1] == [item.line for item in sealed]
    assert [line for line, _ in store.lines("gw-0", after=3)] == lines[3:]
    assert verify(bench.address).verification.is_good


@pytest.mark.parametrize(
    "edited",
    [
        b'{"verdict":"Deny"}',
        b'{"auditID":"r","extra":1}',
        b"no JSON",
        b"[1]",
    ],
)
def test_a_brief_that_lies_is_found(bench: Bench, edited: bytes) -> None:
    bench.write(large("r"), checkpoint=Reason.CLOSE)
    bench.sql("UPDATE records SET brief = :brief", brief=edited)
    found = verify(bench.address).verification
    assert not found.is_good
    assert [finding.kind.value for finding in found.findings if finding.kind.is_fault] == ["Columns"]


def test_what_is_no_record_has_no_brief() -> None:
    assert brief_of(b"x" * (LARGE + 1)) is None
    assert brief_of(b"[" + b"1," * LARGE + b"1]") is None


@given(st.dictionaries(st.text(max_size=10), st.text(max_size=2 * LONGEST_FIELD), max_size=8))
def test_a_brief_agrees_with_its_record_and_says_what_it_lacks(record: dict[str, str]) -> None:
    import orjson

    record.pop("omitted", None)
    brief = shortened(record)
    assert agrees(orjson.dumps(brief), record)
    assert set(brief["omitted"]) | (set(brief) - {"omitted"}) == set(record)
