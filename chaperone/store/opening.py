"""An audit store for people and programs that ask, prune or export; the gateway writes through `writing.StoreWriter`."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from chaperone.store import retention
from chaperone.store.engine import is_sqlite, make_engine, store_url, unavailable
from chaperone.store.interface import Hold, StoreMismatchError
from chaperone.store.migrating import check
from chaperone.store.reading import Reader
from chaperone.store.signing import KEY_FILE


class Store(Reader):
    """Implements interface.AuditStore."""

    def __init__(self, url: sa.URL) -> None:
        self.url = url
        self.engine = make_engine(url)
        super().__init__(self.engine)

    def holds(self) -> tuple[Hold, ...]:
        return retention.all_holds(self.engine)

    def hold(self, run: str, *, reason: str, by: str, now: float) -> None:
        retention.hold(self.engine, run, reason=reason, by=by, now=now)

    def release(self, run: str) -> bool:
        return retention.release(self.engine, run)

    def key_beside(self) -> Path | None:
        """Where the gateway keeps its signing key beside an SQLite store."""
        return Path(str(self.url.database)).parent / KEY_FILE if is_sqlite(self.url) else None

    def close(self) -> None:
        self.engine.dispose()


def open_store(address: str) -> Store:
    """sqlite:///FILE, a path, or postgresql://…. Raises StoreMismatchError, and StoreUnavailableError."""
    url = store_url(address)
    if is_sqlite(url) and not Path(str(url.database)).is_file():
        raise StoreMismatchError(f"there is no audit store at {url.database}")
    store = Store(url)
    try:
        with unavailable("the audit store cannot be opened"):
            check(store.engine)
    except BaseException:
        store.close()
        raise
    return store
