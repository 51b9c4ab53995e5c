"""Conditions that compare the resulting object with the live one.

Without a live object a create, and an apply that creates, changes nothing; for any other write it means that the live
object was not fetched, so the change is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Origin, Request
from chaperone.core.risk.content import resulting_object
from chaperone.core.risk.fields import UNREADABLE, Unreadable, any_of, field, flat, is_mapping, objects, texts
from chaperone.core.risk.patches import is_apply
from chaperone.core.risk.podspec import containers, pod_specs
from chaperone.core.risk.row import NO, UNKNOWN, YES, Condition, Outcome, Reads, Test

Obj = Mapping[str, Any]
ChangeTest = Callable[[Obj, Obj, Request, RiskSettings], Outcome]

NOTHING: Obj = {}


def on_change(test: ChangeTest, *, also_when_created: bool = False) -> Test:
    """A test of (resulting, live). also_when_created: what is new is compared with an empty object, else it is NO."""

    def tested(request: Request, settings: RiskSettings) -> Outcome:
        new = resulting_object(request)
        if new is None:
            return UNKNOWN
        if creates(request) is YES:
            return test(new, NOTHING, request, settings) if also_when_created else NO
        old = request.payload.old_object
        known = is_mapping(old) and "oldObject" not in request.payload.undetermined
        return test(new, old, request, settings) if known and old is not None else UNKNOWN

    return tested


def creates(request: Request) -> Outcome:
    """Is this write a create, by its verb or as an apply to something that is not there yet?"""
    if request.verb == "create":
        return YES
    if request.payload.old_object is not None or request.subresource:
        return NO
    known = resulting_object(request) is not None and "oldObject" not in request.payload.undetermined
    return YES if known and is_apply(request) else UNKNOWN


CREATES = Condition("creates", "creating the object", lambda request, _: creates(request), Reads.CHANGE)


def _condition(
    name: str, text: str, test: ChangeTest, *paths: tuple[str, ...], also_when_created: bool = False
) -> Condition:
    return Condition(name, text, on_change(test, also_when_created=also_when_created), Reads.CHANGE, paths)


def _differ(new: object, old: object) -> Outcome:
    if new is UNREADABLE or old is UNREADABLE:
        return UNKNOWN
    return YES if new != old else NO


# Containers


def _images(request: Request, obj: Obj) -> frozenset[tuple[str, str]] | Unreadable:
    """(name, image) of every container; an image may be left to a default, and is then ""."""
    specs, complete = pod_specs(request, obj)
    pairs: set[tuple[str, str]] = set()
    for spec in specs:
        found, whole = containers(spec)
        complete = complete and whole
        for item in found:
            name, image = field(item, "name"), field(item, "image") or ""
            if not isinstance(name, str) or not isinstance(image, str):
                return UNREADABLE
            pairs.add((name, image))
    return frozenset(pairs) if complete else UNREADABLE


def _image_change(new: Obj, old: Obj, request: Request, _: RiskSettings) -> Outcome:
    return _differ(_images(request, new), _images(request, old))


def _container_added(new: Obj, old: Obj, request: Request, _: RiskSettings) -> Outcome:
    after, before = _images(request, new), _images(request, old)
    if after is UNREADABLE or before is UNREADABLE:
        return UNKNOWN
    return YES if {name for name, _ in after} - {name for name, _ in before} else NO


IMAGE_CHANGE = _condition("image-change", "changing a container's image", _image_change)
CONTAINER_ADDED = _condition("container-added", "adding a container", _container_added)


# Metadata


def _meta(obj: Obj, name: str) -> dict[str, Any] | Unreadable:
    return flat(field(obj, "metadata", name))


def _meta_change(new: Obj, old: Obj, _: Request, __: RiskSettings) -> Outcome:
    return any_of(_differ(_meta(new, name), _meta(old, name)) for name in ("labels", "annotations"))


def _finalizer_removed(new: Obj, old: Obj, _: Request, __: RiskSettings) -> Outcome:
    after, before = (texts(field(obj, "metadata", "finalizers")) for obj in (new, old))
    if after is UNREADABLE or before is UNREADABLE:
        return UNKNOWN
    return YES if before - after else NO


def _cloud_role(new: Obj, old: Obj, _: Request, settings: RiskSettings) -> Outcome:
    after, before = _meta(new, "annotations"), _meta(old, "annotations")
    if after is UNREADABLE or before is UNREADABLE:
        return UNKNOWN
    bound = settings.cloud_role_annotations & after.keys()
    return YES if any(after[key] != before.get(key) for key in bound) else NO


META_CHANGE = _condition(
    "meta-change",
    "changing labels or annotations",
    _meta_change,
    ("metadata", "labels"),
    ("metadata", "annotations"),
)
FINALIZER_REMOVED = _condition(
    "finalizer-removed", "removing a finalizer", _finalizer_removed, ("metadata", "finalizers")
)
CLOUD_ROLE = _condition(
    "cloud-role",
    "adding or changing an annotation that binds a cloud identity",
    _cloud_role,
    ("metadata", "annotations"),
    also_when_created=True,
)


# Nodes, volumes, replicas


def _taints(obj: Obj) -> list[dict[str, Any] | Unreadable] | Unreadable:
    found, complete = objects(field(obj, "spec", "taints"))
    taints = [flat(taint) for taint in found]
    return taints if complete and UNREADABLE not in taints else UNREADABLE


def _cordoned(obj: Obj) -> bool | Unreadable:
    value = field(obj, "spec", "unschedulable") or False
    return value if isinstance(value, bool) else UNREADABLE


def _node_change(new: Obj, old: Obj, request: Request, _: RiskSettings) -> Outcome:
    if request.origin is Origin.ADMISSION and new == old:
        return UNKNOWN  # CVE-2021-25735: servers before 1.20.6 show the new node as the old one
    return any_of(
        (
            _differ(_taints(new), _taints(old)),
            _differ(_cordoned(new), _cordoned(old)),
            _differ(_meta(new, "labels"), _meta(old, "labels")),
        )
    )


def _reclaim_policy(obj: Obj) -> str | Unreadable:
    value = field(obj, "spec", "persistentVolumeReclaimPolicy") or ""
    return value if isinstance(value, str) else UNREADABLE


def _reclaim_change(new: Obj, old: Obj, _: Request, __: RiskSettings) -> Outcome:
    return _differ(_reclaim_policy(new), _reclaim_policy(old))


MOST_REPLICAS = 2**31
"""The field is an int32; beyond it a comparison with the factor could overflow."""


def _replicas(request: Request, obj: Obj) -> int | Unreadable:
    """Absent means 0 in a Scale, whose zero is not written out, and 1 in a workload, where it is the default."""
    value = field(obj, "spec", "replicas")
    if value is None:
        return 0 if request.subresource == "scale" else 1
    whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MOST_REPLICAS
    return value if whole else UNREADABLE


def _scale_risk(new: Obj, old: Obj, request: Request, settings: RiskSettings) -> Outcome:
    after, before = _replicas(request, new), _replicas(request, old)
    if after is UNREADABLE or before is UNREADABLE:
        return UNKNOWN
    if after == before:
        return NO
    factor = settings.scale_factor
    return YES if after == 0 or after > before * factor or after * factor < before else NO


NODE_CHANGE = _condition(
    "node-change",
    "changing taints, schedulability or labels",
    _node_change,
    ("spec", "taints"),
    ("spec", "unschedulable"),
    ("metadata", "labels"),
)
RECLAIM_CHANGE = _condition(
    "reclaim-change",
    "changing the reclaim policy",
    _reclaim_change,
    ("spec", "persistentVolumeReclaimPolicy"),
)
SCALE_RISK = _condition(
    "scale-risk", "scaling to zero or by more than the configured factor", _scale_risk, ("spec", "replicas")
)
