"""One real stack for all end-to-end tests: cluster, issuer, webhook, controller, gateway.

CHAPERONE_E2E_STACK=folder uses a stack that `make up` left there; CHAPERONE_E2E_KUBE=kubeconfig and
CHAPERONE_E2E_CLUSTER=kind choose the cluster below it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import pods
from hack.stack import people, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.agents import Agents
from tests.e2e.waiting import until


@pytest.fixture(scope="session")
def stack() -> Iterator[up.Stack]:
    """Started once; removed at the end unless it was given."""
    given = os.environ.get("CHAPERONE_E2E_STACK")
    if given:
        yield up.start(Path(given))
        return
    kube = os.environ.get("CHAPERONE_E2E_KUBE")
    kind = os.environ.get("CHAPERONE_E2E_CLUSTER") == "kind"
    with tempfile.TemporaryDirectory(prefix="chaperone-e2e-") as folder:
        try:
            yield up.start(Path(folder), kube=Path(kube) if kube else None, kind=kind)
        finally:
            up.stop(Path(folder))


@pytest.fixture(scope="session")
def layout(stack: up.Stack) -> Layout:
    return stack.layout


@pytest.fixture(scope="session")
def admin(stack: up.Stack) -> Kubectl:
    return stack.admin


@pytest.fixture(scope="session")
def agents(stack: up.Stack) -> Agents:
    return Agents(stack)


@pytest.fixture(scope="session")
def approver(layout: Layout) -> Kubectl:
    return Kubectl(layout.approver_kubeconfig)


@pytest.fixture(scope="session")
def conformant(stack: up.Stack, agents: Agents) -> tuple[Kubectl, Kubectl]:
    """One identity, two ways to the API server: (directly with its own token, through the gateway)."""
    agents.govern(
        "conformance",
        access=[{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}],
        rules=[{"name": "everything", "match": {"verbs": ["*"]}, "action": "Allow"}],
        masking={"profile": "Off", "reason": "a test"},
        recording={"streams": "Off"},
    )
    direct = stack.layout.kubeconfig("direct-conformance")
    people.write_account(stack.admin, direct, "conformance", namespace="agents")
    return Kubectl(direct), agents.kubectl("conformance")


@pytest.fixture(scope="session")
def pod_namespace(stack: up.Stack, admin: Kubectl) -> str:
    """A namespace with pods that run: `talker` (prints), `shell` (exec, cp), `echo` (attach), `web` (port 18099)."""
    if not stack.cluster.has_node:
        pytest.skip(f"this cluster has no node of ours to run test pods on: {stack.cluster.why_no_node}")
    namespace = "conf-pods"
    talk = "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; echo last; sleep 2147483647"
    web = "mkdir -p /tmp/www && echo from-the-pod > /tmp/www/index.html && httpd -f -p 127.0.0.1:18099 -h /tmp/www"
    admin.apply(
        "making test pods",
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            pods.pod("talker", namespace, ["sh", "-c", talk]),
            pods.pod("shell", namespace),
            pods.pod("echo", namespace, ["cat"], stdin=True),
            pods.pod("web", namespace, ["sh", "-c", web]),
        ],
    )
    names = ("talker", "shell", "echo", "web")
    until(
        "the test pods to run",
        lambda: all(_phase(admin, namespace, name) == "Running" for name in names),
        seconds=120,
    )
    return namespace


def _phase(admin: Kubectl, namespace: str, name: str) -> str:
    pod = admin.get("pod", name, "-n", namespace) or {}
    return str(pod.get("status", {}).get("phase", ""))
