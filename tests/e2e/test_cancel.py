"""Taking back what one has asked for, with `kubectl chaperone cancel`: an agent through the gateway, a person directly."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from chaperone.core.access import build_access_request
from hack.stack.kubectl import Kubectl
from hack.stack.layout import Layout
from tests.cli.walkthrough import programs
from tests.e2e.agents import Agents
from tests.e2e.holding import (
    approval_of,
    approvals_of,
    decide,
    held,
    new_namespace,
    person_who_asks,
    phase_of,
)
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
GROUP = "cancellers"


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs(tmp_path_factory.mktemp("cancel") / "bin")


@pytest.fixture(scope="module")
def governed(agents: Agents) -> Agents:
    role = {"kind": "ClusterRole", "name": "coding-agents-namespaces"}
    ask_first = {"verbs": ["delete"], "resources": ["namespaces"]}
    agents.govern(
        GROUP,
        access=[{"roleRef": role, "clusterWide": True}],
        rules=[{"name": "ask-first", "match": ask_first, "action": "RequireApproval"}],
        approval={"holdFor": "60s", "useWithin": "5m"},
        masking={"profile": "Off", "reason": "a test"},
    )
    return agents


@pytest.fixture
def victim(admin: Kubectl) -> str:
    return new_namespace(admin, "cancel")


def cancel(who: Kubectl, plugins: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = who.environment()
    return subprocess.run(
        who.command("chaperone", "cancel", name, *arguments),
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "PATH": f"{plugins}{os.pathsep}{environment['PATH']}"},
    )


def stored(admin: Kubectl, name: str) -> dict[str, object]:
    return dict(admin.get("apreq", name)["status"])


def test_a_run_takes_back_what_it_waits_for(
    governed: Agents, admin: Kubectl, plugins: Path, victim: str
) -> None:
    agent, stranger = governed.kubectl(GROUP), governed.kubectl(GROUP, run="another-run")
    with held(agent, "delete", "namespace", victim, "--wait=false") as waiting:
        name = approval_of(admin, victim)["metadata"]["name"]
        refused = cancel(stranger, plugins, name)
        assert refused.returncode == 1
        assert "this run has asked for no approval" in refused.stderr
        assert stored(admin, name)["phase"] == "Pending"
        done = cancel(agent, plugins, name, "--reason", "not needed")
        assert done.returncode == 0, done.stderr
        assert f"cancelled: {name} is Cancelled" in done.stdout
        output, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 1
    assert f"ApprovalRequest {name} was cancelled by its requester" in output
    again = agent.run("delete", "namespace", victim, "--wait=false")
    assert again.returncode == 1
    assert "the same command asks for a new approval" in again.stderr
    assert [item["metadata"]["name"] for item in approvals_of(admin, victim)] == [name]
    status = approvals_of(admin, victim)[0]["status"]
    [condition] = [item for item in status["conditions"] if item["type"] == "Cancelled"]
    assert condition["message"] == "taken back by its requester: not needed"
    assert "deletionTimestamp" not in admin.get("namespace", victim)["metadata"]
    assert "is Cancelled: it can no longer be cancelled" in cancel(agent, plugins, name).stderr


def test_what_has_run_is_not_taken_back(
    governed: Agents, admin: Kubectl, approver: Kubectl, plugins: Path, victim: str
) -> None:
    agent = governed.kubectl(GROUP)
    with held(agent, "delete", "namespace", victim, "--wait=false") as waiting:
        name = approval_of(admin, victim)["metadata"]["name"]
        assert decide(approver, name, "Approved").returncode == 0
        waiting.communicate(timeout=60)
    until("the outcome to be written", lambda: stored(admin, name)["phase"] == "Executed")
    refused = cancel(agent, plugins, name)
    assert refused.returncode == 1
    assert "is Executed: it can no longer be cancelled" in refused.stderr


def test_the_gateway_takes_nothing_but_the_gesture(governed: Agents, admin: Kubectl, victim: str) -> None:
    """R26."""
    agent = governed.kubectl(GROUP)
    with held(agent, "delete", "namespace", victim, "--wait=false"):
        name = approval_of(admin, victim)["metadata"]["name"]
        for status in ({"decision": "Approved"}, {"decision": "Cancelled", "phase": "Approved"}):
            patch = json.dumps({"status": status})
            done = agent.run("patch", "apreq", name, "--subresource=status", "--type=merge", "-p", patch)
            assert done.returncode == 1
            assert "Forbidden" in done.stderr or "forbidden" in done.stderr or "denied" in done.stderr
        assert phase_of(admin.get("apreq", name)) == "Pending"


@pytest.fixture
def dave(layout: Layout, admin: Kubectl) -> Kubectl:
    return person_who_asks(layout, admin, "dave")


@pytest.mark.usefixtures("governed")
def test_a_person_takes_back_a_request_for_access_and_nobody_elses(
    dave: Kubectl, admin: Kubectl, approver: Kubectl, plugins: Path, victim: str
) -> None:
    asked = build_access_request(
        role="view", namespaces=[victim], lasting="5m", reason="a test", policy=GROUP, name=f"dave-{victim}"
    )
    made = dave.run("create", "--validate=false", "-f", "-", stdin=json.dumps(asked))
    assert made.returncode == 0, made.stderr
    name = f"dave-{victim}"
    refused = cancel(approver, plugins, name)
    assert refused.returncode == 1
    assert "can be cancelled only by who has asked for it" in refused.stderr
    done = cancel(dave, plugins, name)
    assert done.returncode == 0, done.stderr
    assert stored(admin, name)["phase"] == "Cancelled"
    late = decide(approver, name, "Approved")
    assert late.returncode == 1
    assert "can no longer be decided" in late.stderr
