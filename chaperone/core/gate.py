"""The one place where rules are composed. The gateway and the webhook both call `judge`, so they cannot disagree.

Order, strictest wins: broken policies and clashing identities deny; then, policy by policy, the first matching rule or
else the default for the risk level; verdicts combine to the strictest; a Hold with a valid claimed approval for this
exact request becomes Allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from chaperone.core.approval import Approval
from chaperone.core.identity import Caller, Identity
from chaperone.core.policy import BrokenPolicy, Policy, PolicySet
from chaperone.core.request import Request
from chaperone.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Governance:
    """Who governs a caller, and whom the gateway impersonates for them. identity None: refusal says why.

    Computed once per caller and policy generation; the gateway caches it.
    """

    policies: tuple[Policy, ...] = ()
    broken: tuple[BrokenPolicy, ...] = ()
    identity: Identity | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be gathered before a request can be judged. body: its body decoded; live: the live object;
    result: the outcome of the update or patch (server-side dry run as the agent)."""

    body: bool = False
    live: bool = False
    result: bool = False


def governance(caller: Caller, policies: PolicySet) -> Governance:
    """No policy: refusal. Two policies with different identities: refusal naming both. A broken one: refusal."""
    raise NotImplementedError


def needs(request: Request, governed: Governance) -> Needs:
    """What `judge` will look at for this request; reads need nothing."""
    raise NotImplementedError


def judge(
    request: Request,
    caller: Caller,
    policies: PolicySet,
    approval: Approval | None,
    now: float,
    *,
    governed: Governance | None = None,
) -> Verdict:
    """The verdict on one request. approval: the ApprovalRequest that the request spends (phase Executing), if any;
    the caller of `judge` has compared its digest. governed: `governance(caller, policies)` when already known."""
    raise NotImplementedError
