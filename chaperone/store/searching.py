"""What a search asks of the tables: its conditions, its places, and how far one step of a patient search goes."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import sqlalchemy as sa

from chaperone.store.facts import word
from chaperone.store.interface import Query
from chaperone.store.tables import callers, records

Where = sa.ColumnElement[bool]
PLAIN_READS = ("get", "list", "watch")
NEWEST = (records.c.at.desc(), records.c.id.desc())
OLDEST = (records.c.at.asc(), records.c.id.asc())
STEP = 20_000
"""Records that the first step of a search with patience looks at."""
LINE_STEP = 500
"""The same where the records themselves have to be read, as no index holds what is asked."""
LEAST_STEP = 100
STEPS = 4
"""Steps of equal time into which the patience of a search is meant to fall."""
QUICKEST = 4
"""How many times longer one step may be than the one before."""


class Place(NamedTuple):
    """Of a record in the order of time. at: microseconds since 1970."""

    at: int
    id: int


def span(query: Query) -> list[Where]:
    """The stretch of time."""
    found: list[Where] = []
    if query.since:
        found.append(records.c.at >= round(query.since * 1_000_000))
    if query.until:
        found.append(records.c.at < round(query.until * 1_000_000))
    return found


def facts(query: Query, dialect: str) -> list[Where]:
    """Whatever else is asked of the record itself."""
    column = records.c
    wanted: dict[Any, str | int] = {
        column.verb: query.verb,
        column.verdict: query.verdict,
        column.risk: query.risk,
        column.policy: query.policy,
        column.namespace: query.namespace,
        column.resource: query.resource,
        column.stage: query.stage,
        column.code: query.code,
    }
    found: list[Where] = [name == _stored(value) for name, value in wanted.items() if value]
    found += _object(query.object)
    if query.text:
        found.append(_text(query.text, dialect))
    return found


def of_callers(query: Query) -> list[Where]:
    """On the table of callers."""
    wanted = {
        callers.c.run: query.run,
        callers.c.agent: query.agent,
        callers.c.issuer: query.issuer,
        callers.c.username: query.user,
    }
    return [name == word(value) for name, value in wanted.items() if value]


def made_by(conditions: list[Where], dialect: str) -> Where:
    """Of an agent or an issuer, who may have made most of the records: a walk along the facts. SQLite keeps no statistics
    that would tell, and its unary plus keeps it from the index of callers."""
    caller = (
        sa.literal_column("+records.caller", records.c.caller.type)
        if dialect == "sqlite"
        else records.c.caller
    )
    return caller.in_(sa.select(callers.c.number).where(*conditions))


def no_plain_read() -> Where:
    """Subresources may do more than be read, whatever the verb: exec, proxy."""
    column = records.c
    return ~sa.and_(column.verb.in_(PLAIN_READS), column.resource.not_like("%/%"))


def before(place: Place) -> Where:
    column = records.c
    return sa.and_(column.at <= place.at, sa.or_(column.at < place.at, column.id < place.id))


def after(place: Place, *, itself: bool = False) -> Where:
    column = records.c
    later = column.id >= place.id if itself else column.id > place.id
    return sa.and_(column.at >= place.at, sa.or_(column.at > place.at, later))


def next_step(step: int, took: float, patience: float) -> int:
    """Records to look at next, when `step` of them took so many seconds."""
    pace = patience / STEPS / max(took, 1e-6)
    return max(LEAST_STEP, round(step * min(QUICKEST, pace)))


def cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(f"{place.at}.{place.id}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Place | None:
    """None for "". Raises ValueError for what is no cursor."""
    if not text:
        return None
    try:
        decoded = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
        at, _, number = decoded.partition(".")
        place = Place(int(at), int(number))
    except ValueError as fault:
        raise ValueError("this cursor is not one of ours") from fault
    if not all(0 <= part < 1 << 63 for part in place):
        raise ValueError("this cursor is not one of ours")
    return place


def _object(words: str) -> list[Where]:
    if not words:
        return []
    resource, slash, name = words.rpartition("/")
    named = records.c.name == word(name)
    return [named, *([records.c.resource == word(resource)] if slash else [])]


def _stored(value: str | int) -> str | int:
    """As the columns hold it: legible, and cut where it is long."""
    return word(value) if isinstance(value, str) else value


def _text(text: str, dialect: str) -> Where:
    """A piece of the stored bytes; there is no index for it."""
    if dialect == "postgresql":
        return sa.func.position(sa.literal(text.encode(), sa.LargeBinary).op("IN")(records.c.line)) > 0
    return sa.func.instr(records.c.line, sa.literal(text.encode(), sa.LargeBinary)) > 0
