"""Questions to an audit store: search, timelines, counts, and whole chains for verification and export."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from chaperone.core.chain import read_sealed
from chaperone.store import searching
from chaperone.store.briefs import agrees
from chaperone.store.engine import unavailable
from chaperone.store.facts import digest_of, facts_of
from chaperone.store.interface import Found, Page, Query, RunSummary, Tally
from chaperone.store.searching import NEWEST, OLDEST, Place, Where
from chaperone.store.tables import (
    callers,
    checkpoints,
    keys,
    record_id,
    records,
    split_id,
    tallies,
    writers,
)

ASKED = "the audit store did not answer"
MOST = 1000
"""Records of one page."""
MOST_BYTES = 16 << 20
"""Bytes of the records of one page, or of one piece of a chain; a longer record comes alone."""
PIECE = 2000
"""Records of a chain that are fetched at a time."""


class Reader:
    """Questions on one engine; safe to use from several threads."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._clock = clock

    def search(
        self,
        query: Query,
        *,
        limit: int = 50,
        cursor: str = "",
        brief: bool = False,
        patience: float | None = None,
    ) -> Page:
        place, limit = searching.read_cursor(cursor), max(1, min(limit, MOST))
        asked = self._conditions(query)
        if asked is None:
            return Page((), "")
        base, rest = asked
        if patience is None or not rest:
            back = [searching.before(place)] if place else []
            return self._page(self._places([*base, *rest, *back], NEWEST, limit + 1), limit, brief=brief)
        step = searching.LINE_STEP if query.text or query.run else searching.STEP
        places, end = self._walk(base, rest, place, count=limit + 1, step=step, patience=patience)
        return self._page(places, limit, brief=brief, end=end)

    def timeline(
        self,
        run: str,
        *,
        limit: int = MOST,
        after: str = "",
        brief: bool = False,
        issuer: str = "",
        user: str = "",
        writes: bool = False,
    ) -> Page:
        place, limit = searching.read_cursor(after), max(1, min(limit, MOST))
        asked = self._conditions(Query(run=run, issuer=issuer, user=user)) if run else None
        if asked is None:
            return Page((), "")
        conditions = [*asked[0], *([searching.after(place)] if place else [])]
        conditions += [searching.no_plain_read()] if writes else []
        return self._page(self._places(conditions, OLDEST, limit + 1), limit, brief=brief)

    def get(self, audit_id: str) -> tuple[Found, ...]:
        """Put in order here: asked for an order, PostgreSQL may walk all records in that order to find one."""
        chosen = sa.select(records.c.at, records.c.id).where(records.c.audit_id == audit_id)
        places = sorted(Place(row.at, row.id) for row in self._rows(chosen))
        return self._page(places[:MOST], MOST, brief=False).records

    def counts(self, since: float, until: float, bucket: float) -> tuple[Tally, ...]:
        minutes = max(1, round(bucket / 60))
        start = sa.cast(tallies.c.minute / minutes, sa.BigInteger) * minutes
        if self._engine.dialect.name == "postgresql":
            start = tallies.c.minute - sa.func.mod(tallies.c.minute, minutes)
        else:
            start = tallies.c.minute - tallies.c.minute % minutes
        asked = (
            sa.select(start.label("start"), tallies.c.verdict, sa.func.sum(tallies.c.count).label("total"))
            .where(tallies.c.minute >= int(since // 60), tallies.c.minute * 60 < until)
            .group_by(sa.text("1"), tallies.c.verdict)
            .order_by(sa.text("1"), tallies.c.verdict)
        )
        return tuple(Tally(float(row[0] * 60), row[1], int(row[2])) for row in self._rows(asked))

    def runs(self, *, limit: int = 100, agent: str = "") -> tuple[RunSummary, ...]:
        asked = sa.select(callers).where(callers.c.run != "").order_by(callers.c.first.desc()).limit(limit)
        if agent:
            asked = asked.where(callers.c.agent == agent)
        return tuple(
            RunSummary(row.run, row.agent, row.model, row.issuer, row.username, row.first / 1e6)
            for row in self._rows(asked)
        )

    def writers(self) -> tuple[str, ...]:
        return tuple(row.name for row in self._rows(sa.select(writers).order_by(writers.c.name)))

    def public_keys(self) -> tuple[str, ...]:
        """PEM, as the store itself names them."""
        return tuple(row.public for row in self._rows(sa.select(keys).order_by(keys.c.name)))

    def lines(self, writer: str, *, after: int = 0) -> Iterator[tuple[bytes, str]]:
        """Everything of one chain in its order, checkpoints among it, behind the sequence `after`: (line, where)."""
        number = self._number(writer)
        for line, where, _ in self._chain(number, writer, after):
            yield line, where

    def checked_lines(self, writer: str) -> Iterator[tuple[bytes, str, str]]:
        """As `lines`, with what is wrong with the columns that the record is found by, "" when they agree."""
        number = self._number(writer)
        known: dict[int, str] = {0: ""}
        for line, where, row in self._chain(number, writer, 0):
            yield line, where, "" if row is None else self._disagreement(row, line, known)

    # Chains

    def _number(self, writer: str) -> int:
        rows = self._rows(sa.select(writers.c.number).where(writers.c.name == writer))
        return int(rows[0][0]) if rows else 0

    def _chain(self, number: int, writer: str, after: int) -> Iterator[tuple[bytes, str, Any]]:
        """Merged by sequence. What a pruning left behind comes first of all."""
        marks = self._checkpoints(number, writer, after)
        if marks and marks[0][0] == 0:
            yield marks.pop(0)[1], f"{writer}: pruning", None
        for row in self._records(number, after):
            sequence = split_id(row.id)[1]
            while marks and marks[0][0] < sequence:
                at, line = marks.pop(0)
                yield line, f"{writer}: checkpoint {at}", None
            yield _raw(row.line), f"{writer}: record {sequence}", row
        for at, line in marks:
            yield line, f"{writer}: checkpoint {at}", None

    def _checkpoints(self, number: int, writer: str, after: int) -> list[tuple[int, bytes]]:
        """By sequence; the pruning's counts as 0."""
        own = checkpoints.c.id.between(record_id(number, after), record_id(number + 1, 0) - 1)
        rows = self._rows(sa.select(checkpoints).where(own).order_by(checkpoints.c.id))
        placed = [(0 if row.reason == "Prune" else split_id(row.id)[1], _raw(row.line)) for row in rows]
        return sorted(placed, key=lambda mark: mark[0])

    def _records(self, number: int, after: int) -> Iterator[Any]:
        last, end = record_id(number, after), record_id(number + 1, 0)
        sizes = sa.select(records.c.id, sa.func.length(records.c.line).label("size")).order_by(records.c.id)
        while True:
            ahead = self._rows(sizes.where(records.c.id > last, records.c.id < end).limit(PIECE))
            if not ahead:
                return
            through = ahead[_fitting([row.size for row in ahead]) - 1].id
            yield from self._rows(
                sa.select(records).where(records.c.id > last, records.c.id <= through).order_by(records.c.id)
            )
            last = through

    def _disagreement(self, row: Any, line: bytes, known: dict[int, str]) -> str:
        sealed = read_sealed(line)
        if sealed is None:
            return ""
        if sealed.link.sequence != split_id(row.id)[1]:
            return f"it is stored in the place of record {split_id(row.id)[1]}"
        record = _loads(line)
        facts = facts_of(record)
        if row.caller not in known:
            found = self._rows(sa.select(callers).where(callers.c.number == row.caller))
            known[row.caller] = digest_of(tuple(found[0][2:7])) if found else "?"
        stated = (row.at, row.audit_id, row.stage, *row[5:13])
        true = (facts.at, facts.audit_id, facts.stage, *facts[4:12])
        caller = digest_of(facts.caller) if any(facts.caller) else ""
        brief = row.brief is None or agrees(_raw(row.brief), record)
        if stated == true and known[row.caller] == caller and brief:
            return ""
        return "the columns that it is found by do not say what the record says"

    # Asking

    def _conditions(self, query: Query) -> tuple[list[Where], list[Where]] | None:
        """What an index walks straight to, and what each record on the way is looked at for; None: nobody can have made
        such a record. With the numbers of who made a run, every planner takes the index of callers."""
        dialect = self._engine.dialect.name
        base, rest = searching.span(query), searching.facts(query, dialect)
        whose = searching.of_callers(query)
        if not whose:
            return base, rest
        made = sa.select(callers.c.number).where(*whose)
        found = self._rows(made if query.run else made.limit(1))
        if not found:
            return None
        if query.run:
            return [*base, records.c.caller.in_([row.number for row in found])], rest
        return base, [searching.made_by(whose, dialect), *rest]

    def _places(self, conditions: Sequence[Where], order: Sequence[Any], count: int) -> list[Place]:
        chosen = sa.select(records.c.at, records.c.id).where(*conditions).order_by(*order).limit(count)
        return [Place(row.at, row.id) for row in self._rows(chosen)]

    def _walk(
        self,
        base: list[Where],
        rest: list[Where],
        place: Place | None,
        *,
        count: int,
        step: int,
        patience: float,
    ) -> tuple[list[Place], Place | None]:
        """Places, newest first, and where patience ended the search; None when it found enough or came to its end."""
        began, found = self._clock(), list[Place]()
        while True:
            asked = self._clock()
            back = [*base, searching.before(place)] if place else base
            edge = self._edge(back, step)
            within = [searching.after(edge, itself=True)] if edge else []
            found += self._places([*back, *within, *rest], NEWEST, count - len(found))
            now = self._clock()
            if len(found) == count or edge is None:
                return found, None
            if now - began >= patience:
                return found, edge
            place, step = edge, searching.next_step(step, now - asked, patience)

    def _edge(self, back: list[Where], step: int) -> Place | None:
        """The place of the last of so many records; None where there are fewer."""
        chosen = sa.select(records.c.at, records.c.id).where(*back).order_by(*NEWEST)
        rows = self._rows(chosen.limit(1).offset(step - 1))
        return Place(*rows[0]) if rows else None

    def _page(self, places: list[Place], limit: int, *, brief: bool, end: Place | None = None) -> Page:
        """Of one place more than the page has, where there are more. end: where patience ended."""
        more, chosen = len(places) > limit, places[:limit]
        if not brief:
            count = self._fitting([place.id for place in chosen])
            more, chosen = more or count < len(chosen), chosen[:count]
        found = self._found([place.id for place in chosen], brief=brief)
        if more:
            return Page(found, searching.cursor(chosen[-1]))
        return Page(found, searching.cursor(end), end.at / 1e6) if end else Page(found, "")

    def _found(self, ids: list[int], *, brief: bool) -> tuple[Found, ...]:
        line: Any = records.c.line
        if brief:
            line = sa.case((records.c.brief.is_(None), records.c.line)).label("line")
        asked = sa.select(records.c.id, records.c.at, *([records.c.brief] if brief else []), line)
        rows = {row.id: row for row in self._rows(asked.where(records.c.id.in_(ids)))} if ids else {}
        names = self._names() if ids else {}
        return tuple(_found(rows[number], names) for number in ids if number in rows)

    def _fitting(self, ids: list[int]) -> int:
        """How many of these records, from the first on, are not too much to be held at once; at least one."""
        sizes = sa.select(records.c.id, sa.func.length(records.c.line).label("size"))
        known = {row.id: row.size for row in self._rows(sizes.where(records.c.id.in_(ids)))} if ids else {}
        return _fitting([known.get(number, 0) for number in ids])

    def _names(self) -> dict[int, str]:
        return {row.number: row.name for row in self._rows(sa.select(writers))}

    def _rows(self, asked: sa.Select[Any]) -> Sequence[Any]:
        with unavailable(ASKED), self._engine.connect() as connection:
            return connection.execute(asked).all()


def _fitting(sizes: Sequence[int]) -> int:
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > MOST_BYTES:
            return max(1, count)
    return len(sizes)


def _found(row: Any, names: dict[int, str]) -> Found:
    """line: None where a brief stands for it."""
    writer, sequence = split_id(row.id)
    line = _raw(row.line or b"")
    record = _loads(line or _raw(row.brief))
    return Found(row.id, names.get(writer, ""), sequence, row.at / 1e6, record, line)


def _raw(stored: Any) -> bytes:
    """SQLite takes a text in the place of bytes from whoever writes to it by hand."""
    return stored.encode() if isinstance(stored, str) else bytes(stored)


def _loads(line: bytes) -> dict[str, Any]:
    """A record that somebody edited may be no JSON any more; it is shown as what it is, and `verify` names it."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}
