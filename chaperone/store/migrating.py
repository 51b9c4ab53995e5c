"""Bringing a store's tables to this version: at every start of a writer, safe when several start at once."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from chaperone.store.interface import StoreMismatchError

LOCK = 0x63686170
"""Key of PostgreSQL's advisory lock: all who would migrate wait for each other. SQLite's writers do so anyway."""


def migrate(engine: sa.Engine) -> None:
    """Raises SQLAlchemyError, and StoreMismatchError for tables of a later version. engine: one that writes."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    with engine.connect() as connection:
        if _version(connection) == newest:
            return
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        config = _config()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as fault:
            raise StoreMismatchError(
                f"the store's tables are of version {_version(connection)}, which this program does not know:"
                " it was opened by a later release; run that one"
            ) from fault


def check(engine: sa.Engine) -> None:
    """For those who only read. Raises StoreMismatchError when the tables are not of this version."""
    with engine.connect() as connection:
        found = _version(connection)
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if found != newest:
        state = (
            "there is no audit store" if found is None else f"its tables are of version {found}, not {newest}"
        )
        raise StoreMismatchError(f"{state}; the gateway makes and upgrades it when it starts")


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
