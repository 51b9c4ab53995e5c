"""What spec.access asks for, and how the live bindings get there."""

from __future__ import annotations

from typing import Any

from chaperone.core.identity import Identity
from chaperone.core.policy import Access
from controller.bindings import Changes, changes, desired_bindings, place_of, policy_label
from tests.controller.objects import policy

VIEW_DEV = Access("ClusterRole", "view", ("dev", "staging"))
NOBODY = frozenset[str]()


def live(*manifests: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "5"}} for manifest in manifests
    ]


def test_access_in_namespaces_becomes_one_role_binding_each() -> None:
    found = desired_bindings(policy("coders", VIEW_DEV))
    assert [(item["kind"], item["metadata"]["namespace"]) for item in found] == [
        ("RoleBinding", "dev"),
        ("RoleBinding", "staging"),
    ]
    for item in found:
        assert item["subjects"] == [{"kind": "ServiceAccount", "namespace": "agents", "name": "coder"}]
        assert item["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "view",
        }
        assert item["metadata"]["ownerReferences"][0]["uid"] == "uid-1"


def test_cluster_wide_access_becomes_a_cluster_role_binding() -> None:
    (found,) = desired_bindings(policy("coders", Access("ClusterRole", "view")))
    assert found["kind"] == "ClusterRoleBinding"
    assert "namespace" not in found["metadata"]


def test_a_user_identity_is_bound_as_a_user() -> None:
    (found,) = desired_bindings(
        policy("p", Access("ClusterRole", "view"), identity=Identity("ai-agent", ("ai",)))
    )
    assert found["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ai-agent"}
    ]


def test_names_are_the_same_every_time_and_differ_by_role_subject_and_policy() -> None:
    by_role = {name_of("coders", "view"), name_of("coders", "edit"), name_of("others", "view")}
    other_identity = Identity("system:serviceaccount:agents:tester")
    (moved,) = desired_bindings(
        policy("coders", Access("ClusterRole", "view", ("dev",)), identity=other_identity)
    )
    assert len({*by_role, moved["metadata"]["name"]}) == 4
    assert name_of("coders", "view") == name_of("coders", "view")


def name_of(policy_name: str, role: str) -> str:
    (found,) = desired_bindings(policy(policy_name, Access("ClusterRole", role, ("dev",))))
    return str(found["metadata"]["name"])


def test_the_same_access_twice_is_one_binding() -> None:
    assert len(desired_bindings(policy("coders", VIEW_DEV, VIEW_DEV))) == 2


def test_nothing_changes_when_everything_is_in_place() -> None:
    wanted = desired_bindings(policy("coders", VIEW_DEV))
    assert changes(wanted, live(*wanted), settled=NOBODY) == Changes()


def test_what_others_added_to_a_binding_is_no_reason_to_write() -> None:
    wanted = desired_bindings(policy("coders", VIEW_DEV))
    touched = live(*wanted)
    touched[0]["metadata"]["labels"] = {**touched[0]["metadata"]["labels"], "team": "blue"}
    assert changes(wanted, touched, settled=NOBODY) == Changes()


def test_missing_bindings_are_created_and_unwanted_ones_deleted() -> None:
    dev, staging = desired_bindings(policy("coders", VIEW_DEV))
    found = changes([dev], live(staging), settled=NOBODY)
    assert [place_of(item).namespace for item in found.create] == ["dev"]
    assert [place_of(item).namespace for item in found.delete] == ["staging"]


def test_added_subjects_are_taken_out_again() -> None:
    """Somebody who adds himself to our binding must not stay in it."""
    (wanted,) = desired_bindings(policy("coders", Access("ClusterRole", "view", ("dev",))))
    (tampered,) = live(wanted)
    tampered["subjects"] = [*wanted["subjects"], {"kind": "User", "name": "mallory"}]
    (update,) = changes([wanted], [tampered], settled=NOBODY).update
    assert update["subjects"] == wanted["subjects"]
    assert update["metadata"]["resourceVersion"] == "5"


def test_a_policy_made_anew_owns_its_bindings_again() -> None:
    access = Access("ClusterRole", "view", ("dev",))
    (old,) = live(*desired_bindings(policy("coders", access, uid="uid-old")))
    (update,) = changes(
        desired_bindings(policy("coders", access, uid="uid-new")), [old], settled=NOBODY
    ).update
    assert [owner["uid"] for owner in update["metadata"]["ownerReferences"]] == ["uid-new"]


def test_bindings_of_a_policy_that_does_not_compile_stay_as_they_are() -> None:
    wanted = live(*desired_bindings(policy("broken", VIEW_DEV)))
    assert changes([], wanted, settled=frozenset({policy_label("broken")})) == Changes()
    assert len(changes([], wanted, settled=frozenset({"another"})).delete) == 2


def test_long_policy_names_fit_into_a_label_and_stay_apart() -> None:
    first, second = policy_label("a" * 200), policy_label("a" * 199 + "b")
    assert first != second
    assert max(len(first), len(second)) <= 63
