"""Rows of records into the database, as fast as it takes them: one statement for many, with Python's lock held or let go
of as a whole. A statement a row would hand the lock to the event loop and back for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from chaperone.store.tables import records

Row = tuple[Any, ...]
COLUMNS = tuple(column.name for column in records.columns)
SIZES = (512, 128, 32, 8, 2, 1)
"""Rows in one statement of SQLite, which takes 32,766 values at most; each size is compiled once."""


def insert_rows(connection: sa.Connection, rows: Sequence[Row]) -> None:
    if connection.dialect.name == "postgresql":
        _copy(connection, rows)
        return
    at = 0
    for size in SIZES:
        while len(rows) - at >= size:
            values = tuple(chain.from_iterable(rows[at : at + size]))
            connection.exec_driver_sql(_statement(size), values)
            at += size


@cache
def _statement(size: int) -> str:
    row = f"({','.join('?' * len(COLUMNS))})"
    return f"INSERT INTO records ({','.join(COLUMNS)}) VALUES {','.join([row] * size)}"  # noqa: S608  our own names


def _copy(connection: sa.Connection, rows: Sequence[Row]) -> None:
    driver = connection.connection.driver_connection
    if driver is None:
        raise TypeError("there is no connection to copy to")
    with driver.cursor() as cursor, cursor.copy(f"COPY records ({','.join(COLUMNS)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
