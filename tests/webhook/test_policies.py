"""Writes of AgentPolicies."""

from __future__ import annotations

from typing import Any

import pytest

from tests.webhook.fakes import World, policy_object
from tests.webhook.reviews import CODER, CONTROLLER, ask, review


def asked(operation: str = "CREATE", **more: Any) -> dict[str, Any]:
    return ask(World(policy_object()).client, "/validate-policy", review("agentpolicies", operation, **more))


def test_a_policy_that_compiles_is_stored() -> None:
    assert asked(obj=policy_object("new"))["allowed"]


def test_every_fault_is_told_at_once_with_its_path() -> None:
    broken = policy_object("new", mode="Sometimes", rules=[{"name": "x", "action": "Maybe"}])
    answer = asked(obj=broken)
    assert not answer["allowed"]
    assert answer["status"]["code"] == 422
    fields = [cause["field"] for cause in answer["status"]["details"]["causes"]]
    assert "spec.mode" in fields
    assert "spec.rules[0].action" in fields
    for field in fields:
        assert field in answer["status"]["message"]


def test_what_is_surely_not_meant_is_a_warning() -> None:
    lenient = policy_object("new", defaults={"critical": "Allow"})
    answer = asked(obj=lenient)
    assert answer["allowed"]
    assert any("spec.defaults.critical" in warning for warning in answer["warnings"])


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "DELETE"])
@pytest.mark.parametrize("subresource", ["", "status"])
def test_an_agent_changes_no_policy(operation: str, subresource: str) -> None:
    answer = asked(operation, user=CODER, subresource=subresource, obj=policy_object(), old=policy_object())
    assert not answer["allowed"]


@pytest.mark.parametrize(("user", "allowed"), [(CONTROLLER, True), ("alice", False), (CODER, False)])
def test_the_status_is_the_controllers(user: str, allowed: bool) -> None:
    answer = asked("UPDATE", user=user, subresource="status", obj=policy_object(), old=policy_object())
    assert answer["allowed"] is allowed


def test_a_stored_policy_that_no_longer_compiles_can_still_be_taken_apart() -> None:
    old = policy_object("old", mode="Sometimes")
    touched = {**old, "metadata": {**old["metadata"], "finalizers": []}}
    assert asked("UPDATE", old=old, obj=touched)["allowed"]
    assert asked("DELETE", old=old)["allowed"]
    assert not asked("UPDATE", old=policy_object("old"), obj=old)["allowed"]


@pytest.mark.parametrize("obj", [None, [], "text", {}, {"spec": None}])
def test_what_is_no_policy_is_refused(obj: Any) -> None:
    assert not asked(obj=obj)["allowed"]
