"""`sessions export` and `sessions replay` over a real store and a folder of recordings."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest

from chaperone.core.audit import Stage, record
from chaperone.core.chain import Reason
from chaperone.core.gate import judge
from chaperone.core.policy import policy_set
from chaperone.core.request import Request, parse
from chaperone.store.engine import store_url
from chaperone.store.signing import new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain
from tests.cli.conftest import Shell
from tests.cli.test_policy_insight import CALLER, OPEN
from tests.store.recording_places import gone

NAME = "2026/01/31/a-1.cast"
CAST = b'{"version":2,"width":80,"height":24,"timestamp":1,"command":"sh"}\n[0.1,"o","seen\\r\\n"]\n[0.2,"x","0"]\n'
LINES = (
    ("GET /api/v1/namespaces/dev/pods", "", 200),
    ("POST /api/v1/namespaces/dev/pods/web/exec?command=sh", "spdy/3.1", 101),
    ("DELETE /api/v1/namespaces/dev/pods/web", "", 403),
    ("POST /api/v1/namespaces/dev/configmaps", "", 201),
)


def entry(number: int, line: str, upgrade: str, code: int) -> dict[str, Any]:
    method, target = line.split()
    request = parse(method, target, upgrade=upgrade)
    assert isinstance(request, Request)
    now = time.time() - 60 + number
    verdict = judge(request, CALLER, policy_set([OPEN]), None, now)
    made = record(
        Stage.COMPLETE,
        audit_id=f"a-{number}",
        received_at=now,
        now=now,
        request=request,
        caller=CALLER,
        verdict=verdict,
        code=code,
    )
    seal = {"name": NAME, "state": "sealed", "bytes": len(CAST), "sha256": hashlib.sha256(CAST).hexdigest()}
    return {**made, "recording": seal} if upgrade else made


@pytest.fixture
def store(tmp_path: Path) -> str:
    address = f"sqlite:///{tmp_path / 'audit.db'}"
    signer = new_signer()
    chain = SignedChain("gw-0", signer, wall=time.time, clock=time.monotonic)
    sink = StoreWriter(store_url(address), "gw-0", (signer.name, signer.public))
    sink.open()
    batch = [chain.seal(entry(number, *line)) for number, line in enumerate(LINES)]
    sink.append(batch, chain.checkpoint(Reason.CLOSE), durable=True)
    sink.close()
    return address


def test_a_run_as_commands(shell: Shell, store: str) -> None:
    done = shell("sessions", "export", "run-7", "--store", store)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "kubectl get pods --namespace dev",
        "kubectl exec web --namespace dev -- sh",
        "# 403: kubectl delete pods web --namespace dev",
        '# create of configmaps in namespace "dev": its body is not in the record',
    ]


def test_a_run_as_records(shell: Shell, store: str) -> None:
    done = shell("sessions", "export", "run-7", "--store", store, "--as", "json")
    assert [json.loads(line)["auditID"] for line in done.out.splitlines()] == ["a-0", "a-1", "a-2", "a-3"]


def test_a_run_told_with_its_recordings(shell: Shell, store: str, tmp_path: Path) -> None:
    path = tmp_path / "recordings" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CAST)
    done = shell(
        "sessions",
        "replay",
        "run-7",
        "--store",
        store,
        "--recordings",
        str(tmp_path / "recordings"),
        "--speed",
        "0",
    )
    assert done.code == 0, done.err
    told = done.out.splitlines()
    assert "exec" in told[1]
    assert told[2] == "seen"
    assert len(told) == 5


def test_a_recording_that_is_not_there_does_not_end_the_story(
    shell: Shell, store: str, tmp_path: Path
) -> None:
    done = shell("sessions", "replay", "run-7", "--store", store, "--recordings", str(tmp_path))
    assert done.code == 1
    assert "MISSING" in done.err
    assert "1 recordings of this run are not as the audit sealed them" in done.err
    assert len(done.out.splitlines()) == 4


def test_a_recording_that_was_changed_is_told_as_such(shell: Shell, store: str, tmp_path: Path) -> None:
    path = tmp_path / "recordings" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CAST.replace(b"seen", b"sean"))
    done = shell(
        "sessions", "replay", "run-7", "--store", store, "--recordings", str(tmp_path / "recordings")
    )
    assert done.code == 1
    assert "NOT what the audit record sealed" in done.err


def test_a_store_of_recordings_that_is_gone_does_not_end_the_story(
    shell: Shell, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chaperone.cli.session_records.place_of", lambda _address: gone())
    done = shell("sessions", "replay", "run-7", "--store", store, "--recordings", "s3://bucket")
    assert done.code == 0
    assert "cannot be read" in done.err
    assert len(done.out.splitlines()) == 4


@pytest.mark.parametrize("command", ["export", "replay"])
def test_a_run_that_nobody_knows(shell: Shell, store: str, tmp_path: Path, command: str) -> None:
    more = ("--recordings", str(tmp_path)) if command == "replay" else ()
    done = shell("sessions", command, "run-8", "--store", store, *more)
    assert (done.code, done.out) == (1, "")
    assert "no record of run run-8" in done.err
