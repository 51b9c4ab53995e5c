"""Sessions as time passes; and what a terminated run had asked for."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core import session as sessions
from chaperone.core.identity import Caller
from chaperone.core.session import STALE_AFTER, Counts, Entry
from chaperone.core.timestamp import rfc3339
from chaperone.kube.official import AGENT_SESSIONS, APPROVAL_REQUESTS, ROLE_BINDINGS
from chaperone.settings.controller import ControllerSettings, RetentionSettings, SessionSettings
from controller.lifetimes import Agenda
from controller.operator import Operator
from controller.reconciliation import Reconciler
from tests.controller.fakes import FakeCluster
from tests.controller.objects import approval_object
from tests.controller.test_reconciliation import cluster_with

CALLER = Caller(
    issuer="https://issuer.example", subject="sub-1", username="agent-1", run="run-1", agent="coder"
)
NOW = 1_000_000.0
SETTINGS = ControllerSettings(
    sessions=SessionSettings(idle_after=60, end_after=600, most=100),
    retention=RetentionSettings(sessions=1000, terminated_sessions=100_000),
)
PATH = AGENT_SESSIONS.path("s")


def session(name: str = "s", *, quiet: float = 0.0, phase: str = "Active", **spec: Any) -> dict[str, Any]:
    obj = sessions.build(CALLER, ["coders"], started_at=NOW - 5000)
    obj["metadata"]["name"] = name
    obj["spec"] |= spec
    return {**obj, "status": {"phase": phase, "lastActivity": rfc3339(NOW - quiet)}}


def resync(cluster: FakeCluster) -> None:
    Reconciler(cluster, SETTINGS, lambda: NOW).resync()


@pytest.mark.parametrize(
    ("obj", "phase"),
    [
        (session(), "Active"),
        (session(quiet=60), "Idle"),
        (session(quiet=600), "Ended"),
        (session(quiet=600, phase="Idle"), "Ended"),
        (session(terminated=True), "Terminated"),
        (session(quiet=1601, phase="Ended"), None),
        (session(quiet=1601, phase="Terminated", terminated=True), "Terminated"),
        (session(quiet=100_001, phase="Terminated", terminated=True), None),
    ],
)
def test_what_becomes_of_a_session(obj: dict[str, Any], phase: str | None) -> None:
    cluster = cluster_with()
    cluster.put(PATH, obj)
    resync(cluster)
    left = cluster.objects.get(PATH)
    assert (left["status"]["phase"] if left else None) == phase
    cluster.writes.clear()
    resync(cluster)
    assert cluster.writes == []


def test_an_end_leaves_right_totals_and_one_entry() -> None:
    cluster = cluster_with()
    old = NOW - STALE_AFTER - 1
    obj = session(quiet=2000)
    obj["status"] |= {
        "requests": 1,
        "openStreams": 5,
        "instances": {"a": Entry(Counts(3), 2, old).fields(), "b": Entry(Counts(4), 0, old).fields()},
    }
    cluster.put(PATH, obj)
    resync(cluster)
    status = cluster.objects[PATH]["status"]
    assert (status["requests"], status["openStreams"], list(status["instances"])) == (7, 0, ["past"])


def test_a_gateway_that_writes_meanwhile_is_first(caplog: pytest.LogCaptureFixture) -> None:
    cluster = cluster_with()
    cluster.put(PATH, session(quiet=600))

    def meanwhile(verb: str, path: str) -> str:
        if verb == "patch" and path.startswith(PATH):
            cluster.put(PATH, session())
        return ""

    cluster.refuse = meanwhile
    resync(cluster)
    assert cluster.objects[PATH]["status"]["phase"] == "Active"
    assert "refused" not in caplog.text


def test_a_session_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    cluster = cluster_with()
    cluster.put(PATH, session(quiet=600))
    cluster.put(AGENT_SESSIONS.path("t"), session("t", quiet=60))
    cluster.refuse = lambda verb, path: "not this one" if verb == "patch" and path.startswith(PATH) else ""
    resync(cluster)
    assert "session s: end was refused" in caplog.text
    assert cluster.objects[AGENT_SESSIONS.path("t")]["status"]["phase"] == "Idle"


def test_there_are_never_too_many() -> None:
    cluster = cluster_with()
    for number in range(103):
        name = f"s-{number:03}"
        cluster.put(AGENT_SESSIONS.path(name), session(name, quiet=900 - number, phase="Ended"))
    resync(cluster)
    left = sorted(path.rpartition("/")[2] for path in cluster.objects if "/agentsessions/" in path)
    assert left == [f"s-{number:03}" for number in range(3, 103)]


# What a terminated run had asked for


def asked_by(run: str, phase: str, **more: Any) -> dict[str, Any]:
    obj = approval_object(phase, **more)
    obj["spec"]["requester"] |= {"issuer": CALLER.issuer, "subject": CALLER.subject, "run": run}
    obj["spec"]["expiresAt"] = rfc3339(NOW + 600)
    return obj


@pytest.mark.parametrize(
    ("run", "phase", "after"),
    [
        ("run-1", "Pending", "Cancelled"),
        ("run-1", "Approved", "Cancelled"),
        ("run-1", "Executing", "Executing"),
        ("run-1", "Executed", "Executed"),
        ("run-2", "Pending", "Pending"),
    ],
)
def test_what_nobody_has_begun_is_cancelled(run: str, phase: str, after: str) -> None:
    cluster = cluster_with()
    cluster.put(PATH, session(terminated=True, terminatedBy="ann", terminatedReason="too eager"))
    path = APPROVAL_REQUESTS.path("req-1")
    cluster.put(path, asked_by(run, phase, useBefore=rfc3339(NOW + 60)))
    resync(cluster)
    status = cluster.objects[path]["status"]
    assert status["phase"] == after
    told = [item["message"] for item in status.get("conditions", [])]
    assert told == (["its run was terminated by ann: too eager"] if after == "Cancelled" else [])


def test_its_rights_for_a_time_end() -> None:
    cluster = cluster_with()
    cluster.put(PATH, session(terminated=True))
    grant = {"expiresAt": rfc3339(NOW + 600), "bindings": [{"namespace": "dev", "name": "b"}]}
    obj = asked_by("run-1", "Executing", grant=grant)
    obj["spec"] |= {
        "type": "Access",
        "access": {
            "identity": "system:serviceaccount:agents:coder",
            "roleRef": {"kind": "ClusterRole", "name": "view"},
            "namespaces": ["dev"],
            "duration": "600s",
        },
    }
    cluster.put(APPROVAL_REQUESTS.path("req-1"), obj)
    label = {"chaperone.dev/grant": "req-1"}
    annotation = {"chaperone.dev/grant-name": "req-1"}
    binding = {
        "kind": "RoleBinding",
        "metadata": {"name": "b", "namespace": "dev", "labels": label, "annotations": annotation},
    }
    cluster.put(ROLE_BINDINGS.path("b", namespace="dev"), binding)
    resync(cluster)
    status = cluster.objects[APPROVAL_REQUESTS.path("req-1")]["status"]
    assert status["phase"] == "Executed"
    assert status["conditions"][0]["reason"] == "RunTerminated"
    assert ROLE_BINDINGS.path("b", namespace="dev") not in cluster.objects


def test_the_operator_looks_once_and_soon() -> None:
    cluster = cluster_with()
    operator = Operator(Reconciler(cluster, SETTINGS, lambda: NOW), 60.0, Agenda(0.0), lambda: NOW)
    operator._full = False
    seen = []
    ended = session(terminated=True)
    for kind, obj in (
        ("ADDED", session()),
        ("MODIFIED", ended),
        ("MODIFIED", ended),
        ("DELETED", ended),
        ("ADDED", ended),
    ):
        operator.note_session(kind, obj)
        seen.append(operator._full)
        operator._full = False
    assert seen == [False, True, False, False, True]
