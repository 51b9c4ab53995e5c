"""Comparisons with the live object: what counts as a change, and what a missing live object means."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from chaperone.core.request import Origin
from chaperone.core.risk.row import NO, UNKNOWN, YES, Outcome
from tests.core.risk_requests import APPLY, MERGE, SETTINGS, ask, container, meta, outcome, pod, workload


def pods(*containers: Any, **lists: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **lists}}


A, B = container("a", "one"), container("b", "two")


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (pods(A, B), pods(B, A), NO),
        (pods(A), pods(A, B), YES),
        (pods(container("a", "two")), pods(A), YES),
        (pods(A, initContainers=[B]), pods(A), YES),
        (pods(A, ephemeralContainers=[B]), pods(A, ephemeralContainers=[B]), NO),
        (pods({"name": "a"}), pods({"name": "a", "image": None}), NO),
        (pods({"name": "a", "image": 5}), pods(A), UNKNOWN),
        (pods({"image": "one"}), pods(A), UNKNOWN),
        (pods(A), pods("a"), UNKNOWN),
        (pods(A), {}, UNKNOWN),
    ],
)
def test_image_change(new: Any, old: Any, expected: Outcome) -> None:
    assert outcome("R33", ask("patch", "pods", obj=new, old=old)) is expected
    new, old = workload(new["spec"]), workload(old["spec"]) if old else {}
    assert outcome("R34", ask("patch", "jobs", "batch", obj=new, old=old)) is expected


@pytest.mark.parametrize("name", ["labels", "annotations"])
@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({"a": "1"}, {"a": "1"}, NO),
        ({"a": "1"}, {"a": "2"}, YES),
        ({}, {"a": "2"}, YES),
        (None, {}, NO),
        ({"a": "1"}, None, YES),
        ("x", {}, UNKNOWN),
        ({}, ["a"], UNKNOWN),
        ({"a": {"b": "c"}}, {"a": {"b": "c"}}, UNKNOWN),
    ],
)
def test_meta_change(name: str, new: Any, old: Any, expected: Outcome) -> None:
    request = ask("update", "namespaces", obj=meta(**{name: new}), old=meta(**{name: old}))
    assert outcome("R35", request) is expected


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (["a"], ["a"], NO),
        (["b", "a"], ["a", "b"], NO),
        (["a", "b"], ["a"], NO),
        ([], ["a"], YES),
        (None, ["a"], YES),
        (["c"], ["a"], YES),
        (None, None, NO),
        ("a", ["a"], UNKNOWN),
        (["a", 1], ["a"], UNKNOWN),
        (["a"], {"a": 1}, UNKNOWN),
    ],
)
@pytest.mark.parametrize("resource", ["configmaps", "pods", "widgets", "nodes/status"])
def test_finalizer_removed(resource: str, new: Any, old: Any, expected: Outcome) -> None:
    request = ask("update", resource, obj=meta(finalizers=new), old=meta(finalizers=old))
    assert outcome("R36", request) is expected


@pytest.mark.parametrize("resource", ["deployments/scale", "pods/ephemeralcontainers", "pods/resize"])
def test_other_subresources_hold_no_finalizers(resource: str) -> None:
    assert outcome("R36", ask("update", resource, obj=meta(), old=meta(finalizers=["a"]))) is NO


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (0, 3, YES),
        (0, 0, NO),
        (3, 3, NO),
        (4, 2, NO),
        (5, 2, YES),
        (2, 4, NO),
        (1, 4, YES),
        (1, 0, YES),
        (None, 0, NO),
        (None, 2, YES),
        ("0", 2, UNKNOWN),
        (True, 1, UNKNOWN),
        (2.0, 2, UNKNOWN),
        (2, "2", UNKNOWN),
        (10**400, 1, UNKNOWN),
        (-1, 1, YES),
    ],
)
def test_scale(after: Any, before: Any, expected: Outcome) -> None:
    request = ask(
        "patch",
        "statefulsets/scale",
        "apps",
        obj={"spec": {"replicas": after}},
        old={"spec": {"replicas": before}},
    )
    assert outcome("R40", request) is expected


def test_a_workload_without_replicas_has_one() -> None:
    assert (
        outcome("R40", ask("update", "deployments", "apps", obj=workload(), old=workload(replicas=1))) is NO
    )
    assert (
        outcome("R40", ask("update", "deployments", "apps", obj=workload(), old=workload(replicas=3))) is YES
    )
    assert outcome("R40", ask("update", "deployments", "apps", obj={"spec": "x"}, old=workload())) is UNKNOWN


def test_the_scale_factor_is_a_setting() -> None:
    request = ask("patch", "x/scale", "g", obj={"spec": {"replicas": 9}}, old={"spec": {"replicas": 1}})
    assert outcome("R40", request) is YES
    assert outcome("R40", request, replace(SETTINGS, scale_factor=10.0)) is NO


TAINT = {"key": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({"spec": {"taints": [TAINT]}}, {"spec": {"taints": [dict(TAINT)]}}, NO),
        ({"spec": {"taints": [TAINT]}}, {"spec": {}}, YES),
        ({"spec": {}}, {"spec": {"taints": []}}, NO),
        ({"spec": {"unschedulable": True}}, {}, YES),
        ({"spec": {"unschedulable": None}}, {"spec": {"unschedulable": False}}, NO),
        (meta(labels={"a": "1"}), meta(), YES),
        (meta(annotations={"a": "1"}), meta(), NO),
        ({"spec": {"podCIDR": "10.0.0.0/24"}}, {"spec": {}}, NO),
        ({"spec": {"taints": "none"}}, {}, UNKNOWN),
        ({"spec": {"taints": ["none"]}}, {}, UNKNOWN),
        ({"spec": {"taints": [{"key": ["a"]}]}}, {}, UNKNOWN),
        ({"spec": {"unschedulable": "yes"}}, {}, UNKNOWN),
        (meta(labels=3), meta(), UNKNOWN),
    ],
)
def test_node_change(new: Any, old: Any, expected: Outcome) -> None:
    assert outcome("R43", ask("patch", "nodes", ns="", obj=new, old=old)) is expected


def test_a_node_that_admission_shows_unchanged_may_have_changed() -> None:
    """CVE-2021-25735: servers before 1.20.6 show the new node as the old one."""
    node = {"spec": {"unschedulable": True}}
    for origin, expected in ((Origin.ADMISSION, Outcome.UNKNOWN), (Origin.GATEWAY, Outcome.NO)):
        assert outcome("R43", ask("update", "nodes", ns="", obj=node, old=node, origin=origin)) is expected
    labelled = {"metadata": {"annotations": {"a": "b"}}, **node}
    told = ask("update", "nodes", ns="", obj=labelled, old=node, origin=Origin.ADMISSION)
    assert outcome("R43", told) is Outcome.NO


ROLE = "iam.gke.io/gcp-service-account"


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        ({ROLE: "a"}, {ROLE: "a"}, NO),
        ({ROLE: "a"}, {ROLE: "b"}, YES),
        ({ROLE: "a"}, {}, YES),
        ({}, {ROLE: "b"}, NO),
        ({"other": "a"}, {}, NO),
        ("x", {}, UNKNOWN),
        ({}, "x", UNKNOWN),
    ],
)
def test_cloud_role(new: Any, old: Any, expected: Outcome) -> None:
    request = ask("update", "serviceaccounts", obj=meta(annotations=new), old=meta(annotations=old))
    assert outcome("R55", request) is expected


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [("Delete", "Delete", NO), ("Delete", "Retain", YES), (None, "Retain", YES), (5, "Retain", UNKNOWN)],
)
def test_reclaim_change(new: Any, old: Any, expected: Outcome) -> None:
    def volume(policy: Any) -> dict[str, Any]:
        return {"spec": {"persistentVolumeReclaimPolicy": policy}}

    assert (
        outcome("R56", ask("update", "persistentvolumes", ns="", obj=volume(new), old=volume(old)))
        is expected
    )


# row, resource, group, a result that would count as a change
CHANGED = [
    ("R33", "pods", "", pod()),
    ("R34", "deployments", "apps", workload()),
    ("R35", "namespaces", "", meta(labels={"a": "1"})),
    ("R36", "configmaps", "", meta(finalizers=["a"])),
    ("R40", "deployments", "apps", workload(replicas=0)),
    ("R43", "nodes", "", {"spec": {"unschedulable": True}}),
    ("R56", "persistentvolumes", "", {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}),
]


@pytest.mark.parametrize(("row", "resource", "group", "obj"), CHANGED)
def test_an_apply_that_creates_changes_nothing(row: str, resource: str, group: str, obj: Any) -> None:
    assert outcome(row, ask("patch", resource, group, content_type=APPLY, obj=obj)) is NO
    assert outcome(row, ask("create", resource, group, obj=obj)) is NO


@pytest.mark.parametrize(("row", "resource", "group", "obj"), CHANGED)
def test_any_other_write_without_the_live_object_cannot_be_told(
    row: str, resource: str, group: str, obj: Any
) -> None:
    assert outcome(row, ask("patch", resource, group, content_type=MERGE, obj=obj)) is UNKNOWN
    assert outcome(row, ask("patch", resource, group, content_type="", obj=obj)) is UNKNOWN
    assert outcome(row, ask("update", resource, group, obj=obj)) is UNKNOWN
    assert outcome(row, ask("update", resource, group, obj=obj, old="x")) is UNKNOWN
    unread = ask("patch", resource, group, content_type=APPLY, obj=obj, unread=("oldObject",))
    assert outcome(row, unread) is UNKNOWN


def test_an_apply_to_a_subresource_creates_nothing() -> None:
    request = ask("patch", "deployments/scale", "apps", content_type=APPLY, obj={"spec": {"replicas": 0}})
    assert outcome("R40", request) is UNKNOWN


def test_what_is_created_with_a_cloud_role_has_it_added() -> None:
    obj = meta(annotations={ROLE: "a"})
    assert outcome("R55", ask("create", "serviceaccounts", obj=obj)) is YES
    assert outcome("R55", ask("patch", "serviceaccounts", content_type=APPLY, obj=obj)) is YES
    assert outcome("R55", ask("update", "serviceaccounts", obj=obj)) is UNKNOWN
