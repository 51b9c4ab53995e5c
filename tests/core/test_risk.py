"""The catalogue as a whole: complete, in order, and every row both matches and does not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from chaperone.core.request import Origin, Request
from chaperone.core.risk import CATALOGUE, UNLIFTABLE_ROWS, assess, finding
from chaperone.core.verdict import NO_RISK, RiskLevel
from tests.core.risk_requests import (
    APPLY,
    GUARD,
    JSON_PATCH,
    MERGE,
    RBAC,
    SETTINGS,
    ask,
    container,
    marked,
    meta,
    path,
    pod,
    privileged,
    rows,
    workload,
)

ADMISSION = "admissionregistration.k8s.io"
CERTIFICATES = "certificates.k8s.io"
SNAPSHOTS = "snapshot.storage.k8s.io"


def binding(role: str, *subjects: dict[str, str], kind: str = "ClusterRole") -> dict[str, object]:
    return {"roleRef": {"kind": kind, "name": role}, "subjects": list(subjects), **meta()}


def role(*verbs: str, resources: tuple[str, ...] = ("pods",), **fields: object) -> dict[str, object]:
    return {
        "rules": [{"apiGroups": [""], "resources": list(resources), "verbs": list(verbs)}],
        **fields,
        **meta(),
    }


MASTERS = {"kind": "Group", "name": "system:masters"}
CI = {"kind": "ServiceAccount", "name": "ci", "namespace": "dev"}
POWERFUL = replace(SETTINGS, privileged_accounts=frozenset({("dev", "root")}))

# row, a request that matches it, a request that does not.
CASES: list[tuple[str, Request, Request]] = [
    ("R01", ask("create", "clusterrolebindings", RBAC, ns="", obj=binding("view")), ask("get", "clusterrolebindings", RBAC)),
    ("R01", ask("patch", "clusterrolebindings", RBAC, ns="", obj=binding("view"), old=meta()), ask("delete", "clusterrolebindings", RBAC)),
    ("R02", ask("create", "rolebindings", RBAC, obj=binding("cluster-admin")), ask("create", "rolebindings", RBAC, obj=binding("view"))),
    ("R02", ask("update", "rolebindings", RBAC, ns="kube-system", obj=binding("view"), old=meta()), ask("update", "rolebindings", RBAC, ns="kube-public", obj=binding("view"), old=meta())),
    ("R03", ask("create", "roles", RBAC, obj=role("bind")), ask("create", "roles", RBAC, obj=role("get", "create"))),
    ("R03", ask("create", "clusterroles", RBAC, ns="", obj=role("update", resources=("*",))), ask("create", "clusterroles", RBAC, ns="", obj=role("get", resources=("*",)))),
    ("R04", ask("create", "rolebindings", RBAC, obj=binding("view", CI, MASTERS)), ask("create", "rolebindings", RBAC, obj=binding("view", CI))),
    ("R05", ask("impersonate", "users", ns=""), ask("get", "users", ns="")),
    ("R05", ask("impersonate", "userextras/scopes", "authentication.k8s.io", ns=""), ask("impersonate", "pods")),
    ("R06", ask("create", "serviceaccounts/token"), ask("create", "serviceaccounts", obj=meta())),
    ("R07", ask("create", "secrets", obj={"type": "kubernetes.io/service-account-token"}), ask("create", "secrets", obj={"type": "Opaque"})),
    ("R08", ask("get", "secrets", ns="kube-system"), ask("get", "secrets", ns="dev")),
    ("R08", ask("watch", "secrets", ns="", name=""), ask("list", "secrets", ns="dev", name="")),
    ("R09", ask("create", "certificatesigningrequests", CERTIFICATES, ns="", obj={"spec": {"signerName": "kubernetes.io/kube-apiserver-client"}}), ask("create", "certificatesigningrequests", CERTIFICATES, ns="", obj={"spec": {"signerName": "kubernetes.io/kubelet-serving"}})),
    ("R10", ask("update", "certificatesigningrequests/approval", CERTIFICATES, ns=""), ask("get", "certificatesigningrequests/approval", CERTIFICATES, ns="")),
    ("R10", ask("create", "clusterroles", RBAC, ns="", obj={"rules": [{"apiGroups": [CERTIFICATES], "resources": ["signers"], "verbs": ["approve"]}]}), ask("create", "clusterroles", RBAC, ns="", obj=role("approve"))),
    ("R11", ask("delete", "mutatingwebhookconfigurations", ADMISSION, ns=""), ask("get", "mutatingwebhookconfigurations", ADMISSION, ns="")),
    ("R12", ask("patch", "validatingwebhookconfigurations", ADMISSION, ns="", obj=meta(), old=meta()), ask("list", "validatingwebhookconfigurations", ADMISSION, ns="")),
    ("R12", ask("create", "mutatingadmissionpolicybindings", ADMISSION, ns="", obj=meta()), ask("watch", "mutatingadmissionpolicybindings", ADMISSION, ns="")),
    ("R13", ask("get", "nodes/proxy", ns=""), ask("get", "nodes", ns="")),
    ("R13", ask("proxy", "nodes", ns=""), ask("get", "nodes/status", ns="")),
    ("R14", ask("create", "pods", obj=pod(containers=[privileged()])), ask("create", "pods", obj=pod())),
    ("R14", ask("patch", "pods/ephemeralcontainers", obj=pod(ephemeralContainers=[privileged("debug")]), old=pod()), ask("patch", "pods/ephemeralcontainers", obj=pod(ephemeralContainers=[container("debug")]), old=pod())),
    ("R15", ask("create", "pods", obj=pod(volumes=[{"name": "v", "hostPath": {"path": "/"}}])), ask("create", "pods", obj=pod(volumes=[{"name": "v", "emptyDir": {}}]))),
    ("R16", ask("create", "pods", obj=pod(hostPID=True)), ask("create", "pods", obj=pod(hostPID=False))),
    ("R17", ask("create", "deployments", "apps", obj=workload(pod(hostNetwork=True)["spec"])), ask("create", "deployments", "apps", obj=workload())),
    ("R18", ask("create", "pods", obj=pod(serviceAccountName="root")), ask("create", "pods", obj=pod(serviceAccountName="ci"))),
    ("R18", ask("create", "statefulsets", "apps", obj=workload(pod(serviceAccountName="root")["spec"])), ask("create", "statefulsets", "apps", obj=workload())),
    ("R19", ask("patch", "configmaps", ns="kube-system", name="aws-auth", obj=meta(), old=meta()), ask("patch", "configmaps", ns="dev", name="aws-auth", obj=meta(), old=meta())),
    ("R19", ask("update", "configmaps", ns="kube-system", name="aws-auth", obj=meta(), old=meta()), ask("update", "configmaps", ns="kube-system", name="other", obj=meta(), old=meta())),
    ("R20", ask("create", "persistentvolumes", ns="", obj={"spec": {"hostPath": {"path": "/"}}}), ask("create", "persistentvolumes", ns="", obj={"spec": {"nfs": {}}})),
    ("R20", ask("create", "persistentvolumes", ns="", obj={"spec": {"local": {"path": "/"}}}), ask("update", "persistentvolumes", ns="", obj={"spec": {"local": {}}}, old={"spec": {}})),
    ("R21", ask("delete", "customresourcedefinitions", "apiextensions.k8s.io", ns=""), ask("create", "customresourcedefinitions", "apiextensions.k8s.io", ns="", obj=meta())),
    ("R22", ask("delete", "namespaces"), ask("delete", "pods")),
    ("R23", ask("deletecollection", "pods"), ask("delete", "pods")),
    ("R23", ask("deletecollection", "widgets", "example.com"), ask("list", "widgets", "example.com")),
    ("R24", ask("delete", "persistentvolumeclaims"), ask("get", "persistentvolumeclaims")),
    ("R24", ask("delete", "persistentvolumes", ns=""), ask("create", "persistentvolumes", ns="", obj=pod())),
    ("R25", ask("update", "apiservices", "apiregistration.k8s.io", ns="", obj=meta(), old=meta()), ask("get", "apiservices", "apiregistration.k8s.io", ns="")),
    ("R26", ask("create", "agentpolicies", "chaperone.dev", ns="", obj=meta()), ask("list", "agentpolicies", "chaperone.dev", ns="")),
    ("R26", ask("patch", "approvalrequests/status", "chaperone.dev", ns="", obj=meta(), old=meta()), ask("get", "approvalrequests/status", "chaperone.dev", ns="")),
    ("R26", ask("delete", "customresourcedefinitions", "apiextensions.k8s.io", ns="", name="agentpolicies.chaperone.dev"), ask("delete", "customresourcedefinitions", "apiextensions.k8s.io", ns="", name="widgets.example.com")),
    ("R27", ask("delete", "pods", ns=GUARD), ask("delete", "pods", ns="dev")),
    ("R27", ask("update", "deployments/scale", "apps", ns=GUARD, obj={"spec": {"replicas": 1}}, old={"spec": {"replicas": 1}}), ask("get", "deployments/scale", "apps", ns=GUARD)),
    ("R27", ask("get", "pods/exec", ns=GUARD), ask("get", "pods/log", ns=GUARD)),
    ("R27", ask("proxy", "services", ns=GUARD), ask("get", "services", ns=GUARD)),
    ("R27", ask("create", "namespaces", ns="", obj={"metadata": {"name": GUARD}}), ask("create", "namespaces", ns="", obj=meta())),
    ("R28", ask("get", "pods/exec"), ask("get", "pods")),
    ("R28", ask("create", "pods/exec"), ask("get", "pods/log")),
    ("R29", ask("create", "pods/attach"), ask("create", "pods", obj=pod())),
    ("R30", ask("update", "pods/ephemeralcontainers", obj=pod(), old=pod()), ask("get", "pods/ephemeralcontainers")),
    ("R31", ask("get", "pods/portforward"), ask("get", "pods/exec")),
    ("R32", ask("patch", "services/proxy"), ask("get", "services")),
    ("R32", ask("", "pods/proxy"), ask("get", "nodes/proxy", ns="")),
    ("R32", ask("proxy", "pods"), ask("list", "pods")),
    ("R33", ask("patch", "pods", obj=pod(containers=[container(image="evil:1")]), old=pod()), ask("patch", "pods", obj=pod(), old=pod())),
    ("R34", ask("update", "daemonsets", "apps", obj=workload(pod(containers=[container(image="evil:1")])["spec"]), old=workload()), ask("update", "daemonsets", "apps", obj=workload(), old=workload())),
    ("R34", ask("update", "deployments", "apps", obj=workload(pod(containers=[container(), container("side")])["spec"]), old=workload()), ask("create", "deployments", "apps", obj=workload())),
    ("R35", ask("patch", "namespaces", obj=meta(labels={"a": "1"}), old=meta()), ask("patch", "namespaces", obj=meta(), old=meta())),
    ("R35", ask("update", "namespaces/status", obj=meta(annotations={"a": "1"}), old=meta()), ask("update", "namespaces", obj=meta(annotations={}), old=meta())),
    ("R36", ask("update", "namespaces/finalize"), ask("get", "namespaces/finalize")),
    ("R36", ask("update", "widgets", "example.com", obj=meta(finalizers=["a"]), old=meta(finalizers=["a", "b"])), ask("update", "widgets", "example.com", obj=meta(finalizers=["a", "b"]), old=meta(finalizers=["a"]))),
    ("R36", ask("patch", "persistentvolumeclaims/status", obj=meta(), old=meta(finalizers=["b"])), ask("patch", "persistentvolumeclaims/status", obj=meta(finalizers=["b"]), old=meta(finalizers=["b"]))),
    ("R37", ask("get", "secrets"), ask("get", "secrets", ns="kube-system")),
    ("R37", ask("list", "secrets"), ask("list", "secrets", ns="")),
    ("R38", ask("delete", "configmaps"), ask("create", "configmaps", obj=meta())),
    ("R38", ask("patch", "secrets", obj=meta(), old=meta()), ask("get", "secrets")),
    ("R39", ask("delete", "statefulsets", "apps"), ask("delete", "replicasets", "apps")),
    ("R40", ask("patch", "deployments/scale", "apps", obj={"spec": {}}, old={"spec": {"replicas": 2}}), ask("patch", "deployments/scale", "apps", obj={"spec": {"replicas": 3}}, old={"spec": {"replicas": 2}})),
    ("R40", ask("update", "replicationcontrollers", obj=workload(replicas=9), old=workload(replicas=2)), ask("update", "daemonsets", "apps", obj=workload(replicas=9), old=workload(replicas=2))),
    ("R41", ask("create", "pods/eviction", obj=meta()), ask("delete", "pods")),
    ("R41", ask("delete", "pods", ns=GUARD), ask("deletecollection", "pods", ns="kube-system")),
    ("R42", ask("delete", "nodes", ns=""), ask("get", "nodes", ns="")),
    ("R43", ask("patch", "nodes", ns="", obj={"spec": {"unschedulable": True}}, old={"spec": {}}), ask("patch", "nodes", ns="", obj={"spec": {"unschedulable": False}}, old={"spec": {}})),
    ("R43", ask("update", "nodes/status", ns="", obj=meta(), old=meta()), ask("get", "nodes/status", ns="")),
    ("R44", ask("create", "pods/binding", obj=meta()), ask("get", "pods")),
    ("R44", ask("create", "bindings", obj=meta()), ask("list", "bindings")),
    ("R45", ask("create", "services", obj={"spec": {"externalIPs": ["10.0.0.1"]}}), ask("create", "services", obj={"spec": {"externalIPs": []}})),
    ("R45", ask("patch", "services/status", obj=meta(), old=meta()), ask("get", "services/status")),
    ("R46", ask("delete", "configmaps", ns="kube-system", name="coredns"), ask("delete", "configmaps", ns="kube-system", name="other")),
    ("R46", ask("create", "configmaps", ns="kube-system", obj={"metadata": {"name": "coredns"}}), ask("create", "configmaps", ns="kube-system", obj=meta())),
    ("R47", ask("delete", "networkpolicies", "networking.k8s.io"), ask("create", "networkpolicies", "networking.k8s.io", obj=meta())),
    ("R48", ask("update", "poddisruptionbudgets", "policy", obj=meta(), old=meta()), ask("create", "poddisruptionbudgets", "policy", obj=meta())),
    ("R49", ask("create", "pods", ns="kube-node-lease", obj=pod()), ask("create", "pods", ns="kube-public", obj=pod())),
    ("R50", ask("create", "cronjobs", "batch", obj={"spec": {"jobTemplate": workload()}}), ask("update", "jobs", "batch", obj=workload(), old=workload())),
    ("R50", ask("patch", "jobs", "batch", content_type=APPLY, obj=workload()), ask("patch", "jobs", "batch", content_type=APPLY, obj=workload(), old=workload())),
    ("R51", ask("deletecollection", "events", "events.k8s.io"), ask("list", "events", "events.k8s.io")),
    ("R51", ask("delete", "events"), ask("create", "events", obj=meta())),
    ("R52", ask("delete", "limitranges"), ask("create", "limitranges", obj=meta())),
    ("R53", ask("create", "services", obj={"spec": {"type": "NodePort"}}), ask("create", "services", obj={"spec": {"type": "ClusterIP"}})),
    ("R54", ask("create", "ingresses", "networking.k8s.io", obj={"spec": {"rules": [{"host": "*.example.com"}]}}), ask("create", "ingresses", "networking.k8s.io", obj={"spec": {"rules": [{"host": "a.example.com"}]}})),
    ("R54", ask("create", "ingresses", "extensions", obj={"spec": {"backend": {"serviceName": "a"}}}), ask("create", "ingresses", "extensions", obj={"spec": {"rules": []}})),
    ("R55", ask("create", "serviceaccounts", obj=meta(annotations={"eks.amazonaws.com/role-arn": "a"})), ask("create", "serviceaccounts", obj=meta(annotations={"note": "a"}))),
    ("R56", ask("delete", "storageclasses", "storage.k8s.io", ns=""), ask("create", "storageclasses", "storage.k8s.io", ns="", obj=meta())),
    ("R56", ask("create", "volumesnapshots", SNAPSHOTS, obj=meta()), ask("get", "volumesnapshots", SNAPSHOTS)),
    ("R56", ask("patch", "persistentvolumes", ns="", obj={"spec": {"persistentVolumeReclaimPolicy": "Delete"}}, old={"spec": {"persistentVolumeReclaimPolicy": "Retain"}}), ask("patch", "persistentvolumes", ns="", obj={"spec": {}}, old={"spec": {}})),
    ("R57", ask("create", "priorityclasses", "scheduling.k8s.io", ns="", obj=meta()), ask("get", "priorityclasses", "scheduling.k8s.io", ns="")),
    ("R58", ask("patch", "pods/status", obj=meta(), old=meta()), ask("get", "pods/status")),
    ("R59", ask("patch", "pods/resize", obj=pod(), old=pod()), ask("get", "pods/resize")),
    ("R60", ask("get", "pods/log", ns="kube-system"), ask("get", "pods/log")),
    ("R61", ask("create", "configmaps", obj=meta(), body=b"x" * (SETTINGS.bulk_body_bytes + 1)), ask("create", "configmaps", obj=meta(), body=b"x" * SETTINGS.bulk_body_bytes)),
    ("R61", ask("patch", "widgets", "example.com", content_type=APPLY, obj=meta(), body=b"x" * 2**21), ask("patch", "widgets", "example.com", content_type=APPLY, obj=meta(), old=meta(), body=b"x" * 2**21)),
    ("R62", ask("patch", "deployments", "apps", content_type=APPLY, query="fieldManager=a&force=true", obj=workload(), old=workload()), ask("patch", "deployments", "apps", content_type=APPLY, query="fieldManager=a&force=false", obj=workload(), old=workload())),
    ("R62", ask("delete", "pods", options={"gracePeriodSeconds": 0}), ask("delete", "pods", options={"gracePeriodSeconds": 30})),
    ("R62", ask("create", "pods/eviction", obj={"deleteOptions": {"gracePeriodSeconds": 0}}), ask("create", "pods/eviction", obj={"deleteOptions": None})),
    ("R63", ask("update", "leases", "coordination.k8s.io", ns="kube-system", obj=meta(), old=meta()), ask("update", "leases", "coordination.k8s.io", ns="dev", obj=meta(), old=meta())),
    ("R64", path("/metrics"), path("/healthz")),
    ("R64", path("/debug/pprof/heap", "post"), path("/apis/apps", "post")),
]  # fmt: skip


@pytest.mark.parametrize(("row", "request_"), [(row, yes) for row, yes, _ in CASES])
def test_matches(row: str, request_: Request) -> None:
    assert marked(request_, POWERFUL).get(row) is False


@pytest.mark.parametrize(("row", "request_"), [(row, no) for row, _, no in CASES])
def test_does_not_match(row: str, request_: Request) -> None:
    assert row not in rows(request_, POWERFUL)


def test_every_row_has_both_cases() -> None:
    assert {row for row, _, _ in CASES} == {row.id for row in CATALOGUE}


def test_the_catalogue_is_complete_and_in_order() -> None:
    assert [row.id for row in CATALOGUE] == [f"R{number:02}" for number in range(1, 65)]
    levels = Counter(row.level for row in CATALOGUE)
    assert levels == {RiskLevel.CRITICAL: 27, RiskLevel.HIGH: 23, RiskLevel.MEDIUM: 13, RiskLevel.LOW: 1}


def test_every_row_can_be_shown() -> None:
    for row in CATALOGUE:
        assert row.reason
        assert "\n" not in row.reason
        assert not row.reason.endswith(".")
        assert row.verbs
        assert row.groups
        assert row.resources
    assert len({row.reason for row in CATALOGUE}) == 64


@pytest.mark.parametrize(
    ("row", "condition"),
    [
        ("R01", ""),
        ("R19", "in namespace kube-system and named aws-auth"),
        ("R36", "always; or removing a finalizer"),
    ],
)
def test_a_row_tells_its_condition(row: str, condition: str) -> None:
    assert next(entry for entry in CATALOGUE if entry.id == row).condition == condition


def test_only_the_gateway_sees() -> None:
    hidden = {row.id for row in CATALOGUE if Origin.ADMISSION not in row.seen_by}
    assert hidden == {"R05", "R08", "R11", "R12", "R37", "R60", "R61", "R62", "R63", "R64"}


@pytest.mark.parametrize(("row", "request_"), [(row, yes) for row, yes, _ in CASES])
def test_admission_judges_what_it_can_see(row: str, request_: Request) -> None:
    hidden = {entry.id for entry in CATALOGUE if Origin.ADMISSION not in entry.seen_by}
    reviewed = rows(replace(request_, origin=Origin.ADMISSION), POWERFUL)
    assert set(reviewed) == set(rows(request_, POWERFUL)) - hidden


def test_what_no_approval_lifts() -> None:
    assert {"R05", "R10", "R11", "R12", "R13", "R25", "R26", "R27", "R63"} == UNLIFTABLE_ROWS


def test_a_finding_can_be_made_elsewhere() -> None:
    found = finding("R05")
    assert (found.row, found.level, found.undetermined) == ("R05", RiskLevel.CRITICAL, False)
    assert finding("R05", undetermined=True).undetermined
    with pytest.raises(KeyError):
        finding("R65")


def test_findings_come_in_the_order_of_their_ids() -> None:
    request = ask("delete", "pods", ns="kube-system", options={"gracePeriodSeconds": 0})
    assert rows(request) == ("R41", "R49", "R62")


def test_no_row_means_no_risk() -> None:
    assert assess(ask("list", "pods"), SETTINGS) is NO_RISK
    assert assess(ask("delete", "pods"), SETTINGS) is NO_RISK


@pytest.mark.parametrize("verb", ["", "foo", "*", "apply", "W"])
def test_a_strange_verb_meets_only_the_rows_for_any_verb(verb: str) -> None:
    assert rows(ask(verb, "secrets")) == ()
    assert rows(ask(verb, "nodes/proxy", ns="")) == ("R13",)


@pytest.mark.parametrize(
    ("group", "resource"),
    [("*", "*/*"), ("*", "*"), ("custom resources", "*"), ("non-resource", "*"), ("", "*/*"), ("*", "pods")],
)
def test_a_client_cannot_name_a_pattern(group: str, resource: str) -> None:
    assert rows(ask("get", resource, group)) == ()
    assert "R64" not in rows(ask("delete", resource, group))


@pytest.mark.parametrize(
    ("row", "resource", "group"),
    [
        ("R02", "rolebindings", RBAC),
        ("R03", "clusterroles", RBAC),
        ("R04", "clusterrolebindings", RBAC),
        ("R07", "secrets", ""),
        ("R10", "roles", RBAC),
        ("R14", "pods", ""),
        ("R15", "pods", ""),
        ("R16", "pods", ""),
        ("R17", "deployments", "apps"),
        ("R17", "workflows", "argoproj.io"),
        ("R18", "jobs", "batch"),
        ("R33", "pods", ""),
        ("R34", "statefulsets", "apps"),
        ("R35", "namespaces", ""),
        ("R36", "anything", "example.com"),
        ("R40", "deployments", "apps"),
        ("R40", "widgets/scale", "example.com"),
        ("R43", "nodes", ""),
        ("R45", "services", ""),
        ("R53", "services", ""),
        ("R54", "ingresses", "networking.k8s.io"),
        ("R55", "serviceaccounts", ""),
        ("R56", "persistentvolumes", ""),
    ],
)
@pytest.mark.parametrize("verb", ["update", "patch"])
@pytest.mark.parametrize("unread", [("object",), ("object", "oldObject"), ()])
def test_a_write_that_cannot_be_read_matches_undetermined(
    row: str, resource: str, group: str, verb: str, unread: tuple[str, ...]
) -> None:
    assert marked(ask(verb, resource, group, body=b"\xff", unread=unread))[row] is True


@pytest.mark.parametrize(("row", "request_", "expected"), [
    ("R09", ask("create", "certificatesigningrequests", CERTIFICATES, unread=("object",)), True),
    ("R20", ask("create", "persistentvolumes", unread=("object",)), True),
    ("R20", ask("create", "persistentvolumes"), True),
    ("R27", ask("create", "namespaces", ns="", unread=("object",)), True),
    ("R46", ask("create", "configmaps", ns="kube-system", unread=("object",)), True),
    ("R46", ask("deletecollection", "configmaps", ns="kube-system"), True),
    ("R62", ask("delete", "pods", unread=("options",), body=b"?"), True),
    ("R62", ask("delete", "pods", body=b"{}"), True),
    ("R62", ask("create", "pods/eviction"), True),
    ("R36", ask("update", "widgets", "example.com", obj=meta()), True),
    ("R36", ask("update", "widgets", "example.com", obj=meta(), old=meta(), unread=("oldObject",)), True),
    ("R20", ask("patch", "persistentvolumes", content_type=APPLY, obj={"spec": {"local": {}}}, unread=("oldObject",)), True),
    ("R20", ask("patch", "persistentvolumes", content_type="", obj={"spec": {"local": {}}}), True),
    ("R20", ask("patch", "persistentvolumes", content_type=APPLY, obj={"spec": {"local": {}}}), False),
])  # fmt: skip
def test_what_cannot_be_told(row: str, request_: Request, expected: bool) -> None:
    assert marked(request_)[row] is expected


@pytest.mark.parametrize(
    "content_type", [MERGE, JSON_PATCH, "application/strategic-merge-patch+json; charset=utf-8"]
)
def test_only_an_apply_creates(content_type: str) -> None:
    request = ask("patch", "persistentvolumes", content_type=content_type, obj={"spec": {"local": {}}})
    assert "R20" not in rows(request)


@pytest.mark.parametrize(
    "place",
    [
        "/api", "/api/", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/openapi", "/openapi/v2", "/openapi/v3/apis/apps/v1",
        "/healthz", "/healthz/etcd", "/livez", "/livez/ping", "/readyz", "/readyz/", "/version", "/version/",
        "/.well-known/openid-configuration", "/openid/v1/jwks",
    ],
)  # fmt: skip
def test_open_paths(place: str) -> None:
    assert rows(path(place)) == ()


@pytest.mark.parametrize(
    "place",
    [
        "/", "", "/metrics", "/metrics/", "/logs/", "/debug/flags/v", "/apisx", "/healthzz", "/versions", "/version/x", "/.well-known/x",
        "/healthz/../metrics", "/healthz//x", "//metrics", "/healthz/%2e%2e/metrics", "/apis/.", "/openid/v1", "/statusz", "/flagz",
    ],
)  # fmt: skip
def test_internal_paths(place: str) -> None:
    assert rows(path(place)) == ("R64",)


def test_nothing_of_a_resource_is_judged_as_a_path() -> None:
    assert rows(replace(path("/metrics"), is_resource=True, resource="pods")) == ()
