"""What a client is told while its request waits for people, and when it is not executed: from an approval to a Status.

The words are those of `chaperone.core.status`; here it is chosen which of them fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chaperone.core import status
from chaperone.core.approval import Approval, Phase, Wait, Waiting, tally
from chaperone.core.legible import visible
from chaperone.core.policy import ApprovalTerms
from chaperone.core.request import Request
from chaperone.core.timestamp import rfc3339
from gateway.services import Answer
from gateway.targets import MOST_OBJECTS, Untargeted

COME_AGAIN = 1
"""Seconds, in Retry-After, while people may still decide: kubectl comes again by itself, ten times."""
LATER = 5
"""Seconds, in Retry-After, when something on our side must recover first."""


def pending(
    request: Request,
    approval: Approval,
    terms: ApprovalTerms,
    *,
    hold_left: float,
    again: int = COME_AGAIN,
) -> Answer:
    """429 while the client may still be kept coming; then 403: the approval can still be given, but the client must
    come again by itself. hold_left, again: seconds."""
    return _answer(
        status.held(
            request,
            name=approval.name,
            policy=approval.policy,
            required=approval.required,
            hold_left=hold_left,
            approved=tally(approval).approved,
            approvers=(*terms.approver_groups, *terms.approver_users),
            expires_at=_moment(approval.expires_at),
            retry_after=again,
        ),
        (f"held for approval: ApprovalRequest {approval.name}, until {_moment(approval.expires_at)}",),
    )


def refused(request: Request, approval: Approval, wait: Wait) -> Answer:
    """This approval does not let the request through, and why."""
    name, again_at = approval.name, _moment(wait.until)
    match wait.answer:
        case Waiting.DENIED:
            by, said = _denier(approval)
            return _answer(status.approval_denied(request, name=name, by=by, said=said, again_at=again_at))
        case Waiting.WITHDRAWN:
            return _answer(status.approval_withdrawn(request, name=name, again_at=again_at))
        case Waiting.USED:
            return _answer(status.approval_used(request, name=name, again_at=again_at))
        case Waiting.BUSY:
            return _answer(status.approval_executing(request, name=name))
        case Waiting.LOST:
            return _answer(status.approval_unknown(request, name=name))
        case _:
            return _answer(
                status.approval_changed(request, name=name, reason=wait.reason, changed=wait.changed)
            )


def ended(request: Request, approval: Approval) -> Answer:
    """403: it was cancelled, ran out or failed while the client waited for it."""
    words = {Phase.CANCELLED: "was cancelled", Phase.FAILED: "was spent on the same request, which failed"}
    became = words.get(approval.phase, "ran out before it was used")
    return _answer(status.approval_ended(request, name=approval.name, became=became))


def untargeted(request: Request, why: Untargeted) -> Answer:
    """There is nothing that an approval could be for, or nothing that people could judge."""
    answers = {Untargeted.GONE: gone, Untargeted.UNSEEN: unseen, Untargeted.TOO_MANY: too_many}
    return answers[why](request)


def gone(request: Request) -> Answer:
    """404, as the API server would say: there is nothing that an approval could be for."""
    message = (
        f'{request.full_resource} "{visible(request.name, 253)}" not found; nothing was held or executed'
    )
    return _answer(status.status(404, message, request=request))


def unseen(request: Request) -> Answer:
    """403: what the request is about cannot be looked at as the agent, so nobody can approve just this."""
    message = (
        f"not executed: it needs an approval for the {request.resource} object as it is now, and your identity may "
        "not read that object. Ask those who keep the policy to grant `get` on it."
    )
    return _answer(status.status(403, message, request=request))


def too_many(request: Request) -> Answer:
    """403: nobody could look at all that an approval would be for."""
    message = (
        f"not executed and not held: it would delete more than {MOST_OBJECTS} objects at once, more than people can "
        "look at. Narrow it with a label selector, and send one request after the other."
    )
    return _answer(status.status(403, message, request=request))


def other_protocol(request: Request) -> Answer:
    """400 for a WebSocket that this API server would refuse even when approved. Clients send SPDY then by themselves,
    and nothing is asked of people twice."""
    message = (
        "not executed and not held: this API server does not speak the WebSocket subprotocols that were offered; "
        "connect with SPDY/3.1"
    )
    return _answer(status.status(400, message, request=request))


def busy(request: Request) -> Answer:
    """503: too many requests wait already."""
    message = "not executed: too many requests are waiting for approval; try again"
    return _answer(status.status(503, message, request=request, retry_after=LATER))


def unavailable(request: Request) -> Answer:
    """503: approvals cannot be read or written. Never: allowed."""
    message = "not executed: it needs an approval, and approvals cannot be read or written now; try again"
    return _answer(status.status(503, message, request=request, retry_after=LATER))


def _denier(approval: Approval) -> tuple[str, str]:
    for review in approval.reviews:
        if review.decision != "Approved":
            return review.username, review.reason
    return "", ""


def _moment(seconds: float) -> str:
    return rfc3339(seconds) if seconds > 0 else ""


def _answer(document: Mapping[str, Any], warnings: Sequence[str] = ()) -> Answer:
    return Answer(document["code"], document, status.headers(document, warnings))
