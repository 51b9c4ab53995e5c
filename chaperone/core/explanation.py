"""Why a request is judged as it is, and why not otherwise: each policy and each rule asked by itself.

For people who write policies. The verdict is `gate.judge`'s own; every "why not" comes from asking the same compiled
rule with all but one of its fields taken away, so that this module cannot have another opinion than the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from chaperone.core.expression import EvaluationError
from chaperone.core.gate import governance, governed_by, judge
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.policy import BrokenPolicy, Fault, Policy, PolicySet, Question
from chaperone.core.policy.globs import Globs
from chaperone.core.policy.rules import Rule
from chaperone.core.policy.subjects import Subject
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Mode, Verdict


class Standing(Enum):
    """What one rule means to one request."""

    DECIDES = "decides"
    COMES_LATER = "comes later"
    """It would match, but a rule before it has decided."""
    NO_MATCH = "does not match"


@dataclass(frozen=True, slots=True)
class RuleAccount:
    """why: what keeps it from matching, field by field, or why it cannot be told; "" for a plain match."""

    name: str
    action: Action
    standing: Standing
    why: str = ""


@dataclass(frozen=True, slots=True)
class PolicyAccount:
    """One policy, asked as if it were the only one.

    verdict: None when it does not govern the caller; rules are then not asked. mode: None when it does not compile.
    strangers: for each of its subjects, why the caller is not that; empty when it governs. faults: when it does not
    compile.
    """

    name: str
    mode: Mode | None = None
    verdict: Verdict | None = None
    rules: tuple[RuleAccount, ...] = ()
    strangers: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def governs(self) -> bool:
        return not self.strangers


@dataclass(frozen=True, slots=True)
class Explanation:
    """verdict: of all policies together, as the gate gives it."""

    verdict: Verdict
    policies: tuple[PolicyAccount, ...]


def explain(request: Request, caller: Caller, policies: PolicySet, now: float) -> Explanation:
    """The verdict on a request that carries no approval, and what each policy adds to it; in the order of names."""
    everyone: tuple[Policy | BrokenPolicy, ...] = (*policies.policies, *policies.broken)
    accounts = [
        _broken_account(policy, caller)
        if isinstance(policy, BrokenPolicy)
        else _account(policy, request, caller, policies, now)
        for policy in sorted(everyone, key=lambda policy: policy.name)
    ]
    governed = governance(caller, policies)
    return Explanation(judge(request, caller, policies, None, now, governed=governed), tuple(accounts))


def _account(
    policy: Policy, request: Request, caller: Caller, policies: PolicySet, now: float
) -> PolicyAccount:
    if not policy.governs(caller):
        return PolicyAccount(policy.name, policy.mode, strangers=_strangers(policy.subjects, caller))
    alone = governed_by([policy], [])
    verdict = judge(request, caller, policies, None, now, governed=alone)
    rules = rule_accounts(policy, Question(request, caller))
    return PolicyAccount(policy.name, policy.mode, verdict, rules)


def _broken_account(policy: BrokenPolicy, caller: Caller) -> PolicyAccount:
    strangers = () if policy.governs(caller) else _strangers(policy.subjects or (), caller)
    return PolicyAccount(policy.name, strangers=strangers, faults=policy.faults)


# Subjects


def _strangers(subjects: tuple[Subject, ...], caller: Caller) -> tuple[str, ...]:
    return tuple(why_not_subject(subject, caller) for subject in subjects)


def why_not_subject(subject: Subject, caller: Caller) -> str:
    """Which field of this subject the caller does not fit; "" when it fits all."""
    return "; ".join(_subject_misses(subject, caller))


def _subject_misses(subject: Subject, caller: Caller) -> Iterator[str]:
    if not Subject(issuer=subject.issuer).matches(caller):
        yield f"the issuer is not {visible(subject.issuer, 200)}"
    if not Subject(usernames=subject.usernames).matches(caller):
        yield f"the user name is none of {_patterns(subject.usernames)}"
    if not Subject(groups=subject.groups).matches(caller):
        yield f"no group is one of {_patterns(subject.groups)}"
    if not Subject(expression=subject.expression).matches(caller):
        yield "the expression is false"


# Rules


def rule_accounts(policy: Policy, question: Question) -> tuple[RuleAccount, ...]:
    """Every rule of a policy, in order. The one that decides is the one the policy itself names."""
    accounts = []
    decided = False
    for rule in policy.rules.rules:
        account = _rule_account(rule, question, decided=decided)
        decided = decided or account.standing is Standing.DECIDES
        accounts.append(account)
    return tuple(accounts)


def _rule_account(rule: Rule, question: Question, *, decided: bool) -> RuleAccount:
    if why := why_not(rule, question):
        return RuleAccount(rule.name, rule.action, Standing.NO_MATCH, why)
    standing = Standing.COMES_LATER if decided else Standing.DECIDES
    held = rule.holds(question)
    unclear = f"{_unevaluated(held)}, so it denies" if isinstance(held, EvaluationError) else ""
    return RuleAccount(rule.name, rule.action, standing, unclear)


def why_not(rule: Rule, question: Question) -> str:
    """What keeps a rule from matching: every field that does, in words; "" when it matches."""
    request = question.request
    if request.is_resource and not rule.speaks_of_resources:
        return "it speaks of paths, and this is a resource"
    if not request.is_resource and not rule.speaks_of_paths:
        return "it speaks of resources, and this is a path"
    misses = [*_kind_misses(rule, question), *_place_misses(rule, question)]
    return "; ".join(misses) or _unheld(rule, question)


def _kind_misses(rule: Rule, question: Question) -> list[str]:
    """Each field alone; where each fits and they do not fit together, that."""
    request = question.request
    bare = Rule(name=rule.name, action=rule.action)
    parts = (
        (
            replace(bare, verbs=rule.verbs),
            f"verbs: {_verbs(rule)} does not include {visible(request.verb, 40)}",
        ),
        (replace(bare, groups=rule.groups), _other("apiGroups", _patterns(rule.groups), request.group)),
        (
            replace(bare, resources=rule.resources),
            _other("resources", _resources(rule), request.full_resource),
        ),
        (replace(bare, paths=rule.paths), _other("nonResourceURLs", _patterns(rule.paths), request.path)),
    )
    misses = [miss for part, miss in parts if not _is_kind(part, question)]
    if not misses and not _is_kind(rule, question):
        misses = [f"verbs and resources: {_verbs(rule)} of {_resources(rule)} is not this"]
    return misses


def _is_kind(rule: Rule, question: Question) -> bool:
    request = question.request
    if not request.is_resource:
        return rule.is_on_path(request)
    return rule.applies(question.kind, connect=request.is_connect)


def _place_misses(rule: Rule, question: Question) -> Iterator[str]:
    if not rule.is_in_place(question):
        yield _other("namespaces", _patterns(rule.namespaces), question.namespace)
    if not rule.is_called(question):
        yield _other("names", _patterns(rule.names), question.name)


def _unheld(rule: Rule, question: Question) -> str:
    """An expression that fails keeps a rule from allowing, and makes every other deny."""
    value = rule.holds(question)
    if isinstance(value, EvaluationError):
        return _unevaluated(value) if rule.action is Action.ALLOW else ""
    return "" if value else "expression: it is false"


def _unevaluated(error: EvaluationError) -> str:
    return f"expression: it could not be evaluated, because {error.reason}"


# In words


def _other(field: str, wanted: str, asked: str) -> str:
    return f"{field}: {wanted} does not match " + (f'"{visible(asked, 253)}"' if asked else "none")


def _verbs(rule: Rule) -> str:
    return ", ".join(sorted(rule.verbs or ()))


def _resources(rule: Rule) -> str:
    names = []
    for glob in rule.resources or ():
        below = f"/{','.join(glob.subresource.patterns)}" if glob.subresource else ""
        names.append(f"{','.join(glob.resource.patterns)}{below}")
    return ", ".join(names)


def _patterns(given: Globs | None) -> str:
    """As written; the core API group shows as two quotes."""
    return ", ".join(pattern or '""' for pattern in given.patterns) if given else ""
