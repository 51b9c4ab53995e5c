"""Why not: each field of a rule that keeps it from matching, and never another opinion than the gate's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.explanation import PolicyAccount, Standing, explain, rule_accounts, why_not
from chaperone.core.gate import judge
from chaperone.core.policy import PolicySet, Question, policy_set
from chaperone.core.request import Payload
from chaperone.core.verdict import Action, Mode
from tests.core.policies import CALLER, Obj, ask, policy, policy_object, rule

NOW = 1_800_000_000.0
DELETE_POD = "DELETE /api/v1/namespaces/dev/pods/web"
POD_RULES: list[Obj] = [
    rule("Allow", verbs=["delete"], resources=["pods"]),
    rule("Deny", name="all-pods", resources=["pods"]),
    rule("Allow", name="kube", namespaces=["kube-*"]),
]


def rules_of(*rules: Obj) -> PolicySet:
    return policy_set([policy_object("p", list(rules))])


def only(policies: PolicySet, line: str = DELETE_POD, **fields: Any) -> PolicyAccount:
    [account] = explain(ask(line, **fields), CALLER, policies, NOW).policies
    return account


def why(match: Obj, line: str = DELETE_POD, action: str = "Deny", **fields: Any) -> str:
    [compiled] = policy("p", [rule(action, **match)]).rules.rules
    return why_not(compiled, Question(ask(line, **fields), CALLER))


@pytest.mark.parametrize(
    ("match", "line", "expected"),
    [
        ({"verbs": ["get", "create"]}, DELETE_POD, "verbs: create, get does not include delete"),
        ({"apiGroups": ["apps", "batch"]}, DELETE_POD, "apiGroups: apps, batch does not match none"),
        (
            {"apiGroups": [""], "resources": ["pods"]},
            "GET /apis/apps/v1/namespaces/dev/deployments",
            'apiGroups: "" does not match "apps"; resources: pods does not match "deployments"',
        ),
        (
            {"resources": ["pods/exec", "services"]},
            DELETE_POD,
            'resources: pods/exec, services does not match "pods"',
        ),
        ({"namespaces": ["kube-*", "prod"]}, DELETE_POD, 'namespaces: kube-*, prod does not match "dev"'),
        ({"namespaces": ["dev"]}, "DELETE /api/v1/nodes/n", "namespaces: dev does not match none"),
        ({"names": ["db-*"]}, DELETE_POD, 'names: db-* does not match "web"'),
        ({"expression": "request.name == 'db'"}, DELETE_POD, "expression: it is false"),
        ({"nonResourceURLs": ["/metrics"]}, DELETE_POD, "it speaks of paths, and this is a resource"),
        ({"resources": ["pods"]}, "GET /metrics", "it speaks of resources, and this is a path"),
        (
            {"nonResourceURLs": ["/healthz"]},
            "GET /metrics",
            'nonResourceURLs: /healthz does not match "/metrics"',
        ),
        ({"verbs": ["post"]}, "GET /metrics", "verbs: post does not include get"),
    ],
)
def test_the_field_that_does_not_match_is_named(match: Obj, line: str, expected: str) -> None:
    assert why(match, line) == expected


@pytest.mark.parametrize(
    ("match", "line"),
    [
        ({}, DELETE_POD),
        ({"verbs": ["delete"], "resources": ["pods"], "namespaces": ["d*"], "names": ["web"]}, DELETE_POD),
        ({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}, "GET /metrics"),
        ({"expression": "request.name == 'web'"}, DELETE_POD),
    ],
)
def test_a_rule_that_matches_needs_no_excuse(match: Obj, line: str) -> None:
    assert why(match, line) == ""


def test_fields_that_only_fit_apart_are_named_together() -> None:
    """An eviction counts as a delete of pods and as itself, but not as a create of pods."""
    line = "POST /api/v1/namespaces/dev/pods/web/eviction"
    told = why({"verbs": ["create"], "resources": ["pods"]}, line)
    assert told == "verbs and resources: create of pods is not this"


def test_an_expression_that_fails_keeps_an_allow_back_and_makes_a_deny() -> None:
    match = {"expression": "object.spec.replicas == 0"}
    payload = Payload(object={"spec": {}})
    line = "PUT /apis/apps/v1/namespaces/dev/deployments/web"
    assert why(match, line, "Allow", payload=payload).startswith(
        "expression: it could not be evaluated, because"
    )
    account = only(rules_of(rule("RequireApproval", **match)), line, payload=payload)
    assert account.rules[0].standing is Standing.DECIDES
    assert account.rules[0].why.endswith("so it denies")
    assert account.verdict is not None
    assert account.verdict.action is Action.DENY


def test_names_of_strangers_are_made_visible() -> None:
    told = why({"names": ["db"]}, "DELETE /api/v1/namespaces/dev/pods/p", name="\x1b[2Jweb")
    assert told == 'names: db does not match "\\x1b[2Jweb"'


def test_the_first_match_decides_and_the_rest_come_later() -> None:
    account = only(rules_of(rule("Deny", name="r0", verbs=["get"]), *POD_RULES))
    standings = [(item.name, item.standing) for item in account.rules]
    assert standings == [
        ("r0", Standing.NO_MATCH),
        ("rule", Standing.DECIDES),
        ("all-pods", Standing.COMES_LATER),
        ("kube", Standing.NO_MATCH),
    ]
    assert account.governs
    assert account.mode is Mode.ENFORCE


def test_every_field_of_a_subject_that_does_not_fit_is_named() -> None:
    subjects = [
        {"issuer": "https://other.example", "usernames": ["bob", "carol*"]},
        {"groups": ["admins"]},
        {"usernames": ["*"], "expression": "claims.repository_owner == 'evil'"},
    ]
    account = only(policy_set([policy_object("p", subjects=subjects)]))
    assert account.strangers == (
        "the issuer is not https://other.example; the user name is none of bob, carol*",
        "no group is one of admins",
        "the expression is false",
    )
    assert not account.governs
    assert account.verdict is None


@pytest.mark.parametrize(("groups", "governs"), [(["ai-agents"], True), (["others"], False)])
def test_a_broken_policy_is_told_with_its_faults(groups: list[str], governs: bool) -> None:
    broken = policy_object("broken", subjects=[{"groups": groups}], mode="Perhaps")
    policies = policy_set([broken, policy_object("sound")])
    explanation = explain(ask(DELETE_POD), CALLER, policies, NOW)
    first, second = explanation.policies
    assert [(fault.path) for fault in first.faults] == ["spec.mode"]
    assert (first.name, first.mode, first.governs, first.verdict) == ("broken", None, governs, None)
    assert second.name == "sound"
    assert (explanation.verdict.action is Action.DENY and "compile" in explanation.verdict.reason) is governs


def test_a_broken_policy_without_readable_subjects_governs_everybody() -> None:
    account = only(policy_set([policy_object("broken", subjects="nobody")]))
    assert account.governs
    assert account.faults


def test_each_policy_speaks_for_itself_and_the_verdict_for_all() -> None:
    policies = policy_set(
        [
            policy_object("strict", [rule("Deny")]),
            policy_object("kind", [rule("Allow")]),
            policy_object("watching", [rule("RequireApproval")], mode="Monitor"),
        ]
    )
    explanation = explain(ask(DELETE_POD), CALLER, policies, NOW)
    said = {item.name: item.verdict.action for item in explanation.policies if item.verdict}
    assert said == {"kind": Action.ALLOW, "strict": Action.DENY, "watching": Action.ALLOW}
    assert explanation.verdict.policy == "strict"
    assert [item.name for item in explanation.policies] == ["kind", "strict", "watching"]


MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "verbs": st.lists(st.sampled_from(["get", "create", "delete", "list", "*"]), min_size=1, unique=True),
        "resources": st.lists(
            st.sampled_from(["pods", "pods/exec", "pods/*", "*", "secrets", "*/eviction"]),
            min_size=1,
            unique=True,
        ),
        "apiGroups": st.lists(st.sampled_from(["", "apps", "*"]), min_size=1, unique=True),
        "namespaces": st.lists(st.sampled_from(["dev", "kube-*", "*"]), min_size=1, unique=True),
        "names": st.lists(st.sampled_from(["web", "d?"]), min_size=1, unique=True),
        "expression": st.sampled_from(["request.name == 'web'", "object.x == 1", "true"]),
    },
)
LINES = st.sampled_from(
    [
        DELETE_POD,
        "GET /api/v1/pods",
        "POST /api/v1/namespaces/dev/pods",
        "POST /api/v1/namespaces/dev/pods/web/eviction",
        "GET /api/v1/namespaces/dev/pods/web/exec?command=ls",
        "PATCH /apis/apps/v1/namespaces/dev/deployments/db",
        "DELETE /api/v1/namespaces/dev/secrets",
        "GET /metrics",
    ]
)


@given(st.lists(st.tuples(st.sampled_from(["Allow", "Deny", "RequireApproval"]), MATCHES), max_size=4), LINES)
def test_what_decides_here_is_what_decides_at_the_gate(rules: list[tuple[str, Obj]], line: str) -> None:
    written = [rule(action, name=f"r{at}", **match) for at, (action, match) in enumerate(rules)]
    compiled = policy("p", written)
    request = ask(line)
    request = replace(request, payload=Payload(undetermined=frozenset({"object"})))
    question = Question(request, CALLER)
    found = compiled.first_match(request, CALLER)
    accounts = rule_accounts(compiled, question)
    deciding = [item.name for item in accounts if item.standing is Standing.DECIDES]
    assert deciding == ([found.name] if found else [])
    assert all(bool(item.why) for item in accounts if item.standing is Standing.NO_MATCH)
    policies = policy_set([policy_object("p", written)])
    assert explain(request, CALLER, policies, NOW).verdict == judge(request, CALLER, policies, None, NOW)
