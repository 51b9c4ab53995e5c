"""Writes of ApprovalRequests: gather who writes and what RBAC says, and let `chaperone.core.guard` decide.

A decision is asked of RBAC twice, when it is stamped and when the stamped object is checked: the second
must hold even where somebody has removed the first webhook.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core import guard as rules
from chaperone.core.guard import Refused, Writer
from chaperone.settings.webhook import AccountSettings
from webhook.gathering import Gathering
from webhook.review import ALLOWED, Answer, denied

Obj = Mapping[str, Any]

STALE = "cannot be reviewed now: the policies have not been confirmed by the API server for too long; try again later"
BY_HAND = "can be reviewed only by patching status.decision (or with kubectl chaperone approve), not by hand"


def stamp(review: Obj, gathering: Gathering, accounts: AccountSettings, now: float) -> Answer:
    """The mutating answer: a patch that turns `status.decision` into a stamped review; nothing where there
    is none.

    Raises KubeError when RBAC cannot be asked.
    """
    old, new = _object(review, "oldObject"), _object(review, "object")
    user = review["userInfo"]
    stamped = rules.stamp_review(
        old, new, str(user.get("username") or ""), now, subresource=str(review.get("subResource") or "")
    )
    if isinstance(stamped, Refused):
        return _refused(review, stamped.reason)
    if not stamped:
        return _refused(review, BY_HAND) if _writes_reviews(review, accounts) else ALLOWED
    refusal = _reviewer_refusal(review, old, gathering)
    return _refused(review, refusal) if refusal else Answer(allowed=True, patch=stamped)


def validate(review: Obj, gathering: Gathering, accounts: AccountSettings, now: float) -> Answer:
    """The validating answer to any write. Raises KubeError when RBAC cannot be asked."""
    old, new = _object(review, "oldObject"), _object(review, "object")
    who = writer(review, accounts)
    match review["operation"]:
        case "CREATE":
            refusal = rules.check_creation(new, who)
        case "DELETE":
            refusal = rules.check_deletion(old)
        case "UPDATE":
            refusal = _update_refusal(review, gathering, who, now)
        case operation:
            refusal = f"knows no operation {operation!r}"
    return _refused(review, refusal) if refusal else Answer(allowed=True, audit=_annotations(review, new))


def writer(review: Obj, accounts: AccountSettings) -> Writer:
    """Who writes, by the username that the API server has authenticated."""
    ours = {accounts.gateway: Writer.GATEWAY, accounts.controller: Writer.CONTROLLER}
    return ours.get(str(review["userInfo"].get("username") or ""), Writer.PERSON)


def _update_refusal(review: Obj, gathering: Gathering, who: Writer, now: float) -> str:
    old, new = _object(review, "oldObject"), _object(review, "object")
    username = str(review["userInfo"].get("username") or "")
    refusal = rules.check_update(
        old, new, who, username, now, subresource=str(review.get("subResource") or "")
    )
    if refusal or who is not Writer.PERSON or (old.get("status") or {}) == (new.get("status") or {}):
        return refusal
    return _reviewer_refusal(review, old, gathering)


def _reviewer_refusal(review: Obj, old: Obj, gathering: Gathering) -> str:
    """Why the user may not review this request: by the policies, then by RBAC. Judged on the stored
    object."""
    known = gathering.standing.fresh()
    if known is None:
        return STALE
    user = review["userInfo"]
    if user.get("username") in known.guarded:
        return "cannot be reviewed by an identity that an AgentPolicy hands out"
    if refusal := rules.reviewer_refusal(old, user, known.policies):
        return refusal
    policy, namespace = rules.approval_right(old)
    if gathering.may_approve(user, policy, namespace):
        return ""
    place = f"in namespace {namespace!r}" if namespace else "cluster-wide"
    return (
        f"cannot be reviewed by {user.get('username')!r}: RBAC does not allow the verb approve on "
        f"approvals.chaperone.dev {policy!r} {place}"
    )


def _writes_reviews(review: Obj, accounts: AccountSettings) -> bool:
    """A person who writes the list of reviews himself. (On the main resource the server ignores the
    status.)"""
    if writer(review, accounts) is not Writer.PERSON or review.get("subResource") != "status":
        return False
    old, new = _object(review, "oldObject"), _object(review, "object")
    return (old.get("status") or {}).get("reviews") != (new.get("status") or {}).get("reviews")


def _annotations(review: Obj, new: Obj) -> dict[str, str]:
    """For the API server's audit log: what was decided, under which policy, for which bytes."""
    if review["operation"] != "UPDATE":
        return {}
    spec, status = new.get("spec") or {}, new.get("status") or {}
    words = {
        "phase": status.get("phase"),
        "policy": (spec.get("policy") or {}).get("name"),
        "digest": spec.get("digest"),
        "reviewers": ",".join(str(item.get("username")) for item in status.get("reviews") or ()),
    }
    return {key: str(value)[:1024] for key, value in words.items() if value}


def _object(review: Obj, key: str) -> Obj:
    value = review.get(key)
    return value if isinstance(value, Mapping) else {}


def _refused(review: Obj, refusal: str) -> Answer:
    return denied(f"ApprovalRequest {review.get('name', '')!r} {refusal}")
