"""A batch into the database: one transaction, in the driver's own words and as few of them as there can be.

Each word to a driver hands Python's lock to the event loop and back, and each round trip to a server is waited for by a
mutation. So rows go in many to a statement, and PostgreSQL gets a small batch as one pipeline.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import psycopg
import sqlalchemy as sa

from chaperone.store.tables import checkpoints, records, tallies

Row = tuple[Any, ...]
_TYPES: dict[type, str] = {sa.BigInteger: "int8", sa.Text: "text", sa.LargeBinary: "bytea"}
COLUMNS = tuple(column.name for column in records.columns)
COPY = f"COPY records ({','.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
TYPES = [_TYPES[type(column.type)] for column in records.columns]
MOST = 256
STEP = 16
"""Rows in one statement: 256, multiples of 16, or fewer than 16: so few texts that all stay compiled."""
FEW = 3
"""Rows that PostgreSQL gets in one pipeline: a mutation or two. COPY is cheaper a row, and costs two round trips more."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of the tables records, tallies and checkpoints, in the order of their columns. tallies: counts to be added."""

    records: Sequence[Row]
    tallies: Sequence[Row]
    checkpoint: Row | None = None


class PlaceTakenError(Exception):
    """Another record has the number of one of these."""


def commit_batch(driver: Any, batch: Batch) -> None:
    """driver: a connection in autocommit mode; after an error it is of no use any more. Raises PlaceTakenError, and what
    the driver raises."""
    try:
        (_to_sqlite if isinstance(driver, sqlite3.Connection) else _to_postgresql)(driver, batch)
    except (sqlite3.IntegrityError, psycopg.IntegrityError) as fault:
        raise PlaceTakenError from fault


def _to_sqlite(driver: sqlite3.Connection, batch: Batch) -> None:
    driver.execute("BEGIN IMMEDIATE")
    rows, at = batch.records, 0
    while at < len(rows):
        size = _step(len(rows) - at)
        driver.execute(_insert(size, "?"), tuple(chain.from_iterable(rows[at : at + size])))
        at += size
    for row in batch.tallies:
        driver.execute(_tally("?"), row)
    if batch.checkpoint is not None:
        driver.execute(_checkpoint("?"), batch.checkpoint)
    driver.execute("COMMIT")


def _to_postgresql(driver: psycopg.Connection[Any], batch: Batch) -> None:
    """A pipeline stops at its first error, so COMMIT is reached by whole batches alone."""
    rows = batch.records
    with driver.cursor() as cursor:
        if len(rows) > FEW:
            cursor.execute("BEGIN")
            with cursor.copy(COPY) as copy:
                copy.set_types(TYPES)
                for row in rows:
                    copy.write_row(row)
        with driver.pipeline():
            if len(rows) <= FEW:
                cursor.execute("BEGIN")
            if 0 < len(rows) <= FEW:
                cursor.execute(_insert(len(rows), "%b"), tuple(chain.from_iterable(rows)), prepare=True)
            for row in batch.tallies:
                cursor.execute(_tally("%b"), row, prepare=True)
            if batch.checkpoint is not None:
                cursor.execute(_checkpoint("%b"), batch.checkpoint)
            cursor.execute("COMMIT")


def _step(left: int) -> int:
    return min(MOST, left - left % STEP or left)


@cache
def _insert(size: int, mark: str) -> str:
    return f"{_into(records)} {','.join([_marks(records, mark)] * size)}"


@cache
def _tally(mark: str) -> str:
    return (
        f"{_into(tallies)} {_marks(tallies, mark)}"
        " ON CONFLICT (minute, writer, verdict) DO UPDATE SET count = tallies.count + excluded.count"
    )


@cache
def _checkpoint(mark: str) -> str:
    return f"{_into(checkpoints)} {_marks(checkpoints, mark)} ON CONFLICT DO NOTHING"


def _into(table: sa.Table) -> str:
    """Columns are named: a later release may have added some while this one still writes."""
    return f"INSERT INTO {table.name} ({','.join(table.columns.keys())}) VALUES"


def _marks(table: sa.Table, mark: str) -> str:
    return f"({','.join([mark] * len(table.columns))})"
