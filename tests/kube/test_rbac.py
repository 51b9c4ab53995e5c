"""The rights of our programs: no more than each needs."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.identity import EXTRA_KEYS, Identity
from chaperone.kube.rbac import rbac_manifests, service_account

HOME = "guard-home"
CODER = Identity("system:serviceaccount:agents:coder")
MANIFESTS = rbac_manifests(HOME, [CODER])


def rules_of(account: str) -> list[tuple[str, dict[str, Any]]]:
    """(namespace or "", rule) of everything that is bound to one of our accounts."""
    roles = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
        for item in MANIFESTS
    }
    found = []
    for item in MANIFESTS:
        subject = {"kind": "ServiceAccount", "namespace": HOME, "name": account}
        if item["kind"] in ("ClusterRoleBinding", "RoleBinding") and subject in item["subjects"]:
            namespace = item["metadata"].get("namespace", "")
            reference = item["roleRef"]
            role = roles[
                (reference["kind"], namespace if reference["kind"] == "Role" else "", reference["name"])
            ]
            found += [(namespace, rule) for rule in role["rules"]]
    return found


def test_the_data_path_may_impersonate_and_nothing_else() -> None:
    rules = rules_of("chaperone-impersonator")
    assert {verb for _, rule in rules for verb in rule["verbs"]} == {"impersonate"}
    named = [(namespace, rule) for namespace, rule in rules if rule["resources"] == ["serviceaccounts"]]
    assert [(namespace, rule["resourceNames"]) for namespace, rule in named] == [("agents", ["coder"])]
    extras = [
        resource for _, rule in rules for resource in rule["resources"] if resource.startswith("userextras/")
    ]
    assert extras == [f"userextras/{key}" for key in EXTRA_KEYS]


def test_no_program_has_wildcards_or_reads_secrets() -> None:
    for account in (
        "chaperone-impersonator",
        "chaperone-gateway",
        "chaperone-controller",
        "chaperone-webhook",
    ):
        for _, rule in rules_of(account):
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]


def test_only_the_gateway_mints_tokens_and_only_of_the_impersonator() -> None:
    minting = [
        (account, namespace, rule.get("resourceNames"))
        for account in (
            "chaperone-gateway",
            "chaperone-controller",
            "chaperone-webhook",
            "chaperone-impersonator",
        )
        for namespace, rule in rules_of(account)
        if "serviceaccounts/token" in rule["resources"]
    ]
    assert minting == [("chaperone-gateway", HOME, ["chaperone-impersonator"])]


def test_powerful_verbs_always_name_their_roles() -> None:
    for account in ("chaperone-gateway", "chaperone-controller", "chaperone-webhook"):
        for _, rule in rules_of(account):
            if {"bind", "escalate"} & set(rule["verbs"]):
                assert rule["resourceNames"]
            if "escalate" in rule["verbs"]:
                assert rule["resourceNames"] == ["chaperone-impersonator"]


def test_nobody_of_ours_may_approve_or_impersonate_beside_the_data_path() -> None:
    for account in ("chaperone-gateway", "chaperone-controller", "chaperone-webhook"):
        verbs = {verb for _, rule in rules_of(account) for verb in rule["verbs"]}
        assert not verbs & {"approve", "impersonate"}


def test_people_approve_with_one_role() -> None:
    (approver,) = [item for item in MANIFESTS if item["metadata"]["name"] == "chaperone-approver"]
    assert {"apiGroups": ["chaperone.dev"], "resources": ["approvals"], "verbs": ["approve"]} in approver[
        "rules"
    ]


def test_roles_that_may_be_handed_out_are_named_by_the_installation() -> None:
    (role,) = [
        item
        for item in rbac_manifests(HOME, [], bindable_roles=["edit"])
        if item["kind"] == "ClusterRole" and item["metadata"]["name"] == "chaperone-controller"
    ]
    (binding,) = [rule for rule in role["rules"] if rule["verbs"] == ["bind"]]
    assert binding["resourceNames"] == ["chaperone-impersonator", "edit"]


def test_the_gateway_keeps_its_lease_in_our_namespace_only() -> None:
    """Leases elsewhere, such as the control plane's, are none of its business."""
    places = {namespace for namespace, rule in rules_of("chaperone-gateway") if "leases" in rule["resources"]}
    assert places == {HOME}


@pytest.mark.parametrize("wanted", [True, False])
def test_tokens_are_reviewed_only_where_that_is_configured(*, wanted: bool) -> None:
    manifests = rbac_manifests(HOME, [], token_reviews=wanted)
    found = [
        rule for item in manifests for rule in item.get("rules", []) if "tokenreviews" in rule["resources"]
    ]
    assert bool(found) is wanted


@pytest.mark.parametrize(
    ("username", "expected"),
    [
        ("system:serviceaccount:agents:coder", ("agents", "coder")),
        ("system:serviceaccount:agents", None),
        ("system:serviceaccount:agents:", None),
        ("system:serviceaccount:a:b:c", None),
        ("x:system:serviceaccount:a:b", None),
        ("alice", None),
    ],
)
def test_service_account_usernames(username: str, expected: tuple[str, str] | None) -> None:
    assert service_account(username) == expected


def test_the_controller_touches_secrets_only_where_it_keeps_the_certificate() -> None:
    assert not any("secrets" in rule["resources"] for _, rule in rules_of("chaperone-controller"))
    made = rbac_manifests(HOME, [CODER], certificate_secret="webhook-tls")
    more = [item for item in made if item not in MANIFESTS]
    assert {item["metadata"]["name"] for item in more} == {"chaperone-controller-certificates"}
    subjects = [subject for item in more for subject in item.get("subjects", [])]
    assert {subject["name"] for subject in subjects} == {"chaperone-controller"}
    (role,) = (item for item in more if item["kind"] == "Role")
    assert role["metadata"]["namespace"] == HOME
    create, keep = role["rules"]
    assert (create["verbs"], keep["verbs"], keep["resourceNames"]) == (
        ["create"],
        ["get", "update"],
        ["webhook-tls"],
    )
    (cluster_role,) = (item for item in more if item["kind"] == "ClusterRole")
    assert all(
        rule["resourceNames"] and set(rule["verbs"]) == {"get", "update"} for rule in cluster_role["rules"]
    )


def rules_for_people(role: str) -> list[dict[str, Any]]:
    (found,) = [
        item for item in MANIFESTS if item["kind"] == "ClusterRole" and item["metadata"]["name"] == role
    ]
    rules: list[dict[str, Any]] = found["rules"]
    return rules


def test_people_look_at_sessions_and_throw_their_switch_and_no_more() -> None:
    look, end = (rules_for_people(f"chaperone-session-{word}") for word in ("viewer", "ender"))
    reads = ["get", "list", "watch"]
    assert [(rule["resources"], rule["verbs"]) for rule in look] == [(["agentsessions"], reads)]
    assert [(rule["resources"], rule["verbs"]) for rule in end] == [(["agentsessions"], [*reads, "patch"])]


def test_only_the_gateway_makes_sessions_and_only_the_controller_deletes_them() -> None:
    may: dict[str, set[str]] = {}
    for account in (
        "chaperone-gateway",
        "chaperone-controller",
        "chaperone-webhook",
        "chaperone-impersonator",
    ):
        for _, rule in rules_of(account):
            if "agentsessions" in rule["resources"]:
                may.setdefault(account, set()).update(rule["verbs"])
    assert may == {
        "chaperone-gateway": {"get", "list", "watch", "create"},
        "chaperone-controller": {"get", "list", "watch", "delete"},
    }
