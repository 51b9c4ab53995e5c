"""An agent takes back what it asked for: the gateway cancels the request in its own name, for the run that made it.

The gesture is the merge patch `{"status":{"decision":"Cancelled"}}` (and `decisionReason`, where there is one) of the
ApprovalRequest's status, as people decide with. Nothing else of our own kinds can be written through the gateway: every
other patch goes on to be judged, and is denied.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chaperone.core import approval as approvals
from chaperone.core import status, withdrawal
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


def reason_to_withdraw(request: Request, body: bytes) -> str | None:
    """The agent's words ("" without any) for exactly the gesture, and no dry run of it; None for anything else."""
    decoded = decode(body, request.content_type, request.verb)
    if not isinstance(decoded, Decoded) or decoded.media is not Media.MERGE_PATCH:
        return None
    return None if request.parameter("dryRun") is not None else withdrawal.read_gesture(decoded.value)


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

    def __init__(self, store: ApprovalStore, *, wall: Callable[[], float]) -> None:
        """wall: Unix seconds."""
        self._store = store
        self._wall = wall

    async def withdraw(self, request: Request, caller: Caller, reason: str = "") -> Answer:
        """200 with the cancelled object; 404 for what this run did not ask for, whether it is there or not; 409 for what
        has been claimed or has ended. Raises nothing."""
        try:
            return await self._withdraw(request, caller, reason)
        except (KubeError, ValueError) as fault:
            log.warning("a request cannot be taken back", extra={"cause": str(fault)})
            message = "not cancelled: approvals cannot be read or written now; try again"
            return _answer(status.status(503, message, request=request, retry_after=LATER))

    async def _withdraw(self, request: Request, caller: Caller, reason: str) -> Answer:
        for _ in range(TRIES):
            obj = await self._store.get(request.name)
            approval = approvals.read(obj) if obj is not None else None
            if obj is None or approval is None or not withdrawal.asked_by(approval, caller):
                message = f'this run has asked for no approval "{visible(request.name, 253)}"'
                return _answer(status.status(404, message, request=request))
            if why := withdrawal.refusal(approval):
                message = f"not cancelled: ApprovalRequest {approval.name} {why}"
                return _answer(status.status(409, message, request=request))
            patch = withdrawal.cancel(obj, approval, self._wall(), reason)
            cancelled = await self._store.patch_status(approval.name, patch)
            if cancelled is not None:
                return Answer(200, cancelled)
        raise ValueError(f"{request.name} changes faster than it can be cancelled")


def _answer(document: dict[str, Any]) -> Answer:
    return Answer(document["code"], document, status.headers(document))
