"""Stores that are full, refuse, vanish or were cut short, each the real thing: what was acknowledged is there, nothing twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from chaperone.core.chain import Reason
from chaperone.core.chain_check import Kind
from chaperone.settings.gateway import AuditSettings
from chaperone.store import engine as engines
from chaperone.store.engine import store_url
from chaperone.store.interface import Query
from chaperone.store.opening import open_store
from chaperone.store.verification import verify
from gateway.audit import AuditLog, AuditUnavailable
from gateway.audit_making import audit_log
from hack import postgres
from tests.store.conftest import NOW, Bench, database, event

ROOT = Path(__file__).parents[2]
LONG = "x" * 20_000
SMALL_DISK = 3 << 20


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110  the claim is about a thread, nothing signals it
        await asyncio.sleep(0.05)


def log_of(folder: Path, store: str = "", path: str = "-") -> AuditLog:
    settings = AuditSettings(store=store, path=path, signing_key=folder / "audit.key", wait=20.0, writer="gw")
    return audit_log(settings, gateway="gw", worker=0, shares=False, on_failure=lambda: None)


def ids(address: str) -> list[str]:
    """Of all records, sorted."""
    store, found, cursor = open_store(address), [], ""
    while True:
        page = store.search(Query(), limit=500, cursor=cursor)
        found += [str(one.record["auditID"]) for one in page.records]
        cursor = page.cursor
        if not cursor:
            store.close()
            return sorted(found)


async def fill(log: AuditLog) -> list[str]:
    """Until a record is refused; those that were acknowledged."""
    acknowledged: list[str] = []
    for number in range(10_000):
        try:
            await log.durable(event(f"r{number}", requestURI=f"/{LONG}"))
        except AuditUnavailable:
            return acknowledged
        acknowledged.append(f"r{number}")
    raise AssertionError("the disk was never full")


# Full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, nearly full of a file that can be removed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    (folder / "ballast").write_bytes(b"x" * (1 << 20))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("kind", ["SQLite", "JSON lines"])
def test_a_full_disk_refuses_and_is_written_to_again_when_there_is_room(
    small_disk: Path, tmp_path: Path, kind: str
) -> None:
    file = small_disk / ("audit.db" if kind == "SQLite" else "audit.jsonl")
    place = {"store": f"sqlite:///{file}"} if kind == "SQLite" else {"path": str(file)}
    acknowledged: list[str] = []

    async def scenario() -> None:
        log = log_of(tmp_path, **place)
        log.start()
        acknowledged.extend(await fill(log))
        assert len(acknowledged) > 10
        assert "full" in log.failure or "No space" in log.failure
        with pytest.raises(AuditUnavailable):
            log.write(event("read"))
        (small_disk / "ballast").unlink()
        await until(lambda: not log.failure)
        await log.durable(event("after"))
        acknowledged.append("after")
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    checked = verify(str(file), trusted=[(tmp_path / "audit.key.pub").read_text()]).verification
    assert checked.is_good
    assert checked.chains[0].closed
    if kind == "SQLite":
        assert ids(str(file)) == sorted(acknowledged)
    else:
        assert checked.chains[0].records == len(acknowledged)


LIMITED = """
import asyncio, json, resource, sys
from pathlib import Path
from gateway.audit import AuditUnavailable
from tests.store.test_failing_store import fill, log_of, until
from tests.store.conftest import event

async def scenario(folder, place):
    log = log_of(folder, **place)
    log.start()
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))
    acknowledged = await fill(log)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(lambda: not log.failure)
    await log.durable(event("after"))
    await log.close()
    print(json.dumps([*acknowledged, "after"]))

asyncio.run(scenario(Path(sys.argv[1]), json.loads(sys.argv[2])))
"""


def test_a_file_that_may_not_grow_refuses_and_recovers(tmp_path: Path) -> None:
    """As a quota does."""
    place = f'{{"store": "sqlite:///{tmp_path / "audit.db"}"}}'
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path), place],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    acknowledged = sorted(json.loads(done.stdout))
    assert len(acknowledged) > 10
    assert ids(str(tmp_path / "audit.db")) == acknowledged
    assert verify(str(tmp_path / "audit.db")).verification.is_good


# A server that answers, and refuses


@pytest.fixture
def own_database(server: postgres.Postgres) -> Iterator[str]:
    with database(server) as url:
        yield url


def as_administrator(address: str, *statements: str) -> None:
    engine = sa.create_engine(store_url(address), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("{database}", str(engine.url.database)))
    engine.dispose()


FULL = (
    """CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$""",
    "CREATE TRIGGER full_disk BEFORE INSERT ON records FOR EACH ROW EXECUTE FUNCTION full_disk()",
)
ROOM = ("DROP TRIGGER full_disk ON records",)
READ_ONLY = (
    "ALTER ROLE chaperone IN DATABASE {database} SET default_transaction_read_only = on",
    """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()""",
)
WRITABLE = (
    "SET default_transaction_read_only = off",
    "ALTER ROLE chaperone IN DATABASE {database} RESET default_transaction_read_only",
)
REFUSALS = {"full": (FULL, ROOM, "No space left"), "read-only": (READ_ONLY, WRITABLE, "")}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("count", [1, 40])
def test_a_server_that_refuses_is_asked_again(
    own_database: str, tmp_path: Path, refusal: str, count: int
) -> None:
    """count: of mutations at once; few and many take different ways into the database."""
    refuse, allow, says = REFUSALS[refusal]

    async def scenario() -> None:
        log = log_of(tmp_path, store=own_database)
        log.start()
        await log.durable(event("before"))
        await asyncio.to_thread(as_administrator, own_database, *refuse)
        log.write(event("read"))
        refused = [log.durable(event(f"refused-{number}")) for number in range(count)]
        answers = await asyncio.gather(*refused, return_exceptions=True)
        assert [type(answer) for answer in answers] == [AuditUnavailable] * count
        assert says in log.failure
        await asyncio.to_thread(as_administrator, own_database, *allow)
        await until(lambda: not log.failure and not log.depth)
        await log.durable(event("after"))
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert ids(own_database) == ["after", "before", "read"]
    assert verify(own_database).verification.is_good


def test_a_lock_that_somebody_holds_too_long_refuses_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PATIENCE", 0.2)
    file = tmp_path / "audit.db"

    async def scenario() -> None:
        log = log_of(tmp_path, store=f"sqlite:///{file}")
        log.start()
        await log.durable(event("before"))
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailable, match="locked"):
            await log.durable(event("refused"))
        other.execute("ROLLBACK")
        other.close()
        await until(lambda: not log.failure)
        await log.durable(event("after"))
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert ids(str(file)) == ["after", "before"]
    assert verify(str(file)).verification.is_good


# Gone, replaced, cut short


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_store_that_is_removed_under_its_writer_shows(tmp_path: Path, how: str) -> None:
    """Records do not go to a file that nobody can open: the mutation is refused, and the new file lacks what was."""
    file = tmp_path / "store" / "audit.db"

    async def scenario() -> None:
        log = log_of(tmp_path, store=f"sqlite:///{file}")
        log.start()
        await log.durable(event("before"))
        if how == "removed":
            shutil.rmtree(file.parent)
        else:
            file.rename(file.with_name("elsewhere.db"))
            Bench(f"sqlite:///{file}", "other-0").writer.close()
        with pytest.raises(AuditUnavailable, match="removed or replaced"):
            await log.durable(event("refused"))
        await until(lambda: not log.failure)
        await log.durable(event("after"))
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert ids(str(file)) == ["after"]
    (fault,) = verify(str(file)).verification.faults
    assert (fault.kind, fault.writer, fault.sequence) == (Kind.MISSING, "gw-0", 1)


def test_a_store_that_lost_the_end_of_its_log_holds_whole_batches(tmp_path: Path) -> None:
    """As a loss of power leaves it, at any place."""
    bench = Bench(f"sqlite:///{tmp_path / 'audit.db'}")
    for number in range(6):
        bench.write(*(event(f"{number}-{part}") for part in range(5)))
    written = (tmp_path / "audit.db-wal").read_bytes()
    whole = (tmp_path / "audit.db").read_bytes()
    lengths = range(0, len(written), len(written) // 25)
    found = []
    for length in lengths:
        copy = tmp_path / f"cut-{length}" / "audit.db"
        copy.parent.mkdir()
        copy.write_bytes(whole)
        copy.with_name("audit.db-wal").write_bytes(written[:length])
        try:
            again = Bench(f"sqlite:///{copy}", signer=bench.signer)
        except Exception as fault:
            raise AssertionError(f"cut after {length} of {len(written)} bytes") from fault
        before = again.chain.link.sequence
        again.write(event("after"), checkpoint=Reason.CLOSE)
        again.writer.close()
        assert verify(str(copy)).verification.is_good
        assert before % 5 == 0
        found.append(before)
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] >= 20
    bench.writer.close()


# Not this store, not this writer, not this time


def test_a_second_gateway_of_the_same_name_does_not_start(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        first, second = (log_of(tmp_path, store=address) for _ in range(2))
        first.start()
        with pytest.raises(AuditUnavailable, match=r"another process writes as gw-0.*audit\.writer"):
            second.start()
        with pytest.raises(AuditUnavailable):
            second.write(event("refused"))
        await first.durable(event("first"))
        await first.close()
        second.start()
        await second.durable(event("second"))
        await second.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert ids(address) == ["first", "second"]
    assert verify(address).verification.is_good


def test_a_store_of_a_later_release_is_not_written(bench: Bench, tmp_path: Path) -> None:
    bench.writer.close()
    bench.sql("UPDATE alembic_version SET version_num = '9999'")

    async def scenario() -> None:
        with pytest.raises(AuditUnavailable, match="later release"):
            log_of(tmp_path, store=bench.address).start()

    asyncio.run(scenario())


def test_a_clock_that_is_set_back_leaves_a_whole_chain(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = log_of(tmp_path, store=address)
        log.start()
        for audit_id, at in (("a", NOW), ("b", NOW - 86_400), ("c", NOW + 1)):
            await log.durable(event(audit_id, at=at))
        await log.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    checked = verify(address).verification
    assert checked.is_good
    assert [(note.kind, note.sequence) for note in checked.findings] == [(Kind.CLOCK, 2)]
    store = open_store(address)
    yesterday: Any = store.search(Query(since=NOW - 90_000, until=NOW - 80_000))
    store.close()
    assert [one.record["auditID"] for one in yesterday.records] == ["b"]
