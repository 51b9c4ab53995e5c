"""Writes that carry an identity which policies hand out: gather, and let `chaperone.core.admission`
decide."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core import admission
from chaperone.core import approval as approvals
from chaperone.core.approval import Approval
from webhook.gathering import Gathering
from webhook.review import Answer, denied

Obj = Mapping[str, Any]

STALE = (
    "what this agent may do is not known: the policies have not been confirmed by the API server for too long; "
    "try again later"
)


def is_guarded(user: Obj, usernames: frozenset[str]) -> bool:
    """Is this one of the identities that policies hand out, or a request that a gateway has forwarded?"""
    return user.get("username") in usernames or admission.is_forwarded(user)


def decide(review: Obj, gathering: Gathering, now: float) -> Answer:
    """The answer for a guarded identity. Raises KubeError when the approval cannot be looked up."""
    known = gathering.standing.fresh()
    if known is None:
        return denied(STALE)
    user = review["userInfo"]
    if not admission.is_forwarded(user) and not any(admission.guarded(user, known.policies)):
        # Named by a policy whose identity does not even compile: nothing says what it may do.
        return denied(
            "the AgentPolicy that hands out this identity does not compile: its status names every fault"
        )
    answer = admission.decide(review, known.policies, _approval(user, gathering), now)
    return Answer(
        allowed=answer.allowed,
        message=answer.message,
        code=answer.code,
        warnings=answer.warnings,
        audit=answer.audit_annotations,
    )


def _approval(user: Obj, gathering: Gathering) -> Approval | None:
    """The live approval that the request spends. One that cannot be read is as good as none: `decide`
    refuses."""
    named = admission.named_approval(user)
    obj = gathering.approval(named.name) if named is not None and named.name else None
    try:
        return approvals.read(obj) if obj is not None else None
    except ValueError:
        return None
