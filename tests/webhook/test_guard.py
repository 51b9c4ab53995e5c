"""Agents' writes at the API server: through the gateway, and round it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webhook.fakes import NOW, World, policy_object
from tests.webhook.reviews import CODER, ask, review

DIGEST = "sha256:" + "a" * 64
HOLD_NAMESPACES: dict[str, Any] = {
    "rules": [
        {
            "name": "ns",
            "match": {"verbs": ["delete"], "resources": ["namespaces"]},
            "action": "RequireApproval",
        }
    ],
    "masking": {"profile": "Off", "reason": "a test"},
}


def namespace_delete(**more: Any) -> dict[str, Any]:
    terms: dict[str, Any] = {"user": CODER, "group": "", "version": "v1", "name": "dev", "namespace": "dev"}
    old = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev"}}
    return review("namespaces", "DELETE", **{**terms, "old": old, **more})


def extras(**more: str) -> dict[str, list[str]]:
    """As the gateway impersonates."""
    words = {
        "policy": "coders",
        "run": "run-1",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    return {f"chaperone.dev/{key}": [value] for key, value in words.items()}


def executing(**status: Any) -> dict[str, Any]:
    """A claimed approval for the deletion of namespace dev by run-1."""
    return {
        "metadata": {"name": "req-1", "uid": "uid-1", "resourceVersion": "5"},
        "spec": {
            "requester": {"username": "agent", "run": "run-1"},
            "request": {
                "verb": "delete",
                "apiVersion": "v1",
                "resource": "namespaces",
                "namespace": "dev",
                "name": "dev",
            },
            "digest": DIGEST,
            "policy": {"name": "coders", "generation": 1},
            "required": 1,
            "expiresAt": "2030-01-01T00:00:00Z",
        },
        "status": {
            "phase": "Executing",
            "useBefore": "2030-01-01T00:00:00Z",
            "claimedBy": "gw-1",
            "reviews": [{"username": "alice", "decision": "Approved", "digest": DIGEST}],
            **status,
        },
    }


@pytest.fixture
def world() -> World:
    return World(policy_object(**HOLD_NAMESPACES))


def test_strangers_are_let_through_fast(world: World) -> None:
    world.cluster.away = True  # nothing may be asked of the cluster for them
    for user in (
        "alice",
        "system:kube-controller-manager",
        "system:serviceaccount:kube-system:namespace-controller",
    ):
        assert ask(world.client, "/guard", namespace_delete(user=user)) == {
            "uid": "review-1",
            "allowed": True,
        }


def test_an_agent_that_goes_round_the_gateway_is_refused(world: World) -> None:
    answer = ask(world.client, "/guard", namespace_delete())
    assert not answer["allowed"]
    assert "gateway" in answer["status"]["message"]


def test_a_forwarded_request_without_approval_is_refused_where_one_is_needed(world: World) -> None:
    assert not ask(world.client, "/guard", namespace_delete(extra=extras()))["allowed"]


def test_a_forwarded_request_that_spends_its_approval_passes(world: World) -> None:
    world.cluster.approvals["req-1"] = executing()
    answer = ask(
        world.client, "/guard", namespace_delete(extra=extras(approval="uid-1", approval_name="req-1"))
    )
    assert answer["allowed"], answer
    assert answer["auditAnnotations"]["approval"] == "req-1"


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        (None, {"approval": "uid-1", "approval_name": "req-1"}),
        (executing(), {"approval": "uid-2", "approval_name": "req-1"}),
        (executing(), {"approval": "uid-1"}),
        (executing(), {"approval_name": "req-1"}),
        (executing(phase="Approved"), {"approval": "uid-1", "approval_name": "req-1"}),
        (executing(phase="Executed"), {"approval": "uid-1", "approval_name": "req-1"}),
        (executing(useBefore="1970-01-02T00:00:00Z"), {"approval": "uid-1", "approval_name": "req-1"}),
        ({**executing(), "spec": {}}, {"approval": "uid-1", "approval_name": "req-1"}),
        (executing(), {"approval": "uid-1", "approval_name": "req-1", "run": "run-2"}),
    ],
)
def test_an_approval_that_does_not_fit_is_none(world: World, stored: Any, named: dict[str, str]) -> None:
    assert NOW > 86_400  # the time to use the expired one is over
    if stored is not None:
        world.cluster.approvals["req-1"] = stored
    assert not ask(world.client, "/guard", namespace_delete(extra=extras(**named)))["allowed"]


def test_an_approval_for_another_namespace_is_none(world: World) -> None:
    world.cluster.approvals["req-1"] = executing()
    spent = extras(approval="uid-1", approval_name="req-1")
    other = namespace_delete(extra=spent, name="prod", namespace="prod")
    assert not ask(world.client, "/guard", other)["allowed"]


def test_stale_policies_stop_agents_and_nobody_else(world: World) -> None:
    world.age_policies(world.settings.max_policy_age + 1)
    harmless = review(
        "configmaps", "CREATE", group="", version="v1", user=CODER, namespace="dev", obj={"data": {}}
    )
    answer = ask(world.client, "/guard", harmless)
    assert not answer["allowed"]
    assert "policies" in answer["status"]["message"]
    assert ask(world.client, "/guard", namespace_delete(user="alice"))["allowed"]


def test_before_the_first_list_the_failure_policy_decides() -> None:
    unlisted = World(listed=False)
    answer = unlisted.client.post("/guard", json=namespace_delete(user="alice"))
    assert answer.status_code == 503
    assert unlisted.client.get("/readyz").status_code == 503
    assert unlisted.client.get("/healthz").status_code == 200


def test_an_unreachable_cluster_refuses_what_needed_an_answer(world: World) -> None:
    world.cluster.away = True
    answer = ask(
        world.client, "/guard", namespace_delete(extra=extras(approval="uid-1", approval_name="req-1"))
    )
    assert not answer["allowed"]
    assert answer["status"]["code"] == 503


def test_a_policy_that_does_not_compile_does_not_set_its_identity_free() -> None:
    for broken in (
        policy_object(mode="Sometimes"),
        policy_object(identity={"serviceAccount": {"namespace": "agents", "name": "coder"}, "groups": ["x"]}),
    ):
        assert not ask(World(broken).client, "/guard", namespace_delete())["allowed"]


def test_what_no_rule_and_no_risk_holds_is_left_to_rbac(world: World) -> None:
    harmless = review(
        "configmaps",
        "CREATE",
        group="",
        version="v1",
        user=CODER,
        namespace="dev",
        obj={"data": {"a": "b"}},
        extra=extras(),
    )
    assert ask(world.client, "/guard", harmless)["allowed"]


@pytest.mark.parametrize("operation", ["NONSENSE", ""])
def test_what_cannot_be_understood_of_an_agent_is_refused(world: World, operation: str) -> None:
    body = namespace_delete(extra=extras())
    body["request"]["operation"] = operation
    assert not ask(world.client, "/guard", body)["allowed"]
