"""The one writer of one chain: whole batches in one transaction each, and nothing twice.

A record's place (writer and sequence) is its primary key. When the answer to a commit is lost, `open` tells where the
chain really ends, and the caller carries on from there.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from chaperone.core.chain import Link, Sealed, origin, read_checkpoint, read_sealed
from chaperone.core.timestamp import unix_seconds
from chaperone.store.engine import FileLock, OpenFile, is_sqlite, make_engine, make_file, shown, unavailable
from chaperone.store.facts import NOBODY, FactFinder, Facts, digest_of
from chaperone.store.inserting import Batch, PlaceTakenError, Row, commit_batch
from chaperone.store.interface import StoreUnavailableError
from chaperone.store.migrating import migrate
from chaperone.store.tables import callers, checkpoints, keys, record_id, records, split_id, writers

REMEMBERED = 10_000
"""Callers whose number is remembered."""
Caller = tuple[str, str, str, str, str]


class StoreWriter:
    """Implements interface.RecordWriter. All methods but the constructor belong to one thread.

    key: name and public PEM of the key that signs this writer's checkpoints.
    """

    def __init__(self, url: sa.URL, writer: str, key: tuple[str, str]) -> None:
        self.origin = origin(writer)
        self._url = url
        self._key = key
        self._engine = make_engine(url, writes=True)
        self._insert = postgresql.insert if not is_sqlite(url) else sqlite.insert
        self._connection: sa.Connection | None = None
        self._driver: Any = None
        self._synced: bool | None = None
        self._number = 0
        self._numbers: dict[Caller, int] = {NOBODY: 0}
        self._facts = FactFinder()
        file = Path(str(url.database))
        self._file = OpenFile(file) if is_sqlite(url) else None
        self._turn = FileLock(file.with_name(f"{file.name}.lock")) if is_sqlite(url) else None
        own = re.sub(r"[^a-z0-9.-]", "_", writer)
        self._own = FileLock(file.with_name(f"{file.name}.{own}.lock")) if is_sqlite(url) else None

    def open(self) -> Link | None:
        self.close()
        try:
            with unavailable(f"the audit store {shown(self._url)} cannot be opened"):
                return self._open()
        except BaseException:
            self.close()
            raise

    def append(self, batch: Sequence[Sealed], checkpoint: bytes | None, *, durable: bool) -> None:
        connection = self._connection
        if connection is None:
            raise StoreUnavailableError(f"the audit store {shown(self._url)} is not open")
        facts = self._facts.of_batch(batch)
        try:
            if self._file is not None:
                self._file.check()
            with unavailable("the audit store did not take a batch"), self._in_turn():
                self._write(connection, batch, facts, checkpoint, durable=durable or checkpoint is not None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()
        self._synced = None
        self._engine.dispose()
        for lock in (self._turn, self._own):
            if lock is not None:
                lock.close()

    # Opening

    def _open(self) -> Link | None:
        self._numbers = {NOBODY: 0}  # it may be another store by now, as after a restore
        if self._turn is not None:
            make_file(self._url)
        with self._in_turn():
            migrate(self._engine)
        self._connection = connection = self._engine.connect()
        if self._file is not None:
            self._file.opened()
        self._hold_alone(connection)
        with self._in_turn(), connection.begin():
            self._number = self._register(connection)
            tail = self._tail(connection)
        self._driver = driver = connection.connection.driver_connection
        if self._turn is None and driver is not None:
            driver.autocommit = True
        return tail

    def _in_turn(self) -> AbstractContextManager[None]:
        """SQLite has one writer at a time; waiting in the kernel is quicker and fairer than its own asking again."""
        return self._turn.held() if self._turn is not None else nullcontext()

    def _hold_alone(self, connection: sa.Connection) -> None:
        """Raises StoreUnavailableError when another process writes the same chain."""
        name = self.origin.writer
        if self._own is not None:
            held = self._own.try_hold()
        else:
            lock = int.from_bytes(hashlib.sha256(b"audit writer " + name.encode()).digest()[:8], signed=True)
            with connection.begin():
                held = bool(connection.scalar(sa.select(sa.func.pg_try_advisory_lock(lock))))
        if not held:
            raise StoreUnavailableError(
                f"another process writes as {name}: give this one a name of its own (audit.writer)"
            )

    def _register(self, connection: sa.Connection) -> int:
        name = self.origin.writer
        connection.execute(self._insert(writers).values(name=name).on_conflict_do_nothing())
        key, public = self._key
        connection.execute(self._insert(keys).values(name=key, public=public).on_conflict_do_nothing())
        number = connection.scalar(sa.select(writers.c.number).where(writers.c.name == name))
        return int(number or 0)

    def _tail(self, connection: sa.Connection) -> Link | None:
        """The later of the last record and the last checkpoint: records may have been pruned."""
        link: Link | None = None
        for table in (checkpoints, records):
            own = table.c.id.between(record_id(self._number, 0), record_id(self._number + 1, 0) - 1)
            last = connection.execute(
                sa.select(table.c.id, table.c.line).where(own).order_by(table.c.id.desc()).limit(1)
            ).first()
            if last is not None:
                found = self._link_of(last.id, bytes(last.line))
                link = found if link is None or found.sequence >= link.sequence else link
        return link

    def _link_of(self, number: int, line: bytes) -> Link:
        read = read_sealed(line) or read_checkpoint(line)
        if (
            read is None
            or read.link.writer != self.origin.writer
            or read.link.sequence != split_id(number)[1]
        ):
            raise StoreUnavailableError(
                f"the last record of {self.origin.writer} in the audit store is not as it was written: run"
                " `chaperone audit verify`, keep the store, and start anew under another audit.writer"
            )
        return read.link

    # Writing

    def _write(
        self,
        connection: sa.Connection,
        batch: Sequence[Sealed],
        facts: list[Facts],
        checkpoint: bytes | None,
        *,
        durable: bool,
    ) -> None:
        self._sync_at_commit(durable)
        self._meet_callers(connection, facts)
        rows = [self._row(sealed, fact) for sealed, fact in zip(batch, facts, strict=True)]
        signed = _checkpoint_row(self._number, checkpoint) if checkpoint is not None else None
        try:
            commit_batch(self._driver, Batch(rows, self._counted(facts), signed))
        except PlaceTakenError as fault:
            raise StoreUnavailableError(
                f"the audit store holds other records in the place of {self.origin.writer}'s next ones: run"
                " `chaperone audit verify`, and start anew under another audit.writer"
            ) from fault

    def _sync_at_commit(self, durable: bool) -> None:
        """SQLite: whether the next commits wait for the disk; a later one that does carries the earlier ones with it.
        PostgreSQL always waits: it may lose power while we live on, and the chain would have a hole."""
        if self._turn is not None and durable is not self._synced:
            self._driver.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._synced = durable

    def _row(self, sealed: Sealed, facts: Facts) -> Row:
        place = record_id(self._number, sealed.link.sequence)
        return (place, facts[0], facts[1], facts[2], self._numbers[facts[3]], *facts[4:], sealed.line)

    def _meet_callers(self, connection: sa.Connection, facts: list[Facts]) -> None:
        """Numbers of callers that are not remembered; made where they are new, before the batch and in one order, so that
        two writers never wait for each other."""
        new = {fact.caller: fact.at for fact in reversed(facts) if fact.caller not in self._numbers}
        if not new:
            return
        if len(self._numbers) + len(new) > REMEMBERED:
            self._numbers = {NOBODY: 0}
            new = {fact.caller: fact.at for fact in reversed(facts) if fact.caller != NOBODY}
        with connection.begin():
            found = {
                caller: self._number_of(connection, digest, caller, new[caller])
                for digest, caller in sorted((digest_of(caller), caller) for caller in new)
            }
        self._numbers.update(found)

    def _number_of(self, connection: sa.Connection, digest: str, caller: Caller, first: int) -> int:
        columns = dict(zip(("run", "agent", "model", "issuer", "username"), caller, strict=True))
        row = {"digest": digest, "first": first, **columns}
        connection.execute(self._insert(callers).values(row).on_conflict_do_nothing())
        return int(connection.scalar(sa.select(callers.c.number).where(callers.c.digest == digest)) or 0)

    def _counted(self, facts: list[Facts]) -> list[Row]:
        counted = Counter([(fact.at // 60_000_000, fact.verdict) for fact in facts if fact.ended])
        return [(minute, self._number, verdict, count) for (minute, verdict), count in counted.items()]


def _checkpoint_row(writer: int, line: bytes) -> Row:
    read = read_checkpoint(line)
    if read is None:
        raise ValueError("not a checkpoint")
    at = round(unix_seconds(read.time) * 1_000_000)
    return (record_id(writer, read.link.sequence), read.reason.value, at, line)
