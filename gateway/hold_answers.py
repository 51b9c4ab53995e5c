"""What a client is told while its request waits for people, and when it will not be executed.

Words that a model can act on: the approval's name, who can give it and how, and that the same command may be run
again. Names of people and their reasons are untrusted text and are shown escaped.
"""

from __future__ import annotations

from collections.abc import Mapping

from chaperone.core import status
from chaperone.core.approval import Approval, Wait, Waiting, tally
from chaperone.core.legible import visible
from chaperone.core.request import Request
from chaperone.core.timestamp import rfc3339
from gateway.services import Answer

COME_AGAIN = 1
"""Seconds, in Retry-After, while people may still decide: kubectl comes again by itself, ten times."""
LATER = 5
"""Seconds, in Retry-After, when something on our side must recover first."""

MOST_NAME = 80
MOST_REASON = 300


def waiting(request: Request, approval: Approval) -> Answer:
    """429: nobody has decided yet, and the client may go on waiting."""
    return _answer(429, f"waiting for approval. {how_to_approve(approval)}", request, retry_after=COME_AGAIN)


def not_yet(request: Request, approval: Approval) -> Answer:
    """403: the longest wait is over. The approval can still be given; the client must come again by itself."""
    return _answer(403, f"not executed: it has not been approved yet. {how_to_approve(approval)}", request)


def refused(request: Request, approval: Approval, wait: Wait) -> Answer:
    """403: this approval does not let the request through."""
    name = f"ApprovalRequest {approval.name}"
    said = f"not executed: {wait.reason} ({name})."
    advice = ADVICE.get(wait.answer, "Run the same command again to ask for a new approval.")
    until = f" A new approval can be asked for after {rfc3339(wait.until)}." if _names_a_time(wait) else ""
    return _answer(
        403,
        f"{said}{_who_denied(approval) if wait.answer is Waiting.DENIED else ''}{until} {advice}",
        request,
    )


ADVICE: Mapping[Waiting, str] = {
    Waiting.DENIED: "Do not try to reach the same effect in another way; ask the person whom you work for.",
    Waiting.USED: "One approval is for one execution: check whether the effect you want is already there.",
    Waiting.BUSY: "Another request spends it at this moment: look at the result instead of sending it again.",
    Waiting.LOST: "Look at the live object, and tell the person whom you work for; they can delete the "
    "ApprovalRequest, and then the same command asks anew.",
    Waiting.CHANGED: "Look at the live object again; if the change is still right, run the same command again to "
    "ask for a new approval.",
}


def gone(request: Request) -> Answer:
    """404, as the API server would say: there is nothing that an approval could be for."""
    name = visible(request.name, MOST_NAME)
    return _answer(404, f"{request.full_resource} {name!r} not found; nothing was held or executed", request)


def unseen(request: Request) -> Answer:
    """403: what the request is about cannot be looked at as the agent, so nobody can approve just this."""
    message = (
        f"not executed: it needs an approval for the {request.resource} object as it is now, and your identity may "
        "not read that object. Ask the platform's owners to grant `get` on it."
    )
    return _answer(403, message, request)


def busy(request: Request) -> Answer:
    """503: too many requests wait already."""
    return _answer(
        503, "not executed: too many requests are waiting for approval; try again", request, retry_after=LATER
    )


def unavailable(request: Request) -> Answer:
    """503: approvals cannot be read or written. Never: allowed."""
    message = (
        "not executed: it needs an approval, and approvals cannot be read or written at the moment; try again"
    )
    return _answer(503, message, request, retry_after=LATER)


def how_to_approve(approval: Approval) -> str:
    """How people decide, and what the client does meanwhile."""
    given = f"{tally(approval).approved} of {approval.required}"
    patch = '{"status":{"decision":"Approved"}}'
    return (
        f"ApprovalRequest {approval.name} has {given} approvals. A person who may approve under AgentPolicy "
        f"{visible(approval.policy, MOST_NAME)} runs: kubectl chaperone approve {approval.name} (or: kubectl patch apreq "
        f"{approval.name} --subresource=status --type=merge -p '{patch}'). Then run exactly the same command again, "
        f"before {rfc3339(approval.expires_at)}; changing it asks for another approval."
    )


def _who_denied(approval: Approval) -> str:
    for review in approval.reviews:
        if review.decision != "Approved":
            reason = f": {visible(review.reason, MOST_REASON)}" if review.reason else ""
            return f" Denied by {visible(review.username, MOST_NAME)}{reason}."
    return ""


def _names_a_time(wait: Wait) -> bool:
    return wait.answer in (Waiting.USED, Waiting.DENIED) and wait.until > 0


def _answer(code: int, message: str, request: Request, *, retry_after: int | None = None) -> Answer:
    headers = () if retry_after is None else (("Retry-After", str(retry_after)),)
    return Answer(code, status.status(code, message, request=request, retry_after=retry_after), headers)
