"""One store of each kind: an SQLite file, and a database of a real PostgreSQL server that the tests start."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chaperone.core.chain import Reason, Sealed
from chaperone.core.timestamp import rfc3339_micro
from chaperone.store.engine import make_engine, store_url
from chaperone.store.opening import Store, open_store
from chaperone.store.signing import new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain
from hack import postgres

NOW = 1_769_850_000.0


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running(log=lambda text: None) as found:
        yield found


KINDS = ("sqlite", "postgresql")


@contextmanager
def empty_store(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The address of one that nobody else uses, of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'audit.db'}"
        return
    with database(request.getfixturevalue("server")) as url:
        yield url


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_store(request, tmp_path) as found:
        yield found


@contextmanager
def database(server: postgres.Postgres) -> Iterator[str]:
    """A new database of the server."""
    name, url = f"t{uuid.uuid4().hex}", store_url(server.url)
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


def event(audit_id: str, *, at: float = NOW, run: str = "run-1", **fields: Any) -> dict[str, Any]:
    """A record as the gateway makes them."""
    moment = rfc3339_micro(at)
    return {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "auditID": audit_id,
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/dev/pods/web",
        "verb": "get",
        "requestReceivedTimestamp": moment,
        "stageTimestamp": moment,
        "objectRef": {"resource": "pods", "apiVersion": "v1", "namespace": "dev", "name": "web"},
        "user": {
            "username": "repo:acme/shop",
            "issuer": "https://issuer.example",
            "subject": "repo:acme/shop",
        },
        "run": run,
        "agent": "coder",
        "verdict": "Allow",
        "policy": {"name": "coders", "generation": 1, "rule": "r"},
        "risk": {"level": "low", "rows": ["R01"]},
        "responseStatus": {"code": 200},
        **fields,
    }


@dataclass
class Bench:
    """A writer with its chain, and the store that it writes to."""

    address: str
    name: str = "gw-0"
    signer: Any = field(default_factory=new_signer)

    def __post_init__(self) -> None:
        self.writer = StoreWriter(store_url(self.address), self.name, (self.signer.name, self.signer.public))
        self.chain = SignedChain(self.name, self.signer, wall=time.time, clock=time.monotonic)
        end = self.writer.open()
        if end is not None:
            self.chain.resume(end)

    def seal(self, *records: Mapping[str, Any]) -> list[Sealed]:
        return [self.chain.seal(record) for record in records]

    def write(
        self, *records: Mapping[str, Any], checkpoint: Reason | None = None, durable: bool = True
    ) -> list[Sealed]:
        sealed = self.seal(*records)
        line = self.chain.checkpoint(checkpoint) if checkpoint is not None else None
        self.writer.append(sealed, line, durable=durable)
        return sealed

    def store(self) -> Store:
        return open_store(self.address)

    def sql(self, statement: str, **values: Any) -> None:
        """As somebody with access to the database would."""
        engine = make_engine(store_url(self.address), writes=True)
        with engine.begin() as connection:
            connection.execute(sa.text(statement), values)
        engine.dispose()


@pytest.fixture
def bench(address: str) -> Iterator[Bench]:
    made = Bench(address)
    yield made
    made.writer.close()


@pytest.fixture
def store(bench: Bench) -> Iterator[Store]:
    opened = bench.store()
    yield opened
    opened.close()


@pytest.fixture
def another(address: str) -> Iterator[Callable[..., Bench]]:
    """Makes further writers on the same store."""
    made: list[Bench] = []

    def make(name: str) -> Bench:
        made.append(Bench(address, name))
        return made[-1]

    yield make
    for one in made:
        one.writer.close()
