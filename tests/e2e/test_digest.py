"""Approve A, run B: whatever of a request is changed after its approval, the approval does not serve it.

Each row is asked for with `Chaperone-Hold: never`, so that every answer comes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from hack.stack import up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import decide, new_namespace, phase_of
from tests.e2e.waiting import until
from tests.e2e.wire import MERGE, Reply, Wire, wire

pytestmark = pytest.mark.cluster
GROUP = "exact"
STRATEGIC = "application/strategic-merge-patch+json"
STEPS = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"


def govern(agents: Agents, name: str, **approval: str) -> None:
    agents.govern(
        name,
        access=[{"roleRef": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": True}],
        rules=[
            {
                "name": "ask-first",
                "match": {
                    "verbs": ["create", "update", "patch", "delete"],
                    "resources": ["configmaps", "deployments"],
                },
                "action": "RequireApproval",
            },
            {"name": "all-else", "match": {"verbs": ["*"]}, "action": "Allow"},
        ],
        approval={"useWithin": "5m", **approval},
        masking={"profile": "Off", "reason": "a test"},
    )


@pytest.fixture(scope="module")
def exact(stack: up.Stack, agents: Agents) -> Wire:
    govern(agents, GROUP)
    return wire(stack.layout, agents.kubectl(GROUP), stack.gateway_url, Chaperone_Hold="never")


@pytest.fixture
def place(admin: Kubectl) -> str:
    """A namespace with the ConfigMaps a and b."""
    name = new_namespace(admin, "exact")
    for each in ("a", "b"):
        admin.must("making a config map", "create", "configmap", each, "-n", name, "--from-literal=x=1")
    return name


@dataclass(frozen=True)
class Sent:
    """One request. PLACE in path and body is the namespace."""

    method: str = "PATCH"
    path: str = "/api/v1/namespaces/PLACE/configmaps/a"
    body: str = '{"data":{"x":"2","y":"3"}}'
    content_type: str = MERGE

    def by(self, agent: Wire, place: str, **headers: str) -> Reply:
        path, body = self.path.replace("PLACE", place), self.body.replace("PLACE", place)
        return agent.send(self.method, path, body, self.content_type, **headers)

    def asking(self, query: str) -> Sent:
        return replace(self, path=f"{self.path}?{query}")


PATCH = Sent()
DELETE = Sent("DELETE", body="", content_type="")
OPTIONS = replace(DELETE, body='{"propagationPolicy":"Background"}', content_type="application/json")
YAML = Sent(
    "POST",
    "/api/v1/namespaces/PLACE/configmaps",
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: new}, data: {x: one}}\n",
    "application/yaml",
)
APPLIED = Sent(
    body='{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"x":"2"}}',
    content_type=APPLY,
).asking("fieldManager=me&force=true")
STEP = replace(PATCH, body='[{"op":"replace","path":"/data/x","value":"2"}]', content_type=STEPS)
NAMED = PATCH.asking("fieldManager=me&fieldValidation=Strict")

OTHERS: dict[str, tuple[Sent, Sent]] = {
    "a value in the body": (PATCH, replace(PATCH, body='{"data":{"x":"3","y":"3"}}')),
    "a field more in the body": (PATCH, replace(PATCH, body='{"data":{"x":"2","y":"3","z":"4"}}')),
    "no field in the body": (PATCH, replace(PATCH, body='{"data":{}}')),
    "the kind of patch": (PATCH, replace(PATCH, content_type=STRATEGIC)),
    "the field manager": (NAMED, PATCH.asking("fieldManager=you&fieldValidation=Strict")),
    "a parameter less": (NAMED, PATCH.asking("fieldManager=me")),
    "the name": (PATCH, replace(PATCH, path=PATCH.path.removesuffix("a") + "b")),
    "the verb": (PATCH, DELETE),
    "a step of a JSON patch": (STEP, replace(STEP, body=STEP.body.replace("replace", "remove"))),
    "what is applied": (APPLIED, replace(APPLIED, body=APPLIED.body.replace('"2"', '"3"'))),
    "who applies": (APPLIED, replace(APPLIED, path=PATCH.path + "?fieldManager=you&force=true")),
    "the delete options": (OPTIONS, replace(OPTIONS, body='{"propagationPolicy":"Orphan"}')),
    "no delete options": (OPTIONS, DELETE),
    "the grace period in the query": (DELETE, DELETE.asking("gracePeriodSeconds=0")),
    "one byte of YAML": (YAML, replace(YAML, body=YAML.body.replace(": one", ":  one"))),
    "the format of the body": (
        replace(YAML, body='{"metadata":{"name":"new"}}', content_type="application/json"),
        replace(YAML, body='{"metadata":{"name":"new"}}'),
    ),
}

SAME: dict[str, tuple[Sent, Sent]] = {
    "nothing": (PATCH, PATCH),
    "the order of keys": (PATCH, replace(PATCH, body='{"data": {"y": "3", "x": "2"}}')),
    "the order of parameters": (NAMED, PATCH.asking("fieldValidation=Strict&fieldManager=me")),
    "the client's timeout": (PATCH, PATCH.asking("timeout=30s")),
    "a charset that is meant anyway": (PATCH, replace(PATCH, content_type=f"{MERGE}; charset=utf-8")),
    "nothing of YAML": (YAML, YAML),
    "nothing of what is applied": (APPLIED, APPLIED),
    "nothing of a delete": (OPTIONS, OPTIONS),
}


def approved(reply: Reply, admin: Kubectl, approver: Kubectl) -> str:
    """The approval of a request that was just refused for lack of one."""
    assert reply.code == 403, reply.body
    name = reply.approval
    assert decide(approver, name, "Approved").returncode == 0
    until(f"{name} to be approved", lambda: phase(admin, name) == "Approved")
    return name


def phase(admin: Kubectl, name: str) -> str:
    return phase_of(admin.get("apreq", name) or {})


@pytest.mark.parametrize("what", OTHERS)
def test_another_request_needs_its_own_approval(
    exact: Wire, admin: Kubectl, approver: Kubectl, place: str, what: str
) -> None:
    asked, other = OTHERS[what]
    name = approved(asked.by(exact, place), admin, approver)
    refused = other.by(exact, place)
    assert refused.code == 403, refused.body
    assert refused.approval not in ("", name)
    assert phase(admin, name) == "Approved"
    assert admin.get("configmap", "a", "-n", place)["data"] == {"x": "1"}


@pytest.mark.parametrize("what", SAME)
def test_what_does_not_matter_does_not_matter(
    exact: Wire, admin: Kubectl, approver: Kubectl, place: str, what: str
) -> None:
    asked, again = SAME[what]
    name = approved(asked.by(exact, place), admin, approver)
    done = again.by(exact, place, User_Agent="another/1.0")
    assert done.code in (200, 201), done.body
    until("the outcome to be written", lambda: phase(admin, name) == "Executed")
    assert again.by(exact, place).code in (403, 404)
    assert phase(admin, name) == "Executed"


def test_the_bytes_of_a_protobuf_body_are_what_is_approved(
    exact: Wire, admin: Kubectl, approver: Kubectl, place: str
) -> None:
    path = PATCH.path.replace("PLACE", place)
    live = exact.send("GET", path, Accept=PROTOBUF)
    assert live.body.startswith(b"k8s\x00")
    changed = live.body.replace(b"\x01x\x12\x011", b"\x01x\x12\x012")
    assert changed != live.body
    name = approved(exact.send("PUT", path, changed, PROTOBUF), admin, approver)
    other = exact.send("PUT", path, changed.replace(b"\x012", b"\x013"), PROTOBUF)
    assert (other.code, other.approval != name) == (403, True)
    assert exact.send("PUT", path, changed, PROTOBUF).code == 200
    assert admin.get("configmap", "a", "-n", place)["data"] == {"x": "2"}


CHANGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "another object of that name": (("delete", "configmap", "a"), ("create", "configmap", "a")),
    "a change of the object": (("label", "configmap", "a", "changed=yes"),),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_state_of_the_object_needs_another_approval(
    exact: Wire, admin: Kubectl, approver: Kubectl, place: str, what: str
) -> None:
    name = approved(DELETE.by(exact, place), admin, approver)
    for command in CHANGES[what]:
        admin.must("changing it", *command, "-n", place)
    refused = DELETE.by(exact, place)
    assert (refused.code, refused.approval != name) == (403, True)
    assert phase(admin, name) == "Approved"
    assert admin.get("configmap", "a", "-n", place)


def test_the_status_of_a_deployment_may_change_its_spec_may_not(
    exact: Wire, admin: Kubectl, approver: Kubectl, place: str
) -> None:
    admin.must("making one", "create", "deployment", "d", "--image=none", "--replicas=0", "-n", place)
    until(
        "its first status",
        lambda: (admin.get("deployment", "d", "-n", place) or {}).get("status", {}).get("observedGeneration"),
    )
    delete = Sent("DELETE", "/apis/apps/v1/namespaces/PLACE/deployments/d", "", "")
    first = approved(delete.by(exact, place), admin, approver)
    admin.must("changing it", "scale", "deployment", "d", "--replicas=0", "-n", place)
    admin.must("changing it", "set", "image", "deployment/d", "none=other", "-n", place)
    refused = delete.by(exact, place)
    assert (refused.code, refused.approval != first) == (403, True)
    second = approved(refused, admin, approver)
    admin.must("touching it", "label", "deployment", "d", "touched=yes", "-n", place)
    done = delete.by(exact, place)
    assert done.code == 200, done.body
    until("the outcome to be written", lambda: phase(admin, second) == "Executed")
    assert phase(admin, first) == "Approved"


def test_a_changed_policy_needs_another_approval(
    stack: up.Stack, agents: Agents, admin: Kubectl, approver: Kubectl, place: str
) -> None:
    govern(agents, "shifting")
    agent = wire(stack.layout, agents.kubectl("shifting"), stack.gateway_url, Chaperone_Hold="never")
    name = approved(PATCH.by(agent, place), admin, approver)
    govern(agents, "shifting", expireAfter="50m")
    until("the gateway to ask anew", lambda: PATCH.by(agent, place).approval not in ("", name))
    assert phase(admin, name) == "Approved"
    assert admin.get("configmap", "a", "-n", place)["data"] == {"x": "1"}


@pytest.fixture(params=[("another", ""), ("", "somebody")], ids=["run", "subject"])
def other(stack: up.Stack, agents: Agents, request: pytest.FixtureRequest) -> Wire:
    """Another run of the same agent; another agent under the same policy."""
    run, subject = request.param
    agent = agents.kubectl(GROUP, run=run, subject=subject)
    return wire(stack.layout, agent, stack.gateway_url, Chaperone_Hold="never")


def test_another_run_or_agent_needs_its_own_approval(
    exact: Wire, other: Wire, admin: Kubectl, approver: Kubectl, place: str
) -> None:
    name = approved(PATCH.by(exact, place), admin, approver)
    refused = PATCH.by(other, place)
    assert (refused.code, refused.approval != name) == (403, True)
    assert PATCH.by(exact, place).code == 200
