"""Conditions on the resulting object: roles, bindings, services, ingresses; and names that only the body holds."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from chaperone.core.risk.row import NO, UNKNOWN, YES, Outcome
from tests.core.risk_requests import GUARD, RBAC, SETTINGS, ask, meta, outcome, pod, privileged, rows


def rule(verbs: Any, resources: Any = ("pods",), groups: Any = ("",)) -> dict[str, Any]:
    def words(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    return {"verbs": words(verbs), "resources": words(resources), "apiGroups": words(groups)}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (None, NO),
        ([], NO),
        ([rule(("get", "list", "watch"))], NO),
        ([rule(("get",)), rule(("list",)), rule(("escalate",))], YES),
        ([rule(("*",))], YES),
        ([rule(("bind",))], YES),
        ([rule(("impersonate",), ("users",))], YES),
        ([rule(("create", "delete"), ("pods", "secrets"))], NO),
        ([rule(("patch",), ("*",))], YES),
        ([rule(("deletecollection",), ("pods", "*"))], YES),
        ([rule(("get", "list"), ("*",))], NO),
        ([{"nonResourceURLs": ["*"], "verbs": ["*"]}], YES),
        ([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}], NO),
        ("*", UNKNOWN),
        ({"verbs": ["*"]}, UNKNOWN),
        (["*"], UNKNOWN),
        ([rule("*")], UNKNOWN),
        ([rule([1])], UNKNOWN),
        ([rule(("create",), "*")], UNKNOWN),
        ([rule(None, "*")], UNKNOWN),
        ([rule("*"), rule(("bind",))], YES),
        (["*", rule(("get",))], UNKNOWN),
    ],
)
def test_powerful_role(rules: Any, expected: Outcome) -> None:
    for resource in ("roles", "clusterroles"):
        assert outcome("R03", ask("create", resource, RBAC, obj={"rules": rules, **meta()})) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"aggregationRule": {"clusterRoleSelectors": []}}, YES),
        ({"aggregationRule": {}}, YES),
        ({"aggregationRule": "all"}, YES),
        ({"aggregationRule": None}, NO),
        (meta(labels={"rbac.authorization.k8s.io/aggregate-to-admin": "true"}), YES),
        (meta(labels={"rbac.authorization.k8s.io/aggregate-to-view": "false"}), YES),
        (meta(labels={"rbac.authorization.k8s.io/autoupdate": "true"}), NO),
        (meta(labels=None), NO),
        (meta(labels="x"), UNKNOWN),
        ({"metadata": []}, UNKNOWN),
    ],
)
def test_aggregated_roles(fields: Any, expected: Outcome) -> None:
    obj = {"rules": [rule(("get",))], **fields}
    assert outcome("R03", ask("update", "clusterroles", RBAC, ns="", obj=obj, old=meta())) is expected
    assert outcome("R03", ask("update", "roles", RBAC, obj=obj, old=meta())) is NO


@pytest.mark.parametrize(
    ("verbs", "resources", "groups", "expected"),
    [
        (("approve",), ("signers",), ("certificates.k8s.io",), YES),
        (("sign",), ("signers",), ("*",), YES),
        (("*",), ("*",), ("*",), YES),
        (("sign",), ("signers",), ("example.com",), NO),
        (("get",), ("signers",), ("certificates.k8s.io",), NO),
        (("approve",), ("certificatesigningrequests",), ("certificates.k8s.io",), NO),
        (("approve",), ("signers",), None, NO),
        (("approve",), ("signers",), "certificates.k8s.io", UNKNOWN),
        ("approve", ("signers",), ("*",), UNKNOWN),
        (("approve",), "signers", ("*",), UNKNOWN),
    ],
)
def test_a_role_that_signs(verbs: Any, resources: Any, groups: Any, expected: Outcome) -> None:
    obj = {"rules": [rule(("get",)), rule(verbs, resources, groups)]}
    assert outcome("R10", ask("create", "clusterroles", RBAC, ns="", obj=obj)) is expected


def refer(kind: Any, name: Any) -> dict[str, Any]:
    return {"roleRef": {"kind": kind, "name": name}}


LOOKED_UP = replace(SETTINGS, powerful_roles=frozenset({("", "edit"), ("dev", "boss")}))


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (refer("ClusterRole", "cluster-admin"), YES),
        (refer("ClusterRole", "admin"), YES),
        (refer("Role", "admin"), YES),
        (refer("ClusterRole", "edit"), YES),
        (refer("Role", "boss"), YES),
        (refer("ClusterRole", "boss"), NO),
        (refer("Role", "edit"), NO),
        (refer("ClusterRole", "view"), NO),
        (refer("Admin", "admin"), UNKNOWN),
        (refer(None, "admin"), UNKNOWN),
        (refer("Role", None), UNKNOWN),
        (refer("Role", ""), UNKNOWN),
        (refer("Role", ["admin"]), UNKNOWN),
        (refer(["Role"], "admin"), UNKNOWN),
        ({"roleRef": "admin"}, UNKNOWN),
        ({}, UNKNOWN),
    ],
)
def test_admin_like(obj: Any, expected: Outcome) -> None:
    assert outcome("R02", ask("create", "rolebindings", RBAC, obj=obj), LOOKED_UP) is expected


def test_without_a_lookup_every_other_role_may_be_powerful() -> None:
    binding = ask("create", "rolebindings", RBAC, obj=refer("ClusterRole", "edit"))
    unknown = replace(SETTINGS, powerful_roles=None)
    assert outcome("R02", binding, unknown) is UNKNOWN
    assert outcome("R02", binding, replace(unknown, admin_roles=frozenset({"edit"}))) is YES


def test_beside_the_control_plane_every_binding_counts_even_unreadable() -> None:
    request = ask("create", "rolebindings", RBAC, ns="kube-system", unread=("object",))
    assert outcome("R02", request) is YES


@pytest.mark.parametrize(
    ("subjects", "expected"),
    [
        (None, NO),
        ([], NO),
        ([{"kind": "Group", "name": "system:masters"}], YES),
        ([{"kind": "Group", "name": "system:unauthenticated"}], YES),
        ([{"kind": "User", "name": "system:anonymous"}], YES),
        ([{"kind": "User", "name": "system:masters"}], NO),
        ([{"kind": "Group", "name": "system:anonymous"}], NO),
        ([{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "ci"}], NO),
        ([{"name": "system:masters"}], UNKNOWN),
        ([{"kind": "Group", "name": ["system:masters"]}], UNKNOWN),
        ([{"kind": "Group"}], NO),
        (["system:masters"], UNKNOWN),
        ("system:masters", UNKNOWN),
        (["x", {"kind": "Group", "name": "system:masters"}], YES),
    ],
)
def test_system_subject(subjects: Any, expected: Outcome) -> None:
    obj = {**refer("ClusterRole", "view"), "subjects": subjects}
    for resource in ("rolebindings", "clusterrolebindings"):
        assert outcome("R04", ask("create", resource, RBAC, obj=obj)) is expected


@pytest.mark.parametrize(
    ("row", "resource", "group", "obj", "expected"),
    [
        ("R07", "secrets", "", {}, NO),
        ("R07", "secrets", "", {"type": None}, NO),
        ("R07", "secrets", "", {"type": ["x"]}, UNKNOWN),
        ("R09", "certificatesigningrequests", "certificates.k8s.io", {"spec": {}}, NO),
        ("R09", "certificatesigningrequests", "certificates.k8s.io", {"spec": "x"}, UNKNOWN),
        ("R20", "persistentvolumes", "", {"spec": {}}, NO),
        ("R20", "persistentvolumes", "", {}, UNKNOWN),
        ("R20", "persistentvolumes", "", {"spec": ["hostPath"]}, UNKNOWN),
        ("R45", "services", "", {"spec": {"externalIPs": None}}, NO),
        ("R45", "services", "", {"spec": {"externalIPs": "10.0.0.1"}}, UNKNOWN),
        ("R45", "services", "", {"spec": 1}, UNKNOWN),
        ("R45", "services", "", {}, NO),
        ("R53", "services", "", {}, NO),
        ("R53", "services", "", {"spec": {"type": "LoadBalancer"}}, YES),
        ("R53", "services", "", {"spec": {"type": "ExternalName"}}, NO),
        ("R53", "services", "", {"spec": {"type": 3}}, UNKNOWN),
    ],
)
def test_single_fields(row: str, resource: str, group: str, obj: Any, expected: Outcome) -> None:
    assert outcome(row, ask("create", resource, group, obj=obj)) is expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (None, NO),
        ({"rules": None}, NO),
        ({"rules": [{"host": "a.example.com"}, {"host": "b.example.com"}]}, NO),
        ({"rules": [{"host": "a.example.com"}, {"http": {}}]}, YES),
        ({"rules": [{"host": ""}]}, YES),
        ({"rules": [{"host": "*.example.com"}]}, YES),
        ({"rules": [{"host": 5}]}, UNKNOWN),
        ({"rules": "all"}, UNKNOWN),
        ({"defaultBackend": {"service": {}}}, YES),
        ({"backend": {"serviceName": "a"}}, YES),
        ({"defaultBackend": None, "rules": []}, NO),
        ("x", UNKNOWN),
    ],
)
def test_wide_ingress(spec: Any, expected: Outcome) -> None:
    assert outcome("R54", ask("create", "ingresses", "networking.k8s.io", obj={"spec": spec})) is expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({"metadata": {"name": GUARD}}, YES),
        ({"metadata": {"name": "dev"}}, NO),
        ({"metadata": {"generateName": "kube-"}}, NO),
        ({"metadata": {}}, NO),
        ({}, NO),
        ({"metadata": {"name": 5}}, UNKNOWN),
        ({"metadata": "x"}, UNKNOWN),
        ("x", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_the_name_of_what_is_created_is_in_the_body(obj: Any, expected: Outcome) -> None:
    assert outcome("R27", ask("create", "namespaces", ns="", obj=obj)) is expected


def test_a_review_of_one_of_many_deletes_names_the_object_only_in_what_was() -> None:
    def delete(name: str) -> Any:
        return ask("delete", "configmaps", ns="kube-system", name="", old={"metadata": {"name": name}})

    assert outcome("R46", delete("coredns")) is YES
    assert outcome("R46", delete("other")) is NO


def test_the_definitions_of_the_guards_own_kinds_are_the_guards() -> None:
    def write(verb: str, name: str, **fields: Any) -> Any:
        return ask(verb, "customresourcedefinitions", "apiextensions.k8s.io", ns="", name=name, **fields)

    assert outcome("R26", write("patch", "agentpolicies.chaperone.dev", obj=meta(), old=meta())) is YES
    assert outcome("R26", write("create", "", obj={"metadata": {"name": "x.chaperone.dev"}})) is YES
    assert outcome("R26", write("delete", "chaperone.dev.example.com")) is NO
    assert outcome("R26", write("deletecollection", "")) is UNKNOWN


def test_any_mapping_is_an_object() -> None:
    obj = MappingProxyType({"spec": MappingProxyType({"containers": [MappingProxyType(privileged())]})})
    assert outcome("R14", ask("create", "pods", obj=obj)) is YES


# Options


@pytest.mark.parametrize(
    ("query", "options", "expected"),
    [
        ("", None, NO),
        ("", {}, NO),
        ("gracePeriodSeconds=0", None, YES),
        ("gracePeriodSeconds=00", None, YES),
        ("gracePeriodSeconds=-1", None, YES),
        ("gracePeriodSeconds=5", None, NO),
        ("gracePeriodSeconds=5&gracePeriodSeconds=0", None, NO),
        ("gracePeriodSeconds=soon", None, UNKNOWN),
        ("gracePeriodSeconds=", None, UNKNOWN),
        ("propagationPolicy=Orphan", None, YES),
        ("propagationPolicy=Foreground", None, NO),
        ("orphanDependents=true", None, YES),
        ("orphanDependents=", None, YES),
        ("orphanDependents=FALSE", None, NO),
        ("orphanDependents=0", None, NO),
        ("force=1", None, YES),
        ("", {"gracePeriodSeconds": 0}, YES),
        ("", {"gracePeriodSeconds": None}, NO),
        ("", {"gracePeriodSeconds": False}, UNKNOWN),
        ("", {"gracePeriodSeconds": 0.0}, UNKNOWN),
        ("", {"propagationPolicy": "Orphan"}, YES),
        ("", {"propagationPolicy": "Background"}, NO),
        ("", {"propagationPolicy": 3}, UNKNOWN),
        ("", {"orphanDependents": True}, YES),
        ("", {"orphanDependents": False}, NO),
        ("", {"force": True}, YES),
        ("", "Orphan", UNKNOWN),
        ("gracePeriodSeconds=30", {"gracePeriodSeconds": 0}, YES),
    ],
)
@pytest.mark.parametrize("verb", ["delete", "deletecollection"])
def test_strong_options_of_a_delete(verb: str, query: str, options: Any, expected: Outcome) -> None:
    assert outcome("R62", ask(verb, "widgets", "example.com", query=query, options=options)) is expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [("force=true", YES), ("force=TRUE", YES), ("force=", YES), ("force=2", YES), ("force=false", NO), ("force=0", NO),
     ("force=False&force=true", NO), ("forced=true", NO), ("", NO), ("gracePeriodSeconds=0", NO)],
)  # fmt: skip
def test_force_on_a_write(query: str, expected: Outcome) -> None:
    for resource in ("deployments", "deployments/scale", "deployments/status"):
        assert outcome("R62", ask("patch", resource, "apps", query=query, obj=pod(), old=pod())) is expected


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        ({}, NO),
        ({"deleteOptions": {"gracePeriodSeconds": 0}}, YES),
        ({"deleteOptions": "now"}, UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_an_eviction_carries_its_options_inside(obj: Any, expected: Outcome) -> None:
    assert outcome("R62", ask("create", "pods/eviction", obj=obj)) is expected


def test_bulk_counts_bytes() -> None:
    small = replace(SETTINGS, bulk_body_bytes=10)
    assert "R61" in rows(ask("create", "pods/eviction", obj=meta(), body=b"x" * 11), small)
    assert "R61" not in rows(ask("create", "secrets", obj=meta(), body=b"x" * 10), small)
    assert "R61" not in rows(ask("update", "secrets", obj=meta(), old=meta(), body=b"x" * 11), small)
