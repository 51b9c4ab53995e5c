"""Taking back what one has asked for: who may and until when, and what that leaves on the ApprovalRequest.

An agent does it through the gateway, which compares the run; a person who asked for access, directly. Functions return
"" or a refusal: the rest of a sentence that begins with the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chaperone.core.approval import GRANT, Actor, Approval, Phase, may_move
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.timestamp import rfc3339, unix_seconds

DECISION = "Cancelled"
"""What stands in `status.decision` of the gesture."""
MAX_REASON = 1024
MAX_SKEW = 60.0
"""Seconds between the stamp and its validation."""

_BY = "taken back by its requester"

Status = Mapping[str, Any]


def read_gesture(patch: object) -> str | None:
    """The requester's reason ("" without one), when the merge patch is the gesture and nothing else; else None."""
    status = patch.get("status") if isinstance(patch, Mapping) and patch.keys() == {"status"} else None
    if not isinstance(status, Mapping) or status.keys() - {"decisionReason"} != {"decision"}:
        return None
    reason = status.get("decisionReason", "")
    return reason if status["decision"] == DECISION and isinstance(reason, str) else None


def is_one(before: Status, after: Status) -> bool:
    """Is this write of a status a withdrawal, stamped or not? Then it is no review."""
    if after.get("decision") == DECISION:
        return True
    return after.get("phase") == Phase.CANCELLED.value != before.get("phase")


def asked_by(approval: Approval, caller: Caller) -> bool:
    """Did this very run ask for it?"""
    asked = (approval.issuer, approval.subject, approval.requester, approval.run)
    return asked == (caller.issuer, caller.subject, caller.username, caller.run)


def refusal(approval: Approval) -> str:
    """Why it can no longer be taken back, by whomever."""
    if may_move(Actor.REQUESTER, approval.phase, Phase.CANCELLED, approval.type):
        return ""
    return f"is {approval.phase.value}: it can no longer be cancelled"


def persons_refusal(approval: Approval, username: str, reason: object) -> str:
    """Why this user, who writes to the API server himself, may not take it back."""
    if not isinstance(reason, str):
        return "status.decisionReason must be a string"
    if approval.type != GRANT or approval.issuer or approval.run:
        return (
            "was asked for by an agent: only its run can cancel it, through the gateway; others can deny it"
        )
    if not username or username != approval.requester:
        return "can be cancelled only by who has asked for it; others can deny it"
    return refusal(approval)


def withdrawn(status: Status, now: float, reason: str = "") -> dict[str, Any]:
    """The fields of the status that change. status: as stored. reason: the requester's words, escaped here."""
    said = visible(reason, MAX_REASON)
    return _fields(status, rfc3339(now), f"{_BY}: {said}" if said else _BY)


def cancel(obj: Mapping[str, Any], approval: Approval, now: float, reason: str = "") -> dict[str, Any]:
    """The merge patch of the status that cancels exactly the approval that was read (compare and swap)."""
    return {
        "metadata": {"resourceVersion": approval.resource_version},
        "status": withdrawn(obj.get("status") or {}, now, reason),
    }


def check(approval: Approval, before: Status, after: Status, *, username: str, now: float) -> str:
    """Is this change of the status, written by a person, his own withdrawal as it is stamped and nothing else?"""
    if why := persons_refusal(approval, username, ""):
        return why
    written = [item for item in after.get("conditions") or () if item.get("type") == Phase.CANCELLED.value]
    time, message = (
        (str(written[0].get(key) or "") for key in ("lastTransitionTime", "message")) if written else ("", "")
    )
    as_stamped = message.startswith(_BY) and len(message) <= len(_BY) + 2 + MAX_REASON
    if not as_stamped or {**before, **_fields(before, time, message)} != after:
        return "can be cancelled only through status.decision"
    return "" if _is_about(time, now) else "was cancelled at another time"


def _is_about(time: str, now: float) -> bool:
    try:
        return abs(unix_seconds(time) - now) <= MAX_SKEW
    except ValueError:
        return False


def _fields(status: Status, time: str, message: str) -> dict[str, Any]:
    phase = Phase.CANCELLED.value
    condition = {
        "type": phase,
        "status": "True",
        "reason": "Withdrawn",
        "message": message,
        "lastTransitionTime": time,
    }
    others = [item for item in status.get("conditions") or () if item.get("type") != phase]
    return {"phase": phase, "conditions": [*others, condition]}
