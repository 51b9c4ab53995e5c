"""A search with patience: it stops in time, says how far it came, and goes on from there without a gap or a double."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chaperone.store import searching
from chaperone.store.interface import Page, Query
from chaperone.store.opening import Store
from chaperone.store.reading import Reader
from chaperone.store.searching import LEAST_STEP, next_step
from tests.store.conftest import NOW, Bench, event

COUNT = 40


@pytest.fixture
def reader(bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Every third record is denied; a step is ten records, and every look at the clock takes a second."""
    monkeypatch.setattr(searching, "STEP", 10)
    monkeypatch.setattr(searching, "LINE_STEP", 10)
    monkeypatch.setattr(searching, "LEAST_STEP", 10)
    monkeypatch.setattr(searching, "QUICKEST", 1)
    verdicts = ("Deny", "Allow", "Allow")
    bench.write(
        *(event(f"{number}", at=NOW + number // 4, verdict=verdicts[number % 3]) for number in range(COUNT))
    )
    now = iter(range(1_000_000))
    return Reader(store.engine, clock=lambda: float(next(now)))


def pages(reader: Reader, query: Query, *, limit: int = 50, patience: float = 1.0) -> Iterator[Page]:
    cursor = ""
    while True:
        page = reader.search(query, limit=limit, cursor=cursor, patience=patience)
        yield page
        cursor = page.cursor
        if not cursor:
            return


@pytest.mark.parametrize(
    "query",
    [
        Query(verdict="Deny"),
        Query(verdict="Deny", run="run-1"),
        Query(agent="coder", verdict="Deny"),
        Query(text='"verdict":"Deny"'),
        Query(verdict="Deny", since=NOW + 2, until=NOW + 8),
        Query(verdict="Hold"),
    ],
)
@pytest.mark.parametrize("limit", [1, 3, 50])
def test_parts_join_to_the_whole(reader: Reader, query: Query, limit: int) -> None:
    whole = [found.id for found in reader.search(query, limit=1000).records]
    parts = list(pages(reader, query, limit=limit))
    assert [found.id for page in parts for found in page.records] == whole
    assert all(len(page.records) <= limit for page in parts)


def test_it_says_how_far_it_came(reader: Reader) -> None:
    first, *others = pages(reader, Query(verdict="Hold"))
    assert first.records == ()
    assert first.searched == NOW + (COUNT - 10) // 4
    assert [page.searched for page in others] == [NOW + 5.0, NOW + 2.0, NOW, 0.0]
    assert others[-1].cursor == ""


def test_a_full_page_is_no_stop(reader: Reader) -> None:
    page = reader.search(Query(verdict="Deny"), limit=2, patience=1.0)
    assert (len(page.records), page.searched, bool(page.cursor)) == (2, 0.0, True)


def test_the_patient_search_to_the_end(reader: Reader) -> None:
    (page,) = pages(reader, Query(verdict="Hold"), patience=1000.0)
    assert (page.records, page.cursor, page.searched) == ((), "", 0.0)


@pytest.mark.parametrize("query", [Query(run="none"), Query(agent="none"), Query(user="none", verb="get")])
def test_a_caller_whom_nobody_knows_is_not_searched_for(reader: Reader, query: Query) -> None:
    assert list(pages(reader, query)) == [Page((), "")]


@pytest.mark.parametrize(
    ("took", "expected"), [(0.0, 80_000), (0.025, 40_000), (0.1, 10_000), (100.0, LEAST_STEP)]
)
def test_steps_grow_and_shrink_with_the_time_they_take(took: float, expected: int) -> None:
    assert next_step(20_000, took, 0.2) == expected
