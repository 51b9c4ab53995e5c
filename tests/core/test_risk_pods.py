"""Pod specs: where each kind keeps its own, every sort of container, nested ones, and shapes that make no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.risk import podspec
from chaperone.core.risk.row import NO, UNKNOWN, YES, Outcome
from tests.core.risk_requests import GUARD, SETTINGS, ask, container, outcome, pod, privileged, rows, workload

RISKY: dict[str, Any] = {"containers": [privileged()]}
HARMLESS: dict[str, Any] = {"containers": [container()]}


def job(spec: Any) -> dict[str, Any]:
    return {"spec": {"jobTemplate": workload(spec)}}


KINDS = [
    ("deployments", "apps", workload),
    ("daemonsets", "apps", workload),
    ("statefulsets", "apps", workload),
    ("replicasets", "apps", workload),
    ("replicationcontrollers", "", workload),
    ("podtemplates", "", lambda spec: {"template": {"spec": spec}}),
    ("jobs", "batch", workload),
    ("cronjobs", "batch", job),
]


@pytest.mark.parametrize(("resource", "group", "build"), KINDS)
@pytest.mark.parametrize(
    "spec",
    [RISKY, {"volumes": [{"hostPath": {}}]}, {"hostPID": True}, {"hostIPC": True}, {"hostNetwork": True}],
)
@pytest.mark.parametrize("verb", ["create", "update", "patch"])
def test_every_workload_is_looked_into(resource: str, group: str, build: Any, spec: Any, verb: str) -> None:
    old = None if verb == "create" else build(HARMLESS)
    assert outcome("R17", ask(verb, resource, group, obj=build(HARMLESS | spec), old=old)) is YES
    assert outcome("R17", ask(verb, resource, group, obj=build(HARMLESS), old=old)) is NO


@pytest.mark.parametrize(("resource", "group", "build"), KINDS)
def test_every_workload_may_get_other_code(resource: str, group: str, build: Any) -> None:
    new, old = {"containers": [container(image="b")]}, {"containers": [container(image="a")]}
    assert outcome("R34", ask("patch", resource, group, obj=build(new), old=build(old))) is YES
    assert outcome("R34", ask("patch", resource, group, obj=build(old), old=build(old))) is NO


@pytest.mark.parametrize(("resource", "group", "build"), KINDS)
@pytest.mark.parametrize("spec", [None, "text", 3, [], [{}]])
def test_a_workload_without_a_readable_pod_spec_is_not_trusted(
    resource: str, group: str, build: Any, spec: Any
) -> None:
    request = ask("update", resource, group, obj=build(spec) if spec else {"spec": spec}, old=build(HARMLESS))
    assert outcome("R17", request) is UNKNOWN
    assert outcome("R34", request) is UNKNOWN


@pytest.mark.parametrize("name", ["containers", "initContainers", "ephemeralContainers"])
def test_every_sort_of_container_counts(name: str) -> None:
    spec = {"containers": [container()], name: [container("a"), privileged("b")]}
    assert outcome("R14", ask("create", "pods", obj={"spec": spec})) is YES


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"containers": None}, NO),
        ({"containers": []}, NO),
        ({"containers": "all"}, UNKNOWN),
        ({"containers": {"a": privileged()}}, UNKNOWN),
        ({"containers": ["a", container()]}, UNKNOWN),
        ({"containers": ["a", privileged()]}, YES),
        ({"containers": [None]}, UNKNOWN),
        ({"containers": [container(securityContext=None)]}, NO),
        ({"containers": [container(securityContext="root")]}, UNKNOWN),
        ({"containers": [container(securityContext={"privileged": None})]}, NO),
        ({"containers": [container(securityContext={"privileged": False})]}, NO),
        ({"containers": [container(securityContext={"privileged": "true"})]}, UNKNOWN),
        ({"containers": [container(securityContext={"privileged": 1})]}, UNKNOWN),
        ({"containers": [container(securityContext={"privileged": "true"}), privileged()]}, YES),
        ({"containers": [container()], "initContainers": 7}, UNKNOWN),
    ],
)
def test_privileged(spec: Any, expected: Outcome) -> None:
    assert outcome("R14", ask("create", "pods", obj={"spec": spec})) is expected


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        (None, NO),
        ([], NO),
        ([{"emptyDir": {}}, {"hostPath": {"path": "/"}}], YES),
        ([{"hostPath": None}], YES),
        ("v", UNKNOWN),
        ([{"emptyDir": {}}, "v"], UNKNOWN),
        ({"hostPath": {}}, UNKNOWN),
    ],
)
def test_host_path(volumes: Any, expected: Outcome) -> None:
    assert outcome("R15", ask("create", "pods", obj=pod(volumes=volumes))) is expected


@pytest.mark.parametrize("field", ["hostPID", "hostNetwork", "hostIPC"])
@pytest.mark.parametrize(
    ("value", "expected"), [(True, YES), (False, NO), (None, NO), ("true", UNKNOWN), (1, UNKNOWN)]
)
def test_host_namespaces(field: str, value: Any, expected: Outcome) -> None:
    assert outcome("R16", ask("create", "pods", obj=pod(**{field: value}))) is expected


@pytest.mark.parametrize("obj", [{}, {"spec": None}, {"spec": "x"}, {"spec": []}, [], "pod", 3, True])
def test_a_pod_that_is_none(obj: Any) -> None:
    request = ask("create", "pods", obj=obj)
    assert [outcome(row, request) for row in ("R14", "R15", "R16", "R18")] == [UNKNOWN] * 4


def test_ephemeral_containers_of_old_servers_come_as_a_bare_list() -> None:
    bare = {"kind": "EphemeralContainers", "ephemeralContainers": [privileged("debug")]}
    assert outcome("R14", ask("update", "pods/ephemeralcontainers", obj=bare, old={})) is YES
    bare = {"kind": "EphemeralContainers", "ephemeralContainers": [container("debug")]}
    assert outcome("R14", ask("update", "pods/ephemeralcontainers", obj=bare, old={})) is NO


def test_a_pod_does_not_hide_its_spec_behind_that_list() -> None:
    obj = pod(ephemeralContainers=[privileged()]) | {"ephemeralContainers": []}
    assert outcome("R14", ask("create", "pods", obj=obj)) is YES
    assert outcome("R14", ask("update", "pods/ephemeralcontainers", obj=obj, old=pod())) is YES


# Service accounts

KNOWN = replace(
    SETTINGS,
    privileged_accounts=frozenset({("dev", "root"), ("ops", "*"), ("db", "default"), ("web", "odd")}),
)


@pytest.mark.parametrize(
    ("ns", "spec", "expected"),
    [
        ("dev", {"serviceAccountName": "root"}, YES),
        ("dev", {"serviceAccount": "root"}, YES),
        ("dev", {"serviceAccountName": "ci", "serviceAccount": "root"}, YES),
        ("dev", {"serviceAccountName": "", "serviceAccount": "root"}, YES),
        ("dev", {"serviceAccountName": "ci"}, NO),
        ("web", {"serviceAccountName": "root"}, NO),
        ("ops", {"serviceAccountName": "anything"}, YES),
        ("ops", {}, YES),
        ("dev", {}, NO),
        ("db", {}, YES),
        ("db", {"serviceAccountName": None}, YES),
        ("db", {"serviceAccountName": "ci"}, NO),
        ("dev", {"serviceAccountName": ["root"]}, UNKNOWN),
    ],
)
def test_privileged_account(ns: str, spec: dict[str, Any], expected: Outcome) -> None:
    assert outcome("R18", ask("create", "pods", ns=ns, obj=pod(**spec)), KNOWN) is expected
    assert (
        outcome("R18", ask("create", "cronjobs", "batch", ns=ns, obj=job(pod(**spec)["spec"])), KNOWN)
        is expected
    )


def test_a_group_of_all_accounts_reaches_every_pod() -> None:
    everybody = replace(SETTINGS, privileged_accounts=frozenset({("*", "*")}))
    assert outcome("R18", ask("create", "pods", obj=pod()), everybody) is YES


def test_no_account_is_powerful() -> None:
    nobody = replace(SETTINGS, privileged_accounts=frozenset())
    assert outcome("R18", ask("create", "pods", ns="kube-system", obj=pod()), nobody) is NO


@pytest.mark.parametrize("ns", ["dev", "kube-system", GUARD])
def test_bindings_that_were_not_looked_up(ns: str) -> None:
    unknown = replace(SETTINGS, privileged_accounts=None)
    assert (
        outcome("R18", ask("create", "pods", ns=ns, obj=pod(serviceAccountName="root")), unknown) is UNKNOWN
    )


# Custom resources


def nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = {"a": [inner]}
    return inner


@pytest.mark.parametrize("depth", [0, 1, 5, 20])
def test_pod_specs_inside_custom_resources(depth: int) -> None:
    def create(spec: Any) -> Any:
        return ask("create", "workflows", "argoproj.io", obj={"spec": nested(depth, spec)})

    assert outcome("R17", create(RISKY)) is YES
    assert outcome("R17", create(HARMLESS)) is NO
    assert outcome("R17", create({"initContainers": [privileged()]})) is YES
    assert outcome("R18", create(pod(serviceAccountName="root")["spec"]), KNOWN) is YES
    assert rows(create(HARMLESS), KNOWN) == ()


def test_an_account_of_a_cluster_scoped_template_may_be_in_any_namespace() -> None:
    def create(account: str) -> Any:
        return ask(
            "create", "pools", "example.com", ns="", obj={"t": pod(serviceAccountName=account)["spec"]}
        )

    only = replace(SETTINGS, privileged_accounts=frozenset({("dev", "root")}))
    assert outcome("R18", create("root"), only) is YES
    assert outcome("R18", create("ci"), only) is NO
    assert outcome("R18", create("ci"), KNOWN) is YES


@pytest.mark.parametrize(
    "spec",
    [
        {"containers": "three"},
        {"containers": [1, 2]},
        {"containers": [{"name": "a", "securityContext": {"privileged": True}}]},
        {"containers": {"image": "a"}, "hostPID": True},
        {"hostPID": True},
    ],
)
def test_other_things_called_containers(spec: Any) -> None:
    assert outcome("R17", ask("create", "widgets", "example.com", obj={"spec": spec})) is NO


def test_a_template_with_a_strange_part_is_not_trusted() -> None:
    spec = {"containers": [container()], "hostPID": "yes"}
    assert outcome("R17", ask("create", "widgets", "example.com", obj={"spec": spec})) is UNKNOWN


def test_the_search_is_bounded_and_says_so() -> None:
    def create(spec: Any) -> Any:
        return ask("create", "widgets", "example.com", obj=spec)

    assert outcome("R17", create(nested(podspec.DEEPEST, HARMLESS))) is UNKNOWN
    assert outcome("R17", create({"a": [0] * podspec.LARGEST})) is UNKNOWN
    assert outcome("R17", create({"a": [0] * (podspec.LARGEST - 1)})) is NO
    assert outcome("R17", create({"a": RISKY, "b": nested(podspec.DEEPEST, HARMLESS)})) is YES


@pytest.mark.parametrize(
    ("resource", "group"),
    [
        ("configmaps", ""),
        ("networkpolicies", "networking.k8s.io"),
        ("customresourcedefinitions", "apiextensions.k8s.io"),
    ],
)
def test_built_in_kinds_without_pods_are_not_searched(resource: str, group: str) -> None:
    assert "R17" not in rows(ask("create", resource, group, obj={"spec": RISKY}))


@pytest.mark.parametrize(
    "group", ["extensions", "apps", "cluster.x-k8s.io", "resource.k8s.io", "serving.knative.dev"]
)
def test_other_kinds_are(group: str) -> None:
    assert outcome("R17", ask("create", "things", group, obj={"spec": RISKY})) is YES
