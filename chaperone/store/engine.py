"""Connections to the database of an audit store: SQLite in WAL mode, or PostgreSQL through psycopg."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from chaperone.store.interface import StoreMismatchError, StoreUnavailableError

FILE = "audit.db"
PATIENCE = 5
"""Seconds to wait for a connection, a lock, or an answer to what was sent."""
MOST_LOG = 64 << 20
"""Bytes to which SQLite cuts its write-ahead log back."""
PAGE = 8192
"""Bytes: a page takes six records; with SQLite's usual 4096 it takes three, and a quarter of the file is air."""
CACHE_KIB = 16 * 1024
KEEP_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def store_url(text: str) -> sa.URL:
    """Of `sqlite:///file`, `postgresql://…`, or the path of an SQLite file or its folder. Raises StoreMismatchError."""
    if "://" not in text:
        path = Path(text)
        return sa.URL.create("sqlite", database=str(path / FILE if path.is_dir() else path))
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as fault:
        raise StoreMismatchError(
            "the store's address cannot be read: sqlite:///FILE or postgresql://…"
        ) from fault
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return url.set(drivername="postgresql+psycopg")
    if url.drivername != "sqlite" or not url.database:
        raise StoreMismatchError(
            f"no audit store is kept in {url.drivername}: use sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        )
    path = Path(url.database)
    return sa.URL.create("sqlite", database=str(path / FILE if path.is_dir() else path))


def shown(url: sa.URL) -> str:
    """The address for people: never with a password."""
    return url.render_as_string(hide_password=True).replace("+psycopg", "")


def is_sqlite(url: sa.URL) -> bool:
    return url.drivername == "sqlite"


def make_engine(url: sa.URL, *, writes: bool = False) -> sa.Engine:
    """writes: for the one thread that writes records; it may make the file, and its transactions begin as writers."""
    if is_sqlite(url):
        return _sqlite(url, writes=writes)
    return _postgresql(url, writes=writes)


def _sqlite(url: sa.URL, *, writes: bool) -> sa.Engine:
    engine = sa.create_engine(url, connect_args={"timeout": PATIENCE, "check_same_thread": False})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA page_size={PAGE}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA journal_size_limit={MOST_LOG}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(url: sa.URL, *, writes: bool) -> sa.Engine:
    """A server that is gone is noticed by us, and a client that is gone by the server, within half a minute."""
    settings = {f"tcp_{name}": value for name, value in KEEP_ALIVE.items()}
    if writes:
        milliseconds = PATIENCE * 1000
        settings |= {"lock_timeout": milliseconds, "statement_timeout": 6 * milliseconds}
        settings |= {"idle_in_transaction_session_timeout": 6 * milliseconds}
    arguments: dict[str, Any] = {
        "connect_timeout": PATIENCE,
        "tcp_user_timeout": PATIENCE * 1000,
        "application_name": "kube-chaperone-audit",
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
        **KEEP_ALIVE,
    }
    given = {name: value for name, value in arguments.items() if name not in url.query}
    return sa.create_engine(url, connect_args=given, pool_pre_ping=not writes)


def make_file(url: sa.URL) -> None:
    """The folder and an empty file that only its owner may read. Raises OSError."""
    path = Path(str(url.database))
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))


@contextmanager
def unavailable(doing: str) -> Iterator[None]:
    """What a database says, as the store's own error; the words of a server may hold what was sent, so only the first
    line is passed on."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, psycopg.Error) as fault:
        raise StoreUnavailableError(f"{doing}: {first_line(fault)}") from fault


def first_line(fault: Exception) -> str:
    words = str(getattr(fault, "orig", None) or fault).strip().splitlines()
    return words[0][:300] if words else type(fault).__name__


class OpenFile:
    """The file of an SQLite store that is written to. SQLite goes on writing to a file that was removed, and nobody would
    ever read what it writes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is: tuple[int, int] | None = None

    def opened(self) -> None:
        """It is this one from now on."""
        self._is = self._found()

    def check(self) -> None:
        """Raises StoreUnavailableError when another file or none has its name."""
        if self._found() != self._is:
            raise StoreUnavailableError(
                f"the audit store {self._path} was removed or replaced while it was open"
            )

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class FileLock:
    """A lock between processes of one machine; let go of when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def try_hold(self) -> bool:
        """False: another process has it."""
        self._open()
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Waits in the kernel's queue, without asking again and again."""
        self._open()
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
