"""`policy suggest` and `policy backtest` over a real SQLite store."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaperone.core.audit import Stage, record
from chaperone.core.chain import Reason
from chaperone.core.gate import judge
from chaperone.core.identity import Caller
from chaperone.core.policy import policy_set
from chaperone.core.request import Request, parse
from chaperone.store.engine import store_url
from chaperone.store.signing import new_signer
from chaperone.store.writing import StoreWriter
from gateway.audit_chain import SignedChain
from tests.cli.conftest import Shell
from tests.core.policies import policy_object, rule

CALLER = Caller(
    issuer="https://issuer.example",
    subject="ci",
    username="coder",
    groups=("ci",),
    run="run-7",
    agent="coder",
)
OPEN = policy_object("p", [rule("Allow", "all")], subjects=[{"groups": ["ci"]}])
LINES = (
    "GET /api/v1/namespaces/dev/configmaps/shop",
    "GET /api/v1/namespaces/dev/secrets/db",
    "PUT /api/v1/namespaces/dev/configmaps/shop",
)


def records() -> list[Mapping[str, Any]]:
    made: list[Mapping[str, Any]] = []
    for number, line in enumerate(LINES):
        method, target = line.split()
        request = parse(method, target)
        assert isinstance(request, Request)
        now = time.time() - 60 + number
        verdict = judge(request, CALLER, policy_set([OPEN]), None, now)
        terms: dict[str, Any] = {
            "audit_id": f"a-{number}",
            "received_at": now,
            "now": now,
            "request": request,
        }
        for stage, code in ((Stage.RECEIVED, None), (Stage.COMPLETE, 200)):
            made.append(record(stage, caller=CALLER, verdict=verdict, code=code, **terms))
    return made


@pytest.fixture
def store(tmp_path: Path) -> str:
    address = f"sqlite:///{tmp_path / 'audit.db'}"
    signer = new_signer()
    chain = SignedChain("gw-0", signer, wall=time.time, clock=time.monotonic)
    sink = StoreWriter(store_url(address), "gw-0", (signer.name, signer.public))
    sink.open()
    sink.append([chain.seal(entry) for entry in records()], chain.checkpoint(Reason.CLOSE), durable=True)
    sink.close()
    return address


def policy_file(folder: Path, *rules: dict[str, Any]) -> str:
    path = folder / "policy.yaml"
    policy = policy_object("p", [*rules], subjects=[{"groups": ["ci"]}])
    policy["metadata"] = {"name": "p"}
    path.write_text(yaml.safe_dump(policy))
    return str(path)


def test_a_suggestion_is_a_policy_that_lets_the_run_do_the_same(
    shell: Shell, store: str, tmp_path: Path
) -> None:
    done = shell("policy", "suggest", "--store", store, "--run", "run-7", "--name", "shop")
    assert done.code == 0, done.err
    kinds = [document["kind"] for document in yaml.safe_load_all(done.out)]
    assert kinds[0] == "AgentPolicy"
    assert set(kinds[1:]) == {"ClusterRole"}
    path = tmp_path / "suggested.yaml"
    path.write_text(done.out)
    assert shell("policy", "check", str(path)).code == 0
    again = shell("policy", "backtest", str(path), "--store", store)
    assert again.out.splitlines()[-1] == "3 request(s) judged: 3 as before, 0 different, 0 unsure"


def test_a_run_that_has_no_records(shell: Shell, store: str) -> None:
    done = shell("policy", "suggest", "--store", store, "--run", "run-8")
    assert (done.code, done.out) == (1, "")
    assert "run run-8" in done.err


def test_a_changed_policy_shows_every_verdict_that_would_differ(
    shell: Shell, store: str, tmp_path: Path
) -> None:
    path = policy_file(tmp_path, rule("Deny", "no-secrets", resources=["secrets"]), rule("Allow", "all"))
    done = shell("policy", "backtest", path, "--store", store, "--since", "1h")
    assert done.code == 0, done.err
    row, *_ = done.out.splitlines()[1:]
    for piece in ("run-7", "get of secrets", "Allow", "Deny", "p/no-secrets"):
        assert piece in row
    assert "3 record(s)" not in done.out, "only the last record of a request is read"
    assert done.out.splitlines()[-1].startswith("3 request(s) judged: 2 as before, 1 different")
    told = json.loads(shell("policy", "backtest", path, "--store", store, "-o", "json").out)
    assert (told["judged"], told["same"], told["leftOut"]) == (3, 2, {})
    assert (told["differences"][0]["was"], told["differences"][0]["wouldBe"]) == ("Allow", "Deny")
    assert "unsure" not in told["differences"][0]


def test_what_rests_on_bodies_is_unsure(shell: Shell, store: str, tmp_path: Path) -> None:
    path = policy_file(
        tmp_path,
        rule("Deny", "big", verbs=["update"], expression="object.data.size() > 3"),
        rule("Allow", "all"),
    )
    told = json.loads(shell("policy", "backtest", path, "--store", store, "-o", "json").out)
    assert [item["unsure"][:13] for item in told["differences"]] == ["an expression"]
    assert "0 different, 1 unsure" in shell("policy", "backtest", path, "--store", store).out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--since", "yesterday"), "--since"),
        (("--store", "sqlite:////nowhere/audit.db"), "no audit store"),
    ],
)
def test_wrong_usage_is_one_sentence(
    shell: Shell, store: str, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = shell(
        "policy", "backtest", policy_file(tmp_path, rule("Allow", "all")), "--store", store, *arguments
    )
    assert done.code in (1, 2)
    assert told in done.err
    assert done.out == ""


def test_a_file_without_a_policy(shell: Shell, store: str, tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("kind: ConfigMap\napiVersion: v1\n")
    done = shell("policy", "backtest", str(path), "--store", store)
    assert done.code == 2
    assert "no AgentPolicy" in done.err
