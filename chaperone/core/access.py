"""Rights for a time: what may be asked for, the ApprovalRequest of type Access that asks, and what is never granted.

An approval of such a request is for the whole of `spec`: who gets which role, where, for how long. What comes of it are
RoleBindings in named namespaces, never a ClusterRoleBinding. Pure; the controller makes and removes the bindings.

Functions return "" or a refusal: the rest of a sentence that begins with the object.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.approval_object import API_VERSION, KIND, MAX_REASON, Approval, requester_of
from chaperone.core.digest import canonical_json
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.policy import Policy, RiskSettings
from chaperone.core.policy.fields import duration
from chaperone.core.policy.sections import LABEL, ROLE, ROLE_KINDS
from chaperone.core.timestamp import rfc3339
from chaperone.core.verdict import Mode, RiskLevel

Object = Mapping[str, Any]

ACCESS = "Access"
"""spec.type of an ApprovalRequest that asks for rights."""
MAX_GRANT = 8 * 3600.0
"""Seconds: the longest grant that any policy can allow."""
MAX_NAMESPACES = 16
"""In one request: every approver's right is asked of RBAC for each of them."""
RULE = "access"
"""spec.policy.rule of every request for access."""

_GROWING_VERBS = frozenset({"*", "bind", "escalate"})
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_NAME_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Rights:
    """What is asked for. duration: seconds; written: the same as it was written."""

    role_kind: str
    role_name: str
    namespaces: tuple[str, ...]
    duration: float
    written: str

    def __str__(self) -> str:
        return f"{self.role_kind} {self.role_name} in {', '.join(self.namespaces)} for {self.written}"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """reason: the rest of a sentence that begins with the object."""

    reason: str


def build_access_request(
    *,
    role: str,
    namespaces: Sequence[str],
    lasting: str,
    reason: str = "",
    policy: str = "",
    name: str = "",
    role_kind: str = "ClusterRole",
) -> dict[str, Any]:
    """What a client posts to ask for access; all else is stamped on its way.

    lasting: as "30m" or "1h30m". policy: the one whose approval terms apply; people name it, for an agent the gateway
    knows. name: "" lets the API server make one.
    """
    spec: dict[str, Any] = {
        "type": ACCESS,
        "access": {
            "roleRef": {"kind": role_kind, "name": role},
            "namespaces": list(namespaces),
            "duration": lasting,
        },
    }
    if policy:
        spec["policy"] = {"name": policy}
    if reason:
        spec["reason"] = reason
    metadata = {"name": name} if name else {"generateName": "access-"}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}


def is_access(obj: Object) -> bool:
    """Does this ApprovalRequest, however broken, ask for rights?"""
    return _mapping(obj.get("spec")).get("type") == ACCESS


def read_rights(access: object) -> Rights | Unreadable:
    """spec.access, read strictly; namespaces sorted. What else stands there is ignored."""
    fields = _mapping(access)
    role = _mapping(fields.get("roleRef"))
    kind, name, written = role.get("kind"), role.get("name"), fields.get("duration")
    if kind not in ROLE_KINDS:
        return Unreadable(f"needs spec.access.roleRef.kind to be one of {', '.join(ROLE_KINDS)}")
    if not isinstance(name, str) or not (ROLE.fullmatch(name) and name.isascii() and name.isprintable()):
        return Unreadable("needs spec.access.roleRef.name to be the name of a role")
    namespaces = _namespaces(fields.get("namespaces"))
    if not namespaces:
        return Unreadable(
            f"needs spec.access.namespaces to name 1 to {MAX_NAMESPACES} namespaces, each once, without wildcards"
        )
    seconds = duration(written) if isinstance(written, str) else None
    if not isinstance(written, str) or seconds is None or seconds < 1:
        return Unreadable('needs spec.access.duration to be a time such as "30m" or "1h30m"')
    return Rights(str(kind), name, namespaces, seconds, written)


def _namespaces(value: object) -> tuple[str, ...]:
    """Sorted; none where anything is wrong."""
    if not isinstance(value, list) or not 0 < len(value) <= MAX_NAMESPACES:
        return ()
    if not all(isinstance(item, str) and LABEL.fullmatch(item) for item in value):
        return ()
    return tuple(sorted(value)) if len(set(value)) == len(value) else ()


def rights_of(approval: Approval) -> Rights | Unreadable:
    return read_rights(approval.access)


# What is never granted


def refused_rights(rights: Rights, policy: Policy, settings: RiskSettings) -> str:
    """Why nobody can be asked to approve this, by what the request says alone."""
    most = min(policy.approval.max_grant, MAX_GRANT)
    if most <= 0:
        return f'asks for access, which AgentPolicy "{policy.name}" does not give (spec.approval.maxGrant)'
    if rights.duration > most:
        return f'asks for {rights.written}; AgentPolicy "{policy.name}" allows at most {most:g}s (spec.approval.maxGrant)'
    if rights.role_name in settings.admin_roles or rights.role_name.startswith("system:"):
        role = f'{rights.role_kind} "{visible(rights.role_name, 80)}"'
        return f"asks for {role}, which is never granted: ask for a narrower role"
    closed = {*settings.sensitive_namespaces, settings.guard_namespace}
    if inside := next((namespace for namespace in rights.namespaces if namespace in closed), ""):
        return f'asks for rights in namespace "{inside}", which are never granted'
    return ""


def refused_role(role: Object) -> str:
    """Why a live role is not granted: it could be turned into more than it says, or it cannot be read.

    Impersonating service accounts is let through: whoever may make pods in a namespace can use its accounts anyway, and
    the built-in role `edit` holds it.
    """
    rules = role.get("rules") or []
    if not isinstance(rules, list):
        return "has rules that cannot be read"
    return next((refusal for rule in rules if (refusal := _refused_rule(rule))), "")


def _refused_rule(rule: object) -> str:
    fields = _mapping(rule)
    verbs, resources = _words(fields.get("verbs")), _words(fields.get("resources"))
    if not fields or verbs is None or resources is None:
        return "has a rule that cannot be read"
    if growing := sorted(verbs & _GROWING_VERBS):
        return f'holds the verb "{growing[0]}", with which one gets further rights'
    if "impersonate" in verbs and not resources <= {"serviceaccounts"}:
        return "allows to impersonate users or groups"
    if "*" in resources and verbs & _WRITES:
        return "allows to write every resource"
    return ""


def _words(value: object) -> frozenset[str] | None:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return frozenset(value)


# The whole request


def governing_policy(policies: Sequence[Policy]) -> Policy | None:
    """Of several policies that govern an agent, the one whose approval terms apply: one that enforces, then the one that
    asks for most people, then by name. None: there is none."""
    ranked = sorted(
        policies,
        key=lambda policy: (policy.mode is not Mode.ENFORCE, -policy.approval.required, policy.name),
    )
    return ranked[0] if ranked else None


def agents_spec(rights: Rights, caller: Caller, policy: Policy, *, reason: str, now: float) -> dict[str, Any]:
    """spec of an agent's request: the rights go to the identity that its policy hands out. reason: untrusted."""
    return _spec(rights, requester_of(caller), policy.identity.username, policy, reason=reason, asked_at=now)


def persons_spec(
    rights: Rights, user: Mapping[str, Any], policy: Policy, *, reason: str, now: float
) -> dict[str, Any]:
    """spec of a person's request: the rights go to that user. user: as the API server authenticated them (userInfo)."""
    username = str(user.get("username") or "")
    requester = {"username": username, "groups": [str(group) for group in user.get("groups") or ()]}
    return _spec(rights, requester, username, policy, reason=reason, asked_at=now)


def _spec(
    rights: Rights,
    requester: Mapping[str, Any],
    identity: str,
    policy: Policy,
    *,
    reason: str,
    asked_at: float,
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "type": ACCESS,
        "requester": dict(requester),
        "access": {
            "identity": identity,
            "roleRef": {"kind": rights.role_kind, "name": rights.role_name},
            "namespaces": list(rights.namespaces),
            "duration": rights.written,
        },
        "policy": {"name": policy.name, "generation": policy.generation, "rule": RULE},
        "risk": {"level": RiskLevel.HIGH.word, "reasons": [f"rights for a time: {rights}"]},
        "required": policy.approval.required,
        "expiresAt": rfc3339(asked_at + policy.approval.expire_after),
        "useWithin": f"{policy.approval.use_within:.9g}s",
    }
    if reason:
        spec["reason"] = visible(reason, MAX_REASON)
    spec["digest"] = access_digest(spec)
    return spec


def access_digest(spec: Object) -> str:
    """ "sha256:<64 hex>" over who asks, who gets what, and the policy. Raises ValueError without canonical form."""
    decides = {key: spec.get(key) for key in ("type", "requester", "access", "policy", "required")}
    return f"sha256:{hashlib.sha256(canonical_json(decides)).hexdigest()}"


def access_name(digest: str, attempt: int = 1) -> str:
    """The name of an agent's request: asking again finds it. attempt > 1 after an earlier one has ended."""
    name = f"access-{digest.removeprefix('sha256:')[:_NAME_DIGITS]}"
    return name if attempt <= 1 else f"{name}-{attempt}"


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}
