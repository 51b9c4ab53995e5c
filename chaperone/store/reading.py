"""Questions to an audit store: search, timelines, counts, and whole chains for verification and export."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import sqlalchemy as sa

from chaperone.core.chain import read_sealed
from chaperone.store.engine import unavailable
from chaperone.store.facts import digest_of, facts_of
from chaperone.store.interface import Found, Page, Query, RunSummary, Tally
from chaperone.store.tables import (
    SEQUENCE_BITS,
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
PIECE = 2000
"""Records of a chain that are fetched at a time."""
HOURS_OF_TEXT = 24
Where = sa.ColumnElement[bool]


class Reader:
    """Questions on one engine; safe to use from several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def search(self, query: Query, *, limit: int = 50, cursor: str = "") -> Page:
        """Newest first."""
        before = [_before(*_place(cursor))] if cursor else []
        order = (records.c.at.desc(), records.c.id.desc())
        return self._page([*self._conditions(query), *before], order, limit)

    def timeline(self, run: str, *, limit: int = MOST, after: str = "") -> Page:
        """Oldest first."""
        later = [_after(*_place(after))] if after else []
        conditions = self._conditions(Query(run=run))
        return self._page([*conditions, *later], (records.c.at.asc(), records.c.id.asc()), limit)

    def get(self, audit_id: str) -> tuple[Found, ...]:
        order = (records.c.at.asc(), records.c.id.asc())
        return self._page([records.c.audit_id == audit_id], order, MOST).records

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
            yield bytes(row.line), f"{writer}: record {sequence}", row
        for at, line in marks:
            yield line, f"{writer}: checkpoint {at}", None

    def _checkpoints(self, number: int, writer: str, after: int) -> list[tuple[int, bytes]]:
        """By sequence; the pruning's counts as 0."""
        own = checkpoints.c.id.between(record_id(number, after), record_id(number + 1, 0) - 1)
        rows = self._rows(sa.select(checkpoints).where(own).order_by(checkpoints.c.id))
        placed = [(0 if row.reason == "Prune" else split_id(row.id)[1], bytes(row.line)) for row in rows]
        return sorted(placed, key=lambda mark: mark[0])

    def _records(self, number: int, after: int) -> Iterator[Any]:
        last, end = record_id(number, after), record_id(number + 1, 0)
        while True:
            asked = sa.select(records).where(records.c.id > last, records.c.id < end)
            rows = self._rows(asked.order_by(records.c.id).limit(PIECE))
            yield from rows
            if len(rows) < PIECE:
                return
            last = rows[-1].id

    def _disagreement(self, row: Any, line: bytes, known: dict[int, str]) -> str:
        sealed = read_sealed(line)
        if sealed is None:
            return ""
        if sealed.link.sequence != split_id(row.id)[1]:
            return f"it is stored in the place of record {split_id(row.id)[1]}"
        facts = facts_of(_loads(line))
        if row.caller not in known:
            found = self._rows(sa.select(callers).where(callers.c.number == row.caller))
            known[row.caller] = digest_of(tuple(found[0][2:7])) if found else "?"
        stated = (row.at, row.audit_id, row.stage, *row[5:13])
        true = (facts.at, facts.audit_id, facts.stage, *facts[4:])
        caller = digest_of(facts.caller) if any(facts.caller) else ""
        if stated == true and known[row.caller] == caller:
            return ""
        return "the columns that it is found by do not say what the record says"

    # Asking

    def _conditions(self, query: Query) -> list[Where]:
        """Who made a run is asked first: with the numbers themselves every planner takes the index of callers."""
        dialect = self._engine.dialect.name
        if not query.run:
            return [*_conditions(query, dialect), *_caller(query, dialect)]
        made = self._rows(sa.select(callers.c.number).where(*_callers(query)))
        return [*_conditions(query, dialect), records.c.caller.in_([row.number for row in made])]

    def _page(self, conditions: Sequence[Where], order: Sequence[Any], limit: int) -> Page:
        limit = max(1, min(limit, MOST))
        chosen = sa.select(records.c.id, records.c.at).where(*conditions).order_by(*order).limit(limit + 1)
        places = self._rows(chosen)
        more, places = len(places) > limit, places[:limit]
        ids = [row.id for row in places]
        if not ids:
            return Page((), "")
        rows = self._rows(sa.select(records.c.id, records.c.at, records.c.line).where(records.c.id.in_(ids)))
        lines = {row.id: row for row in rows}
        names = self._names()
        found = tuple(_found(lines[number], names) for number in ids if number in lines)
        return Page(found, _cursor(places[-1].at, places[-1].id) if more else "")

    def _names(self) -> dict[int, str]:
        return {row.number: row.name for row in self._rows(sa.select(writers))}

    def _rows(self, asked: sa.Select[Any]) -> Sequence[Any]:
        with unavailable(ASKED), self._engine.connect() as connection:
            return connection.execute(asked).all()


def _conditions(query: Query, dialect: str) -> list[Where]:
    column = records.c
    wanted = {
        column.verb: query.verb,
        column.verdict: query.verdict,
        column.risk: query.risk,
        column.policy: query.policy,
        column.namespace: query.namespace,
        column.resource: query.resource,
        column.stage: query.stage,
        column.code: query.code,
    }
    found: list[Where] = [name == value for name, value in wanted.items() if value]
    if query.since:
        found.append(column.at >= round(query.since * 1_000_000))
    if query.until:
        found.append(column.at < round(query.until * 1_000_000))
    found += _object(query.object)
    if query.text:
        found.append(_text(query.text, dialect))
    return found


def _object(words: str) -> list[Where]:
    if not words:
        return []
    resource, slash, name = words.rpartition("/")
    return [records.c.name == name, *([records.c.resource == resource] if slash else [])]


def _caller(query: Query, dialect: str) -> list[Where]:
    """Of an agent or an issuer, who may have made most of the records: a walk along the facts. SQLite keeps no statistics
    that would tell, and its unary plus keeps it from the index of callers."""
    conditions = _callers(query)
    if not conditions:
        return []
    caller = (
        sa.literal_column("+records.caller", records.c.caller.type)
        if dialect == "sqlite"
        else records.c.caller
    )
    return [caller.in_(sa.select(callers.c.number).where(*conditions))]


def _callers(query: Query) -> list[Where]:
    wanted = {
        callers.c.run: query.run,
        callers.c.agent: query.agent,
        callers.c.issuer: query.issuer,
        callers.c.username: query.user,
    }
    return [name == value for name, value in wanted.items() if value]


def _text(text: str, dialect: str) -> Where:
    """A piece of the stored bytes; there is no index for it."""
    if dialect == "postgresql":
        return sa.func.position(sa.literal(text.encode(), sa.LargeBinary).op("IN")(records.c.line)) > 0
    return sa.func.instr(records.c.line, sa.literal(text.encode(), sa.LargeBinary)) > 0


def _before(at: int, number: int) -> Where:
    return sa.and_(records.c.at <= at, sa.or_(records.c.at < at, records.c.id < number))


def _after(at: int, number: int) -> Where:
    return sa.and_(records.c.at >= at, sa.or_(records.c.at > at, records.c.id > number))


def _found(row: Any, names: dict[int, str]) -> Found:
    writer, sequence = split_id(row.id)
    line = bytes(row.line)
    return Found(row.id, names.get(writer, ""), sequence, row.at / 1e6, _loads(line), line)


def _loads(line: bytes) -> dict[str, Any]:
    """A record that somebody edited may be no JSON any more; it is shown as what it is, and `verify` names it."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}


def _cursor(at: int, number: int) -> str:
    return base64.urlsafe_b64encode(f"{at}.{number}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, int]:
    """Raises ValueError for what is no cursor."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        at, _, number = text.partition(".")
        place = int(at), int(number)
    except ValueError as fault:
        raise ValueError("this cursor is not one of ours") from fault
    if not all(0 <= part < 1 << 63 for part in place):
        raise ValueError("this cursor is not one of ours")
    return place


__all__ = ["SEQUENCE_BITS", "Reader"]
