"""Access grants: an approved request for access becomes RoleBindings for its time, and nothing is left afterwards.

First it is written down (phase Executing, and until when), then bound; at the end it is unbound, then closed. So
no binding stands without a time that is on record, and whatever a crash leaves behind is found again: every pass
looks at every grant, and removes every binding of ours that belongs to no living one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Protocol

from chaperone.core import approval as approvals
from chaperone.core.access import Rights, Unreadable, refused_rights, refused_role, rights_of
from chaperone.core.approval import GRANT, TERMINAL, Approval, Phase
from chaperone.core.identity import Identity
from chaperone.core.policy import BrokenPolicy, Policy, RiskSettings, compile_policy
from chaperone.core.timestamp import rfc3339
from chaperone.kube.errors import RefusedError
from chaperone.kube.official import (
    AGENT_POLICIES,
    APPROVAL_REQUESTS,
    CLUSTER_ROLES,
    NAMESPACES,
    ROLE_BINDINGS,
    ROLES,
    Listing,
    Obj,
)
from chaperone.kube.rbac import APP_LABELS, RBAC
from controller import bindings as standing_rights
from controller.bindings import Manifest, Place, place_of, subject_of

log = logging.getLogger(__name__)

GRANT_LABEL = "chaperone.dev/grant"
GRANT_ANNOTATION = "chaperone.dev/grant-name"
EXPIRY_ANNOTATION = "chaperone.dev/expires-at"
FINAL_CODES = frozenset({400, 403, 404, 422})
"""Answers to a binding that will be the same next time."""


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`."""

    def list(self, path: str, **query: str) -> Listing: ...
    def find(self, path: str) -> Obj | None: ...
    def create(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def replace(self, path: str, obj: Mapping[str, Any]) -> Obj: ...
    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj: ...
    def delete(self, path: str, *, uid: str = "", resource_version: str = "") -> None: ...


class Step(Enum):
    """What a grant asks for now."""

    NOTHING = "nothing"
    BEGIN = "begin"
    KEEP = "keep"
    END = "end"
    CLEAR = "clear"
    """It has ended by a person's word; its bindings have not."""


def next_step(approval: Approval, now: float) -> Step:
    """By its phase and the clock."""
    if approval.type != GRANT:
        return Step.NOTHING
    if approval.phase is Phase.APPROVED and now < approval.use_before:
        return Step.BEGIN
    if approval.phase is Phase.EXECUTING:
        return Step.END if now >= approval.grant_expires_at else Step.KEEP
    return Step.CLEAR if approval.phase in TERMINAL and approval.bindings else Step.NOTHING


def grant_bindings(approval: Approval, rights: Rights, expires_at: float) -> tuple[Manifest, ...]:
    """One RoleBinding in each namespace, for the identity that was approved."""
    return tuple(_binding(approval, rights, namespace, expires_at) for namespace in rights.namespaces)


def grant_label(name: str) -> str:
    """The approval's name as a label value."""
    return name if len(name) <= 63 else f"{name[:46]}-{_short_digest(name)}"


def places_of(approval: Approval) -> tuple[Place, ...]:
    """Where its bindings are, or were to be: as recorded, and as asked for."""
    rights = rights_of(approval)
    asked = () if isinstance(rights, Unreadable) else rights.namespaces
    recorded = [Place(namespace, name) for namespace, name in approval.bindings]
    return tuple(dict.fromkeys([*recorded, *(Place(space, _name(approval)) for space in asked)]))


class Grants:
    """All that is done about grants. clock: Unix seconds. home: our own namespace, in which nothing is granted."""

    def __init__(self, cluster: Cluster, home: str, clock: Callable[[], float]) -> None:
        self._cluster = cluster
        self._risk_settings = RiskSettings(guard_namespace=home)
        self._clock = clock

    def tend(self, obj: Obj, approval: Approval) -> None:
        """Bring one grant to where it should be. Raises KubeError: then the next pass tries again."""
        match next_step(approval, self._clock()):
            case Step.BEGIN:
                self._begin(obj, approval)
            case Step.KEEP:
                self._keep(obj, approval)
            case Step.END:
                self._end(obj, approval, Phase.EXECUTED)
            case Step.CLEAR:
                self._end(obj, approval, approval.phase)
            case Step.NOTHING:
                return

    def end(self, obj: Obj, approval: Approval, reason: str, problem: str) -> None:
        """Before its time, by somebody's word. Raises KubeError."""
        self._end(obj, approval, Phase.EXECUTED, reason, problem)

    def sweep(self) -> None:
        """Remove every binding that carries our label and belongs to no living grant. Raises KubeError."""
        living: dict[str, frozenset[Place]] = {}
        for obj in self._cluster.list(ROLE_BINDINGS.path(), labelSelector=GRANT_LABEL).items:
            name = str((obj["metadata"].get("annotations") or {}).get(GRANT_ANNOTATION) or "")
            if name not in living:
                living[name] = self._living(name)
            if place_of(obj) not in living[name]:
                log.warning("%s belongs to no living grant and is removed", place_of(obj))
                self._delete(obj)

    def _living(self, name: str) -> frozenset[Place]:
        """Where the bindings of this grant belong now. What is not there, or cannot be read, has none."""
        obj = self._cluster.find(APPROVAL_REQUESTS.path(name)) if name else None
        try:
            approval = approvals.read(obj or {})
        except ValueError:
            return frozenset()
        lives = next_step(approval, self._clock()) is Step.KEEP
        return frozenset(places_of(approval)) if lives else frozenset()

    # Beginning

    def _begin(self, obj: Obj, approval: Approval) -> None:
        rights = rights_of(approval)
        reason, problem = ("Unreadable", rights.reason) if isinstance(rights, Unreadable) else ("", "")
        if not isinstance(rights, Unreadable):
            reason, problem = self._why_not(approval, rights)
        if problem or isinstance(rights, Unreadable):
            self._end(obj, approval, Phase.FAILED, reason, problem)
            return
        expires_at = self._clock() + rights.duration
        manifests = grant_bindings(approval, rights, expires_at)
        places = [place_of(manifest) for manifest in manifests]
        bindings = [{"namespace": place.namespace, "name": place.name} for place in places]
        grant = {"expiresAt": rfc3339(expires_at), "bindings": bindings}
        begun = self._write(approval, {"phase": Phase.EXECUTING.value, "grant": grant})
        log.info("grant %s begins: %s", approval.name, rights)
        self._keep(begun, approvals.read(begun))

    def _why_not(self, approval: Approval, rights: Rights) -> tuple[str, str]:
        """(reason, sentence) when what was approved cannot be granted any more; empty otherwise."""
        policy = self._policy(approval)
        if not isinstance(policy, Policy) or policy.generation != approval.policy_generation:
            return "PolicyChanged", f"AgentPolicy {approval.policy} is not what it was when this was approved"
        if refusal := refused_rights(rights, policy, self._risk_settings):
            return "NotGrantable", f"it {refusal}"
        for namespace in rights.namespaces:
            if not self._is_there(namespace):
                return "NamespaceMissing", f"namespace {namespace} does not exist"
            if problem := self._role_problem(rights, namespace):
                return "NotGrantable", problem
        return "", ""

    def _role_problem(self, rights: Rights, namespace: str) -> str:
        kind = ROLES if rights.role_kind == "Role" else CLUSTER_ROLES
        place = namespace if rights.role_kind == "Role" else ""
        role = self._cluster.find(kind.path(rights.role_name, namespace=place))
        named = f"{rights.role_kind} {rights.role_name}" + (f" in namespace {place}" if place else "")
        if role is None:
            return f"{named} does not exist"
        refusal = refused_role(role)
        return f"{named} {refusal}: it is never granted" if refusal else ""

    def _policy(self, approval: Approval) -> Policy | BrokenPolicy | None:
        obj = self._cluster.find(AGENT_POLICIES.path(approval.policy))
        return None if obj is None else compile_policy(obj)

    def _is_there(self, namespace: str) -> bool:
        obj = self._cluster.find(NAMESPACES.path(namespace))
        return obj is not None and not obj["metadata"].get("deletionTimestamp")

    # While it lasts

    def _keep(self, obj: Obj, approval: Approval) -> None:
        """Every binding is there, and as it was approved. A policy that is gone takes its grants along; one that does
        not compile leaves them, as it leaves its standing rights."""
        rights = rights_of(approval)
        if isinstance(rights, Unreadable) or self._policy(approval) is None:
            why = f"AgentPolicy {approval.policy} is gone, and its grants with it"
            self._end(obj, approval, Phase.FAILED, "PolicyGone", why)
            return
        for manifest in grant_bindings(approval, rights, approval.grant_expires_at):
            try:
                self._bind(manifest)
            except RefusedError as error:
                if error.code not in FINAL_CODES:
                    raise
                self._end(obj, approval, Phase.FAILED, "RoleNotBindable", _not_bindable(manifest, error))
                return

    def _bind(self, manifest: Manifest) -> None:
        place = place_of(manifest)
        live = self._cluster.find(place.path)
        changes = standing_rights.changes([manifest], [live] if live else [], settled=frozenset())
        for wanted in changes.create:
            if self._is_there(place.namespace):
                self._cluster.create(place.collection, wanted)
        for wanted in changes.update:
            self._cluster.replace(place.path, wanted)

    # The end

    def _end(self, obj: Obj, approval: Approval, phase: Phase, reason: str = "", problem: str = "") -> None:
        """Unbound first, then closed."""
        for place in places_of(approval):
            live = self._cluster.find(place.path)
            if live is not None and _is_of(live, approval):
                self._delete(live)
        status: dict[str, Any] = {}
        if phase is not approval.phase:
            status["phase"] = phase.value
        if approval.grant_expires_at:
            status["grant"] = {"bindings": [], "endedAt": rfc3339(self._clock())}
        if problem:
            status["conditions"] = self._conditions(obj, phase, reason, problem)
        self._write(approval, status)
        log.info("grant %s has ended: %s%s", approval.name, phase.value, f": {problem}" if problem else "")

    def _conditions(self, obj: Obj, phase: Phase, reason: str, problem: str) -> list[dict[str, Any]]:
        now = rfc3339(self._clock())
        words = {"reason": reason, "message": problem[:1024], "lastTransitionTime": now}
        kept = [
            item for item in (obj.get("status") or {}).get("conditions") or () if item["type"] != phase.value
        ]
        return [*kept, {"type": phase.value, "status": "True", **words}]

    def _delete(self, obj: Obj) -> None:
        self._cluster.delete(place_of(obj).path, uid=str(obj["metadata"].get("uid") or ""))

    def _write(self, approval: Approval, status: Mapping[str, Any]) -> Obj:
        """Onto exactly the approval that was read (compare-and-swap)."""
        patch = {"metadata": {"resourceVersion": approval.resource_version}, "status": status}
        return self._cluster.merge(APPROVAL_REQUESTS.path(approval.name, subresource="status"), patch)


def _binding(approval: Approval, rights: Rights, namespace: str, expires_at: float) -> Manifest:
    owner = {
        "apiVersion": f"{APPROVAL_REQUESTS.group}/{APPROVAL_REQUESTS.version}",
        "kind": "ApprovalRequest",
        "name": approval.name,
        "uid": approval.uid,
    }
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": _name(approval),
            "namespace": namespace,
            "labels": {**APP_LABELS, GRANT_LABEL: grant_label(approval.name)},
            "annotations": {GRANT_ANNOTATION: approval.name, EXPIRY_ANNOTATION: rfc3339(expires_at)},
            "ownerReferences": [owner],
        },
        "roleRef": {"apiGroup": RBAC, "kind": rights.role_kind, "name": rights.role_name},
        "subjects": [subject_of(Identity(str((approval.access or {}).get("identity") or "")))],
    }


def _name(approval: Approval) -> str:
    """Nobody can have taken it before: it depends on the approval's uid."""
    return f"chaperone-grant-{approval.name[:200]}-{_short_digest(approval.uid)}"


def _is_of(binding: Obj, approval: Approval) -> bool:
    return (binding["metadata"].get("labels") or {}).get(GRANT_LABEL) == grant_label(approval.name)


def _not_bindable(manifest: Manifest, error: RefusedError) -> str:
    role = f"{manifest['roleRef']['kind']} {manifest['roleRef']['name']}"
    remedy = "let the controller bind that role (its ClusterRole, verb bind), or ask for another"
    return f"{place_of(manifest)} to {role} cannot be made: {error.message or error}; {remedy}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
