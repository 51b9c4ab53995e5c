"""A batch is in the store whole or not at all, once, and the chain goes on wherever it was left."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from chaperone.cli.app import run
from chaperone.core.audit import Encoded, Repeated
from chaperone.core.chain import Reason, origin, seal
from chaperone.store.engine import make_engine, store_url
from chaperone.store.facts import FactFinder, facts_of
from chaperone.store.interface import Query, StoreMismatchError, StoreUnavailableError
from chaperone.store.opening import Store, open_store
from chaperone.store.verification import verify
from tests.store.conftest import NOW, Bench, event

ROOT = Path(__file__).parents[2]


def ids(store: Store) -> list[str]:
    return [str(found.record["auditID"]) for found in store.search(Query(), limit=1000).records]


def test_the_stored_bytes_are_the_sealed_ones(bench: Bench, store: Store) -> None:
    sealed = bench.write(event("a"), event("b"))
    assert [line for line, _ in store.lines("gw-0")] == [record.line for record in sealed]


def test_a_chain_goes_on_after_a_restart(bench: Bench) -> None:
    bench.write(event("a"), event("b"))
    bench.writer.close()
    again = Bench(bench.address, signer=bench.signer)
    assert again.chain.link == bench.chain.link
    again.write(event("c"), checkpoint=Reason.CLOSE)
    again.writer.close()
    result = verify(bench.address).verification
    assert result.is_good
    assert (result.chains[0].last, result.chains[0].closed) == (3, True)


def test_a_batch_is_never_stored_twice(bench: Bench, store: Store) -> None:
    """The answer to its commit was lost: whoever sends it again is told where the chain ends."""
    sealed = bench.write(event("a"), event("b"))
    with pytest.raises(StoreUnavailableError, match="holds other records in the place"):
        bench.writer.append(sealed, None, durable=True)
    assert bench.writer.open() == sealed[-1].link
    assert sorted(ids(store)) == ["a", "b"]


def test_half_a_batch_is_none(bench: Bench, store: Store) -> None:
    first = bench.write(event("a"))
    bad = [*bench.seal(event("b")), first[0]]
    with pytest.raises(StoreUnavailableError):
        bench.writer.append(bad, None, durable=True)
    assert ids(store) == ["a"]
    assert bench.writer.open() == first[0].link


def test_two_writers_have_two_chains(bench: Bench, another: Callable[..., Bench], store: Store) -> None:
    second = another("gw-1")
    bench.write(event("a"))
    second.write(event("b"))
    bench.write(event("c"))
    assert store.writers() == ("gw-0", "gw-1")
    result = verify(bench.address).verification
    assert [(chain.writer, chain.records) for chain in result.chains] == [("gw-0", 2), ("gw-1", 1)]
    assert result.is_good


def test_a_chain_has_one_writer_at_a_time(bench: Bench) -> None:
    with pytest.raises(StoreUnavailableError, match=r"another process writes as gw-0.*audit\.writer"):
        Bench(bench.address)
    bench.writer.close()
    Bench(bench.address).writer.close()


def test_writers_that_start_at_once_make_the_tables_once(address: str) -> None:
    made: list[Bench] = []
    faults: list[Exception] = []

    def start(number: int) -> None:
        try:
            made.append(Bench(address, f"gw-{number}"))
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(made) == 6
    for one in made:
        one.write(event(one.name))
        one.writer.close()
    assert verify(address).verification.is_good


def test_writers_at_the_same_time_lose_nothing(address: str) -> None:
    """The same new callers in both, in different orders: neither waits for the other for ever."""
    faults: list[Exception] = []

    def work(name: str, *, backwards: bool) -> None:
        try:
            one = Bench(address, name)
            for number in range(40):
                runs = [f"run-{number}-{part}" for part in range(5)]
                one.write(*(event(f"{name}-{run}", run=run) for run in (runs[::-1] if backwards else runs)))
            one.writer.close()
        except Exception as fault:
            faults.append(fault)

    threads = [
        threading.Thread(target=work, args=(f"gw-{number}",), kwargs={"backwards": bool(number)})
        for number in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    result = verify(address).verification
    assert result.is_good
    assert [chain.records for chain in result.chains] == [200, 200]


def test_a_killed_writer_leaves_whole_batches(address: str) -> None:
    """kill -9 in the middle of writing: what was acknowledged is there, and the chain is whole."""
    script = (
        "import sys; from tests.store.conftest import Bench, event\n"
        "one = Bench(sys.argv[1])\n"
        "for number in range(100_000):\n"
        "    one.write(*(event(f'{number}-{part}') for part in range(7)))\n"
        "    print(number, flush=True)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", script, address], stdout=subprocess.PIPE, cwd=ROOT)
    assert worker.stdout is not None
    last = 0
    for line in worker.stdout:
        last = int(line)
        if last == 20:
            os.kill(worker.pid, signal.SIGKILL)
            break
    worker.stdout.close()
    worker.wait()
    result = verify(address).verification
    assert result.is_good
    assert result.chains[0].records >= 7 * (last + 1)
    assert result.chains[0].records % 7 == 0
    again = _after_the_server_noticed(address)
    assert again.chain.link.sequence == result.chains[0].last
    again.write(event("after"))
    again.writer.close()
    assert verify(address).verification.is_good


def _after_the_server_noticed(address: str) -> Bench:
    for _ in range(100):
        try:
            return Bench(address)
        except StoreUnavailableError:
            threading.Event().wait(0.1)
    return Bench(address)


def test_whatever_strangers_wrote_can_be_stored(bench: Bench, store: Store) -> None:
    hostile = "x\0y\u202e\x1b[31m" + "z" * 5000
    reference = {"resource": hostile, "namespace": hostile, "name": hostile, "subresource": "a"}
    bench.write(
        event("a", run=hostile, agent=hostile, verb=hostile, objectRef=reference, verdict=hostile),
        {**event("b", objectRef="x", user=[], verdict={}, risk=3, responseStatus={"code": "200"}), "run": 7},
        event("c", stageTimestamp="yesterday", responseStatus={"code": 1 << 60}),
        {"kind": "Event"},
    )
    assert len(store.search(Query()).records) == 4
    assert verify(bench.address).verification.is_good


def test_a_token_is_not_found_in_any_column(bench: Bench) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2EifQ.c2lnbmF0dXJl"
    bench.write(event("a", objectRef={"resource": "pods", "name": f"x?token={token}"}))
    engine = make_engine(store_url(bench.address))
    with engine.connect() as connection:
        assert "c2lnbmF0dXJl" not in str(connection.exec_driver_sql("SELECT * FROM records").all())
    engine.dispose()
    assert verify(bench.address).verification.is_good


def test_facts_of_a_repeated_record_are_those_of_its_line() -> None:
    base = event("a", level="Metadata", milliseconds={"decide": 1.0, "upstream": 2.0})
    repeated = Repeated(base)
    finder, link = FactFinder(), origin("gw-0")
    for number in range(3):
        record = repeated.record(f"id-{number}", NOW, NOW, NOW + number / 7)
        sealed = seal(link, record.line, record)
        assert isinstance(record, Encoded)
        (found,) = finder.of_batch([sealed])
        assert found == facts_of(dict(record))


def test_a_store_of_a_later_version_is_refused(bench: Bench) -> None:
    bench.writer.close()
    bench.sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreMismatchError, match="later release"):
        Bench(bench.address)
    with pytest.raises(StoreMismatchError, match="9999"):
        open_store(bench.address)


def test_a_tampered_end_is_not_built_upon(bench: Bench) -> None:
    bench.write(event("a"))
    bench.writer.close()
    bench.sql("UPDATE records SET line = :line", line=b"{}")
    with pytest.raises(StoreUnavailableError, match="not as it was written"):
        Bench(bench.address)


def test_verification_holds_few_records_at_a_time(bench: Bench, tmp_path: Path) -> None:
    """Records with objects in them make a store of gigabytes."""
    blob = "x" * (256 << 10)
    for number in range(40):
        bench.write(
            *(event(f"{number}-{part}", requestObject=blob, responseObject=blob) for part in range(3))
        )
    exported = tmp_path / "export.jsonl"
    assert run(["audit", "export", "--store", bench.address, "-o", str(exported)]) == 0
    size = exported.stat().st_size
    assert size > 60 << 20
    for source in (bench.address, str(exported)):
        tracemalloc.start()
        assert verify(source).verification.chains[0].records == 120
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 30 << 20, source


# SQLite alone


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    one = Bench(f"sqlite:///{tmp_path / 'new' / 'audit.db'}")
    one.write(event("a"))
    for path in (tmp_path / "new").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    one.writer.close()


def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Bench(f"sqlite:///{tmp_path / 'audit.db'}")


def test_a_full_disk_fails_and_recovers(tmp_path: Path) -> None:
    one = Bench(f"sqlite:///{tmp_path / 'audit.db'}")
    sealed = one.write(event("a"))
    full = one.seal(*(event(f"b-{number}", requestURI="x" * 2000) for number in range(200)))
    driver = one.writer._connection.connection.driver_connection  # type: ignore[union-attr]
    assert isinstance(driver, sqlite3.Connection)
    pages = driver.execute("PRAGMA page_count").fetchone()[0]
    driver.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(StoreUnavailableError, match="full"):
        one.writer.append(full, None, durable=True)
    assert one.writer.open() == sealed[-1].link
    one.writer.append(full, None, durable=True)
    one.writer.close()
    assert verify(one.address).verification.chains[0].records == 201


@pytest.mark.parametrize(
    "address", ["mysql://a/b", "sqlite://", "postgresql//x", "http://x", "postgresql://u:p@h:port/x"]
)
def test_an_address_that_is_no_store_is_refused(address: str) -> None:
    with pytest.raises(StoreMismatchError):
        store_url(address) if "://" in address else open_store(address)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        open_store("postgresql://me:hunter2@127.0.0.1:1/audit")
    assert "hunter2" not in str(caught.value)
