"""The standing rights of a policy's identity: which bindings spec.access asks for, and what to change to
get there. Pure.

A binding's roleRef cannot be changed, so its name is derived from all that it says: another role is
another object. Bindings belong to the policy (owner reference) and carry its name (label): what no policy
asks for any more is pruned. A binding of the same name that does not carry our label is somebody else's
and is never touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.identity import Identity
from chaperone.core.policy import Access, Policy
from chaperone.kube.official import AGENT_POLICIES, CLUSTER_ROLE_BINDINGS, ROLE_BINDINGS
from chaperone.kube.rbac import APP_LABELS, RBAC, service_account

Manifest = dict[str, Any]
Obj = Mapping[str, Any]

POLICY_LABEL = "chaperone.dev/policy"
"""A label value is at most 63 characters and a policy's name may be longer, so it holds a digest then."""

POLICY_ANNOTATION = "chaperone.dev/policy-name"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one binding is. namespace "" for a ClusterRoleBinding."""

    namespace: str
    name: str

    @property
    def kind(self) -> str:
        return "RoleBinding" if self.namespace else "ClusterRoleBinding"

    @property
    def path(self) -> str:
        kind = ROLE_BINDINGS if self.namespace else CLUSTER_ROLE_BINDINGS
        return kind.path(self.name, namespace=self.namespace)

    @property
    def collection(self) -> str:
        kind = ROLE_BINDINGS if self.namespace else CLUSTER_ROLE_BINDINGS
        return kind.path(namespace=self.namespace)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Changes:
    """What leads from the live bindings to the desired ones. foreign: wanted names that somebody else
    holds."""

    create: tuple[Manifest, ...] = ()
    update: tuple[Manifest, ...] = ()
    delete: tuple[Manifest, ...] = ()


def desired_bindings(policy: Policy) -> tuple[Manifest, ...]:
    """The bindings that spec.access asks for, in its order, each once."""
    manifests: dict[Place, Manifest] = {}
    for access in policy.access:
        for namespace in access.namespaces or ("",):
            manifest = _binding(policy, access, namespace)
            manifests.setdefault(place_of(manifest), manifest)
    return tuple(manifests.values())


def changes(desired: Iterable[Manifest], live: Iterable[Obj], *, settled: frozenset[str]) -> Changes:
    """Compare what policies ask for with the bindings that are there.

    live: the bindings that carry our label. settled: labels of the policies that
    exist and cannot say what they want now (they do not compile): their bindings stay as they are.
    """
    wanted = {place_of(manifest): manifest for manifest in desired}
    present = {place_of(obj): obj for obj in live}
    return Changes(
        create=tuple(manifest for place, manifest in wanted.items() if place not in present),
        update=tuple(
            _onto(present[place], manifest)
            for place, manifest in wanted.items()
            if place in present and not _same(present[place], manifest)
        ),
        delete=tuple(
            dict(obj)
            for place, obj in present.items()
            if place not in wanted and label_of(obj) not in settled
        ),
    )


def place_of(obj: Obj) -> Place:
    metadata = obj["metadata"]
    return Place(str(metadata.get("namespace") or ""), str(metadata["name"]))


def label_of(obj: Obj) -> str:
    """The value of our label, "" when the object is not ours."""
    return str((obj["metadata"].get("labels") or {}).get(POLICY_LABEL) or "")


def policy_label(name: str) -> str:
    """A policy's name as a label value."""
    return name if len(name) <= 63 else f"{name[:46]}-{_short_digest(name)}"


def missing_account(policy: Policy, existing: frozenset[tuple[str, str]]) -> tuple[str, str] | None:
    """(namespace, name) of the policy's service account when it does not exist yet."""
    account = service_account(policy.identity.username)
    return account if account is not None and account not in existing else None


def account_manifest(policy: Policy, namespace: str, name: str) -> Manifest:
    """The service account of a policy. No owner reference: a deleted policy must not delete an account that
    workloads may use; without bindings it can do nothing."""
    metadata = {"name": name, "namespace": namespace, **_marks(policy)}
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def owner(policy: Policy) -> Manifest:
    """An owner reference to the policy. It does not block the policy's deletion."""
    return {
        "apiVersion": f"{AGENT_POLICIES.group}/{AGENT_POLICIES.version}",
        "kind": "AgentPolicy",
        "name": policy.name,
        "uid": policy.uid,
    }


def _binding(policy: Policy, access: Access, namespace: str) -> Manifest:
    reference = {"apiGroup": RBAC, "kind": access.role_kind, "name": access.role_name}
    subjects = [subject_of(policy.identity)]
    place = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {
            "name": _name(policy.name, reference, subjects),
            **place,
            **_marks(policy),
            "ownerReferences": [owner(policy)],
        },
        "roleRef": reference,
        "subjects": subjects,
    }


def _marks(policy: Policy) -> Manifest:
    return {
        "labels": {**APP_LABELS, POLICY_LABEL: policy_label(policy.name)},
        "annotations": {POLICY_ANNOTATION: policy.name},
    }


def subject_of(identity: Identity) -> Manifest:
    """The subject of a binding."""
    account = service_account(identity.username)
    if account is None:
        return {"apiGroup": RBAC, "kind": "User", "name": identity.username}
    return {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}


def _name(policy: str, reference: Manifest, subjects: list[Manifest]) -> str:
    content = json.dumps([policy, reference, subjects], sort_keys=True)
    return f"chaperone-{policy[:200]}-{_short_digest(content)}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _same(live: Obj, wanted: Manifest) -> bool:
    """Equal in all that we say; what others have added beside it stays."""
    return (
        live.get("roleRef") == wanted["roleRef"]
        and live.get("subjects") == wanted["subjects"]
        and _marked(live, wanted)
    )


def _marked(live: Obj, wanted: Manifest) -> bool:
    have, want = live["metadata"], wanted["metadata"]
    owners = {str(reference.get("uid")) for reference in have.get("ownerReferences") or []}
    return (
        all((have.get("labels") or {}).get(key) == value for key, value in want["labels"].items())
        and all(
            (have.get("annotations") or {}).get(key) == value for key, value in want["annotations"].items()
        )
        and {str(reference["uid"]) for reference in want["ownerReferences"]} <= owners
    )


def _onto(live: Obj, wanted: Manifest) -> Manifest:
    """The wanted binding as a replacement of exactly the live one (compare-and-swap by resourceVersion)."""
    have, want = live["metadata"], wanted["metadata"]
    metadata = {
        **want,
        "resourceVersion": have.get("resourceVersion"),
        "labels": {**(have.get("labels") or {}), **want["labels"]},
        "annotations": {**(have.get("annotations") or {}), **want["annotations"]},
    }
    return {**wanted, "metadata": metadata}
