"""The migrations make exactly the tables that the code works with."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from chaperone.core.chain import Reason
from chaperone.store import migrating, tables
from chaperone.store.engine import make_engine, store_url
from chaperone.store.facts import digest_of, facts_of
from chaperone.store.interface import Query, StoreMismatchError
from chaperone.store.migrating import migrate
from chaperone.store.opening import open_store
from chaperone.store.signing import new_signer
from chaperone.store.tables import metadata
from chaperone.store.verification import verify
from gateway.audit_chain import SignedChain
from tests.store.conftest import NOW, Bench, event


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


def test_a_store_of_the_first_version_is_upgraded_with_its_records(address: str) -> None:
    """Written as that version did, then opened by a writer of this one."""
    engine = make_engine(store_url(address), writes=True)
    with engine.begin() as connection:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    seal = SignedChain("gw-0", new_signer(), wall=lambda: 0.0, clock=lambda: 0.0).seal
    sealed = seal(event("old", at=NOW))
    facts = facts_of(sealed.record or {})
    row = (1 << 40 | 1, *facts[:3], 1, *facts[4:12], sealed.line)
    columns = [column.name for column in tables.records.columns if column.name != "brief"]
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.writers).values(number=1, name="gw-0"))
        whose = dict(zip(("run", "agent", "model", "issuer", "username"), facts.caller, strict=True))
        known = sa.insert(tables.callers).values(number=1, digest=digest_of(facts.caller), first=facts.at)
        connection.execute(known.values(**whose))
        connection.execute(sa.insert(tables.records).values(dict(zip(columns, row, strict=True))))
    engine.dispose()
    with pytest.raises(StoreMismatchError, match="0001"):
        open_store(address)
    bench = Bench(address)
    bench.write(event("new", at=NOW + 1), checkpoint=Reason.CLOSE)
    bench.writer.close()
    store = open_store(address)
    found = store.search(Query(verdict="Allow"), brief=True).records
    store.close()
    assert [item.record["auditID"] for item in found] == ["new", "old"]
    assert verify(address).verification.is_good
