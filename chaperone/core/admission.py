"""AdmissionReviews in the words of `gate`: from a review to a verdict, and back to an answer.

Two kinds of writes carry an identity that a policy hands out:

- Forwarded by the gateway: `userInfo.extra` names the governing policies. Only the gateway may impersonate, so nobody
  else can have put that there. It has judged the request with all facts, the webhook judges it again with fewer: the
  caller's names, groups and claims are not known here, nor the query and the exact verb. A rule whose expression cannot
  be evaluated for lack of such a fact is taken as the gateway must have found it: nothing denied a request that was
  forwarded, nothing held one that was forwarded without an approval, and a rule that may have allowed it did. All else
  is decided here as there, on the object as it will be stored. A dry run of what is held passes: with it the gateway
  looks at what people are to approve, and it changes nothing.
- Direct: somebody holds the identity himself, past the gateway. No extra, so no caller, no run and no approval: judged
  under every policy that hands the identity out, where what is not known makes a rule deny.

Reviews are unpacked by their field names in admission.k8s.io/v1, `review` being its `request`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.approval import Approval
from chaperone.core.gate import Governance, describe, governed_by, judge
from chaperone.core.identity import (
    EXTRA_AGENT,
    EXTRA_APPROVAL,
    EXTRA_APPROVAL_NAME,
    EXTRA_POLICY,
    EXTRA_PREFIX,
    EXTRA_RUN,
    EXTRA_SUBJECT,
    Caller,
)
from chaperone.core.legible import visible
from chaperone.core.policy import BrokenPolicy, Policy, PolicySet
from chaperone.core.request import Object, Origin, Payload, Request, Unreadable
from chaperone.core.verdict import Action, Verdict

Review = Mapping[str, Any]

THROUGH_THE_GATEWAY = (
    "Send it through the gateway: there it waits for approval, and is forwarded once approved"
)

_VERBS = {"CREATE": "create", "UPDATE": "update", "DELETE": "delete", "CONNECT": "create"}
_OPERATIONS = {
    "create": ("CREATE",),
    "update": ("UPDATE", "CREATE"),
    "patch": ("UPDATE", "CREATE"),
    "delete": ("DELETE",),
    "deletecollection": ("DELETE",),
    "get": (),
}
"""Verb at the gateway to the operations that admission may call it. A CONNECT may have been any verb."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server is told. code: HTTP status of a refusal. audit_annotations: keys without prefix, which the
    API server adds itself."""

    allowed: bool
    message: str = ""
    code: int = 403
    warnings: tuple[str, ...] = ()
    audit_annotations: Mapping[str, str] = field(default_factory=dict)


ALLOWED = Answer(allowed=True)


@dataclass(frozen=True, slots=True)
class Named:
    """The approval that a forwarded request spends: where to find it, and the uid that decides."""

    uid: str
    name: str


def decide(review: Review, policies: PolicySet, approval: Approval | None, now: float) -> Answer:
    """The answer to one review. approval: the live ApprovalRequest that `named_approval` tells, if there is one."""
    user = _mapping(review.get("userInfo"))
    sound, broken = guarded(user, policies)
    if not sound and not broken and not is_forwarded(user):
        return ALLOWED
    request = read_review(review)
    if isinstance(request, Unreadable):
        return Answer(allowed=False, message=request.reason, code=request.code)
    caller = read_caller(user)
    governed = (
        _named_governance(caller, policies) if is_forwarded(user) else _direct_governance(sound, broken)
    )
    mismatch = _mismatch(review, user, approval) if not governed.refusal else ""
    if mismatch:
        return Answer(allowed=False, message=f"{describe(request)} is denied: {mismatch}")
    spent = approval if named_approval(user) else None
    verdict = judge(request, caller, policies, spent, now, governed=governed)
    return _looked_at(verdict, caller) if _is_look(request, user, verdict) else _answer(verdict, caller)


# Whom it concerns


def guarded(
    user: Mapping[str, Any], policies: PolicySet
) -> tuple[tuple[Policy, ...], tuple[BrokenPolicy, ...]]:
    """The policies that hand out this user's identity. The user name decides: groups can be shared."""
    username = user.get("username")
    return (
        tuple(policy for policy in policies.policies if policy.identity.username == username),
        tuple(
            policy for policy in policies.broken if policy.identity and policy.identity.username == username
        ),
    )


def is_forwarded(user: Mapping[str, Any]) -> bool:
    """Does the user carry anything that only the gateway may impersonate?"""
    return any(str(key).startswith(EXTRA_PREFIX) for key in _mapping(user.get("extra")))


def named_approval(user: Mapping[str, Any]) -> Named | None:
    """The approval that this user's request spends, to be fetched by its name before `decide`."""
    if _mapping(user.get("extra")).keys().isdisjoint((EXTRA_APPROVAL, EXTRA_APPROVAL_NAME)):
        return None
    extra = _extra(user)
    return Named(_only(extra, EXTRA_APPROVAL), _only(extra, EXTRA_APPROVAL_NAME))


def read_caller(user: Mapping[str, Any]) -> Caller:
    """What admission knows of the caller: the impersonated name, and what the gateway sent along with it."""
    extra = _extra(user)
    return Caller(
        issuer="",
        subject=_only(extra, EXTRA_SUBJECT),
        username=str(user.get("username") or ""),
        extra=extra,
        run=_only(extra, EXTRA_RUN),
        agent=_only(extra, EXTRA_AGENT),
    )


def _extra(user: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {
        str(key): tuple([str(value) for value in values]) if isinstance(values, list) else (str(values),)
        for key, values in _mapping(user.get("extra")).items()
    }


def _only(extra: Mapping[str, tuple[str, ...]], key: str) -> str:
    """The gateway sends one value of each; several are nobody's."""
    values = extra.get(key, ())
    return values[0] if len(values) == 1 else ""


# Under which policies


def _named_governance(caller: Caller, policies: PolicySet) -> Governance:
    """The policies that the gateway named: each must be known, sound, and hand out the identity that is used."""
    sound = {policy.name: policy for policy in policies.policies}
    defects = {policy.name: policy for policy in policies.broken}
    names = [name for name in _only(caller.extra, EXTRA_POLICY).split(",") if name]
    strange = [name for name in names if name not in sound and name not in defects]
    if not names or strange:
        told = (
            f'AgentPolicy "{visible(strange[0], 253)}" is'
            if strange
            else "the policies it was judged under are"
        )
        return Governance(refusal=f"{told} not known to the webhook; if it is new, try again in a moment")
    governed = governed_by(
        [sound[name] for name in names if name in sound], [defects[name] for name in names if name in defects]
    )
    if governed.identity is not None and governed.identity.username != caller.username:
        other = governed.policies[0].name
        return Governance(
            governed.policies,
            refusal=f'AgentPolicy "{other}" hands out another identity than the one used; try again',
        )
    return governed


def _direct_governance(sound: Sequence[Policy], broken: Sequence[BrokenPolicy]) -> Governance:
    """All that hand out the identity; that their groups may differ does not matter here."""
    governed = governed_by(sound, broken)
    if broken or not governed.refusal:
        return governed
    return Governance(governed.policies, identity=governed.policies[0].identity)


# What is asked


def read_review(review: Review) -> Request | Unreadable:
    """A review as the request that the gateway would have seen, as far as admission tells.

    Without a verb to go by, UPDATE is `update`, CONNECT is `create`, and DELETE without a name is one object of a
    `deletecollection`. The options of a CONNECT are left out: the gateway has no object there either.
    """
    resource = _mapping(review.get("requestResource") or review.get("resource"))
    name, plural = review.get("name") or "", resource.get("resource")
    verb = _VERBS.get(str(review.get("operation")))
    if verb is None:
        return Unreadable(400, f'operation "{visible(str(review.get("operation")), 40)}" is not known')
    if not isinstance(plural, str) or not plural or not isinstance(name, str):
        return Unreadable(400, "the review does not say which resource it is about")
    group, version = str(resource.get("group") or ""), str(resource.get("version") or "")
    subresource = str(review.get("requestSubResource") or review.get("subResource") or "")
    namespace = str(review.get("namespace") or "")
    is_namespace = (group, plural) == ("", "namespaces")
    place = ("namespaces", namespace) if namespace and not is_namespace else ()
    return Request(
        method="",
        verb="deletecollection" if verb == "delete" and not name else verb,
        path=_path(group, version, *place, plural, name, subresource),
        parameters=(("dryRun", "All"),) if review.get("dryRun") is True else (),
        is_resource=True,
        group=group,
        version=version,
        resource=plural,
        subresource=subresource,
        namespace=name or namespace if is_namespace else namespace,
        name=name,
        payload=_payload(review),
        origin=Origin.ADMISSION,
    )


def _path(group: str, version: str, *parts: str) -> str:
    """For people to read; nothing is forwarded from here."""
    return "/" + "/".join(part for part in ("apis" if group else "api", group, version, *parts) if part)


_EXPECTED = {"CREATE": ("object",), "UPDATE": ("object", "oldObject"), "DELETE": ("oldObject",)}


def _payload(review: Review) -> Payload:
    expected = _EXPECTED.get(str(review.get("operation")), ())
    return Payload(
        object=_object(review.get("object")) if "object" in expected else None,
        old_object=_object(review.get("oldObject")) if "oldObject" in expected else None,
        options=_object(review.get("options")) if review.get("operation") == "DELETE" else None,
        undetermined=frozenset(name for name in expected if _object(review.get(name)) is None),
    )


def _object(value: object) -> Object | None:
    return value if isinstance(value, dict) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


# With which approval


def _mismatch(review: Review, user: Mapping[str, Any], approval: Approval | None) -> str:
    """Why the approval that the user's extra names does not belong to this review; phase, time, policy and run are
    for the gate to check."""
    named = named_approval(user)
    if named is None:
        return ""
    if not named.uid or approval is None or approval.uid != named.uid:
        return f'the approval "{visible(named.name, 253)}" that it carries is not there (any more)'
    asked = approval.request
    if asked is None:
        return f'approval "{approval.name}" is not for a request'
    different = _difference(review, asked)
    return f'approval "{approval.name}" is for another request: {different} differs' if different else ""


def _difference(review: Review, asked: Mapping[str, Any]) -> str:
    """The first part in which the review is not what was approved. Its body is for the digest: the object here has
    been defaulted and changed by others since."""
    seen = read_review(review)
    if isinstance(seen, Unreadable) or review.get("operation") not in _operations(
        seen, str(asked.get("verb"))
    ):
        return "the verb"
    same = {
        "the API group": (seen.group, asked.get("apiGroup")),
        "the resource": (seen.resource, asked.get("resource")),
        "the subresource": (seen.subresource, asked.get("subresource")),
        "the namespace": (seen.namespace, _approved_namespace(seen, asked)),
    }
    if asked.get("name") or asked.get("verb") not in ("create", "deletecollection"):
        same["the name"] = (visible(seen.name), asked.get("name"))
    return next((what for what, (here, there) in same.items() if here != (there or "")), "")


def _operations(seen: Request, verb: str) -> Sequence[str]:
    if seen.is_connect:
        return ("CONNECT",)
    if (verb == "deletecollection") != (seen.verb == "deletecollection"):
        return ()
    return _OPERATIONS.get(verb, ())


def _approved_namespace(seen: Request, asked: Mapping[str, Any]) -> object:
    """A Namespace is in itself; when it was created, its name was only in the body."""
    if (seen.group, seen.resource) == ("", "namespaces") and not asked.get("namespace"):
        return asked.get("name") or seen.namespace
    return asked.get("namespace")


# The answer


def _answer(verdict: Verdict, caller: Caller) -> Answer:
    notes = _annotations(verdict, caller)
    if verdict.action is Action.ALLOW:
        warnings = (verdict.reason,) if verdict.would not in (Action.ALLOW, None) else ()
        return Answer(allowed=True, warnings=warnings, audit_annotations=notes)
    advice = f". {THROUGH_THE_GATEWAY}" if verdict.action is Action.HOLD else ""
    return Answer(allowed=False, message=f"{verdict.reason}{advice}", audit_annotations=notes)


def _is_look(request: Request, user: Mapping[str, Any], verdict: Verdict) -> bool:
    """Does the gateway look by a dry run at what it holds? What acts in full all the same is no look, whatever the
    review says: a CONNECT, and a token that is made."""
    return verdict.action is Action.HOLD and request.dry_run and is_forwarded(user)


def _looked_at(verdict: Verdict, caller: Caller) -> Answer:
    return Answer(allowed=True, audit_annotations=_annotations(verdict, caller))


def _annotations(verdict: Verdict, caller: Caller) -> dict[str, str]:
    notes = {
        "verdict": verdict.action.word,
        "would": verdict.would.word if verdict.would is not None else "",
        "policy": verdict.policy,
        "rule": verdict.rule,
        "risk": ",".join(verdict.risk.rows),
        "run": caller.run,
        "agent": caller.agent,
        "approval": verdict.approval_name,
    }
    return {key: visible(value, 1024) for key, value in notes.items() if value}
