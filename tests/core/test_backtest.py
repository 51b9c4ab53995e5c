"""Recorded requests judged again: from a real verdict to its record, and from the record to the same verdict."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.audit import Stage, record
from chaperone.core.backtest import backtest
from chaperone.core.gate import judge
from chaperone.core.policy import policy_set
from chaperone.core.recorded_request import Recorded, read
from chaperone.core.request import Request, parse
from chaperone.core.suggestion import MOST_NAMES, NothingToSuggestError, suggest
from chaperone.core.verdict import Action, Verdict
from tests.core.policies import CALLER, policy_object, rule

NOW = 1_800_000_000.0
DEPLOYMENT = "/apis/apps/v1/namespaces/dev/deployments/web"


def asked(line: str, *, upgrade: str = "") -> Request:
    method, target = line.split()
    read_ = parse(
        method,
        target,
        upgrade=upgrade,
        content_type="application/merge-patch+json" if method == "PATCH" else "",
    )
    assert isinstance(read_, Request), read_
    return read_


def recorded(
    line: str, *objects: dict[str, Any], upgrade: str = "", code: int = 200, **more: Any
) -> dict[str, Any]:
    request = asked(line, upgrade=upgrade)
    verdict: Verdict = judge(request, CALLER, policy_set(objects), None, NOW)
    made = record(
        Stage.COMPLETE,
        audit_id="a-1",
        received_at=NOW,
        now=NOW,
        request=request,
        caller=CALLER,
        verdict=verdict,
        code=code,
    )
    return {**made, **more}


LINES = (
    ("GET /api/v1/namespaces/dev/pods", ""),
    ("GET /api/v1/pods?watch=1", ""),
    ("GET /api/v1/namespaces/dev/secrets/db", ""),
    ("POST /api/v1/namespaces/dev/configmaps", ""),
    (f"PUT {DEPLOYMENT}", ""),
    (f"PATCH {DEPLOYMENT}/scale", ""),
    (f"DELETE {DEPLOYMENT}", ""),
    ("DELETE /api/v1/namespaces/dev/pods", ""),
    ("DELETE /api/v1/namespaces/dev", ""),
    ("GET /metrics", ""),
    ("GET /api/v1/namespaces/dev/pods/p/exec?command=sh", "websocket"),
    ("POST /api/v1/namespaces/dev/pods/p/exec?command=sh", "spdy/3.1"),
)
OPEN = policy_object("p", [rule("Allow", "all")])
BY_RISK = policy_object("p")


@pytest.mark.parametrize(("line", "upgrade"), LINES)
@pytest.mark.parametrize("policy", [OPEN, BY_RISK], ids=["open", "by risk"])
def test_under_the_same_policy_nothing_differs(line: str, upgrade: str, policy: dict[str, Any]) -> None:
    entry = recorded(line, policy, upgrade=upgrade)
    back = read(entry)
    assert isinstance(back, Recorded), back
    want = asked(line, upgrade=upgrade)
    assert (back.request.verb, back.request.full_resource, back.request.name) == (
        want.verb,
        want.full_resource,
        want.name,
    )
    result = backtest([entry], policy_set([policy]), NOW)
    assert (result.judged, result.same, result.differences) == (1, 1, [])


def test_a_stricter_policy_shows_what_it_would_have_stopped() -> None:
    entries = [recorded(line, OPEN, upgrade=upgrade) for line, upgrade in LINES]
    stricter = policy_object("p", [rule("Deny", "no-secrets", resources=["secrets"]), rule("Allow", "all")])
    result = backtest(entries, policy_set([stricter]), NOW)
    assert [(item.recorded.request.resource, item.would, item.rule) for item in result.differences] == [
        ("secrets", Action.DENY, "no-secrets")
    ]
    assert result.same == len(LINES) - 1
    assert 'rule "no-secrets"' in result.differences[0].reason


def test_what_was_approved_counts_as_held() -> None:
    entry = recorded("DELETE /api/v1/namespaces/dev", OPEN, approval={"name": "apr-1", "uid": "u"})
    result = backtest([entry], policy_set([policy_object("p", [rule("RequireApproval", "ask")])]), NOW)
    assert result.same == 1


def test_what_rests_on_a_body_is_said_to_be_unsure() -> None:
    reads = policy_object(
        "p", [rule("Allow", "small", verbs=["create"], expression="object.data.size() < 3")]
    )
    result = backtest([recorded("POST /api/v1/namespaces/dev/configmaps", OPEN)], policy_set([reads]), NOW)
    holds = policy_object(
        "p", [rule("RequireApproval", "big", verbs=["create"], expression="object.data.size() > 3")]
    )
    held = backtest([recorded("POST /api/v1/namespaces/dev/configmaps", OPEN)], policy_set([holds]), NOW)
    assert held.differences[0].unsure.startswith("an expression needs what records do not hold")
    assert result.judged == held.judged == 1


def test_a_run_that_nobody_governs_any_more_is_denied() -> None:
    result = backtest([recorded("GET /metrics", OPEN)], policy_set([]), NOW)
    assert result.differences[0].would is Action.DENY


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"stage": "RequestReceived"}, "not the last record"),
        ({"verdict": ""}, "refused before"),
        ({"user": None}, "refused before"),
        ({"requestURI": "/api//v1"}, "cannot be read"),
        ({"verb": "dance"}, "cannot be read"),
    ],
)
def test_what_cannot_be_judged_is_counted(change: dict[str, Any], why: str) -> None:
    result = backtest(
        [{**recorded("GET /api/v1/namespaces/dev/pods", OPEN), **change}] * 2, policy_set([OPEN]), NOW
    )
    assert result.judged == 0
    ((told, count),) = result.left_out.items()
    assert (why in told, count) == (True, 2)


def test_records_of_other_versions_are_read_leniently() -> None:
    entry = recorded("DELETE /api/v1/namespaces/dev", OPEN)
    entry["risk"] = {"rows": "R01"}
    entry["user"] = {**entry["user"], "groups": None}
    back = read(entry)
    assert isinstance(back, Recorded)
    assert (back.risk.findings, back.caller.groups) == ((), ())
    unknown = read({**entry, "risk": {"rows": ["R99"]}})
    assert isinstance(unknown, Recorded)
    assert unknown.risk.findings == ()


# What a run needed


def compiled_rules(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    policies = policy_set([{**documents[0], "metadata": {"name": "s", "uid": "u", "generation": 1}}])
    assert not policies.broken, policies.broken
    rules: list[dict[str, Any]] = documents[0]["spec"]["rules"]
    return rules


def test_what_is_suggested_decides_as_it_was_decided() -> None:
    entries = [recorded(line, BY_RISK, upgrade=upgrade) for line, upgrade in LINES]
    documents = suggest(entries, "run-1")
    compiled_rules(documents)
    policy = {**documents[0], "metadata": {"name": "run-1", "uid": "u", "generation": 1}}
    caller = {"issuer": CALLER.issuer, "username": CALLER.username}
    assert policy["spec"]["subjects"] == [{"issuer": caller["issuer"], "usernames": [caller["username"]]}]
    done = [entry for entry in entries if entry["verdict"] != "Deny" and "objectRef" in entry]
    result = backtest(done, policy_set([policy]), NOW)
    assert [(item.recorded.request.target, item.would) for item in result.differences] == []
    assert result.judged == len(done) > 3


def test_it_allows_nothing_else() -> None:
    documents = suggest([recorded("GET /api/v1/namespaces/dev/configmaps/a", OPEN)], "s")
    policies = policy_set([{**documents[0], "metadata": {"name": "s", "uid": "u", "generation": 1}}])
    for line in (
        "GET /api/v1/namespaces/dev/configmaps/b",
        "GET /api/v1/namespaces/prod/configmaps/a",
        "GET /api/v1/namespaces/dev/secrets/a",
        "DELETE /api/v1/namespaces/dev/configmaps/a",
    ):
        assert judge(asked(line), CALLER, policies, None, NOW).action is Action.DENY, line
    assert (
        judge(asked("GET /api/v1/namespaces/dev/configmaps/a"), CALLER, policies, None, NOW).action
        is Action.ALLOW
    )


def test_roles_are_as_narrow_and_namespaces_that_need_the_same_share_one() -> None:
    lines = [
        "GET /api/v1/namespaces/dev/configmaps/a",
        "GET /api/v1/namespaces/prod/configmaps/a",
        "GET /api/v1/namespaces/dev/pods/p/log",
        "GET /api/v1/nodes",
        "DELETE /api/v1/namespaces/old",
    ]
    documents = suggest([recorded(line, OPEN) for line in lines], "s")
    access = documents[0]["spec"]["access"]
    roles = {role["metadata"]["name"]: role["rules"] for role in documents[1:]}
    assert [entry.get("namespaces", "all") for entry in access] == ["all", ["dev"], ["prod"]]
    assert roles[access[2]["roleRef"]["name"]] == [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["a"]}
    ]
    assert {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]} in roles[
        access[0]["roleRef"]["name"]
    ]
    same = suggest([recorded(line, OPEN) for line in lines[:2]], "s")
    assert same[0]["spec"]["access"][0]["namespaces"] == ["dev", "prod"]


def test_a_name_that_a_policy_would_read_as_a_pattern_widens_nothing() -> None:
    """The API server answers a list in a namespace that cannot be with an empty list."""
    asked_ = [
        recorded(line, OPEN)
        for line in ("GET /api/v1/namespaces/*/secrets", "GET /api/v1/namespaces/dev/pods")
    ]
    rules = suggest(asked_, "s")[0]["spec"]["rules"]
    assert [entry["match"].get("namespaces") for entry in rules] == [["dev"], None]
    with pytest.raises(NothingToSuggestError):
        suggest(asked_[:1], "s")
    strange = {**asked_[1], "user": {**asked_[1]["user"], "username": "repo:acme/*"}}
    with pytest.raises(NothingToSuggestError, match="patterns"):
        suggest([strange], "s")


def test_many_names_are_any_name() -> None:
    entries = [recorded(f"GET /api/v1/namespaces/dev/configmaps/c{n}", OPEN) for n in range(MOST_NAMES + 1)]
    documents = suggest(entries, "s")
    assert "resourceNames" not in documents[1]["rules"][0]
    assert "names" not in documents[0]["spec"]["rules"][0]["match"]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [{"stage": "Panic"}],
        [recorded("GET /metrics", OPEN)],
        [recorded("GET /api/v1/pods", OPEN, code=403)],
        [recorded("GET /api/v1/pods", policy_object("p", [rule("Deny", "no")]))],
    ],
    ids=["no records", "none that ends", "no resources", "refused by the API server", "denied"],
)
def test_nothing_comes_of_nothing(entries: list[dict[str, Any]]) -> None:
    with pytest.raises(NothingToSuggestError):
        suggest(entries, "s")
