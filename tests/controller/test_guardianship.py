"""Who may be impersonated, and who is guarded."""

from __future__ import annotations

from typing import Any

from chaperone.core.identity import EXTRA_KEYS, Identity
from controller.guardianship import empty_role, guard_change, role_changes
from tests.controller.objects import CODER

HOME = "kube-chaperone"
USER = Identity("ai-agent", ("ai-group",))
SPACES = frozenset({"agents", HOME})
EXTRAS = [f"userextras/{key}" for key in EXTRA_KEYS]


def changed(*identities: Identity, **live: Any) -> Any:
    situation = {"cluster_role": {"rules": []}, "roles": {}, "bindings": (), "namespaces": SPACES, **live}
    return role_changes(identities, HOME, **situation)


def test_a_service_account_is_named_in_a_role_of_its_own_namespace_only() -> None:
    found = changed(CODER)
    assert found.rules == {
        "agents": (
            {
                "apiGroups": [""],
                "resources": ["serviceaccounts"],
                "verbs": ["impersonate"],
                "resourceNames": ["coder"],
            },
        )
    }
    resources = [resource for rule in found.cluster_rules for resource in rule["resources"]]
    assert resources == EXTRAS
    (binding,) = found.bind
    assert binding["metadata"]["namespace"] == "agents"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "namespace": HOME, "name": "chaperone-impersonator"}
    ]


def test_a_user_and_its_groups_are_named_in_the_cluster_role() -> None:
    names = {rule["resources"][0]: rule.get("resourceNames") for rule in changed(USER).cluster_rules}
    assert names["users"] == ["ai-agent"]
    assert names["groups"] == ["ai-group"]


def test_without_identities_nobody_may_be_impersonated() -> None:
    """A rule without resourceNames would mean everybody."""
    (rule,) = changed().cluster_rules
    assert rule["resources"] == EXTRAS


def test_no_rule_ever_covers_everybody() -> None:
    for identities in ([], [CODER], [USER], [CODER, USER]):
        found = changed(*identities)
        rules = [*found.cluster_rules, *(rule for rules in found.rules.values() for rule in rules)]
        assert all(rule.get("resourceNames") for rule in rules if rule["resources"] != EXTRAS)
        assert not any("*" in [*rule["resources"], *rule["verbs"], *rule["apiGroups"]] for rule in rules)


def test_nothing_to_do_when_the_roles_are_right() -> None:
    first = changed(CODER)
    again = changed(
        CODER,
        cluster_role={"rules": list(first.cluster_rules)},
        roles={"agents": {"rules": list(first.rules["agents"])}},
        bindings=["agents"],
    )
    assert (again.cluster_rules, again.rules, again.bind, again.retire) == (None, {}, (), ())


def test_a_namespace_that_hands_out_no_identity_any_more_is_retired() -> None:
    assert changed(roles={"agents": {"rules": []}}, bindings=["agents"]).retire == ("agents",)


def test_a_namespace_that_does_not_exist_is_left_for_later() -> None:
    found = changed(CODER, namespaces=frozenset({HOME}))
    assert not found.rules
    assert not found.bind


def test_the_new_role_is_made_empty_because_filling_it_is_another_right() -> None:
    assert empty_role("agents", HOME)["rules"] == []


def test_the_guard_follows_the_identities() -> None:
    live = {
        "metadata": {"resourceVersion": "3"},
        "webhooks": [{"name": "guard.chaperone.dev", "clientConfig": {"url": "u"}}],
    }
    first = guard_change(live, [CODER], (1, 30))
    assert first is not None
    (webhook,) = first["webhooks"]
    assert '"system:serviceaccount:agents:coder"' in webhook["matchConditions"][0]["expression"]
    assert webhook["clientConfig"] == {"url": "u"}
    assert first["metadata"]["resourceVersion"] == "3"
    assert guard_change(first, [CODER], (1, 30)) is None
    assert guard_change(first, [CODER, USER], (1, 30)) is not None


def test_a_server_without_match_conditions_is_left_alone() -> None:
    assert guard_change({"webhooks": [{"name": "guard-cluster.chaperone.dev"}]}, [CODER], (1, 27)) is None
