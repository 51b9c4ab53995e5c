"""Whole passes against an API server in a dictionary: what is there afterwards, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.kube.admission_policies import admission_policies
from chaperone.kube.errors import UnreachableError
from chaperone.kube.official import (
    AGENT_POLICIES,
    APPROVAL_REQUESTS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLES,
    VALIDATING_WEBHOOKS,
)
from chaperone.settings.controller import ControllerSettings, ManagedSettings, RetentionSettings
from controller.reconciliation import Reconciler
from tests.controller.fakes import FakeCluster
from tests.controller.objects import approval_object, policy_object

VIEW = {"roleRef": {"kind": "ClusterRole", "name": "view"}, "namespaces": ["dev"]}
GUARD = VALIDATING_WEBHOOKS.path("chaperone-agent-guard")
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def cluster_with(
    *policies: dict[str, Any], namespaces: tuple[str, ...] = ("dev", "agents", "kube-chaperone")
) -> FakeCluster:
    cluster = FakeCluster()
    for name in namespaces:
        cluster.put(NAMESPACES.path(name), {"metadata": {"name": name}})
    for policy in policies:
        cluster.put(AGENT_POLICIES.path(policy["metadata"]["name"]), policy)
    cluster.put(
        CLUSTER_ROLES.path("chaperone-impersonator"), {"metadata": {"name": "chaperone-impersonator"}}
    )
    cluster.put(
        GUARD, {"metadata": {"name": "chaperone-agent-guard"}, "webhooks": [{"name": "guard.chaperone.dev"}]}
    )
    return cluster


def resync(cluster: FakeCluster, settings: ControllerSettings | None = None) -> None:
    Reconciler(cluster, settings or ControllerSettings(), lambda: 1000.0).resync()


def bindings(cluster: FakeCluster, namespace: str = "dev") -> list[dict[str, Any]]:
    prefix = f"{RBAC}/namespaces/{namespace}/rolebindings/chaperone-coders-"
    return [obj for path, obj in cluster.objects.items() if path.startswith(prefix)]


def condition(cluster: FakeCluster, kind: str, policy: str = "coders") -> dict[str, Any]:
    status = cluster.objects[AGENT_POLICIES.path(policy)]["status"]
    (found,) = [item for item in status["conditions"] if item["type"] == kind]
    return dict(found)


def test_a_policy_gets_its_account_its_bindings_and_its_status() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster)
    assert "/api/v1/namespaces/agents/serviceaccounts/coder" in cluster.objects
    (binding,) = bindings(cluster)
    assert binding["roleRef"]["name"] == "view"
    assert condition(cluster, "Ready")["status"] == "True"
    assert condition(cluster, "BindingsReady")["status"] == "True"
    assert cluster.objects[AGENT_POLICIES.path("coders")]["status"]["bindings"] == [
        {"kind": "RoleBinding", "namespace": "dev", "name": binding["metadata"]["name"]}
    ]


def test_a_second_pass_writes_nothing() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster)
    cluster.writes.clear()
    resync(cluster)
    assert cluster.writes == []


def test_rights_go_when_access_changes_or_the_policy_goes() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster)
    cluster.put(AGENT_POLICIES.path("coders"), policy_object(access=[]))
    resync(cluster)
    assert bindings(cluster) == []
    cluster.put(AGENT_POLICIES.path("coders"), policy_object(access=[VIEW]))
    resync(cluster)
    assert len(bindings(cluster)) == 1
    del cluster.objects[AGENT_POLICIES.path("coders")]
    resync(cluster)
    assert bindings(cluster) == []


def test_the_service_account_outlives_its_policy() -> None:
    cluster = cluster_with(policy_object())
    resync(cluster)
    del cluster.objects[AGENT_POLICIES.path("coders")]
    resync(cluster)
    assert "/api/v1/namespaces/agents/serviceaccounts/coder" in cluster.objects


def test_an_account_that_is_there_is_not_touched() -> None:
    cluster = cluster_with(policy_object())
    path = "/api/v1/namespaces/agents/serviceaccounts/coder"
    before = cluster.put(path, {"metadata": {"name": "coder"}})
    resync(cluster)
    assert cluster.objects[path] == before


def test_a_broken_policy_keeps_its_bindings_and_its_guard_but_is_not_impersonated() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster)
    cluster.put(AGENT_POLICIES.path("coders"), policy_object(access=[VIEW], mode="Sometimes"))
    resync(cluster)
    assert len(bindings(cluster)) == 1
    assert condition(cluster, "Ready")["reason"] == "Invalid"
    assert "spec.mode" in condition(cluster, "Ready")["message"]
    assert condition(cluster, "BindingsReady")["status"] == "False"
    expression = cluster.objects[GUARD]["webhooks"][0]["matchConditions"][0]["expression"]
    assert "system:serviceaccount:agents:coder" in expression
    assert ROLES.path("chaperone-impersonator", namespace="agents") not in cluster.objects


def test_a_missing_namespace_is_told_and_does_not_stop_the_rest() -> None:
    access = [{**VIEW, "namespaces": ["dev", "nowhere"]}]
    cluster = cluster_with(policy_object(access=access))
    resync(cluster)
    assert len(bindings(cluster)) == 1
    told = condition(cluster, "BindingsReady")
    assert told["status"] == "False"
    assert "nowhere" in told["message"]
    cluster.put(NAMESPACES.path("nowhere"), {"metadata": {"name": "nowhere"}})
    resync(cluster)
    assert condition(cluster, "BindingsReady")["status"] == "True"


def test_a_role_that_may_not_be_handed_out_is_told_with_the_remedy() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    cluster.refuse = lambda verb, path: (
        "not allowed to bind" if (verb, "rolebindings/chaperone-coders" in path) == ("create", True) else ""
    )
    resync(cluster)
    message = condition(cluster, "BindingsReady")["message"]
    assert "ClusterRole view" in message
    assert "not allowed to bind" in message
    assert "verb bind" in message


def test_somebody_elses_binding_of_a_wanted_name_is_left_alone() -> None:
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster)
    (ours,) = bindings(cluster)
    path = f"{RBAC}/namespaces/dev/rolebindings/{ours['metadata']['name']}"
    foreign = cluster.put(
        path, {"metadata": {"name": ours["metadata"]["name"], "namespace": "dev"}, "roleRef": {"name": "x"}}
    )
    resync(cluster)
    assert cluster.objects[path] == foreign
    assert condition(cluster, "BindingsReady")["status"] == "False"


def test_the_gateway_may_become_exactly_whom_policies_hand_out() -> None:
    cluster = cluster_with(policy_object())
    resync(cluster)
    role = cluster.objects[ROLES.path("chaperone-impersonator", namespace="agents")]
    assert role["rules"][0]["resourceNames"] == ["coder"]
    created = [path for verb, path in cluster.writes if verb == "create" and "/roles/" in path]
    assert created  # made empty, then filled: the pass must not need to escalate at creation
    del cluster.objects[AGENT_POLICIES.path("coders")]
    resync(cluster)
    assert ROLES.path("chaperone-impersonator", namespace="agents") not in cluster.objects
    assert f"{RBAC}/namespaces/agents/rolebindings/chaperone-impersonator" not in cluster.objects


def test_a_deleted_guard_is_never_made_again() -> None:
    cluster = cluster_with(policy_object())
    del cluster.objects[GUARD]
    resync(cluster)
    assert GUARD not in cluster.objects


def admission_policy(name: str) -> str:
    return f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{name}"


def put_admission_policies(cluster: FakeCluster) -> None:
    for item in admission_policies(server_version=(1, 30), identities=()):
        if item["kind"] == "ValidatingAdmissionPolicy":
            cluster.put(admission_policy(item["metadata"]["name"]), item)


def test_the_admission_policies_about_agents_follow_the_identities() -> None:
    cluster = cluster_with(policy_object())
    put_admission_policies(cluster)
    del cluster.objects[admission_policy("chaperone-leases")]
    resync(cluster)
    for name in ("chaperone-agents", "chaperone-home"):
        spec = cluster.objects[admission_policy(name)]["spec"]
        assert "system:serviceaccount:agents:coder" in spec["matchConditions"][0]["expression"]
        assert spec["validations"]
    assert "matchConditions" not in cluster.objects[admission_policy("chaperone-approvals")]["spec"]
    assert admission_policy("chaperone-leases") not in cluster.objects
    cluster.writes.clear()
    resync(cluster)
    assert cluster.writes == []


def test_servers_without_admission_policies_are_not_asked_for_them() -> None:
    cluster = cluster_with(policy_object())
    put_admission_policies(cluster)
    cluster.version = (1, 29)
    resync(cluster)
    assert not any("validatingadmissionpolicies" in path for _, path in cluster.writes)


def test_what_is_managed_elsewhere_is_not_touched() -> None:
    off = ControllerSettings(managed=ManagedSettings(bindings=False, impersonator=False, guard=False))
    cluster = cluster_with(policy_object(access=[VIEW]))
    resync(cluster, off)
    assert {path for _, path in cluster.writes} == {AGENT_POLICIES.path("coders", subresource="status")}


def test_one_status_that_cannot_be_written_does_not_stop_the_pass() -> None:
    cluster = cluster_with(policy_object("first"), policy_object("second"))
    cluster.refuse = lambda verb, path: "busy" if verb == "patch" and "agentpolicies/first" in path else ""
    resync(cluster)
    assert condition(cluster, "Ready", "second")["status"] == "True"


def test_without_an_api_server_the_pass_says_so() -> None:
    cluster = cluster_with(policy_object())
    cluster.away = True
    with pytest.raises(UnreachableError):
        resync(cluster)


# Approvals: the clock of `resync` says 1000


def phase_after(cluster: FakeCluster, name: str = "req-1") -> str | None:
    obj = cluster.objects.get(APPROVAL_REQUESTS.path(name))
    return obj["status"]["phase"] if obj else None


@pytest.mark.parametrize(
    ("phase", "status", "after"),
    [
        ("Pending", {}, "Expired"),
        ("Approved", {"useBefore": "1970-01-01T00:16:39Z"}, "Expired"),
        ("Approved", {"useBefore": "1970-01-01T00:16:41Z"}, "Approved"),
        ("Executing", {"useBefore": "1970-01-01T00:00:01Z"}, "Executing"),
        ("Denied", {}, "Denied"),
    ],
)
def test_approvals_end_by_the_clock(phase: str, status: dict[str, Any], after: str) -> None:
    cluster = cluster_with()
    cluster.put(APPROVAL_REQUESTS.path("req-1"), approval_object(phase, **status))
    resync(cluster)
    assert phase_after(cluster) == after


def test_ended_approvals_go_after_their_time() -> None:
    cluster = cluster_with()
    for phase in ("Executed", "Pending"):
        cluster.put(APPROVAL_REQUESTS.path(phase.lower()), approval_object(phase, phase.lower()))
    resync(cluster, ControllerSettings(retention=RetentionSettings(approvals=100.0)))
    assert phase_after(cluster, "executed") is None
    assert phase_after(cluster, "pending") == "Expired"


def test_an_approval_that_was_just_claimed_is_not_expired_over_it() -> None:
    """The gateway claims between our list and our patch: the compare-and-swap loses, nothing is
    overwritten."""
    cluster = cluster_with()
    path = APPROVAL_REQUESTS.path("req-1")
    cluster.put(path, approval_object("Approved", useBefore="1970-01-01T00:00:01Z"))

    def claim_first(verb: str, where: str) -> str:
        if verb == "patch" and where.startswith(path):
            cluster.refuse = lambda _verb, _path: ""
            cluster.put(path, approval_object("Executing"))
        return ""

    cluster.refuse = claim_first
    resync(cluster)
    assert phase_after(cluster) == "Executing"


def test_an_approval_that_cannot_be_read_is_left_alone_and_stops_nobody() -> None:
    cluster = cluster_with()
    cluster.put(APPROVAL_REQUESTS.path("odd"), {**approval_object("Pending", "odd"), "spec": {}})
    cluster.put(APPROVAL_REQUESTS.path("req-1"), approval_object("Pending"))
    resync(cluster)
    assert phase_after(cluster, "odd") == "Pending"
    assert phase_after(cluster) == "Expired"


def test_a_deadline_that_passed_looks_at_the_live_object() -> None:
    cluster = cluster_with()
    cluster.put(APPROVAL_REQUESTS.path("req-1"), approval_object("Pending"))
    reconciler = Reconciler(cluster, ControllerSettings(), lambda: 1000.0)
    reconciler.look_at("req-1")
    reconciler.look_at("gone")
    assert phase_after(cluster) == "Expired"
