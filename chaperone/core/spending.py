"""Whether a claimed approval still serves the request that spends it: same policy, same requester, in time."""

from __future__ import annotations

from chaperone.core.approval import Approval, Phase
from chaperone.core.identity import Caller
from chaperone.core.policy import Policy
from chaperone.core.request import Origin, Request


def changed_since(approval: Approval, policy: Policy, request: Request, caller: Caller, now: float) -> str:
    """Why an approval does not serve now: "" when it does. Its digest has been compared already."""
    if approval.phase is not Phase.EXECUTING:
        return f"it is {approval.phase.value}, and only a claimed one (Executing) can be spent"
    if approval.policy != policy.name:
        return f'it was given under policy "{approval.policy}", and now policy "{policy.name}" decides'
    if approval.policy_generation != policy.generation:
        return (
            f'policy "{policy.name}" was changed since it was asked for '
            f"(generation {approval.policy_generation} then, {policy.generation} now)"
        )
    if now >= approval.use_before:
        return "it was not used in time"
    return _other_requester(approval, request, caller)


def _other_requester(approval: Approval, request: Request, caller: Caller) -> str:
    """Admission sees the impersonated user, so there only the run tells."""
    if approval.run != caller.run:
        return "it was given to another run"
    if request.origin is Origin.GATEWAY and (approval.requester, approval.issuer) != (
        caller.username,
        caller.issuer,
    ):
        return "it was given to another requester"
    return ""
