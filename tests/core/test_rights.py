"""Powerful roles and the service accounts that reach them, from listed RBAC objects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaperone.core.rights import Account, Rights, reaches, survey
from chaperone.core.risk.row import NO, YES
from tests.core.risk_requests import RBAC, SETTINGS, ask, outcome, pod


def role(
    name: str, *verbs: str, ns: str = "", resources: tuple[str, ...] = ("pods",), **fields: Any
) -> dict[str, Any]:
    metadata = {"name": name, "labels": fields.pop("labels", None)} | ({"namespace": ns} if ns else {})
    return {
        "metadata": metadata,
        "rules": [{"verbs": list(verbs), "resources": list(resources), "apiGroups": ["*"]}],
        **fields,
    }


def binding(name: str, *subjects: Any, kind: str = "ClusterRole", ns: str = "") -> dict[str, Any]:
    metadata = {"name": "b"} | ({"namespace": ns} if ns else {})
    return {"metadata": metadata, "roleRef": {"kind": kind, "name": name}, "subjects": list(subjects)}


def account(name: str, ns: str | None = "ops") -> dict[str, Any]:
    return {"kind": "ServiceAccount", "name": name} | ({"namespace": ns} if ns is not None else {})


def group(name: str) -> dict[str, Any]:
    return {"kind": "Group", "name": name}


ADMIN = role("cluster-admin", "*", resources=("*",))
VIEW = role("view", "get", "list", "watch")


def accounts(*subjects: Any) -> frozenset[Account]:
    return survey([], [ADMIN, VIEW], [], [binding("cluster-admin", *subjects)]).privileged_accounts


def test_roles_are_judged_by_their_rules() -> None:
    found = survey(
        [role("boss", "escalate", ns="dev"), role("reader", "get", ns="dev"), role("boss", "get", ns="web")],
        [ADMIN, VIEW, role("writer", "update", resources=("*",)), role("edit", "impersonate")],
        [],
        [],
    )
    assert found.powerful_roles == {("dev", "boss"), ("", "cluster-admin"), ("", "writer"), ("", "edit")}


def test_nothing_listed_is_nothing_known() -> None:
    assert survey([], [], [], []) == Rights()


@pytest.mark.parametrize("rules", ["*", [3], [{"verbs": "get"}], [{"verbs": ["create"], "resources": "*"}]])
def test_a_role_that_cannot_be_read_is_powerful(rules: Any) -> None:
    assert survey([], [{"metadata": {"name": "a"}, "rules": rules}], [], []).powerful_roles == {("", "a")}


def test_a_role_without_rules_is_not() -> None:
    assert survey([{"metadata": {"name": "a", "namespace": "b"}, "rules": None}], [], [], []) == Rights()


# Aggregation

LABEL = "rbac.authorization.k8s.io/aggregate-to-view"
GROWN = role("grown", "bind", labels={LABEL: "true", "team": "a"})


def aggregated(*selectors: Any) -> bool:
    view = role("view", "get", aggregationRule={"clusterRoleSelectors": list(selectors)})
    return ("", "view") in survey([], [view, GROWN, role("other", "get", labels=None)], [], []).powerful_roles


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"matchLabels": {LABEL: "true"}}, True),
        ({"matchLabels": {LABEL: "false"}}, False),
        ({"matchLabels": {LABEL: "true", "team": "b"}}, False),
        ({"matchLabels": {LABEL: "true", "team": "a"}}, True),
        ({}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["b"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["b"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "size", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "size", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Resembles"}]}, True),
        ({"matchExpressions": [{"operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "size", "operator": "In", "values": "a"}]}, True),
        ({"matchExpressions": ["x"]}, True),
        ({"matchExpressions": "x"}, True),
        ("all", True),
    ],
)
def test_a_role_has_the_rules_that_aggregation_gives_it(selector: Any, expected: bool) -> None:
    assert aggregated(selector) is expected
    assert aggregated({"matchLabels": {"no": "such"}}, selector) is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, False),
        ({"clusterRoleSelectors": None}, False),
        ({"clusterRoleSelectors": "x"}, True),
        ("x", True),
        (None, False),
    ],
)
def test_strange_aggregation(rule: Any, expected: bool) -> None:
    view = role("view", "get", aggregationRule=rule)
    assert (("", "view") in survey([], [view, GROWN], [], []).powerful_roles) is expected


def test_aggregation_alone_makes_nothing_powerful() -> None:
    """The built-in view aggregates and is harmless; binding it must stay without risk."""
    view = role("view", "get", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {LABEL: "true"}}]})
    extra = role("view-widgets", "get", labels={LABEL: "true"})
    assert survey([], [view, extra], [], [binding("view", account("ci"))]) == Rights()


# Accounts


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        (account("ci"), {("ops", "ci")}),
        (group("system:serviceaccounts"), {("*", "*")}),
        (group("system:authenticated"), {("*", "*")}),
        (group("system:serviceaccounts:dev"), {("dev", "*")}),
        (group("system:masters"), set()),
        (group("system:nodes"), set()),
        ({"kind": "User", "name": "jane"}, set()),
        ({"kind": "User", "name": "system:serviceaccount:ops:ci"}, {("ops", "ci")}),
        ({"kind": "User", "name": "system:serviceaccount:ops"}, set()),
        ({"kind": "User", "name": "oidc:serviceaccount:ops:ci"}, set()),
        ({"kind": "ServiceAccount", "name": "ci", "namespace": 3}, {("*", "*")}),
        ({"kind": "ServiceAccount"}, {("*", "*")}),
        ({"name": "ci"}, {("*", "*")}),
        ("ci", {("*", "*")}),
    ],
)
def test_subjects(subject: Any, expected: set[Account]) -> None:
    assert accounts(subject) == expected
    assert accounts(subject, account("other")) == expected | {("ops", "other")}


def test_a_binding_without_subjects_reaches_nobody() -> None:
    assert (
        survey(
            [], [ADMIN], [], [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}}]
        ).privileged_accounts
        == set()
    )


def test_a_binding_that_cannot_be_read_reaches_everybody() -> None:
    assert survey([], [], [], [{"roleRef": "x", "subjects": [account("ci")]}]).privileged_accounts == {
        ("ops", "ci")
    }
    reference = {"kind": "ClusterRole", "name": "cluster-admin"}
    found = survey([], [ADMIN], [], [{"roleRef": reference, "subjects": "everybody"}])
    assert found.privileged_accounts == {("*", "*")}


def test_only_powerful_roles_make_privileged_accounts() -> None:
    assert survey([], [ADMIN, VIEW], [], [binding("view", account("ci"))]).privileged_accounts == set()
    assert survey([], [ADMIN], [], [binding("missing", account("ci"))]).privileged_accounts == set()


def test_a_role_counts_in_its_own_namespace() -> None:
    boss = role("boss", "bind", ns="dev")
    here, there = (binding("boss", account("ci", None), kind="Role", ns=ns) for ns in ("dev", "web"))
    assert survey([boss], [], [here, there], []).privileged_accounts == {("dev", "ci")}
    assert survey([boss], [], [binding("boss", account("ci"), ns="dev")], []).privileged_accounts == set()


def test_a_role_binding_to_a_cluster_role_counts() -> None:
    found = survey([], [ADMIN], [binding("cluster-admin", account("ci", None), ns="dev")], [])
    assert found.privileged_accounts == {("dev", "ci")}


@pytest.mark.parametrize(
    ("known", "ns", "name", "expected"),
    [
        (set(), "dev", "ci", False),
        ({("dev", "ci")}, "dev", "ci", True),
        ({("dev", "ci")}, "dev", "other", False),
        ({("dev", "ci")}, "web", "ci", False),
        ({("dev", "*")}, "dev", "ci", True),
        ({("dev", "*")}, "web", "ci", False),
        ({("*", "*")}, "web", "ci", True),
        ({("dev", "ci")}, "", "ci", True),
        ({("dev", "*")}, "", "ci", True),
        ({("dev", "ci")}, "", "other", False),
    ],
)
def test_reaches(known: set[Account], ns: str, name: str, expected: bool) -> None:
    assert reaches(frozenset(known), ns, name) is expected


def test_what_is_found_is_what_the_catalogue_understands() -> None:
    boss = role("boss", "escalate", ns="dev")
    found = survey([boss], [ADMIN, VIEW], [binding("boss", account("root", None), kind="Role", ns="dev")], [])
    known = replace(
        SETTINGS, powerful_roles=found.powerful_roles, privileged_accounts=found.privileged_accounts
    )

    def bind(name: str) -> Any:
        return ask("create", "rolebindings", RBAC, obj={"roleRef": {"kind": "Role", "name": name}})

    assert outcome("R02", bind("boss"), known) is YES
    assert outcome("R02", bind("view"), known) is NO
    assert outcome("R18", ask("create", "pods", obj=pod(serviceAccountName="root")), known) is YES
    assert outcome("R18", ask("create", "pods", obj=pod(serviceAccountName="ci")), known) is NO


FIELDS = ["metadata", "name", "namespace", "labels", "rules", "verbs", "resources", "roleRef", "kind", "subjects",
          "aggregationRule", "clusterRoleSelectors", "matchLabels", "matchExpressions", "key", "operator", "values"]  # fmt: skip
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["*", "Role", "ClusterRole", "Group", "In", "NotIn"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)
listed = st.lists(st.dictionaries(st.sampled_from(FIELDS), junk, max_size=4), max_size=3)


@given(listed, listed, listed, listed)
def test_nothing_raises(
    roles: Any, cluster_roles: Any, role_bindings: Any, cluster_role_bindings: Any
) -> None:
    found = survey(roles, [*cluster_roles, ADMIN], role_bindings, cluster_role_bindings)
    assert ("", "cluster-admin") in found.powerful_roles
