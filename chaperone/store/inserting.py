"""Rows of records into the database, as fast as it takes them: one statement for many, with Python's lock held or let go
of as a whole. A statement a row would hand the lock to the event loop and back for each of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import psycopg
import sqlalchemy as sa

from chaperone.store.interface import StoreUnavailableError
from chaperone.store.tables import records

Row = tuple[Any, ...]
_TYPES: dict[type, str] = {sa.BigInteger: "int8", sa.Text: "text", sa.LargeBinary: "bytea"}
COLUMNS = tuple(column.name for column in records.columns)
COPY = f"COPY records ({','.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
TYPES = [_TYPES[type(column.type)] for column in records.columns]
MOST = 256
STEP = 16
"""Rows in one statement of SQLite: 256, multiples of 16, or fewer than 16: so few texts that all stay compiled."""


class PlaceTakenError(Exception):
    """Another record has the number of one of these."""


def insert_rows(connection: sa.Connection, rows: Sequence[Row]) -> None:
    """Within the connection's transaction. Raises PlaceTakenError and StoreUnavailableError."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise StoreUnavailableError("the connection to the audit store is closed")
    insert = _copy if connection.dialect.name == "postgresql" else _insert
    try:
        insert(driver, rows)
    except (sqlite3.IntegrityError, psycopg.IntegrityError) as fault:
        raise PlaceTakenError from fault
    except (sqlite3.Error, psycopg.Error) as fault:
        words = str(fault).strip().splitlines() or [type(fault).__name__]
        raise StoreUnavailableError(f"the audit store did not take a batch: {words[0][:300]}") from fault


def _insert(driver: Any, rows: Sequence[Row]) -> None:
    at = 0
    while at < len(rows):
        left = len(rows) - at
        size = min(MOST, left - left % STEP or left)
        driver.execute(_statement(size), tuple(chain.from_iterable(rows[at : at + size])))
        at += size


@cache
def _statement(size: int) -> str:
    row = f"({','.join('?' * len(COLUMNS))})"
    return f"INSERT INTO records ({','.join(COLUMNS)}) VALUES {','.join([row] * size)}"  # noqa: S608  our own names


def _copy(driver: Any, rows: Sequence[Row]) -> None:
    with driver.cursor() as cursor, cursor.copy(COPY) as copy:
        copy.set_types(TYPES)
        for row in rows:
            copy.write_row(row)
