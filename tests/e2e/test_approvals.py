"""The held DELETE of the design, from end to end: real kubectl, real webhook, a person's plain patch."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hack.stack import people, programs, up
from hack.stack.kubectl import Kubectl
from tests.e2e.agents import Agents
from tests.e2e.holding import approval_of, decide, held, new_namespace
from tests.e2e.wire import MERGE, wire

pytestmark = pytest.mark.cluster
GROUP = "holders"


@pytest.fixture(scope="module")
def holders(stack: up.Stack, agents: Agents) -> Agents:
    agents.govern(
        GROUP,
        access=[
            {"roleRef": {"kind": "ClusterRole", "name": "coding-agents-namespaces"}, "clusterWide": True},
            {"roleRef": {"kind": "ClusterRole", "name": "edit"}, "clusterWide": True},
        ],
        rules=[
            {
                "name": "ask-first",
                "match": {"verbs": ["delete", "patch"], "resources": ["namespaces", "configmaps"]},
                "action": "RequireApproval",
            }
        ],
        approval={"holdFor": "20s", "useWithin": "5m"},
        masking={"profile": "Off", "reason": "a test"},
    )
    return agents


@pytest.fixture
def victim(admin: Kubectl) -> str:
    return new_namespace(admin, "victim")


def is_going(admin: Kubectl, namespace: str) -> bool:
    found = admin.get("namespace", namespace)
    return found is None or "deletionTimestamp" in found["metadata"]


def asked_and_gone(agent: Kubectl, admin: Kubectl, victim: str, run: str = "") -> str:
    """The pending request of a client that did not wait."""
    with held(agent, "delete", "namespace", victim, "--wait=false"):
        return str(approval_of(admin, victim, run=run)["metadata"]["name"])


def test_approved_in_time_goes_on(holders: Agents, admin: Kubectl, approver: Kubectl, victim: str) -> None:
    with held(holders.kubectl(GROUP), "delete", "namespace", victim, "--wait=false") as waiting:
        name = approval_of(admin, victim)["metadata"]["name"]
        assert not is_going(admin, victim)
        done = decide(approver, name, "Approved")
        assert done.returncode == 0, done.stderr
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output
    assert f'namespace "{victim}" deleted' in output
    spent = approval_of(admin, victim, phase="Executed")
    assert is_going(admin, victim)
    assert spent["status"]["execution"]["code"] == 200
    reviews = spent["status"]["reviews"]
    assert [(review["decision"], review["digest"]) for review in reviews] == [
        ("Approved", spent["spec"]["digest"])
    ]
    assert reviews[0]["username"] == whoami(approver, admin)


def whoami(person: Kubectl, admin: Kubectl) -> str:
    """As the API server authenticates this kubeconfig: it tells in a refusal."""
    refusal = person.run("get", "secrets", "-n", "kube-system").stderr
    return refusal.split('User "')[1].split('"')[0]


def test_denied_is_refused_and_stays_refused(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    agent = holders.kubectl(GROUP)
    with held(agent, "delete", "namespace", victim, "--wait=false") as waiting:
        name = approval_of(admin, victim)["metadata"]["name"]
        decide(approver, name, "Denied")
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert name in output
    again = agent.run("delete", "namespace", victim, "--wait=false")
    assert again.returncode == 1
    assert name in again.stderr
    assert not is_going(admin, victim)


def test_too_late_says_what_to_do_and_the_same_command_works_later(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    agent = holders.kubectl(GROUP)
    refused = agent.run("delete", "namespace", victim, "--wait=false", timeout=120)
    name = approval_of(admin, victim)["metadata"]["name"]
    assert refused.returncode == 1
    assert name in refused.stderr
    assert "kubectl patch" in refused.stderr
    assert not is_going(admin, victim)
    decide(approver, name, "Approved")
    again = agent.run("delete", "namespace", victim, "--wait=false")
    assert again.returncode == 0, again.stderr
    assert is_going(admin, victim)


def test_a_spent_approval_opens_nothing(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    admin.must("making a config map", "create", "configmap", "one", "-n", victim)
    agent = holders.kubectl(GROUP)
    patch = ("patch", "configmap", "one", "-n", victim, "--type=merge", "-p", '{"data":{"a":"1"}}')
    with held(agent, *patch) as waiting:
        decide(approver, approval_of(admin, victim)["metadata"]["name"], "Approved")
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, output
    approval_of(admin, victim, phase="Executed")
    again = agent.run(*patch, "--request-timeout=5s")
    assert again.returncode == 1
    other = agent.run(
        "patch",
        "configmap",
        "one",
        "-n",
        victim,
        "--type=merge",
        "-p",
        '{"data":{"a":"2"}}',
        "--request-timeout=5s",
    )
    assert other.returncode == 1
    assert admin.get("configmap", "one", "-n", victim)["data"] == {"a": "1"}


def test_another_run_needs_its_own_approval(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    first, second = holders.kubectl(GROUP, run="run-a"), holders.kubectl(GROUP, run="run-b")
    decide(approver, asked_and_gone(first, admin, victim, run="run-a"), "Approved")
    approval_of(admin, victim, phase="Approved", run="run-a")
    assert asked_and_gone(second, admin, victim, run="run-b")
    assert not is_going(admin, victim)


def test_nothing_runs_for_a_client_that_has_gone(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    decide(approver, asked_and_gone(holders.kubectl(GROUP), admin, victim), "Approved")
    approval_of(admin, victim, phase="Approved")
    assert not is_going(admin, victim)


def test_a_hold_survives_a_killed_gateway(
    stack: up.Stack, holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    agent = holders.kubectl(GROUP)
    with held(agent, "delete", "namespace", victim, "--wait=false"):
        name = approval_of(admin, victim)["metadata"]["name"]
        programs.restart(stack.layout, stack.program("gateway"), kill=True)
    decide(approver, name, "Approved")
    again = agent.run("delete", "namespace", victim, "--wait=false")
    assert again.returncode == 0, again.stderr
    assert approval_of(admin, victim, phase="Executed")["metadata"]["name"] == name


def test_round_the_gateway_does_not_help(
    stack: up.Stack, holders: Agents, admin: Kubectl, victim: str
) -> None:
    path = stack.layout.kubeconfig("stolen-holder")
    people.write_account(stack.admin, path, GROUP, namespace="agents")
    stolen = Kubectl(path)
    done = stolen.run("delete", "namespace", victim, "--wait=false")
    assert done.returncode == 1
    assert "denied the request" in done.stderr
    assert not is_going(admin, victim)
    forged = stolen.run(
        "--as", f"system:serviceaccount:agents:{GROUP}", "delete", "namespace", victim, "--wait=false"
    )
    assert forged.returncode == 1
    assert not is_going(admin, victim)


def test_an_agent_cannot_approve_itself(
    stack: up.Stack, holders: Agents, admin: Kubectl, victim: str
) -> None:
    agent = holders.kubectl(GROUP)
    name = asked_and_gone(agent, admin, victim)
    assert decide(agent, name, "Approved").returncode == 1
    path = stack.layout.kubeconfig("stolen-approver")
    people.write_account(stack.admin, path, GROUP, namespace="agents")
    binding = f"approver-{GROUP}"
    account = f"agents:{GROUP}"
    admin.run(
        "create",
        "clusterrolebinding",
        binding,
        "--clusterrole=chaperone-approver",
        f"--serviceaccount={account}",
    )
    try:
        refused = decide(Kubectl(path), name, "Approved")
    finally:
        admin.must("cleaning up", "delete", "clusterrolebinding", binding)
    assert refused.returncode == 1
    assert approval_of(admin, victim)["status"].get("reviews", []) == []


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Approved"},
        {
            "reviews": [
                {
                    "username": "bob",
                    "decision": "Approved",
                    "digest": "sha256:00",
                    "time": "2026-01-01T00:00:00Z",
                }
            ]
        },
        {"decision": "Perhaps"},
    ],
    ids=["phase by hand", "somebody else's review", "no such decision"],
)
def test_forged_decisions_are_refused(
    holders: Agents, admin: Kubectl, approver: Kubectl, victim: str, status: dict[str, Any]
) -> None:
    name = asked_and_gone(holders.kubectl(GROUP), admin, victim)
    body = json.dumps({"status": status})
    for person in (approver, admin):
        done = person.run("patch", "apreq", name, "--subresource=status", "--type=merge", "-p", body)
        assert done.returncode == 1, done.stdout
    left = approval_of(admin, victim)
    assert left["status"].get("reviews", []) == []


def test_a_pending_request_cannot_be_edited_or_deleted(holders: Agents, admin: Kubectl, victim: str) -> None:
    name = asked_and_gone(holders.kubectl(GROUP), admin, victim)
    edited = admin.run("patch", "apreq", name, "--type=merge", "-p", '{"spec":{"required":0}}')
    deleted = admin.run("delete", "apreq", name, "--wait=false")
    assert (edited.returncode, deleted.returncode) == (1, 1)
    assert approval_of(admin, victim)["metadata"]["name"] == name


CANCEL = '{"status":{"decision":"Cancelled"}}'


def test_a_run_takes_back_what_it_asked_for_and_nobody_else_does(
    stack: up.Stack, holders: Agents, admin: Kubectl, approver: Kubectl, victim: str
) -> None:
    mine, other = (
        wire(stack.layout, holders.kubectl(GROUP, run=run), stack.gateway_url) for run in ("", "run-b")
    )
    with held(holders.kubectl(GROUP), "delete", "namespace", victim, "--wait=false") as waiting:
        name = approval_of(admin, victim)["metadata"]["name"]
        path = f"/apis/chaperone.dev/v1alpha1/approvalrequests/{name}/status"
        assert mine.send("PATCH", path, '{"status":{"decision":"Approved"}}', MERGE).code == 403
        assert other.send("PATCH", path, CANCEL, MERGE).code == 404
        assert approval_of(admin, victim)
        cancelled = mine.send("PATCH", path, CANCEL, MERGE)
        assert (cancelled.code, cancelled.document["status"]["phase"]) == (200, "Cancelled")
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert f"ApprovalRequest {name} was cancelled" in output
    assert decide(approver, name, "Approved").returncode == 1
    assert mine.send("PATCH", path, CANCEL, MERGE).code == 409
    assert not is_going(admin, victim)
