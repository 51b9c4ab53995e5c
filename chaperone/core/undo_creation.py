"""An object that was deleted, as it can be made again: without what only the one that is gone could have. Pure.

Everything that is left out, and cannot be the same again, is said. Sources: the API server's own rules for what a create
may hold (kubernetes pkg/registry, strategies and validation of each kind).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.changes import Target
from chaperone.core.changes_fields import (
    ABSENT,
    LAST_APPLIED,
    Object,
    Path,
    is_controllers,
    leaves,
    named,
    placeholders,
    spelled,
    steady,
    value_at,
    with_values,
)
from chaperone.core.legible import visible

ENDINGS = frozenset({"foregroundDeletion", "orphan"})
"""Finalizers that a deletion itself has put there."""
MADE_BY_CONTROLLERS = frozenset(
    {
        ("", "pods"),
        ("apps", "replicasets"),
        ("apps", "controllerrevisions"),
        ("discovery.k8s.io", "endpointslices"),
    }
)
TOKEN_SECRET = "kubernetes.io/service-account-token"
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
JOB_LABELS = (
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
)
BOUND = (
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.kubernetes.io/selected-node",
)
_TOKEN = re.compile(r".+-(token|dockercfg)-[a-z0-9]{5}")


@dataclass(frozen=True, slots=True)
class Made:
    """body: for a create. remarks: what is not the same as before."""

    body: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unmakeable:
    """body: what there is of it; why: what is missing for it to be made again."""

    body: dict[str, Any]
    why: str


def made_again(target: Target, before: Object, owners: frozenset[str]) -> Made | Unmakeable:
    """before: as it was recorded, with apiVersion and kind. owners: the uids of owners that are there."""
    body, remarks = steady(before), []
    body["metadata"], said = _metadata(body.get("metadata"), owners)
    remarks += said
    for change in CHANGES.get((target.group, target.resource), ()):
        body, said = change(body)
        remarks += said
    body = with_values(body, {path: ABSENT for path in leaves(body) if is_controllers(path)})
    if placeholders(value_at(body, LAST_APPLIED)):
        body = with_values(body, {LAST_APPLIED: ABSENT})
        remarks.append("kubectl's copy of what was applied is left out, for it holds masked values")
    hidden = [spelled(path) for path, value in leaves(body).items() if placeholders(value)]
    if hidden:
        why = f"its secrets were masked before they were recorded, and went with it: {named(hidden)}"
        return Unmakeable(body, why)
    return Made(body, tuple(remarks))


def remade_by(target: Target, before: Object) -> str:
    """The controller that makes such an object whenever it is missing, "" when there is none."""
    if (target.group, target.resource) not in MADE_BY_CONTROLLERS:
        return ""
    for owner in _references(before.get("metadata")):
        if owner.get("controller"):
            return visible(f"{owner.get('kind')} {owner.get('name')}", 300)
    return ""


def may_run_again(before: Object) -> str:
    """Why making it again would do again what it did; "" where it would not."""
    status = before.get("status")
    status = status if isinstance(status, Mapping) else {}
    conditions = status.get("conditions")
    ended = status.get("phase") in ("Succeeded", "Failed") or any(
        isinstance(each, Mapping)
        and each.get("type") in ("Complete", "Failed")
        and each.get("status") == "True"
        for each in (conditions if isinstance(conditions, list) else [])
    )
    if ended and before.get("kind") in ("Job", "Pod"):
        return "it had ended; made again, it would run again"
    return ""


def _metadata(metadata: Any, owners: frozenset[str]) -> tuple[dict[str, Any], list[str]]:
    kept = dict(metadata) if isinstance(metadata, Mapping) else {}
    remarks: list[str] = []
    there: list[Any] = []
    for owner in _references(metadata):
        if owner.get("uid") in owners:
            there.append(owner)
        else:
            words = visible(f"{owner.get('kind')} {owner.get('name')}", 300)
            remarks.append(f"its owner {words} is gone, so it belongs to nobody now")
    finalizers = kept.get("finalizers")
    stays = [each for each in finalizers if each not in ENDINGS] if isinstance(finalizers, list) else []
    for key, value in (("ownerReferences", there), ("finalizers", stays)):
        kept.pop(key, None)
        if value:
            kept[key] = value
    return kept, remarks


def _references(metadata: Any) -> Iterator[Mapping[str, Any]]:
    listed = metadata.get("ownerReferences") if isinstance(metadata, Mapping) else None
    return (each for each in (listed if isinstance(listed, list) else []) if isinstance(each, Mapping))


# By kind

Changed = tuple[dict[str, Any], list[str]]


def _without(*paths: Path, remark: str = "", always: str = "") -> Callable[[dict[str, Any]], Changed]:
    """Takes fields away. remark: said where one of them was there; always: said in any case."""

    def change(body: dict[str, Any]) -> Changed:
        there = [path for path in paths if value_at(body, path) is not ABSENT]
        said = [always] if always else []
        if there and remark:
            said.append(remark)
        return with_values(body, {leaf: ABSENT for path in there for leaf in _below(body, path)}), said

    return change


def _below(body: Object, path: Path) -> list[Path]:
    return [leaf for leaf in leaves(body) if leaf[: len(path)] == path]


def _service(body: dict[str, Any]) -> Changed:
    """A headless one stays headless."""
    said: list[str] = []
    if value_at(body, ("spec", "clusterIP")) not in (ABSENT, "None", ""):
        body = with_values(body, {("spec", "clusterIP"): ABSENT, ("spec", "clusterIPs"): ABSENT})
        said.append("it gets a new cluster IP")
    ports = value_at(body, ("spec", "ports"))
    if isinstance(ports, list) and any(isinstance(port, Mapping) and port.get("nodePort") for port in ports):
        kept = [_less(port, "nodePort") for port in ports]
        body = with_values(body, {("spec", "ports"): kept, ("spec", "healthCheckNodePort"): ABSENT})
        said.append("it gets new node ports")
    return body, said


def _job(body: dict[str, Any]) -> Changed:
    """The controller makes selector and labels of its own, unless the maker chose them."""
    if value_at(body, ("spec", "manualSelector")) is True:
        return body, []
    template = ("spec", "template", "metadata", "labels")
    labels = [(*where, label) for where in (template, ("metadata", "labels")) for label in JOB_LABELS]
    gone = [*_below(body, ("spec", "selector")), *labels]
    return with_values(body, dict.fromkeys(gone, ABSENT)), ["it begins anew"]


def _pod(body: dict[str, Any]) -> Changed:
    """The volume of the token that was mounted by itself is mounted by itself again."""
    volumes = {
        mount.get("name")
        for container in _listed(body, "containers")
        for mount in _maps(container.get("volumeMounts"))
        if mount.get("mountPath") == TOKEN_MOUNT
    }
    automatic = {
        name for name in volumes if re.fullmatch(r"(kube-api-access|.+-token)-[a-z0-9]{5}", str(name))
    }
    values: dict[Path, Any] = {("spec", "nodeName"): ABSENT, ("spec", "ephemeralContainers"): ABSENT}
    for field in ("containers", "initContainers"):
        if automatic and value_at(body, ("spec", field)) is not ABSENT:
            values["spec", field] = [_unmounted(each, automatic) for each in _listed(body, field)]
    if automatic:
        kept = [each for each in _listed(body, "volumes") if each.get("name") not in automatic]
        values["spec", "volumes"] = kept or ABSENT
    return with_values(body, values), ["it starts anew, and what it had written is gone"]


def _unmounted(container: Mapping[str, Any], volumes: set[Any]) -> dict[str, Any]:
    kept = [mount for mount in _maps(container.get("volumeMounts")) if mount.get("name") not in volumes]
    return {**_less(container, "volumeMounts"), **({"volumeMounts": kept} if kept else {})}


def _account(body: dict[str, Any]) -> Changed:
    """Its old tokens are gone with it."""
    said = ["the tokens that were made for it are good no more"]
    for field in ("secrets", "imagePullSecrets"):
        listed = value_at(body, (field,))
        if isinstance(listed, list):
            kept = [
                each
                for each in listed
                if not (isinstance(each, Mapping) and _TOKEN.fullmatch(str(each.get("name"))))
            ]
            body = with_values(body, {(field,): kept or ABSENT})
    return body, said


def _secret(body: dict[str, Any]) -> Changed:
    if body.get("type") != TOKEN_SECRET:
        return body, []
    gone = [*_below(body, ("data",)), ("metadata", "annotations", "kubernetes.io/service-account.uid")]
    return with_values(body, dict.fromkeys(gone, ABSENT)), ["it gets a new token"]


CHANGES: Mapping[tuple[str, str], tuple[Callable[[dict[str, Any]], Changed], ...]] = {
    ("", "namespaces"): (
        _without(("spec", "finalizers"), always="what was in it does not come back with it"),
    ),
    ("", "services"): (_service,),
    ("", "serviceaccounts"): (_account,),
    ("", "secrets"): (_secret,),
    ("", "pods"): (_pod,),
    ("", "persistentvolumeclaims"): (
        _without(
            ("spec", "volumeName"),
            remark="it gets another volume; what was in the old one does not come back",
        ),
        _without(*(("metadata", "annotations", name) for name in BOUND)),
    ),
    ("", "persistentvolumes"): (
        _without(
            ("spec", "claimRef"), remark="it is bound to no claim; its data is as good as what is left of it"
        ),
    ),
    ("batch", "jobs"): (_job,),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (
        _without(always="the objects of this kind went with it, and do not come back with it"),
    ),
}


def _listed(body: Object, field: str) -> list[Mapping[str, Any]]:
    return _maps(value_at(body, ("spec", field)))


def _maps(value: Any) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _less(value: Any, key: str) -> Any:
    return (
        {name: each for name, each in value.items() if name != key} if isinstance(value, Mapping) else value
    )
