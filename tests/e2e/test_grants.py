"""Access for a time, from end to end: asked through the gateway or directly, approved by people, and gone afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from typing import Any

import pytest

from chaperone.core.access import build_access_request
from hack.stack import objects, people, programs, up
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.e2e.agents import Agents
from tests.e2e.holding import decide, held, new_namespace, person_who_asks
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "grantees"
RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def agent(stack: up.Stack, agents: Agents, admin: Kubectl) -> Kubectl:
    """An agent without any rights of its own, whose policy asks for two people."""
    rules = [{"name": "own-sandbox", "match": {"namespaces": ["granted-*"]}, "action": "Allow"}]
    approval = {"required": 2, "maxGrant": "10m"}
    agents.govern(GROUP, rules=rules, approval=approval, masking={"profile": "Off", "reason": "a test"})
    return agents.kubectl(GROUP)


@pytest.fixture(scope="module")
def two(stack: up.Stack, admin: Kubectl, approver: Kubectl) -> tuple[Kubectl, Kubectl]:
    """Two people who may approve."""
    path = stack.layout.kubeconfig("approver-two")
    people.write_person(admin, path, "carol@example.com", [objects.APPROVERS])
    return approver, Kubectl(path)


@pytest.fixture(scope="module")
def bob(layout: Layout, admin: Kubectl) -> Kubectl:
    return person_who_asks(layout, admin, "bob")


@pytest.fixture
def namespace(admin: Kubectl) -> str:
    return new_namespace(admin, "granted")


def ask(who: Kubectl, namespace: str, lasting: str = "5m", **fields: Any) -> subprocess.CompletedProcess[str]:
    obj = build_access_request(
        role=fields.pop("role", "edit"), namespaces=[namespace], lasting=lasting, reason="a test", **fields
    )
    return who.run("create", "--validate=false", "-o", "json", "-f", "-", stdin=json.dumps(obj))


def asked(who: Kubectl, namespace: str, lasting: str = "5m", **fields: Any) -> str:
    """The name of the request."""
    done = ask(who, namespace, lasting, **fields)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["metadata"]["name"])


def granted(admin: Kubectl, name: str, *approvers: Kubectl) -> None:
    for person in approvers:
        done = decide(person, name, "Approved")
        assert done.returncode == 0, done.stderr
    until("the grant to begin", lambda: phase(admin, name) == "Executing")


def phase(admin: Kubectl, name: str) -> str:
    return str((admin.get("apreq", name) or {}).get("status", {}).get("phase", ""))


def bindings(admin: Kubectl, namespace: str) -> list[Any]:
    return list(admin.get("rolebindings", "-n", namespace, "-l", "chaperone.dev/grant")["items"])


def can_write(who: Kubectl, namespace: str) -> bool:
    done = who.run("create", "configmap", f"cm-{uuid.uuid4().hex[:6]}", "-n", namespace)
    assert done.returncode == 0 or "orbidden" in done.stderr, done.stderr
    return done.returncode == 0


def test_two_people_approve_the_agent_works_and_the_grant_ends(
    agent: Kubectl, admin: Kubectl, two: tuple[Kubectl, Kubectl], namespace: str
) -> None:
    assert not can_write(agent, namespace)
    name = asked(agent, namespace, "20s")
    filed = admin.get("apreq", name)
    assert filed["spec"]["requester"]["run"] == f"run-{GROUP}"
    assert filed["spec"]["access"]["identity"] == f"system:serviceaccount:agents:{GROUP}"
    assert filed["spec"]["required"] == 2
    assert decide(two[0], name, "Approved").returncode == 0
    assert phase(admin, name) == "Pending"
    assert not can_write(agent, namespace)
    granted(admin, name, two[1])
    until("the agent to have its rights", lambda: can_write(agent, namespace))
    (binding,) = bindings(admin, namespace)
    assert binding["metadata"]["labels"]["chaperone.dev/grant"] == name
    until("the grant to end", lambda: phase(admin, name) == "Executed")
    assert bindings(admin, namespace) == []
    until("the agent to lose its rights", lambda: not can_write(agent, namespace))
    assert admin.get("apreq", name)["status"]["grant"]["endedAt"]


def test_nothing_is_left_when_the_controller_was_killed_in_between(
    stack: up.Stack, agent: Kubectl, admin: Kubectl, two: tuple[Kubectl, Kubectl], namespace: str
) -> None:
    name = asked(agent, namespace, "15s")
    granted(admin, name, *two)
    until("the binding", lambda: bindings(admin, namespace))
    os.killpg(programs.running(stack.layout)["controller"], signal.SIGKILL)
    until("the controller to be gone", lambda: "controller" not in programs.running(stack.layout))
    expires = admin.get("apreq", name)["status"]["grant"]["expiresAt"]
    until("the time to be over", lambda: expires < now(admin))
    assert len(bindings(admin, namespace)) == 1
    controller = stack.program("controller")
    programs.start(stack.layout, controller)
    programs.wait_well(stack.layout, controller)
    until("the binding to be gone", lambda: not bindings(admin, namespace))
    until("the grant to be closed", lambda: phase(admin, name) == "Executed")


def now(admin: Kubectl) -> str:
    """The API server's clock, as objects write it."""
    made = admin.run(
        "create",
        "configmap",
        f"clock-{uuid.uuid4().hex[:8]}",
        "-n",
        "default",
        "--dry-run=server",
        "-o",
        "json",
    )
    return str(json.loads(made.stdout)["metadata"]["creationTimestamp"])


def test_an_approver_takes_it_back_and_open_streams_end(
    agent: Kubectl, admin: Kubectl, two: tuple[Kubectl, Kubectl], namespace: str
) -> None:
    name = asked(agent, namespace)
    granted(admin, name, *two)
    until("the agent to have its rights", lambda: can_write(agent, namespace))
    with held(agent, "get", "--raw", f"/api/v1/namespaces/{namespace}/configmaps?watch=1") as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline()
        done = decide(two[0], name, "Denied")
        assert done.returncode == 0, done.stderr
        watching.communicate(timeout=60)
    until("the binding to be gone", lambda: not bindings(admin, namespace))
    assert phase(admin, name) == "Denied"
    until("the agent to lose its rights", lambda: not can_write(agent, namespace))


def test_an_agent_cannot_get_more_than_is_given(agent: Kubectl, namespace: str) -> None:
    for refused, why in (
        (ask(agent, namespace, role="cluster-admin"), "never granted"),
        (ask(agent, "kube-system"), "kube-system"),
        (ask(agent, namespace, "1h"), "at most 600s"),
    ):
        assert refused.returncode == 1
        assert why in refused.stderr


def test_the_agents_identity_asks_through_the_gateway_only(
    stack: up.Stack, agent: Kubectl, admin: Kubectl, namespace: str
) -> None:
    subject = {"kind": "ServiceAccount", "namespace": "agents", "name": GROUP}
    role = {"kind": "ClusterRole", "apiGroup": RBAC, "name": "chaperone-requester"}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "agent-requests"},
    }
    admin.apply("letting the account write requests", [{**binding, "roleRef": role, "subjects": [subject]}])
    direct = stack.layout.kubeconfig("direct-grantees")
    people.write_account(admin, direct, GROUP, namespace="agents")
    refused = ask(Kubectl(direct), namespace, policy=GROUP)
    assert refused.returncode == 1
    assert "denied" in refused.stderr or "through the gateway" in refused.stderr


def test_a_person_asks_directly_and_somebody_else_approves(
    bob: Kubectl, agent: Kubectl, admin: Kubectl, two: tuple[Kubectl, Kubectl], namespace: str
) -> None:
    assert not can_write(bob, namespace)
    name = asked(bob, namespace, policy=GROUP)
    spec = admin.get("apreq", name)["spec"]
    assert spec["requester"]["username"] == "bob@example.com"
    assert spec["access"]["identity"] == "bob@example.com"
    own = decide(bob, name, "Approved")
    assert own.returncode == 1
    assert "its own requester" in own.stderr
    granted(admin, name, *two)
    until("bob to have the rights", lambda: can_write(bob, namespace))
    decide(two[1], name, "Denied")
    until("bob to lose the rights", lambda: not can_write(bob, namespace))


def test_a_person_asks_only_where_rbac_lets_them(
    stack: up.Stack, agent: Kubectl, admin: Kubectl, bob: Kubectl, namespace: str
) -> None:
    path = stack.layout.kubeconfig("dan")
    people.write_person(admin, path, "dan@example.com", ["nobody"])
    rule = {"apiGroups": ["chaperone.dev"], "resources": ["approvalrequests"], "verbs": ["create", "get"]}
    named = {"metadata": {"name": "only-create"}, "apiVersion": f"{RBAC}/v1"}
    subject = {"kind": "User", "apiGroup": RBAC, "name": "dan@example.com"}
    role = {"kind": "ClusterRole", "apiGroup": RBAC, "name": "only-create"}
    admin.apply(
        "letting dan write requests",
        [
            {**named, "kind": "ClusterRole", "rules": [rule]},
            {**named, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        ],
    )
    refused = ask(Kubectl(path), namespace, policy=GROUP)
    assert refused.returncode == 1
    assert "RBAC does not allow the verb request" in refused.stderr
    unknown = ask(bob, namespace, policy="no-such-policy")
    assert unknown.returncode == 1
    assert "spec.policy.name" in unknown.stderr
