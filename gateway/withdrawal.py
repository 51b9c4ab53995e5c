"""An agent takes back what it asked for: the gateway cancels the request in its own name, for the run that made it.

The gesture is the merge patch `{"status":{"decision":"Cancelled"}}` of the ApprovalRequest's status, as people decide
with. Nothing else of our own kinds can be written through the gateway: every other patch goes on to be judged, and is
denied.
"""

from __future__ import annotations

import logging
from typing import Any

from chaperone.core import approval as approvals
from chaperone.core import status
from chaperone.core.approval import Approval, Phase
from chaperone.core.body import Decoded, Media, decode
from chaperone.core.gate import Governance
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Verdict
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.errors import KubeError
from gateway.services import Answer

log = logging.getLogger(__name__)

GESTURE = {"status": {"decision": "Cancelled"}}
OPEN = (Phase.PENDING, Phase.APPROVED)
TRIES = 5
LATER = 5
"""Seconds, in Retry-After, when something on our side must recover first."""


def may_withdraw(request: Request) -> bool:
    """May this be a withdrawal? Its body says whether it is one."""
    return request.verb == "patch" and (request.group, request.full_resource, bool(request.name)) == (
        "chaperone.dev",
        "approvalrequests/status",
        True,
    )


def is_withdrawal(request: Request, body: bytes) -> bool:
    """Exactly the gesture, and no dry run of it."""
    decoded = decode(body, request.content_type, request.verb)
    return (
        isinstance(decoded, Decoded)
        and decoded.media is Media.MERGE_PATCH
        and decoded.value == GESTURE
        and request.parameter("dryRun") is None
    )


def withdrawal_verdict(governed: Governance) -> Verdict:
    """For the audit: nothing was judged, a request is taken back."""
    policy = governed.policies[0]
    return Verdict(
        action=Action.ALLOW,
        policy=policy.name,
        policy_generation=policy.generation,
        rule="",
        reason="a request is taken back by the run that made it",
        policies=tuple(each.name for each in governed.policies),
        would=Action.ALLOW,
    )


class Withdrawals:
    """Implements gateway.services.Withdraw."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store

    async def withdraw(self, request: Request, caller: Caller) -> Answer:
        """200 with the cancelled object; 404 for what this run did not ask for, whether it is there or not; 409 for what
        has been claimed or has ended. Raises nothing."""
        try:
            return await self._withdraw(request, caller)
        except (KubeError, ValueError) as fault:
            log.warning("a request cannot be taken back", extra={"cause": str(fault)})
            message = "not cancelled: approvals cannot be read or written now; try again"
            return _answer(status.status(503, message, request=request, retry_after=LATER))

    async def _withdraw(self, request: Request, caller: Caller) -> Answer:
        for _ in range(TRIES):
            obj = await self._store.get(request.name)
            approval = approvals.read(obj) if obj is not None else None
            if approval is None or not _is_from(approval, caller):
                message = f'this run has asked for no approval "{visible(request.name, 253)}"'
                return _answer(status.status(404, message, request=request))
            if approval.phase not in OPEN:
                message = f"not cancelled: {approval.name} is {approval.phase.value} already"
                return _answer(status.status(409, message, request=request))
            cancelled = await self._store.patch_status(approval.name, _cancel(approval))
            if cancelled is not None:
                return Answer(200, cancelled)
        raise ValueError(f"{request.name} changes faster than it can be cancelled")


def _is_from(approval: Approval, caller: Caller) -> bool:
    return (approval.issuer, approval.subject, approval.requester, approval.run) == (
        caller.issuer,
        caller.subject,
        caller.username,
        caller.run,
    )


def _cancel(approval: Approval) -> dict[str, Any]:
    """Exactly the approval that was read: one that somebody claims at this moment is not cancelled."""
    return {
        "metadata": {"resourceVersion": approval.resource_version},
        "status": {"phase": Phase.CANCELLED.value},
    }


def _answer(document: dict[str, Any]) -> Answer:
    return Answer(document["code"], document, status.headers(document))
