"""Sessions on a real cluster with two gateways: ended by a person, limited, counted."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from chaperone.core import session as sessions
from chaperone.core.session import Counts
from chaperone.kube.official import AGENT_SESSIONS, connect
from hack.stack import objects, people, up
from hack.stack.kubectl import Kubectl
from hack.stack.ports import free_port
from tests.e2e.agents import Agents
from tests.e2e.holding import approval_of, phase_of
from tests.e2e.test_interactive import Terminal
from tests.e2e.two_gateways import Gateways, second_gateway, session_of
from tests.e2e.waiting import until

pytestmark = pytest.mark.cluster
SOON = 30.0
"""Seconds that everything may take on a slow machine; how long it took is told."""
TAG = uuid.uuid4().hex[:6]
"""A stack may be used again: runs are new every time."""
NAMESPACE, BRIEF = f"sessions-{TAG}", f"brief-{TAG}"
ADMIN = [{"roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}, "clusterWide": True}]
OPEN: dict[str, Any] = {
    "access": ADMIN,
    "masking": {"profile": "Off", "reason": "a test"},
    "recording": {"streams": "Off"},
}
ALL = {"name": "all", "match": {"verbs": ["*"]}, "action": "Allow"}
HELD = {
    "name": "held",
    "match": {"verbs": ["delete"], "resources": ["configmaps"]},
    "action": "RequireApproval",
}


@pytest.fixture(scope="module")
def gateways(stack: up.Stack, agents: Agents) -> Iterator[Gateways]:
    agents.govern("crew", rules=[HELD, ALL], approval={"holdFor": "5m"}, **OPEN)
    agents.govern("few", rules=[HELD, ALL], limits={"mutationsPerRun": 6}, **OPEN)
    # The run that asks until all is ready may last longer than those that are to come.
    agents.govern(BRIEF, rules=[ALL], **OPEN)
    limits = json.dumps({"spec": {"limits": {"maxRunDuration": "15s"}}})
    stack.admin.must("limiting runs", "patch", "agpol", BRIEF, "--type=merge", "-p", limits)
    until("the limit to be known", lambda: agents.kubectl(BRIEF).run("get", "cm").returncode)
    stack.admin.apply("making a namespace", [objects.namespace(NAMESPACE)])
    with second_gateway(stack) as (url, program):
        yield Gateways(stack, (stack.gateway_url, url), program)


@pytest.fixture(scope="module")
def ender(stack: up.Stack, approver: Kubectl) -> Kubectl:
    """Alice, who may look at sessions and end them."""
    role = {"kind": "ClusterRole", "apiGroup": objects.RBAC, "name": "chaperone-session-ender"}
    subject = {"kind": "Group", "apiGroup": objects.RBAC, "name": objects.APPROVERS}
    binding = {
        "apiVersion": f"{objects.RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "e2e-session-enders"},
        "roleRef": role,
        "subjects": [subject],
    }
    stack.admin.apply("letting approvers end sessions", [binding])
    return approver


def counts_of(admin: Kubectl, run: str) -> Counts:
    return sessions.read(session_of(admin, run)).counts


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"


def chaperone(kubectl: Kubectl, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`chaperone sessions …` as this person."""
    command = [sys.executable, "-m", "chaperone.cli", "sessions", *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, env=kubectl.environment()
    )


# Ended by a person


class Ends:
    """When each of some processes came to its end."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.codes: dict[str, int] = {}
        self._threads: list[threading.Thread] = []

    def watch(self, name: str, wait: Callable[[], int]) -> None:
        def look() -> None:
            self.codes[name] = wait()
            self.at[name] = time.monotonic()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        self._threads.append(thread)


@contextmanager
def running(kubectl: Kubectl, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        kubectl.command(*arguments),
        env=kubectl.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.pods
def test_a_kill_closes_everything_on_every_gateway(
    gateways: Gateways, ender: Kubectl, admin: Kubectl, pod_namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = f"run-killed-{TAG}"
    one, other = (gateways.kubectl(number, "crew", run) for number in (0, 1))
    bystander = gateways.kubectl(1, "crew", f"run-bystander-{TAG}")
    assert gateways.caller(0, "crew", run).ask("POST", MAPS, config_map("held"))[0] == 201
    ends = Ends()
    with ExitStack() as stack:
        terminal = Terminal(
            one.command("exec", "-it", "-n", pod_namespace, "shell", "--", "sh"), one.environment()
        )
        stack.callback(terminal.close)
        commands = {
            "watch": (one, "get", "pods", "-n", pod_namespace, "-w"),
            "watch on the other": (other, "get", "pods", "-n", pod_namespace, "-w"),
            "logs": (other, "logs", "-f", "-n", pod_namespace, "talker"),
            "port-forward": (one, "port-forward", "-n", pod_namespace, "pod/web", f"{free_port()}:18099"),
            "held": (one, "delete", "configmap", "held", "-n", NAMESPACE),
        }
        processes = {
            name: stack.enter_context(running(kubectl, *arguments))
            for name, (kubectl, *arguments) in commands.items()
        }
        spared = stack.enter_context(running(bystander, "get", "pods", "-n", pod_namespace, "-w"))
        approval = approval_of(admin, "held", run=run)
        until("five open streams to be shown", lambda: open_streams(session_of(admin, run)) == 5)
        ends.watch("exec", terminal._process.wait)
        for name, process in processes.items():
            ends.watch(name, process.wait)
        path = AGENT_SESSIONS.path(session_of(admin, run)["metadata"]["name"])
        api = connect(str(ender.kubeconfig), strict_ca=False)
        thrown = time.monotonic()
        api.merge(path, {"spec": {"terminated": True, "terminatedReason": "too eager"}})
        until("everything to end", lambda: len(ends.at) == 6, seconds=SOON, every=0.02)
        assert spared.poll() is None
        told = processes["held"].communicate()[1]
        assert "was terminated by alice@example.com" in told
        assert "too eager" in told
        assert ends.codes["held"] != 0
    with capsys.disabled():
        print(
            "\n  seconds from the patch to each end:",
            {name: round(at - thrown, 2) for name, at in ends.at.items()},
        )
    # Refused from then on, everywhere, and nothing can be spent.
    for kubectl in (one, other):
        refused = kubectl.run("get", "pods", "-n", pod_namespace)
        assert refused.returncode != 0
        assert "was terminated by alice@example.com" in refused.stderr
    until(
        "its approval to be cancelled",
        lambda: phase_of(admin.get("apreq", approval["metadata"]["name"]) or {}) == "Cancelled",
    )
    status = until("all to be closed", lambda: _closed(session_of(admin, run)))
    assert status["phase"] == "Terminated"
    gateways.restart_second()
    assert "was terminated" in other.run("get", "pods", "-n", pod_namespace).stderr
    assert bystander.run("get", "pods", "-n", pod_namespace).returncode == 0
    assert admin.get("configmap", "held", "-n", NAMESPACE)


def open_streams(session: dict[str, Any]) -> int:
    return int(session.get("status", {}).get("openStreams", -1))


def _closed(session: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = session["status"]
    return status if open_streams(session) == 0 and status["phase"] == "Terminated" else {}


def test_a_kill_is_for_people_and_for_good(
    gateways: Gateways, ender: Kubectl, admin: Kubectl, approver: Kubectl
) -> None:
    run = f"run-for-good-{TAG}"
    caller, agent = gateways.caller(0, "crew", run), gateways.kubectl(0, "crew", run)
    assert caller.ask("GET", MAPS)[0] == 200
    name = until("its session", lambda: session_of(admin, run))["metadata"]["name"]
    throw = '{"spec":{"terminated":true,"terminatedReason":"enough","terminatedBy":"bob@example.com"}}'
    other_run = '{"spec":{"run":"run-other"}}'
    patch = ("patch", "agsess", name, "--type=merge", "-p")
    assert agent.run(*patch, throw).returncode != 0, "an agent, though its identity is cluster-admin"
    assert ender.run(*patch, other_run).returncode != 0
    assert ender.run(*patch, '{"spec":{"terminatedReason":"perhaps"}}').returncode != 0
    assert ender.must("throwing the switch", *patch, throw)
    spec = session_of(admin, run)["spec"]
    assert (spec["terminatedBy"], spec["terminatedReason"]) == ("alice@example.com", "enough")
    assert (
        "was terminated before by alice@example.com"
        in chaperone(ender, "kill", run, "--reason", "r", "--yes").stdout
    )
    assert spec["terminatedAt"]
    for undone in (
        '{"spec":{"terminated":false}}',
        '{"spec":{"terminated":null}}',
        '{"spec":{"terminatedReason":"x"}}',
    ):
        refused = admin.run(*patch, undone)
        assert "cannot be taken back" in refused.stderr
    assert "keeps its run out" in admin.run("delete", "agsess", name).stderr
    until("it to be refused", lambda: caller.ask("GET", MAPS)[0] == 403)


def test_an_agent_changes_no_session_by_whatever_way(gateways: Gateways, admin: Kubectl) -> None:
    """Its identity is cluster-admin, and its service account's own token goes round the gateway."""
    run = f"run-sly-{TAG}"
    assert gateways.caller(0, "crew", run).ask("POST", MAPS, config_map(f"sly-{TAG}"))[0] == 201
    until("its change to be counted", lambda: counts_of(admin, run).mutations == 1)
    name = session_of(admin, run)["metadata"]["name"]
    entry = next(iter(session_of(admin, run)["status"]["instances"]))
    forgotten = json.dumps({"status": {"mutations": 0, "instances": {entry: {"mutations": 0}}}})
    forged = {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentSession",
        "metadata": {"name": f"forged-{TAG}"},
    }
    direct = gateways.stack.layout.kubeconfig("sessions-direct")
    people.write_account(admin, direct, "crew", namespace="agents")
    for kubectl in (gateways.kubectl(0, "crew", run), Kubectl(direct)):
        for arguments, stdin in (
            (("patch", "agsess", name, "--subresource=status", "--type=merge", "-p", forgotten), ""),
            (("patch", "agsess", name, "--type=merge", "-p", '{"spec":{"terminated":true}}'), ""),
            (("delete", "agsess", name), ""),
            (
                ("create", "--validate=false", "-f", "-"),
                json.dumps({**forged, "spec": {"username": "nobody"}}),
            ),
        ):
            refused = kubectl.run(*arguments, stdin=stdin)
            assert refused.returncode != 0, arguments
            assert "orbidden" in refused.stderr or "denied" in refused.stderr, refused.stderr
    session = session_of(admin, run)
    assert sessions.read(session).counts.mutations == 1
    assert "terminated" not in session["spec"]


# Limited


def test_changes_are_limited_over_both_gateways(gateways: Gateways, admin: Kubectl) -> None:
    """Not by what another process forwards at the same moment (docs/sessions.md), so each waits until all have heard."""
    run = f"run-few-{TAG}"
    one, other = (gateways.caller(number, "few", run) for number in (0, 1))
    for number in range(6):
        caller = one if number < 3 else other
        assert caller.ask("POST", MAPS, config_map(f"few-{number}"))[0] == 201
    until("6 changes to be told", lambda: counts_of(admin, run).mutations == 6)
    gateways.hear_of_sessions("crew", MAPS)
    code, refused = other.ask("POST", MAPS, config_map("few-6"))
    assert code == 403
    assert "has made 6 changes, and AgentPolicy few allows 6 (limits.mutationsPerRun)" in refused["message"]
    assert one.ask("PUT", f"{MAPS}/few-0", config_map("few-0"))[0] == 403
    assert one.ask("POST", f"{MAPS}?dryRun=All", config_map("dry"))[0] == 201
    code, refused = one.ask("DELETE", f"{MAPS}/few-0")
    assert (code, refused["details"]["causes"][0]["reason"]) == (403, "MutationsPerRun"), "nobody is asked"
    assert one.ask("GET", f"{MAPS}/few-0")[0] == 200
    assert admin.get("configmap", "few-6", "-n", NAMESPACE) is None


def test_a_run_lasts_as_long_as_its_policy_allows(gateways: Gateways, admin: Kubectl) -> None:
    run = f"run-lasting-{TAG}"
    watcher = gateways.kubectl(0, BRIEF, run)
    with running(watcher, "get", "configmaps", "-n", NAMESPACE, "-w", "-o", "name") as process:
        assert process.stdout
        first = process.stdout.readline()
        assert first.startswith("configmap/"), process.communicate(timeout=SOON)
        process.wait(90)
    code, refused = gateways.caller(1, BRIEF, run).ask("GET", MAPS)
    assert code == 403
    assert (
        f"longer than the 15 seconds that AgentPolicy {BRIEF} allows (limits.maxRunDuration)"
        in refused["message"]
    )


# Counted


def test_fifty_runs_at_once_are_counted_one_by_one(gateways: Gateways, admin: Kubectl) -> None:
    runs = [f"run-many-{TAG}-{number:02}" for number in range(50)]

    def work(run: str) -> Counts:
        number = int(run[-2:])
        reads, changes = 3 + number % 4, 1 + number % 3
        both = [gateways.caller(which, "crew", run) for which in (0, 1)]
        for step in range(reads):
            assert both[step % 2].ask("GET", MAPS)[0] == 200
        for step in range(changes):
            assert both[step % 2].ask("POST", MAPS, config_map(f"{run}-{step}"))[0] == 201
        return Counts(requests=reads + changes, mutations=changes)

    with ThreadPoolExecutor(8) as pool:
        made = dict(zip(runs, pool.map(work, runs), strict=True))

    def told() -> dict[str, Counts]:
        listed = (admin.get("agsess") or {"items": []})["items"]
        return {
            item["spec"]["run"]: sessions.read(item).counts
            for item in listed
            if item["spec"].get("run") in made
        }

    until("all counts to agree", lambda: told() == made, every=0.5)
    totals = {
        item["spec"].get("run"): item["status"]["requests"] for item in (admin.get("agsess") or {})["items"]
    }
    until(
        "the totals to be their sums",
        lambda: all(session_of(admin, run)["status"]["requests"] == made[run].requests for run in runs[:5]),
    )
    assert totals


def test_people_see_it_all_on_the_command_line(gateways: Gateways, ender: Kubectl, admin: Kubectl) -> None:
    run = f"run-seen-{TAG}"
    caller = gateways.caller(0, "crew", run)
    for _ in range(3):
        assert caller.ask("GET", MAPS)[0] == 200
    until("its counts", lambda: counts_of(admin, run).requests == 3)
    listed = json.loads(chaperone(ender, "list", "--active", "-o", "json").stdout)
    assert run in {item["spec"].get("run") for item in listed["items"]}
    shown = chaperone(ender, "show", run).stdout
    assert "requests      3" in shown
    assert chaperone(ender, "kill", run, "--reason", "seen enough", "--yes").returncode == 0
    until("it to be refused", lambda: caller.ask("GET", MAPS)[0] == 403)
    until(
        "its end to be shown",
        lambda: "seen enough" in chaperone(ender, "follow", run).stdout.splitlines()[-1],
    )
    unknown = chaperone(ender, "show", "no-such-run")
    assert unknown.returncode == 2
    assert unknown.stderr.count("\n") == 1
