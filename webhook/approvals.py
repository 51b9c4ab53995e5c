"""Writes of ApprovalRequests: gather who writes and what RBAC says, and let `chaperone.core.guard` decide.

A decision is asked of RBAC twice, when it is stamped and when the stamped object is checked: the second
must hold even where somebody has removed the first webhook. So is a person's request for access.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core import creation, on_behalf, withdrawal
from chaperone.core import guard as rules
from chaperone.core.access import is_access
from chaperone.core.guard import Refused, Writer
from chaperone.settings.webhook import AccountSettings
from webhook.gathering import Gathering
from webhook.review import ALLOWED, Answer, denied

Obj = Mapping[str, Any]

STALE = "cannot be reviewed now: the policies have not been confirmed by the API server for too long; try again later"
BY_HAND = "can be reviewed only by patching status.decision (or with kubectl chaperone approve), not by hand"


def stamp(review: Obj, gathering: Gathering, accounts: AccountSettings, now: float) -> Answer:
    """The mutating answer: a patch that turns `status.decision` into a stamped review, or completes a person's
    request for access; nothing where there is neither.

    Raises KubeError when RBAC cannot be asked.
    """
    seen = on_behalf.for_the_person(review, accounts.console)
    if isinstance(seen, on_behalf.Unusable):
        return _refused(review, seen.reason)
    review = seen
    if review["operation"] == "CREATE":
        return _stamp_access(review, gathering, accounts, now)
    old, new = _object(review, "oldObject"), _object(review, "object")
    user = review["userInfo"]
    stamped = rules.stamp_review(
        old, new, str(user.get("username") or ""), now, subresource=str(review.get("subResource") or "")
    )
    if isinstance(stamped, Refused):
        return _refused(review, stamped.reason)
    if not stamped:
        return _refused(review, BY_HAND) if _writes_reviews(review, accounts) else ALLOWED
    refusal = "" if _withdraws(old, new) else _reviewer_refusal(review, old, gathering)
    return _refused(review, refusal) if refusal else Answer(allowed=True, patch=stamped)


def validate(review: Obj, gathering: Gathering, accounts: AccountSettings, now: float) -> Answer:
    """The validating answer to any write. Raises KubeError when RBAC cannot be asked."""
    seen = on_behalf.for_the_person(review, accounts.console)
    if isinstance(seen, on_behalf.Unusable):
        return _refused(review, seen.reason)
    review = seen
    old, new = _object(review, "oldObject"), _object(review, "object")
    who = writer(review, accounts)
    match review["operation"]:
        case "CREATE":
            refusal = _creation_refusal(review, gathering, who, now)
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


def _stamp_access(review: Obj, gathering: Gathering, accounts: AccountSettings, now: float) -> Answer:
    new = _object(review, "object")
    if writer(review, accounts) is not Writer.PERSON or not is_access(new):
        return ALLOWED
    known = gathering.standing.fresh()
    if known is None:
        return _refused(review, STALE)
    stamped = creation.stamp_access(new, review["userInfo"], known.policies, now)
    if isinstance(stamped, Refused):
        return _refused(review, stamped.reason)
    refusal = _requester_refusal(review, gathering)
    return _refused(review, refusal) if refusal else Answer(allowed=True, patch=stamped)


def _creation_refusal(review: Obj, gathering: Gathering, who: Writer, now: float) -> str:
    new = _object(review, "object")
    if who is not Writer.PERSON or not is_access(new):
        return creation.check_creation(new, who)
    known = gathering.standing.fresh()
    if known is None:
        return STALE
    refusal = creation.check_creation(new, who, review["userInfo"], known.policies, now)
    return refusal or _requester_refusal(review, gathering)


def _requester_refusal(review: Obj, gathering: Gathering) -> str:
    """Why this person may not ask for this access: nobody asks for what RBAC does not let them ask for."""
    known, user = gathering.standing.fresh(), review["userInfo"]
    if known is None or user.get("username") in known.guarded:
        return "comes from an identity that an AgentPolicy hands out: ask through the gateway"
    where = creation.request_right(_object(review, "object"))
    return _rbac_refusal(gathering, user, ("request", "accessrequests"), where)


def _update_refusal(review: Obj, gathering: Gathering, who: Writer, now: float) -> str:
    old, new = _object(review, "oldObject"), _object(review, "object")
    username = str(review["userInfo"].get("username") or "")
    refusal = rules.check_update(
        old, new, who, username, now, subresource=str(review.get("subResource") or "")
    )
    if refusal or who is not Writer.PERSON or (old.get("status") or {}) == (new.get("status") or {}):
        return refusal
    return "" if _withdraws(old, new) else _reviewer_refusal(review, old, gathering)


def _withdraws(old: Obj, new: Obj) -> bool:
    """Then the rights of reviewers are not asked for: the guard has looked at whose request it is."""
    return withdrawal.is_one(old.get("status") or {}, new.get("status") or {})


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
    return _rbac_refusal(gathering, user, ("approve", "approvals"), rules.approval_rights(old))


def _rbac_refusal(
    gathering: Gathering, user: Obj, right: tuple[str, str], where: tuple[str, tuple[str, ...]]
) -> str:
    """Asked of RBAC for every namespace; first, where there are several, whether the right is cluster-wide.

    right: verb and resource; where: policy and namespaces.
    """
    (verb, resource), (policy, namespaces) = right, where
    if len(namespaces) > 1 and gathering.may(user, verb, resource, policy, ""):
        return ""
    for namespace in namespaces:
        if not gathering.may(user, verb, resource, policy, namespace):
            place = f"in namespace {namespace!r}" if namespace else "cluster-wide"
            what = "reviewed" if verb == "approve" else "made"
            return (
                f"cannot be {what} by {user.get('username')!r}: RBAC does not allow the verb {verb} on "
                f"{resource}.chaperone.dev {policy!r} {place}"
            )
    return ""


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
