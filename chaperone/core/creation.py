"""Who may make an ApprovalRequest: the gateway, and people who ask for access. Pure; the webhook serves it.

A person writes the role, the namespaces, the duration, the reason and the policy's name. The mutating webhook completes
that from the authenticated user and from the policy (`stamp_access`); the validating one computes the same again and
refuses every other (`check_creation`). So nobody asks in somebody else's name, or on other terms than the policy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chaperone.core import access
from chaperone.core import approval as life
from chaperone.core.guard import (
    MAX_SKEW,
    Object,
    Refused,
    Writer,
    annotation_changed,
    approval_rights,
    governs,
    ownership_changed,
    readable,
)
from chaperone.core.policy import PolicySet


def check_creation(
    new: Object,
    writer: Writer,
    user: Mapping[str, Any] | None = None,
    policies: PolicySet | None = None,
    now: float = 0.0,
) -> str:
    """The gateway makes what it holds, and what agents ask for; a person asks for access, exactly as it was stamped.

    user: userInfo. policies: None when they are not known. Whether the person may ask is asked of RBAC (`request_right`).
    """
    approval = readable(new)
    if writer is Writer.GATEWAY:
        if isinstance(approval, Refused):
            return approval.reason
        rights = access.rights_of(approval) if approval.type == life.GRANT else None
        return rights.reason if isinstance(rights, access.Unreadable) else ""
    if writer is not Writer.PERSON or not access.is_access(new):
        return "is made by the gateway alone, when it holds a request"
    if isinstance(approval, Refused):
        return approval.reason
    filed = _asked_for(new, user or {}, policies or PolicySet(), lambda terms: approval.expires_at - terms)
    if isinstance(filed, Refused):
        return filed.reason
    spec, asked_at = filed
    if spec != new.get("spec") or abs(asked_at - now) > MAX_SKEW:
        return "is not as it was stamped: the webhook that stamps requests for access did not see it"
    return ""


def stamp_access(
    new: Object, user: Mapping[str, Any], policies: PolicySet, now: float
) -> tuple[dict[str, Any], ...] | Refused:
    """The JSON Patch operations that complete a person's request for access; none for anything else.

    Of what the person wrote, only the role, the namespaces, the duration, the reason and the policy's name count.
    """
    if not access.is_access(new):
        return ()
    filed = _asked_for(new, user, policies, lambda _terms: float(int(now)))
    if isinstance(filed, Refused):
        return filed
    return ({"op": "add", "path": "/spec", "value": filed[0]},)


def request_right(obj: Object) -> tuple[str, tuple[str, ...]]:
    """(policy, namespaces) of a person's request, to ask RBAC for: verb `request` on `accessrequests.chaperone.dev`."""
    return approval_rights(obj)


def _asked_for(
    new: Object, user: Mapping[str, Any], policies: PolicySet, asked_at: Callable[[float], float]
) -> tuple[dict[str, Any], float] | Refused:
    """The whole spec of a person's request, and when it was asked for. asked_at: that moment, given the seconds in which
    the policy lets a request expire."""
    username, groups = str(user.get("username") or ""), tuple(map(str, user.get("groups") or ()))
    if not username:
        return Refused("a request for access needs an authenticated user")
    if governing := governs(user, username, groups, policies):
        return Refused(
            f"comes from an identity that AgentPolicy {governing} governs: ask through the gateway"
        )
    spec = _mapping(new.get("spec"))
    if owned := ownership_changed({}, new) or annotation_changed({}, new):
        return Refused(f"has metadata.{owned}, which is not for people to set")
    rights = access.read_rights(spec.get("access"))
    if isinstance(rights, access.Unreadable):
        return Refused(rights.reason)
    name, reason = _mapping(spec.get("policy")).get("name"), spec.get("reason") or ""
    policy = next((policy for policy in policies.policies if policy.name == name), None)
    if policy is None or not isinstance(reason, str):
        return Refused(
            "needs spec.policy.name to be an AgentPolicy that is there and compiles, and spec.reason to be a text"
        )
    if refusal := access.refused_rights(rights, policy, policies.risk_settings):
        return Refused(refusal)
    moment = asked_at(policy.approval.expire_after)
    return access.persons_spec(rights, user, policy, reason=reason, now=moment), moment


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
