"""The rules of one policy, compiled: the first that matches decides.

A rule matches when all of its fields match; a field that is left out matches anything. A rule that names apiGroups,
resources, namespaces or names speaks of resources only, one that names nonResourceURLs of paths only, and one that
names neither of both. How a request is compared is told in `question`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from chaperone.core.expression import EvaluationError, Expression
from chaperone.core.policy.globs import Globs
from chaperone.core.policy.question import Kind, Meaning, Question, allowing_verbs, strict_meanings
from chaperone.core.policy.terms import RuleMatch
from chaperone.core.request import Request
from chaperone.core.verdict import Action

MAX_REMEMBERED = 2048

Remembered = TypeVar("Remembered")
Found = TypeVar("Found")

ANY_VERB = "*"


@dataclass(frozen=True, slots=True)
class ResourceGlob:
    """`deployments`, `deployments/scale`, `*/scale`, `pods/*`; `*` alone is everything, subresources included."""

    resource: Globs
    subresource: Globs | None

    def match(self, resource: str, subresource: str) -> bool:
        if self.subresource is None:
            return self.resource.everything or (not subresource and self.resource.match(resource))
        return bool(subresource) and self.subresource.match(subresource) and self.resource.match(resource)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One compiled rule. None: the field was left out."""

    name: str
    action: Action
    message: str = ""
    verbs: frozenset[str] | None = None
    groups: Globs | None = None
    resources: tuple[ResourceGlob, ...] | None = None
    namespaces: Globs | None = None
    names: Globs | None = None
    paths: Globs | None = None
    expression: Expression | None = None

    @property
    def speaks_of_resources(self) -> bool:
        return self.paths is None

    @property
    def speaks_of_paths(self) -> bool:
        return all(given is None for given in (self.groups, self.resources, self.namespaces, self.names))

    def applies(self, kind: Kind, *, connect: bool) -> bool:
        """Do verbs, apiGroups and resources match this kind of question?"""
        if not self.speaks_of_resources or not (self.groups is None or self.groups.match(kind[1])):
            return False
        if self.action is not Action.ALLOW:
            return any(self._covers(meaning) for meaning in strict_meanings(kind, connect=connect))
        verbs, all_of_them = allowing_verbs(kind, connect=connect)
        answers = (self._covers((verb, kind[2], kind[3])) for verb in verbs)
        return all(answers) if all_of_them else any(answers)

    def _covers(self, meaning: Meaning) -> bool:
        verb, resource, subresource = meaning
        return self.has_verb(verb) and (
            self.resources is None or any(glob.match(resource, subresource) for glob in self.resources)
        )

    def has_verb(self, verb: str) -> bool:
        return self.verbs is None or verb in self.verbs or ANY_VERB in self.verbs

    def is_on_path(self, request: Request) -> bool:
        """Do verbs and nonResourceURLs match this request for a path? HEAD is a GET without its body."""
        verbs = (request.verb, "get") if request.verb == "head" else (request.verb,)
        return (
            self.speaks_of_paths
            and any(self.has_verb(verb) for verb in verbs)
            and (self.paths is None or self.paths.match(request.path))
        )

    def is_in_place(self, question: Question) -> bool:
        """Does the namespace match? One that is not known matches a rule that holds or denies, never one that
        allows."""
        if self.namespaces is None:
            return True
        if question.namespace:
            return self.namespaces.match(question.namespace)
        return self.action is not Action.ALLOW and question.reaches_any_namespace

    def is_called(self, question: Question) -> bool:
        """Does the name match? Again, one that is not known matches a rule that holds or denies."""
        if self.names is None:
            return True
        if question.name:
            return self.names.match(question.name)
        return self.action is not Action.ALLOW

    def holds(self, question: Question) -> bool | EvaluationError:
        """Is the expression true? Facts that only the gateway has are taken as it must have found them."""
        if self.expression is None:
            return True
        value = self.expression.evaluate(question.facts)
        if isinstance(value, EvaluationError) and question.lacks(self.expression.reads):
            if question.is_settled(self.action):
                return True
            if question.is_settled(Action.ALLOW):
                return False
        return value


@dataclass(frozen=True, slots=True)
class Plan:
    """What is left to ask of one kind of question in one namespace: these rules, in order, then this outcome."""

    pending: tuple[Rule, ...]
    outcome: RuleMatch | None


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules of a policy, in order, with a bounded memory of what is left to ask of which question."""

    rules: tuple[Rule, ...] = ()
    _kinds: dict[Kind, tuple[Rule, ...]] = field(default_factory=dict, compare=False, repr=False)
    _plans: dict[tuple[Kind, str], Plan] = field(default_factory=dict, compare=False, repr=False)

    def first_match(self, question: Question) -> RuleMatch | None:
        plan = self._plans.get(question.key) or self._plan(question)
        for rule in plan.pending:
            if rule.is_called(question):
                matched = _outcome(rule, question)
                if matched is not None:
                    return matched
        return plan.outcome

    def _plan(self, question: Question) -> Plan:
        """A path is no kind: its plan is made anew each time."""
        pending: list[Rule] = []
        outcome = None
        for rule in self.candidates(question):
            if rule.is_in_place(question):
                if rule.names is None and rule.expression is None:
                    outcome = RuleMatch(rule.name, rule.action, rule.message)
                    break
                pending.append(rule)
        plan = Plan(tuple(pending), outcome)
        if question.request.is_resource:
            _remember(self._plans, question.key, plan)
        return plan

    def candidates(self, question: Question) -> Sequence[Rule]:
        """The rules that match as far as verbs, groups, resources and paths go."""
        if not question.request.is_resource:
            return self._for_path(question.request)
        found = self._kinds.get(question.kind)
        if found is None:
            found = self._for_kind(question.kind, connect=question.request.is_connect)
            _remember(self._kinds, question.kind, found)
        return found

    def _for_kind(self, kind: Kind, *, connect: bool) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.applies(kind, connect=connect))

    def _for_path(self, request: Request) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.is_on_path(request))

    def asks_whether_new(self, question: Question) -> bool:
        """Does it matter to some rule whether an apply or an update creates its object?"""
        verb, group, resource, subresource, view, may_create = question.kind
        if not may_create:
            return False
        known = self._for_kind(
            (verb, group, resource, subresource, view, False), connect=question.request.is_connect
        )
        return len(self.candidates(question)) != len(known)

    def reading(self, question: Question) -> Iterator[frozenset[str]]:
        """What the expressions of the candidates read."""
        return (rule.expression.reads for rule in self.candidates(question) if rule.expression is not None)


def _remember(memory: dict[Remembered, Found], key: Remembered, found: Found) -> None:
    """Keys come from clients, so the memory is bounded; starting over costs less than keeping an order."""
    if len(memory) >= MAX_REMEMBERED:
        memory.clear()
    memory[key] = found


def _outcome(rule: Rule, question: Question) -> RuleMatch | None:
    value = rule.holds(question)
    if value is True:
        return RuleMatch(rule.name, rule.action, rule.message)
    if value is False or rule.action is Action.ALLOW:
        return None
    return RuleMatch(rule.name, Action.DENY, rule.message, value.reason)
