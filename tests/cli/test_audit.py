"""`chaperone audit` as people type it: what is found, what is said, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaperone.core.chain import Reason
from chaperone.store.engine import store_url
from chaperone.store.signing import KEY_FILE, load_signer
from hack.generate_audit import fill
from tests.cli.conftest import Shell
from tests.store.conftest import NOW, Bench, event

HOSTILE = "x\x1b[2J\u202e\n<b>"


@pytest.fixture
def store(tmp_path: Path) -> str:
    signer = load_signer(tmp_path / KEY_FILE)
    bench = Bench(f"sqlite:///{tmp_path / 'audit.db'}", signer=signer)
    bench.write(
        event("a-1", at=NOW),
        event("a-2", at=NOW + 60, run="run-2", verdict="Deny", responseStatus={"code": 403}),
        event("a-3", at=NOW + 120, run=HOSTILE, objectRef={"resource": "pods", "name": HOSTILE}),
        checkpoint=Reason.CLOSE,
    )
    bench.writer.close()
    return str(tmp_path)


def test_a_search_is_a_table(shell: Shell, store: str) -> None:
    done = shell("audit", "search", "--store", store, "--run", "run-2")
    assert done.code == 0
    header, row = done.out.splitlines()
    assert header.split() == ["TIME", "CODE", "VERDICT", "VERB", "OBJECT", "NAMESPACE", "RUN", "AUDIT-ID"]
    assert row.split() == ["2026-01-31T09:01:00Z", "403", "Deny", "get", "pods/web", "dev", "run-2", "a-2"]
    wide = (
        shell("audit", "search", "--store", store, "--run", "run-2", "-o", "wide").out.splitlines()[1].split()
    )
    assert wide[-2:] == ["gw-0", "2"]


def test_what_strangers_wrote_moves_no_cursor(shell: Shell, store: str) -> None:
    for command in (("search", "-o", "wide"), ("search", "-o", "json"), ("show", "a-3")):
        done = shell("audit", *command, "--store", store)
        assert done.code == 0
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out


def test_pages_and_json(shell: Shell, store: str) -> None:
    first = json.loads(shell("audit", "search", "--store", store, "--limit", "2", "-o", "json").out)
    assert [item["auditID"] for item in first["items"]] == ["a-3", "a-2"]
    rest = shell(
        "audit", "search", "--store", store, "--limit", "2", "-o", "json", "--cursor", first["cursor"]
    )
    assert [item["auditID"] for item in json.loads(rest.out)["items"]] == ["a-1"]


def test_one_request_whole(shell: Shell, store: str) -> None:
    (record,) = json.loads(shell("audit", "show", "a-2", "--store", store).out)
    assert record["chain"]["sequence"] == 2
    done = shell("audit", "show", "none", "--store", store)
    assert (done.code, done.out) == (1, "")
    assert 'no record of the request "none"' in done.err


def test_verify_says_what_it_trusted(shell: Shell, store: str) -> None:
    done = shell("audit", "verify", store)
    assert done.code == 0
    assert "(as the source itself names it)" in done.out
    assert "verified: 3 records" in done.out
    pinned = shell("audit", "verify", "--store", store, "--key", f"{store}/{KEY_FILE}.pub", "--signed")
    assert pinned.code == 0
    assert "as the source" not in pinned.out
    assert json.loads(shell("audit", "verify", store, "--json").out)["good"] is True


def test_verify_names_the_first_bad_record(shell: Shell, store: str) -> None:
    Bench.sql(_bench(store), "DELETE FROM records WHERE audit_id = 'a-2'")
    done = shell("audit", "verify", store)
    assert done.code == 1
    assert "Missing: gw-0 record 2" in done.err
    assert json.loads(shell("audit", "verify", store, "--json").out)["findings"][0]["sequence"] == 2


def _bench(store: str) -> Bench:
    bench = object.__new__(Bench)
    bench.address = store
    return bench


def test_an_unsigned_end_is_told_and_may_be_refused(shell: Shell, store: str) -> None:
    fill(store, 3, signer=load_signer(Path(store) / KEY_FILE))
    bench = Bench(store, signer=load_signer(Path(store) / KEY_FILE))
    bench.write(event("a-4"))
    bench.writer.close()
    done = shell("audit", "verify", store)
    assert done.code == 0
    assert "no signed checkpoint covers the last 1 records yet" in done.out
    assert shell("audit", "verify", store, "--signed").code == 1


def test_hold_prune_and_release(shell: Shell, store: str) -> None:
    assert shell("audit", "hold", "run-2", "--store", store, "--reason", "case 7", "--by", "legal").code == 0
    assert "case 7" in shell("audit", "hold", "--store", store).out
    done = shell("audit", "prune", "--store", store, "--older-than", "1d")
    assert done.out.startswith("pruned: 2 records; 1 under legal hold")
    assert shell("audit", "verify", store).code == 0
    assert shell("audit", "hold", "run-2", "--store", store, "--release").code == 0
    assert shell("audit", "hold", "run-2", "--store", store, "--release").code == 1
    assert shell("audit", "prune", "--store", store, "--older-than", "1d").out == "pruned: 1 records\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("verify",), 2, "name what is to be verified"),
        (("verify", "/none"), 1, "/none"),
        (("search", "--store", "/none"), 1, "no audit store at /none"),
        (("search", "--store", "mysql://x/y"), 1, "no audit store is kept in mysql"),
        (("search", "--store", "STORE", "--since", "soon"), 2, "neither a time nor a duration"),
        (("search", "--store", "STORE", "--cursor", "x"), 2, "--cursor"),
        (("prune", "--store", "STORE", "--older-than", "x"), 2, "no duration"),
        (("prune", "--store", "STORE", "--older-than", "1d", "--signing-key", "/none"), 2, "--signing-key"),
    ],
)
def test_wrong_usage_is_one_sentence(
    shell: Shell, store: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = shell("audit", *(store if argument == "STORE" else argument for argument in arguments))
    assert done.code == code
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def test_a_password_is_in_no_message(shell: Shell) -> None:
    done = shell("audit", "search", "--store", "postgresql://me:hunter2@127.0.0.1:1/audit")
    assert done.code == 1
    assert "hunter2" not in done.err
    assert store_url("postgresql://me:hunter2@h/x").password == "hunter2"
