"""From request lines to rows: whole requests, and exactly what each of them matches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.request import Payload, Request, parse
from tests.core.risk_requests import APPLY, MERGE, container, marked, meta, pod, privileged, workload

RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEV = "/api/v1/namespaces/dev"
SYSTEM = "/api/v1/namespaces/kube-system"
WEB = "/apis/apps/v1/namespaces/dev/deployments/web"


def send(
    method: str,
    target: str,
    obj: Any = None,
    old: Any = None,
    *,
    options: Any = None,
    sent: str = MERGE,
    upgrade: str = "",
) -> Request:
    request = parse(
        method, target, upgrade=upgrade, content_type=sent if method == "PATCH" else "application/json"
    )
    assert isinstance(request, Request), request
    return replace(request, payload=Payload(obj, old, options), body=b"{...}" if obj or options else b"")


def role(*verbs: str) -> dict[str, Any]:
    return meta() | {"rules": [{"verbs": [verb], "resources": ["pods"], "apiGroups": [""]} for verb in verbs]}


def binding(*groups: str) -> dict[str, Any]:
    subjects = [{"kind": "Group", "name": group} for group in groups]
    return meta() | {"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": subjects}


def scale(replicas: int) -> dict[str, Any]:
    return meta() | {"spec": {"replicas": replicas}}


HOST_PATH_JOB = {"spec": {"jobTemplate": workload(pod(volumes=[{"hostPath": {"path": "/"}}])["spec"])}}
OTHER_IMAGE = workload(pod(containers=[container(image="other:1")])["spec"])
OPEN_SERVICE = {"spec": {"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}}
ENFORCED = meta(labels={"pod-security.kubernetes.io/enforce": "privileged"})
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler"

VECTORS: list[tuple[Request, str]] = [
    (send("POST", f"{RBAC}/clusterrolebindings", binding()), "R01"),
    (send("PATCH", f"{RBAC}/namespaces/dev/rolebindings/x", binding("devs"), binding()), ""),
    (send("PATCH", f"{RBAC}/namespaces/dev/rolebindings/x", binding("system:masters"), binding()), "R04"),
    (send("PUT", f"{RBAC}/clusterroles/x", role("get", "list", "escalate"), role("get")), "R03"),
    (send("GET", f"{DEV}/secrets/x"), "R37"),
    (send("HEAD", f"{DEV}/secrets/x"), "R37"),
    (send("GET", "/api/v1/secrets"), "R08"),
    (send("GET", f"{SYSTEM}/secrets?watch=true"), "R08"),
    (send("GET", "/api/v1/watch/secrets"), "R08"),
    (send("GET", f"{SYSTEM}/secrets?fieldSelector=metadata.name%3Dx"), "R08"),
    (send("POST", f"{DEV}/serviceaccounts/ci/token", {"spec": {}}), "R06"),
    (send("GET", "/api/v1/nodes/n1/proxy/pods"), "R13"),
    (send("HEAD", "/api/v1/nodes/n1/proxy/pods"), "R13"),
    (send("GET", f"{DEV}/pods/p/exec?command=sh", upgrade="websocket"), "R28"),
    (send("POST", f"{DEV}/pods/p/exec?command=sh", upgrade="spdy/3.1"), "R28"),
    (
        send("PATCH", f"{DEV}/pods/p/ephemeralcontainers", pod(ephemeralContainers=[container("d")]), pod()),
        "R30",
    ),
    (send("POST", f"{DEV}/pods", pod(initContainers=[privileged("i")])), "R14"),
    (send("POST", "/apis/batch/v1/namespaces/dev/cronjobs", HOST_PATH_JOB), "R17 R50"),
    (send("DELETE", DEV), "R22"),
    (send("DELETE", f"{DEV}/pods"), "R23"),
    (send("DELETE", f"{DEV}/pods/p"), ""),
    (send("DELETE", f"{SYSTEM}/pods/p"), "R41 R49"),
    (send("POST", f"{DEV}/pods/p/eviction", meta()), "R41"),
    (send("PATCH", f"{WEB}/scale", scale(0), scale(2)), "R40"),
    (send("PATCH", WEB, workload() | meta(labels={"a": "1"}), workload()), ""),
    (send("PATCH", WEB, OTHER_IMAGE, workload()), "R34"),
    (send("PATCH", f"{WEB}?fieldManager=a&force=true", workload(), workload(), sent=APPLY), "R62"),
    (send("DELETE", WEB, options={"propagationPolicy": "Orphan"}), "R39 R62"),
    (send("PUT", f"{DEV}/finalize", meta(), meta()), "R36"),
    (send("PATCH", DEV, ENFORCED, meta()), "R35"),
    (send("PATCH", f"{DEV}/status", ENFORCED, meta()), "R35"),
    (send("PATCH", f"{SYSTEM}/configmaps/aws-auth", meta(), meta()), "R19 R38"),
    (send("POST", f"{DEV}/services", OPEN_SERVICE), "R45 R53"),
    (send("PATCH", "/apis/chaperone.dev/v1alpha1/approvalrequests/x/status", meta(), meta()), "R26"),
    (send("PUT", LEASE, meta(), meta()), "R63"),
    (send("GET", "/debug/pprof/heap"), "R64"),
    (send("GET", "/version"), ""),
    (send("GET", "/apis/apps/v1"), ""),
]


@pytest.mark.parametrize(
    ("request_", "expected"), [pytest.param(r, e, id=f"{r.method} {r.target}") for r, e in VECTORS]
)
def test_vectors(request_: Request, expected: str) -> None:
    assert marked(request_) == dict.fromkeys(expected.split(), False)


@pytest.mark.parametrize(
    ("target", "rows"),
    [
        (f"{DEV}/pods/p", "R14 R15 R16 R18 R33 R36"),
        (f"{RBAC}/clusterroles/x", "R03 R10 R36"),
        (f"{DEV}/services/x", "R36 R45 R53"),
        (f"{WEB}/scale", "R40"),
    ],
)
def test_a_put_that_cannot_be_read(target: str, rows: str) -> None:
    request = parse("PUT", target, content_type="application/json")
    assert isinstance(request, Request)
    unread = replace(request, body=b"\xff", payload=Payload(undetermined=frozenset({"object"})))
    assert marked(unread) == dict.fromkeys(rows.split(), True)
