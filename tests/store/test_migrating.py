"""The migrations make exactly the tables that the code works with."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from chaperone.store.engine import make_engine, store_url
from chaperone.store.migrating import migrate
from chaperone.store.tables import metadata
from tests.store.conftest import Bench


def test_migrated_tables_are_those_of_the_code(bench: Bench) -> None:
    engine = make_engine(store_url(bench.address))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_migrating_again_changes_nothing(bench: Bench) -> None:
    engine = make_engine(store_url(bench.address), writes=True)
    migrate(engine)
    migrate(engine)
    engine.dispose()
