"""The life of an ApprovalRequest as a table, and the questions asked of it. No I/O: `now` is an argument.

An approval is for one exact request, once, within its time, for the same target and policy. Whatever does
not fit is refused, with what changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import assert_never

from chaperone.core.approval_object import (
    Approval,
    Phase,
    Review,
    build,
    claim,
    decided,
    finished,
    read,
    uncounted,
)
from chaperone.core.approval_target import Target, collection_of, target_of
from chaperone.core.legible import visible

__all__ = [
    "ACCESS_TRANSITIONS",
    "GRANT",
    "TERMINAL",
    "TRANSITIONS",
    "Actor",
    "Approval",
    "Phase",
    "Refused",
    "Review",
    "Tally",
    "Target",
    "Usable",
    "Wait",
    "Waiting",
    "build",
    "claim",
    "collection_of",
    "decided",
    "finished",
    "may_be_reviewed",
    "may_move",
    "outcome",
    "read",
    "tally",
    "target_of",
    "uncounted",
    "usable",
    "waiting_answer",
]


class Actor(Enum):
    """Who moves a phase: people only through reviews (the webhook counts them), the controller, the
    gateway.
    """

    REVIEW = "review"
    REQUESTER = "requester"
    CONTROLLER = "controller"
    GATEWAY = "gateway"


_COUNTED = frozenset({Actor.REVIEW, Actor.CONTROLLER})
_WITHDRAWN = frozenset({Actor.REQUESTER, Actor.GATEWAY, Actor.CONTROLLER})
_CLAIMANT = frozenset({Actor.GATEWAY})

TRANSITIONS: Mapping[tuple[Phase, Phase], frozenset[Actor]] = {
    (Phase.PENDING, Phase.APPROVED): _COUNTED,
    (Phase.PENDING, Phase.DENIED): _COUNTED,
    (Phase.PENDING, Phase.EXPIRED): frozenset({Actor.CONTROLLER}),
    (Phase.PENDING, Phase.CANCELLED): _WITHDRAWN,
    (Phase.APPROVED, Phase.DENIED): _COUNTED,
    (Phase.APPROVED, Phase.EXPIRED): frozenset({Actor.CONTROLLER}),
    (Phase.APPROVED, Phase.CANCELLED): _WITHDRAWN,
    (Phase.APPROVED, Phase.EXECUTING): _CLAIMANT,
    (Phase.EXECUTING, Phase.EXECUTED): _CLAIMANT,
    (Phase.EXECUTING, Phase.FAILED): _CLAIMANT,
    (Phase.EXECUTING, Phase.UNKNOWN): frozenset({Actor.GATEWAY, Actor.CONTROLLER}),
}
"""Every step there is, and who may take it. A person may still deny what is approved and not yet claimed."""

_GRANTOR = frozenset({Actor.CONTROLLER})

ACCESS_TRANSITIONS: Mapping[tuple[Phase, Phase], frozenset[Actor]] = {
    step: actors for step, actors in TRANSITIONS.items() if step[0] is not Phase.EXECUTING
} | {
    (Phase.APPROVED, Phase.EXECUTING): _GRANTOR,
    (Phase.APPROVED, Phase.FAILED): _GRANTOR,
    (Phase.EXECUTING, Phase.EXECUTED): _GRANTOR,
    (Phase.EXECUTING, Phase.FAILED): _GRANTOR,
    (Phase.EXECUTING, Phase.DENIED): _COUNTED,
}
"""The same for a grant (type Access): it is Executing as long as its bindings stand. A person may deny it even then."""

GRANT = "Access"
"""spec.type of a grant."""

WITHDRAWN_FOR = 30.0
"""Seconds for which a cancelled approval refuses its own request: a client that is between two tries must not ask people
anew for what its user has just taken back."""

TERMINAL = frozenset(Phase) - {before for before, _ in TRANSITIONS}


def may_move(actor: Actor, before: Phase, after: Phase, kind: str = "Request") -> bool:
    """kind: spec.type, which has its own table."""
    table = ACCESS_TRANSITIONS if kind == GRANT else TRANSITIONS
    return actor in table.get((before, after), frozenset())


def may_be_reviewed(approval: Approval) -> bool:
    """May people still have a say?"""
    return any(
        may_move(Actor.REVIEW, approval.phase, after, approval.type)
        for after in (Phase.APPROVED, Phase.DENIED)
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """Distinct people by what they said; who said both has denied."""

    approvers: frozenset[str] = frozenset()
    deniers: frozenset[str] = frozenset()

    @property
    def approved(self) -> int:
        return len(self.approvers)

    @property
    def denied(self) -> int:
        return len(self.deniers)


def tally(approval: Approval) -> Tally:
    """Count people. An approval counts for the digest that it was given for; a denial always counts."""
    deniers = frozenset(review.username for review in approval.reviews if review.decision != "Approved")
    approvers = frozenset(review.username for review in approval.reviews if review.digest == approval.digest)
    return Tally(approvers - deniers, deniers)


def outcome(approval: Approval, now: float) -> Phase | None:
    """The phase to set next by what people said and by the clock; None: nothing to do."""
    if not may_be_reviewed(approval):
        return None
    counted = tally(approval)
    if counted.denied:
        return Phase.DENIED
    if approval.phase is Phase.EXECUTING:
        return None  # a grant: whoever made its bindings ends it when they are gone
    deadline = approval.expires_at if approval.phase is Phase.PENDING else approval.use_before
    if deadline and now >= deadline:
        return Phase.EXPIRED
    if approval.phase is Phase.PENDING and counted.approved >= approval.required:
        return Phase.APPROVED
    return None


@dataclass(frozen=True, slots=True)
class Usable:
    """The approval may be claimed for this request now."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Refused:
    """reason: one sentence for people. changed: which of "request", "target", "policy" is no longer what was
    approved."""

    reason: str
    changed: tuple[str, ...] = ()


def usable(
    approval: Approval, *, digest: str, target: Target, policy_generation: int, now: float
) -> Usable | Refused:
    """May the approval be spent on this request, against this target and policy, now? Everything is checked
    anew: the phase alone proves nothing.
    """
    changes = _changes(approval, digest, target, policy_generation)
    if changes:
        reasons = "; ".join(changes.values())
        return Refused(f"what was approved is not what stands now: {reasons}", tuple(changes))
    if approval.phase is not Phase.APPROVED:
        return Refused(f"it is {approval.phase.value}, not Approved")
    if approval.claimed_by:
        return Refused("it has been claimed already")
    counted = tally(approval)
    if counted.denied:
        return Refused("somebody has denied it")
    if counted.approved < approval.required:
        return Refused(f"it has {counted.approved} of {approval.required} approvals for this exact request")
    if now >= approval.use_before:
        return Refused(
            "the time to use it is over" if approval.use_before else "it says no time to use it by"
        )
    return Usable(approval)


def _changes(approval: Approval, digest: str, target: Target, policy_generation: int) -> dict[str, str]:
    changes: dict[str, str] = {}
    if target.uid != approval.target.uid:
        changes["target"] = _replaced(approval.target.uid, target.uid)
    elif target.version != approval.target.version:
        before, after = _version(approval.target.version), _version(target.version)
        what = "the object has" if target.uid else "the objects have"
        changes["target"] = f"{what} been changed since ({before}, now {after})"
    if policy_generation != approval.policy_generation:
        changes["policy"] = (
            f"AgentPolicy {visible(approval.policy, 80)} has been changed since "
            f"(generation {approval.policy_generation}, now {policy_generation})"
        )
    if digest != approval.digest and not changes:
        changes["request"] = "it is another request"
    return changes


def _replaced(before: str, after: str) -> str:
    if not before:
        return "there is an object now where there was none"
    return "the object has been deleted and created again" if after else "the object is gone"


def _version(version: str) -> str:
    words = {"g": "generation", "r": "resourceVersion", "s": "state"}
    return f"{words.get(version[:1], 'version')} {visible(version[1:], 40)}" if version else "no version"


class Waiting(Enum):
    """What the gateway does about an ApprovalRequest that exists for its request."""

    WAIT = "wait"
    CLAIM = "claim"
    NEW_ATTEMPT = "new attempt"
    USED = "used"
    DENIED = "denied"
    BUSY = "busy"
    LOST = "lost"
    """The gateway that claimed it never said how it ended: a person must look."""
    CHANGED = "changed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Wait:
    """until: Unix seconds after which asking again gives another answer, 0.0 when the clock does not
    matter.
    """

    answer: Waiting
    reason: str = ""
    until: float = 0.0
    changed: tuple[str, ...] = ()


def waiting_answer(
    approval: Approval,
    *,
    digest: str,
    target: Target,
    policy_generation: int,
    now: float,
    use_within: float,
    expire_after: float,
) -> Wait:
    """use_within, expire_after: seconds, from the policy; how long a used and a denied approval stand in
    the way.
    """
    if digest != approval.digest:
        changes = _changes(approval, digest, target, policy_generation)
        return Wait(Waiting.CHANGED, "; ".join(changes.values()), changed=tuple(changes))
    match approval.phase:
        case Phase.PENDING:
            return _pending(approval, now)
        case Phase.APPROVED:
            return _approved(approval, digest, target, policy_generation, now)
        case Phase.EXECUTING:
            return Wait(Waiting.BUSY, "it is being executed")
        case Phase.EXECUTED:
            return _for_a_while(Waiting.USED, "it has been used", _latest(approval) + use_within, now)
        case Phase.DENIED:
            return _for_a_while(Waiting.DENIED, "it was denied", _latest(approval) + expire_after, now)
        case Phase.UNKNOWN:
            return Wait(Waiting.LOST, "nobody knows whether it was executed; a person must look")
        case Phase.CANCELLED:
            until = _latest(approval) + WITHDRAWN_FOR
            return _for_a_while(Waiting.WITHDRAWN, "it was cancelled by its requester", until, now)
        case Phase.EXPIRED | Phase.FAILED:
            return Wait(Waiting.NEW_ATTEMPT)
        case _:
            assert_never(approval.phase)


def _pending(approval: Approval, now: float) -> Wait:
    """A denial decides although nobody has moved the phase yet; enough approvals do not."""
    if tally(approval).denied:
        return Wait(Waiting.DENIED, "it was denied")
    if now >= approval.expires_at:
        return Wait(Waiting.NEW_ATTEMPT)
    return Wait(Waiting.WAIT, until=approval.expires_at)


def _approved(approval: Approval, digest: str, target: Target, policy_generation: int, now: float) -> Wait:
    if tally(approval).denied:
        return Wait(Waiting.DENIED, "it was denied")
    if now >= approval.use_before:
        return Wait(Waiting.NEW_ATTEMPT)
    verdict = usable(approval, digest=digest, target=target, policy_generation=policy_generation, now=now)
    if isinstance(verdict, Usable):
        return Wait(Waiting.CLAIM, until=approval.use_before)
    return Wait(Waiting.CHANGED, verdict.reason, approval.use_before, verdict.changed)


def _for_a_while(answer: Waiting, reason: str, until: float, now: float) -> Wait:
    return Wait(Waiting.NEW_ATTEMPT) if now >= until else Wait(answer, reason, until)


def _latest(approval: Approval) -> float:
    """When the last thing happened to it."""
    return max(approval.executed_at, approval.decided_at, approval.created_at)
