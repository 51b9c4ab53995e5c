"""The one place where rules are composed. The gateway and the webhook both call `judge`, so they cannot disagree.

Order, strictest wins:

1. No policy, a broken policy, or policies with different identities: Deny.
2. A verb that is not known: Deny.
3. Policy by policy: a risk that no rule lifts: Deny; else the first matching rule; else the default for the risk level.
   A request without any risk of the catalogue and without a matching rule is allowed: it is left to the narrow rights
   of the identity. What would have to be masked or recorded and cannot be is denied, and under Strict masking so are
   exec, attach, port-forward and proxy.
4. The strictest of these. Policies in Monitor mode do not count, they only say what they would have done; one
   exception: a risk that no rule lifts is denied in every mode, for it attacks identity or the guard itself.
5. A Hold with a valid, claimed approval for this very request becomes Allow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from chaperone.core import risk as catalogue
from chaperone.core.approval import Approval
from chaperone.core.enforcement import concerned
from chaperone.core.identity import Caller, Identity
from chaperone.core.legible import visible
from chaperone.core.policy import BrokenPolicy, Capabilities, Policy, PolicySet, Question, RuleMatch
from chaperone.core.request import Payload, Request
from chaperone.core.risk import UNLIFTABLE_ROWS
from chaperone.core.spending import changed_since
from chaperone.core.verdict import Action, Finding, Mode, Risk, RiskLevel, Verdict

RESOURCE_VERBS = frozenset(
    {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"}
)
PATH_VERBS = frozenset({"get", "head", "post", "put", "patch", "delete", "options"})
PROFILES = ("Off", "Standard", "Strict")
"""Of masking, by strictness."""
BY_DEFAULT = "defaults"
"""What a verdict names as its rule where the risk level decided."""


@dataclass(frozen=True, slots=True)
class Governance:
    """Who governs a caller, and whom the gateway impersonates for them. identity None: refusal says why.
    masking_profile: the strictest of theirs; "" with a refusal.

    Computed once per caller and policy generation; the gateway caches it.
    """

    policies: tuple[Policy, ...] = ()
    broken: tuple[BrokenPolicy, ...] = ()
    identity: Identity | None = None
    refusal: str = ""
    masking_profile: str = ""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be gathered before a request can be judged. body: its body decoded; live: the live object;
    result: the outcome of the update or patch (server-side dry run as the agent)."""

    body: bool = False
    live: bool = False
    result: bool = False


class Ruling(NamedTuple):
    """What one policy says; its mode is not applied. match None: the default for the risk level. why: what makes it
    stricter than both; "" when nothing does. (A tuple, because there is one for each policy and request.)"""

    action: Action
    policy: Policy
    match: RuleMatch | None = None
    why: str = ""

    @property
    def rule(self) -> str:
        """As in Verdict."""
        if self.match:
            return self.match.name
        return "" if self.why else BY_DEFAULT


# Who governs


def governance(caller: Caller, policies: PolicySet) -> Governance:
    """No policy: refusal. Two policies with different identities: refusal naming both. A broken one: refusal."""
    sound, broken = policies.governing(caller)
    return governed_by(sound, broken)


def governed_by(sound: Iterable[Policy], broken: Iterable[BrokenPolicy]) -> Governance:
    """The same, for policies that are known to govern."""
    policies = tuple(sorted(sound, key=lambda policy: policy.name))
    defects = tuple(sorted(broken, key=lambda policy: policy.name))
    identity = policies[0].identity if policies else None
    refusal = _broken(defects) or _none(policies) or _clash(policies)
    if refusal:
        return Governance(policies, defects, None, refusal)
    profile = max((policy.masking.profile for policy in policies), key=PROFILES.index)
    return Governance(policies, defects, identity, masking_profile=profile)


def _broken(broken: tuple[BrokenPolicy, ...]) -> str:
    if not broken:
        return ""
    names = ", ".join(f'"{policy.name}"' for policy in broken)
    return (
        f"AgentPolicy {names} governs this caller, or may do so, and does not compile, so everything is denied. "
        "A person has to correct it: its status names every fault"
    )


def _none(policies: tuple[Policy, ...]) -> str:
    if policies:
        return ""
    return (
        "no AgentPolicy governs this caller, so everything is denied. A person has to write one that names it"
    )


def _clash(policies: tuple[Policy, ...]) -> str:
    other = next((policy for policy in policies if policy.identity != policies[0].identity), None)
    if other is None:
        return ""
    first = policies[0]
    return (
        f'AgentPolicies "{first.name}" and "{other.name}" both govern this caller and hand out different identities '
        f'("{first.identity.username}" and "{other.identity.username}"), so everything is denied. A person has to '
        "narrow the subjects of one of them"
    )


# What must be known


def needs(request: Request, governed: Governance) -> Needs:
    """What `judge` will look at for this request; reads need nothing."""
    if request.is_read or request.is_connect or not request.is_resource or governed.identity is None:
        return Needs()
    compares = catalogue.needs_live(request)
    reads_object = any(policy.reads_object(request) for policy in governed.policies)
    return Needs(
        body=(
            compares
            or reads_object
            or catalogue.needs_object(request)
            or any(policy.names_in_body(request) for policy in governed.policies)
        ),
        live=compares or any(policy.reads_live(request) for policy in governed.policies),
        result=request.verb == "patch" and (compares or reads_object),
    )


# The verdict


def judge(
    request: Request,
    caller: Caller,
    policies: PolicySet,
    approval: Approval | None,
    now: float,
    *,
    governed: Governance | None = None,
    risk: Risk | None = None,
) -> Verdict:
    """The verdict on one request. approval: the ApprovalRequest that the request spends (phase Executing), if any;
    the caller of `judge` has compared its digest. governed: `governance(caller, policies)` when already known.
    risk: as it was found before, for a request whose body is no longer there (core/backtest.py)."""
    if governed is None:
        governed = governance(caller, policies)
    if risk is None:
        risk = catalogue.assess(request, policies.risk_settings)
    refusal = governed.refusal or _unknown_verb(request)
    if refusal or governed.identity is None:
        return _refused(request, governed, risk, refusal)
    question = Question(request, caller)
    ban = _ban(risk)
    rulings = _rulings(governed, question, risk, ban, policies.capabilities)
    return _verdict(_Case(request, caller, risk, governed, approval, now), rulings, banned=bool(ban))


def settled(request: Request, caller: Caller, policies: PolicySet, governed: Governance) -> Verdict | None:
    """A Deny that nothing still to be gathered could change, so that not even a dry run goes out for it; None: gather.

    It rests on what the path alone tells: rows of the catalogue that match whatever the object holds, and policies none
    of whose rules here reads an object. A Deny by default counts where every higher risk would be denied as well.
    """
    unknown = replace(request, payload=Payload(undetermined=frozenset({"object", "oldObject", "options"})))
    found = catalogue.assess(unknown, policies.risk_settings).findings
    risk = Risk(tuple(finding for finding in found if not finding.undetermined))
    ban = _ban(risk)
    rulings = _rulings(governed, Question(unknown, caller), risk, ban, policies.capabilities)
    firm = [ruling for ruling in rulings if ban or _is_firm(ruling, unknown, risk)]
    if not firm:
        return None
    return _verdict(_Case(unknown, caller, risk, governed, None, 0.0), firm, banned=bool(ban))


def _is_firm(ruling: Ruling, request: Request, risk: Risk) -> bool:
    policy = ruling.policy
    if ruling.action is not Action.DENY or policy.mode is not Mode.ENFORCE or policy.needs_object(request):
        return False
    if ruling.match is not None or ruling.why:
        return True
    levels = [level for level in RiskLevel if level >= risk.level]
    return all(policy.defaults.get(level, Action.DENY) is Action.DENY for level in levels)


@dataclass(frozen=True, slots=True)
class _Case:
    request: Request
    caller: Caller
    risk: Risk
    governed: Governance
    approval: Approval | None
    now: float


def _unknown_verb(request: Request) -> str:
    if request.verb in (RESOURCE_VERBS if request.is_resource else PATH_VERBS):
        return ""
    if request.verb == "proxy":
        return "the proxy path prefix is not supported; use the proxy subresource of the pod, service or node"
    return f'"{visible(request.verb, 40)}" is not a verb that can be judged'


def _refused(request: Request, governed: Governance, risk: Risk, refusal: str) -> Verdict:
    named: tuple[Policy | BrokenPolicy, ...] = (*governed.broken, *governed.policies)
    return Verdict(
        action=Action.DENY,
        policy=named[0].name if named else "",
        policy_generation=named[0].generation if named else 0,
        reason=f"{describe(request)} is denied: {refusal or 'nobody is known to be impersonated'}",
        risk=risk,
        policies=tuple(policy.name for policy in governed.policies),
        would=Action.DENY,
    )


def _verdict(case: _Case, rulings: list[Ruling], *, banned: bool) -> Verdict:
    strictest = _strictest(rulings)
    enforced = rulings if banned else [item for item in rulings if item.policy.mode is Mode.ENFORCE]
    if not enforced:
        return _decided(case, strictest, Action.ALLOW, strictest.action, _monitored(strictest, case))
    decisive = _strictest(enforced)
    reason = _reason(decisive, case)
    if strictest.action > decisive.action:
        reason = "; ".join(part for part in (reason, _monitored(strictest, case)) if part)
    if decisive.action is Action.HOLD and case.approval is not None:
        changed = changed_since(case.approval, decisive.policy, case.request, case.caller, case.now)
        if not changed:
            return _spent(case, decisive, case.approval)
        reason += f'. Approval "{case.approval.name}" does not serve: {changed}'
    return _decided(case, decisive, decisive.action, strictest.action, reason)


def _decided(case: _Case, ruling: Ruling, action: Action, would: Action, reason: str) -> Verdict:
    return Verdict(
        action=action,
        policy=ruling.policy.name,
        policy_generation=ruling.policy.generation,
        rule=ruling.rule,
        reason=reason,
        risk=case.risk,
        policies=tuple([policy.name for policy in case.governed.policies]),
        would=would,
        masking_profile=case.governed.masking_profile,
    )


def _spent(case: _Case, ruling: Ruling, approval: Approval) -> Verdict:
    return Verdict(
        action=Action.ALLOW,
        policy=ruling.policy.name,
        policy_generation=ruling.policy.generation,
        rule=ruling.rule,
        reason=f'approved: "{approval.name}"',
        risk=case.risk,
        policies=tuple([policy.name for policy in case.governed.policies]),
        would=Action.ALLOW,
        masking_profile=case.governed.masking_profile,
        approval_uid=approval.uid,
        approval_name=approval.name,
    )


def _strictest(rulings: list[Ruling]) -> Ruling:
    """Of equal Holds the one that asks for most people, then the first by name (rulings are in that order)."""
    strictest = rulings[0]
    for ruling in rulings:
        if ruling[0] > strictest[0] or (
            ruling[0] is strictest[0] is Action.HOLD
            and ruling.policy.approval.required > strictest.policy.approval.required
        ):
            strictest = ruling
    return strictest


# One policy


def _rulings(
    governed: Governance, question: Question, risk: Risk, ban: str, capabilities: Capabilities
) -> list[Ruling]:
    if ban:
        return [Ruling(Action.DENY, policy, why=ban) for policy in governed.policies]
    request, level = question.request, risk.level
    checks = concerned(request, capabilities)
    rulings = []
    for policy in governed.policies:
        match = policy.first_match(request, question.caller, question)
        action = policy.defaults.get(level, Action.DENY) if match is None else match.action
        why = next((why for check in checks if (why := check(policy))), "") if checks else ""
        rulings.append(
            Ruling(action, policy, match, why) if not why else _stricter(action, policy, match, why)
        )
    return rulings


def _stricter(action: Action, policy: Policy, match: RuleMatch | None, why: str) -> Ruling:
    """A Deny stands on its own reasons."""
    return Ruling(Action.DENY, policy, match, "" if action is Action.DENY else why)


def _ban(risk: Risk) -> str:
    """No rule, no approval and no mode lifts these rows."""
    if not risk.findings:
        return ""
    rows = [found for found in risk.findings if found.row in UNLIFTABLE_ROWS]
    return f"no policy can allow this: {_told(rows)}" if rows else ""


def _why(ruling: Ruling, risk: Risk) -> str:
    match = ruling.match
    if ruling.why:
        return ruling.why
    if match is None:
        return f"the risk is {risk.level.word}: {_told(risk.findings)}"
    if match.error:
        return f"its expression could not be evaluated, because {match.error}"
    return match.message


def _told(findings: Iterable[Finding]) -> str:
    return "; ".join(f"{found.reason} ({found.row})" for found in findings)


# In words


def describe(request: Request) -> str:
    """`delete of deployments.apps "web" in namespace "prod"`; names are a client's text, made safe to show."""
    if not request.is_resource:
        return f'{visible(request.verb or "a request", 40)} of path "{visible(request.path, 200)}"'
    group = f".{request.group}" if request.group else ""
    name = f' "{visible(request.name, 253)}"' if request.name else ""
    place = ""
    if request.namespace and (request.resource, request.group) != ("namespaces", ""):
        place = f' in namespace "{visible(request.namespace, 253)}"'
    return visible(f"{request.verb or 'a request'} of {request.full_resource}{group}", 300) + name + place


def _reason(ruling: Ruling, case: _Case) -> str:
    if ruling.action is Action.ALLOW:
        return ""
    policy = ruling.policy
    by = f'policy "{policy.name}"' + (f', rule "{ruling.match.name}"' if ruling.match else "")
    because = f": {why}" if (why := _why(ruling, case.risk)) else ""
    if ruling.action is Action.DENY:
        return f"{describe(case.request)} is denied by {by}{because}"
    people = "one person" if policy.approval.required == 1 else f"{policy.approval.required} people"
    return f"{describe(case.request)} needs the approval of {people} under {by}{because}"


def _monitored(ruling: Ruling, case: _Case) -> str:
    return f"in Monitor mode: {reason}" if (reason := _reason(ruling, case)) else ""
