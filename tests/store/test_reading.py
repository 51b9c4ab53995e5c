"""Searches find exactly what they ask for, page by page; timelines, counts, runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from chaperone.store.interface import Page, Query
from chaperone.store.opening import Store
from tests.store.conftest import KINDS, NOW, Bench, empty_store, event

DEPLOYMENT = {
    "resource": "deployments",
    "apiGroup": "apps",
    "apiVersion": "v1",
    "namespace": "prod",
    "name": "api",
}


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Only to be asked."""
    with empty_store(request, tmp_path_factory.mktemp("filled")) as address:
        bench = Bench(address)
        _fill(bench)
        store = bench.store()
        yield store
        store.close()
        bench.writer.close()


def _fill(bench: Bench) -> None:
    bench.write(
        event("a", at=NOW),
        event("b", at=NOW + 60, run="run-2", agent="deployer", verdict="Deny", responseStatus={"code": 403}),
        event(
            "c", at=NOW + 120, verb="delete", objectRef=DEPLOYMENT, risk={"level": "critical"}, verdict="Hold"
        ),
        event("d", at=NOW + 180, objectRef={**DEPLOYMENT, "subresource": "scale"}, policy={"name": "other"}),
        event("e", at=NOW + 240, user={"username": "x", "issuer": "https://other.example"}, stage="Panic"),
        event("f", at=NOW + 300, verb="list", objectRef={"resource": "pods"}, reason="needle in it"),
    )


def ids(page: Page) -> str:
    return "".join(str(found.record["auditID"]) for found in page.records)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "fedcba"),
        ({"run": "run-1"}, "fedca"),
        ({"run": "run-2"}, "b"),
        ({"run": "none"}, ""),
        ({"agent": "deployer"}, "b"),
        ({"issuer": "https://other.example"}, "e"),
        ({"user": "repo:acme/shop", "agent": "coder"}, "fdca"),
        ({"verb": "delete"}, "c"),
        ({"object": "api"}, "dc"),
        ({"object": "deployments.apps/api"}, "c"),
        ({"object": "deployments.apps/scale/api"}, "d"),
        ({"resource": "deployments.apps/scale"}, "d"),
        ({"namespace": "prod"}, "dc"),
        ({"verdict": "Deny"}, "b"),
        ({"verdict": "Allow", "namespace": "prod"}, "d"),
        ({"risk": "critical"}, "c"),
        ({"policy": "other"}, "d"),
        ({"stage": "Panic"}, "e"),
        ({"code": 403}, "b"),
        ({"since": NOW + 180}, "fed"),
        ({"until": NOW + 60}, "a"),
        ({"since": NOW + 60, "until": NOW + 180}, "cb"),
        ({"text": "needle"}, "f"),
        ({"text": "' OR 1=1 --"}, ""),
        ({"run": "' OR 1=1 --"}, ""),
    ],
)
def test_a_search_finds_what_it_asks_for(filled: Store, query: Mapping[str, Any], expected: str) -> None:
    assert ids(filled.search(Query(**query))) == expected


def test_pages_join_without_a_gap_or_a_double(
    bench: Bench, another: Callable[..., Bench], store: Store
) -> None:
    """Many records of one moment, of two writers."""
    second = another("gw-1")
    bench.write(*(event(f"a{number}", at=NOW + number // 7) for number in range(30)))
    second.write(*(event(f"b{number}", at=NOW + number // 7) for number in range(30)))
    found: list[str] = []
    cursor = ""
    while True:
        page = store.search(Query(), limit=7, cursor=cursor)
        found += [str(item.record["auditID"]) for item in page.records]
        times = [item.time for item in page.records]
        assert times == sorted(times, reverse=True)
        if not page.cursor:
            break
        cursor = page.cursor
    assert len(found) == len(set(found)) == 60
    whole = store.search(Query(), limit=1000)
    assert [str(item.record["auditID"]) for item in whole.records] == found


@pytest.mark.parametrize(
    "cursor", ["x", "!!", "MS4x.", "ä", "LTEuLTE", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5LjE"]
)
def test_a_cursor_that_is_none_is_refused(filled: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="not one of ours"):
        filled.search(Query(), cursor=cursor)


def test_a_timeline_is_the_whole_run_in_order(filled: Store) -> None:
    assert ids(filled.timeline("run-1")) == "acdef"
    first = filled.timeline("run-1", limit=2)
    assert ids(first) == "ac"
    assert ids(filled.timeline("run-1", limit=10, after=first.cursor)) == "def"


def test_every_stage_of_one_request_in_its_order(bench: Bench, store: Store) -> None:
    bench.write(event("x", at=NOW, stage="RequestReceived"), event("y"), event("x", at=NOW + 1))
    assert [found.record["stage"] for found in store.get("x")] == ["RequestReceived", "ResponseComplete"]
    assert store.get("none") == ()
    assert (store.get("y")[0].writer, store.get("y")[0].sequence) == ("gw-0", 2)


def test_ended_requests_are_counted_by_verdict_and_time(
    bench: Bench, another: Callable[..., Bench], store: Store
) -> None:
    hour = NOW - NOW % 3600
    bench.write(
        event("a", at=hour + 5),
        event("a", at=hour + 5, stage="RequestReceived"),
        event("b", at=hour + 65, verdict="Deny"),
        event("c", at=hour + 3605),
    )
    bench.write(event("d", at=hour + 6))
    another("gw-1").write(event("e", at=hour + 7))
    counts = [
        (tally.start - hour, tally.verdict, tally.count) for tally in store.counts(hour, hour + 7200, 3600)
    ]
    assert counts == [(0.0, "Allow", 3), (0.0, "Deny", 1), (3600.0, "Allow", 1)]
    minutes = [(tally.start - hour, tally.count) for tally in store.counts(hour, hour + 120, 60)]
    assert minutes == [(0.0, 3), (60.0, 1)]
    assert store.counts(hour + 7200, hour + 9000, 60) == ()


def test_runs_are_known_by_their_callers(filled: Store) -> None:
    runs = [(run.run, run.agent, run.issuer) for run in filled.runs()]
    assert runs[0] == ("run-1", "coder", "https://other.example")
    assert len(runs) == 3
    assert [run.run for run in filled.runs(agent="deployer")] == ["run-2"]


def test_an_edited_record_does_not_break_a_search(bench: Bench, store: Store) -> None:
    bench.write(event("a"))
    bench.sql("UPDATE records SET line = :line", line=b"\xff not json")
    (found,) = store.search(Query()).records
    assert found.record == {}


def test_a_timeline_of_one_caller_and_of_its_writes(bench: Bench, store: Store) -> None:
    other = {"username": "mallory", "issuer": "https://evil.example"}
    bench.write(
        event("a"),
        event("b", at=NOW + 1, verb="update"),
        event(
            "c", at=NOW + 2, verb="get", objectRef={"resource": "pods", "subresource": "exec", "name": "x"}
        ),
        event("d", at=NOW + 3, user=other, verb="delete"),
        event("e", at=NOW + 4, verb="watch"),
        event("f", at=NOW + 5, verb="impersonate"),
    )
    mine: dict[str, Any] = {"issuer": "https://issuer.example", "user": "repo:acme/shop"}
    assert ids(store.timeline("run-1")) == "abcdef"
    assert ids(store.timeline("run-1", **mine)) == "abcef"
    assert ids(store.timeline("run-1", **mine, writes=True)) == "bcf"
    first = store.timeline("run-1", **mine, writes=True, limit=1)
    assert ids(store.timeline("run-1", **mine, writes=True, after=first.cursor)) == "cf"
    assert store.timeline("run-1", issuer="https://none.example") == Page((), "")
    assert store.timeline("") == Page((), "")


def test_what_was_cut_in_a_column_is_found_by_all_of_it(bench: Bench, store: Store) -> None:
    long = "r\x1b" + "x" * 400
    bench.write(event("a", run=long, objectRef={"resource": "pods", "name": long}))
    assert ids(store.search(Query(run=long))) == "a"
    assert ids(store.search(Query(object=f"pods/{long}"))) == "a"
    assert ids(store.timeline(long)) == "a"


def test_a_text_in_the_place_of_a_record_is_read(bench: Bench, store: Store) -> None:
    if not bench.address.startswith("sqlite"):
        pytest.skip("only SQLite lets a column hold another type")
    bench.write(event("a"))
    bench.sql("UPDATE records SET line = CAST(line AS TEXT)")
    assert ids(store.search(Query())) == "a"
    assert len(list(store.lines("gw-0"))) == 1
