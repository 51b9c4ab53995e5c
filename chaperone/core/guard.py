"""The guard of our own kinds: who may write what on ApprovalRequests and AgentPolicies. Pure; the webhook serves it.

A person patches `status.decision` and nothing else: a review, or to take back what he asked for (`withdrawal`). The
mutating webhook stamps the review with the authenticated user (`stamp_review`); the validating one computes the same
status again from the stored object and refuses every other (`check_update`), so a review in somebody else's name, for
another digest, a second one, or one without the stamp is refused on the main resource and on `/status` alike. Whether
the person may review at all is asked apart: of the policy (`reviewer_refusal`) and of RBAC (`approval_rights`).

Functions return "" or a refusal: the rest of a sentence that begins with the object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from chaperone.core import access, withdrawal
from chaperone.core import approval as life
from chaperone.core.approval import Actor, Approval, Phase, Review
from chaperone.core.identity import EXTRA_PREFIX
from chaperone.core.legible import visible
from chaperone.core.policy import BrokenPolicy, Capabilities, Fault, Policy, PolicySet, compile_policy
from chaperone.core.policy.fields import duration
from chaperone.core.timestamp import rfc3339, unix_seconds

Object = Mapping[str, Any]

DECISIONS = ("Approved", "Denied")
USE_WITHIN = 600.0
"""Seconds in which an approval has to be used when spec.useWithin does not say."""
MAX_SKEW = 60.0
"""Seconds between the stamp of a review and its validation: two webhook replicas' clocks and one request's time."""
MAX_REASON = 1024
WRITE_ONLY = ("decision", "decisionReason")


class Writer(Enum):
    """Who writes, by the account that the API server authenticated."""

    GATEWAY = "gateway"
    CONTROLLER = "controller"
    PERSON = "person"


_ACTORS = {Writer.GATEWAY: Actor.GATEWAY, Writer.CONTROLLER: Actor.CONTROLLER, Writer.PERSON: Actor.REVIEW}


@dataclass(frozen=True, slots=True)
class Refused:
    """reason: as above."""

    reason: str


# A review, stamped


def stamp_review(
    old: Object, new: Object, username: str, now: float, *, subresource: str
) -> tuple[dict[str, Any], ...] | Refused:
    """The JSON Patch operations that turn `status.decision` into a review; none when there is no decision.

    old: as stored; new: as the person wrote it. Anything else written beside the decision is refused here, not
    repaired. Sets the phase when enough distinct people agree, or one does not.
    """
    status = _mapping(new.get("status"))
    if not any(key in status for key in WRITE_ONLY):
        return ()
    if subresource != "status":
        return Refused("a decision goes to the status subresource: kubectl patch --subresource=status")
    before = _stored(_mapping(old.get("status")))
    if before != _stored(status):
        return Refused(
            "beside status.decision (and status.decisionReason) nothing may be changed in the same write"
        )
    approval = readable(old)
    if isinstance(approval, Refused):
        return approval
    stamped = _stamped(old, approval, username, status, float(int(now)))
    if isinstance(stamped, Refused):
        return stamped
    operations = [{"op": "remove", "path": f"/status/{key}"} for key in WRITE_ONLY if key in status]
    operations += [
        {"op": "add", "path": f"/status/{key}", "value": value}
        for key, value in stamped.items()
        if before.get(key) != value
    ]
    return tuple(operations)


def _stamped(old: Object, approval: Approval, who: str, new: Object, at: float) -> dict[str, Any] | Refused:
    """What the decision of this user in `new`, a status, makes of the stored one."""
    decision, reason = new.get("decision"), new.get("decisionReason", "")
    if decision == withdrawal.DECISION:
        refusal = withdrawal.persons_refusal(approval, who, reason)
        stored = _stored(_mapping(old.get("status")))
        return Refused(refusal) if refusal else withdrawal.withdrawn(stored, at, str(reason))
    refusal = _may_be_decided(approval, decision, reason, at) or _may_review_again(approval, who, decision)
    if refusal:
        return Refused(refusal)
    review = Review(who, str(decision), approval.digest, rfc3339(at), visible(str(reason), MAX_REASON))
    return reviewed_status(old, approval, review)


def reviewed_status(old: Object, approval: Approval, review: Review) -> dict[str, Any]:
    """The whole status after one more review. Decides nothing by a clock but the review's own time."""
    status = dict(_stored(_mapping(old.get("status"))))
    others = [item for item in status.get("reviews") or () if item.get("username") != review.username]
    status["reviews"] = [*others, _written(review)]
    counted = replace(approval, reviews=(*_others(approval, review.username), review))
    status["approvals"] = f"{life.tally(counted).approved}/{approval.required}"
    at = unix_seconds(review.time)
    phase = life.outcome(counted, at)
    if phase in (Phase.APPROVED, Phase.DENIED):
        decided = life.decided(counted, phase, at, use_within(old))
        conditions = [*(status.get("conditions") or ()), *decided.pop("conditions")]
        status.update(decided, conditions=list({item["type"]: item for item in conditions}.values()))
    return status


def _stored(status: Object) -> Object:
    return {key: value for key, value in status.items() if key not in WRITE_ONLY}


def use_within(obj: Object) -> float:
    """Seconds in which an approval of this object has to be used."""
    text = _mapping(obj.get("spec")).get("useWithin")
    return (duration(text) if isinstance(text, str) else None) or USE_WITHIN


def _written(review: Review) -> dict[str, str]:
    words = {
        "username": review.username,
        "decision": review.decision,
        "digest": review.digest,
        "time": review.time,
        "reason": review.reason,
    }
    return {key: value for key, value in words.items() if value}


def _may_be_decided(approval: Approval, decision: object, reason: object, now: float) -> str:
    if decision not in DECISIONS:
        return f"status.decision must be one of {', '.join(DECISIONS)}"
    if not isinstance(reason, str):
        return "status.decisionReason must be a string"
    if not life.may_be_reviewed(approval):
        return f"is {approval.phase.value}: it can no longer be decided"
    if approval.phase is not Phase.PENDING and decision == "Approved":
        return "is Approved already; nothing is left to do"
    if approval.phase is Phase.PENDING and now >= approval.expires_at:
        return "has expired: let the request be made again"
    return ""


def _may_review_again(approval: Approval, username: str, decision: object) -> str:
    """Of a grant an approver may think better of it: the denial takes the place of the approval and revokes it."""
    if not username:
        return "a review needs an authenticated user"
    said = next((review.decision for review in approval.reviews if review.username == username), "")
    revokes = approval.type == life.GRANT and (said, decision) == ("Approved", "Denied")
    if said and not revokes:
        return f'already has the review of "{visible(username, 253)}"; one person counts once'
    return ""


def _others(approval: Approval, username: str) -> tuple[Review, ...]:
    return tuple(review for review in approval.reviews if review.username != username)


# Who may review


def reviewer_refusal(obj: Object, user: Mapping[str, Any], policies: PolicySet) -> str:
    """Why this user may not review this request, whatever RBAC says. obj: as stored. user: the review's userInfo."""
    approval = readable(obj)
    if isinstance(approval, Refused):
        return approval.reason
    username, groups = str(user.get("username") or ""), tuple(map(str, user.get("groups") or ()))
    if username == approval.requester:
        return "cannot be reviewed by its own requester"
    if governing := governs(user, username, groups, policies):
        return f"cannot be reviewed by an identity that AgentPolicy {governing} governs"
    policy = next((policy for policy in policies.policies if policy.name == approval.policy), None)
    if policy is None:
        return f'names AgentPolicy "{approval.policy}", which is not there or does not compile: nobody can review it'
    if username == approval.subject and not policy.approval.self_approval:
        return "cannot be reviewed by the person behind its requester"
    return _outside_approvers(policy, username, groups)


def approval_rights(obj: Object) -> tuple[str, tuple[str, ...]]:
    """(policy, namespaces) to ask RBAC for: verb `approve` on `approvals.chaperone.dev` of that name, in each of them.

    A request is about one namespace, "" where it has none; a grant about all that it names. "" stands for cluster-wide,
    which covers all the others, and is what to ask for where the object cannot be read.
    """
    spec = _mapping(obj.get("spec"))
    policy = str(_mapping(spec.get("policy")).get("name") or "")
    if not access.is_access(obj):
        return policy, (str(_mapping(spec.get("request")).get("namespace") or ""),)
    rights = access.read_rights(spec.get("access"))
    return policy, ("",) if isinstance(rights, access.Unreadable) else rights.namespaces


def governs(user: Mapping[str, Any], username: str, groups: Sequence[str], policies: PolicySet) -> str:
    """The policy that hands out this identity, or whose subjects name this user however he was authenticated."""
    if any(str(key).startswith(EXTRA_PREFIX) for key in _mapping(user.get("extra"))):
        return "(an agent's, by what the gateway sent along)"
    named: tuple[Policy | BrokenPolicy, ...] = (*policies.policies, *policies.broken)
    for policy in named:
        if policy.identity is not None and policy.identity.username == username:
            return f'"{policy.name}"'
        if any(subject.could_be(username, groups) for subject in policy.subjects or ()):
            return f'"{policy.name}"'
    return ""


def _outside_approvers(policy: Policy, username: str, groups: Sequence[str]) -> str:
    terms = policy.approval
    if not terms.approver_users and not terms.approver_groups:
        return ""
    if username in terms.approver_users or not set(groups).isdisjoint(terms.approver_groups):
        return ""
    return f'can only be reviewed by the approvers that AgentPolicy "{policy.name}" names'


# Every write of an ApprovalRequest


def check_deletion(old: Object) -> str:
    """By whomever: what was asked and what was said stay until it has ended."""
    approval = readable(old)
    if isinstance(approval, Refused):
        return ""
    if approval.phase in life.TERMINAL:
        return ""
    return f"is {approval.phase.value} and cannot be deleted; deny it, or let it expire"


def check_update(
    old: Object, new: Object, writer: Writer, username: str, now: float, *, subresource: str
) -> str:
    """Is this change allowed for this writer? The same on the main resource and on `/status`."""
    if old.get("spec") != new.get("spec"):
        return "has an immutable spec: an approval is for exactly what was asked"
    if subresource == "" and writer is Writer.PERSON and (changed := ownership_changed(old, new)):
        return f"has metadata.{changed}, which is not for people to change"
    if writer is not Writer.CONTROLLER and (changed := annotation_changed(old, new)):
        return f"has metadata.{changed}, which only the controller changes"
    before, after = _mapping(old.get("status")), _mapping(new.get("status"))
    if left := [key for key in WRITE_ONLY if key in after]:
        return f"still carries status.{left[0]}: the webhook that stamps reviews did not see it; nothing was decided"
    if before == after:
        return ""
    approval, result = readable(old), readable(new)
    if isinstance(approval, Refused) or isinstance(result, Refused):
        return next(item.reason for item in (approval, result) if isinstance(item, Refused))
    if writer is Writer.PERSON:
        if withdrawal.is_one(before, after):
            return withdrawal.check(approval, _stored(before), after, username=username, now=now)
        return _check_review(old, approval, result, after, username=username, now=now)
    return _check_machine(approval, result, before, after, writer=writer, now=now)


def ownership_changed(old: Object, new: Object) -> str:
    before, after = _mapping(old.get("metadata")), _mapping(new.get("metadata"))
    return next((key for key in ("finalizers", "ownerReferences") if before.get(key) != after.get(key)), "")


def annotation_changed(old: Object, new: Object) -> str:
    """Ours on an approval say what the controller has told people of it."""
    before = _mapping(_mapping(old.get("metadata")).get("annotations"))
    after = _mapping(_mapping(new.get("metadata")).get("annotations"))
    ours = (key for key in sorted({*before, *after}, key=str) if str(key).startswith(EXTRA_PREFIX))
    return next((f"annotations[{key}]" for key in ours if before.get(key) != after.get(key)), "")


def _check_review(
    old: Object, approval: Approval, result: Approval, after: Object, *, username: str, now: float
) -> str:
    """Exactly one more review, in the user's own name, for the stored digest; nothing else but its consequences."""
    added = len(result.reviews) - len(approval.reviews)
    takes_place = approval.type == life.GRANT and added == 0 and result.reviews
    if added != 1 and not takes_place:
        return "can be changed by people only through status.decision"
    review = result.reviews[-1]
    if review.username != username:
        return f'was given a review in the name of "{visible(review.username, 253)}" by somebody else'
    refusal = _may_be_decided(approval, review.decision, review.reason, now) or _may_review_again(
        approval, username, review.decision
    )
    if refusal:
        return refusal
    if review.digest != approval.digest:
        return "was given a review for another digest"
    if abs(_moment(review.time) - now) > MAX_SKEW:
        return "was given a review of another time"
    if reviewed_status(old, approval, review) != after:
        return "can be changed by people only through status.decision"
    return ""


_MACHINE_FIELDS = {
    Writer.GATEWAY: frozenset({"phase", "conditions", "claimedBy", "execution", "approvals"}),
    Writer.CONTROLLER: frozenset({"phase", "conditions", "useBefore", "grant"}),
}


_EXECUTED = frozenset({Phase.EXECUTED, Phase.FAILED, Phase.UNKNOWN})


def _check_machine(
    approval: Approval, result: Approval, before: Object, after: Object, *, writer: Writer, now: float
) -> str:
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    if stray := sorted(changed - _MACHINE_FIELDS[writer]):
        return f"has status.{stray[0]}, which the {writer.value} does not change"
    if "execution" in changed and result.phase not in _EXECUTED:
        return f"says how it was executed only when that is over, not while it is {result.phase.value}"
    count = f"{life.tally(approval).approved}/{approval.required}"
    if "approvals" in changed and after.get("approvals") != count:
        return f"has {count} approvals, whatever anybody writes"
    if approval.grant_expires_at and result.grant_expires_at != approval.grant_expires_at:
        return "keeps the time at which its grant ends"
    if approval.phase is result.phase:
        settled = sorted(changed & {"claimedBy", "execution", "useBefore"})
        return f"keeps status.{settled[0]} as long as it stays {approval.phase.value}" if settled else ""
    if not life.may_move(_ACTORS[writer], approval.phase, result.phase, approval.type):
        return f"cannot go from {approval.phase.value} to {result.phase.value} by the {writer.value}"
    return _check_step(approval, result, now)


def _check_step(approval: Approval, result: Approval, now: float) -> str:
    """What a step asks for beside being in the table; people are counted anew."""
    counted = life.tally(approval)
    if result.phase in (Phase.APPROVED, Phase.EXECUTING):
        if counted.denied:
            return "was denied by somebody"
        if counted.approved < approval.required:
            return f"has {counted.approved} of {approval.required} approvals"
    if result.phase is Phase.DENIED and not counted.denied:
        return "was denied by nobody"
    if result.phase is Phase.EXECUTING:
        if approval.type == life.GRANT:
            if refusal := _check_grant(approval, result, now):
                return refusal
        elif not result.claimed_by or approval.claimed_by:
            return "is claimed by exactly one gateway, named in status.claimedBy"
        if now >= approval.use_before:
            return "was not used in time"
    elif result.claimed_by != approval.claimed_by:
        return "keeps status.claimedBy once it is claimed"
    return ""


def _check_grant(approval: Approval, result: Approval, now: float) -> str:
    """A grant begins no longer, and in no other namespace, than people have approved."""
    rights = access.rights_of(approval)
    if isinstance(rights, access.Unreadable):
        return rights.reason
    if not now - MAX_SKEW < result.grant_expires_at <= now + rights.duration + MAX_SKEW:
        return f"is granted for {rights.written}, and says so in status.grant.expiresAt"
    if stray := sorted({namespace for namespace, _ in result.bindings} - set(rights.namespaces)):
        return f'is not granted in namespace "{visible(stray[0], 80)}"'
    return ""


def _moment(text: str) -> float:
    """Unix seconds; what is no time is a long way off."""
    try:
        return unix_seconds(text)
    except ValueError:
        return float("-inf")


# AgentPolicies


def check_policy(obj: Object, capabilities: Capabilities) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """(faults, warnings) of an AgentPolicy; with a fault it must not be stored."""
    compiled = compile_policy(obj, capabilities)
    if isinstance(compiled, BrokenPolicy):
        return compiled.faults, ()
    return (), compiled.warnings


def readable(obj: Object) -> Approval | Refused:
    try:
        return life.read(obj)
    except ValueError as error:
        return Refused(f"cannot be read: {error}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
