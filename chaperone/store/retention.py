"""Legal holds, and pruning of records: old ones go from the front of each chain, and what is left can still be verified.

A pruning leaves a signed checkpoint behind: up to which record the chain was removed, its hash there, and which records
were kept because their run is under legal hold. Pieces are removed one short transaction each, so that writers get their
turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chaperone.core.chain import Kept, Link, Reason, keep, read_checkpoint, read_sealed
from chaperone.store.engine import FileLock, is_sqlite, make_engine, unavailable
from chaperone.store.interface import Hold, Pruned, StoreUnavailableError
from chaperone.store.signing import Signer
from chaperone.store.tables import (
    callers,
    checkpoints,
    holds,
    keys,
    record_id,
    records,
    split_id,
    tallies,
    writers,
)

LOCK = 0x7072756E
"""Key of PostgreSQL's advisory lock for pruning."""
RECORDINGS_LOCK = 0x72656372
"""The same for the pruning of recordings, which may wait for an object store."""
PIECE = 2000
"""Records of one transaction."""


def all_holds(engine: sa.Engine) -> tuple[Hold, ...]:
    with unavailable("the audit store did not answer"), engine.connect() as connection:
        rows = connection.execute(sa.select(holds).order_by(holds.c.since)).all()
    return tuple(Hold(row.run, row.reason, row.by, row.since / 1e6) for row in rows)


def prune(url: sa.URL, before: float, signer: Signer, *, now: float) -> Pruned:
    """Remove what is older than `before` (Unix seconds). Raises StoreUnavailableError."""
    engine = make_engine(url, writes=True)
    file = Path(str(url.database))
    turn = FileLock(file.with_name(f"{file.name}.lock")) if is_sqlite(url) else None
    removed = held = 0
    try:
        with unavailable("the audit store could not be pruned"):
            with engine.connect() as connection:
                numbers = connection.execute(sa.select(writers).order_by(writers.c.number)).all()
            for row in numbers:
                pruning = _Pruning(engine, turn, (row.number, row.name), signer=signer, now=now)
                gone, kept = pruning.run(round(before * 1_000_000))
                removed, held = removed + gone, held + kept
    finally:
        engine.dispose()
        if turn is not None:
            turn.close()
    return Pruned(removed, held)


class _Pruning:
    """Of one chain."""

    def __init__(
        self, engine: sa.Engine, turn: FileLock | None, writer: tuple[int, str], *, signer: Signer, now: float
    ) -> None:
        self._engine = engine
        self._turn = turn
        self._number, self._writer = writer
        self._signer = signer
        self._now = now
        self._insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert

    def run(self, before: int) -> tuple[int, int]:
        """(removed, kept under legal hold)."""
        removed = 0
        while True:
            with (
                self._turn.held() if self._turn is not None else nullcontext(),
                self._engine.begin() as connection,
            ):
                self._wait_for_turn(connection)
                through = self._next(connection, before)
                gone, kept = self._remove(connection, through) if through is not None else (0, 0)
            removed += gone
            if through is None:
                break
        with self._engine.begin() as connection:
            old = sa.and_(tallies.c.writer == self._number, tallies.c.minute < before // 60_000_000)
            connection.execute(sa.delete(tallies).where(old))
            kept = self._count(connection)
        return removed, kept

    def _wait_for_turn(self, connection: sa.Connection) -> None:
        """Gateways that prune at the same time would each sign for what the other removes."""
        if self._turn is None:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))

    def _next(self, connection: sa.Connection, before: int) -> Link | None:
        """Up to where the next piece goes: only as far as every record is old enough, whatever clocks did."""
        anchor = self._anchor(connection)
        first = record_id(self._number, anchor.sequence + 1 if anchor else 1)
        end = record_id(self._number + 1, 0)
        own = records.c.id.between(first, end - 1)
        young = connection.scalar(
            sa.select(records.c.id).where(own, records.c.at >= before).order_by(records.c.id).limit(1)
        )
        old = sa.select(records.c.id).where(own, records.c.id < (young or end))
        ids = connection.scalars(old.order_by(records.c.id).limit(PIECE)).all()
        if ids:
            return self._link(connection, ids[-1])
        return anchor if anchor and self._lifted(connection, anchor) else None

    def _lifted(self, connection: sa.Connection, anchor: Link) -> bool:
        """Whether records stand before the anchor that no hold keeps any more."""
        return bool(
            connection.scalar(sa.select(sa.func.count()).select_from(records).where(self._loose(anchor)))
        )

    def _remove(self, connection: sa.Connection, through: Link) -> tuple[int, int]:
        """The checkpoint and the removal are one: there is never one without the other."""
        gone = connection.execute(sa.delete(records).where(self._loose(through))).rowcount
        kept = self._kept(connection, through)
        line = self._signer.checkpoint(through, self._now, Reason.PRUNE, kept)
        own = checkpoints.c.id.between(record_id(self._number, 0), record_id(self._number, through.sequence))
        last = checkpoints.c.id == record_id(self._number, through.sequence)
        stays = sa.and_(last, checkpoints.c.reason != Reason.PRUNE.value)
        connection.execute(sa.delete(checkpoints).where(own, ~stays))
        key = self._insert(keys).values(name=self._signer.name, public=self._signer.public)
        connection.execute(key.on_conflict_do_nothing())
        place = {"id": record_id(self._number, through.sequence), "reason": Reason.PRUNE.value}
        row = {**place, "at": round(self._now * 1_000_000), "line": line}
        connection.execute(sa.insert(checkpoints).values(row))
        return gone, len(kept.sequences)

    def _loose(self, through: Link) -> sa.ColumnElement[bool]:
        """Records up to there that no hold keeps."""
        own = records.c.id.between(record_id(self._number, 0), record_id(self._number, through.sequence))
        held = sa.select(callers.c.number).where(callers.c.run.in_(sa.select(holds.c.run)))
        return sa.and_(own, records.c.caller.not_in(held))

    def _kept(self, connection: sa.Connection, through: Link) -> Kept:
        own = records.c.id.between(record_id(self._number, 0), record_id(self._number, through.sequence))
        rows = connection.execute(sa.select(records.c.id, records.c.line).where(own).order_by(records.c.id))
        return keep(self._sealed(row.id, bytes(row.line)) for row in rows)

    def _anchor(self, connection: sa.Connection) -> Link | None:
        own = checkpoints.c.id.between(record_id(self._number, 0), record_id(self._number + 1, 0) - 1)
        asked = sa.select(checkpoints.c.line).where(own, checkpoints.c.reason == Reason.PRUNE.value)
        line = connection.scalar(asked.order_by(checkpoints.c.id.desc()).limit(1))
        found = read_checkpoint(bytes(line)) if line is not None else None
        return found.link if found is not None else None

    def _link(self, connection: sa.Connection, number: int) -> Link:
        line = connection.scalar(sa.select(records.c.line).where(records.c.id == number))
        return self._sealed(number, bytes(line or b""))

    def _sealed(self, number: int, line: bytes) -> Link:
        """Raises StoreUnavailableError for a record that was changed: nothing of such a chain is removed."""
        sealed = read_sealed(line)
        expected = (self._writer, split_id(number)[1])
        if sealed is None or (sealed.link.writer, sealed.link.sequence) != expected or not sealed.is_intact:
            raise StoreUnavailableError(
                f"record {expected[1]} of {self._writer} is not as it was written: nothing is pruned before"
                " `chaperone audit verify` has been looked at"
            )
        return sealed.link

    def _count(self, connection: sa.Connection) -> int:
        anchor = self._anchor(connection)
        if anchor is None:
            return 0
        own = records.c.id.between(record_id(self._number, 0), record_id(self._number, anchor.sequence))
        return int(connection.scalar(sa.select(sa.func.count()).select_from(records).where(own)) or 0)


@contextmanager
def turn_of_recordings(engine: sa.Engine) -> Iterator[None]:
    """Who removes recordings and who holds a run wait for each other: what is held when this ends stays."""
    if is_sqlite(engine.url):
        file = Path(str(engine.url.database))
        lock = FileLock(file.with_name(f"{file.name}.recordings.lock"))
        try:
            with lock.held():
                yield
        finally:
            lock.close()
        return
    with unavailable("the audit store did not answer"), engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.execute(sa.select(sa.func.pg_advisory_lock(RECORDINGS_LOCK)))
        try:
            yield
        finally:
            connection.execute(sa.select(sa.func.pg_advisory_unlock(RECORDINGS_LOCK)))


def hold(engine: sa.Engine, run: str, *, reason: str, by: str, now: float) -> None:
    """When this returns nothing of the run is removed any more, records and recordings."""
    with turn_of_recordings(engine):
        _hold(engine, run, reason=reason, by=by, now=now)


def _hold(engine: sa.Engine, run: str, *, reason: str, by: str, now: float) -> None:
    insert = (postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert)(holds)
    row = {"run": run, "reason": reason, "by": by, "since": round(now * 1_000_000)}
    kept = insert.values(row).on_conflict_do_update(
        index_elements=[holds.c.run], set_={"reason": reason, "by": by}
    )
    turn = [] if is_sqlite(engine.url) else [sa.select(sa.func.pg_advisory_xact_lock(LOCK))]
    _do(engine, [*turn, kept])


def release(engine: sa.Engine, run: str) -> bool:
    return _do(engine, [sa.delete(holds).where(holds.c.run == run)]) > 0


def _do(engine: sa.Engine, statements: Sequence[Any]) -> int:
    with unavailable("the audit store did not take a change"), engine.begin() as connection:
        return sum(connection.execute(statement).rowcount for statement in statements)
