"""A policy that compiled, a policy that did not, and all policies of a cluster at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from chaperone.core.identity import Caller, Identity
from chaperone.core.policy.question import Question
from chaperone.core.policy.rules import RuleBook
from chaperone.core.policy.subjects import Subject
from chaperone.core.policy.terms import (
    Access,
    ApprovalTerms,
    Capabilities,
    Fault,
    Limits,
    Masking,
    Recording,
    RiskSettings,
    RuleMatch,
)
from chaperone.core.request import Request
from chaperone.core.verdict import Action, Mode, RiskLevel


@dataclass(frozen=True, slots=True)
class Policy:
    """A compiled AgentPolicy. defaults: by risk level, for NONE as well. warnings: what is legal and surely not
    meant; shown to whoever applies the policy."""

    name: str
    uid: str
    generation: int
    mode: Mode
    identity: Identity
    access: tuple[Access, ...]
    defaults: Mapping[RiskLevel, Action]
    approval: ApprovalTerms
    limits: Limits
    masking_profile: str  # Standard, Strict, Off
    recording_streams: str  # Required, BestEffort, Off
    masking: Masking = field(default_factory=Masking)
    recording: Recording = field(default_factory=Recording)
    subjects: tuple[Subject, ...] = ()
    rules: RuleBook = field(default_factory=RuleBook)
    warnings: tuple[Fault, ...] = ()

    def governs(self, caller: Caller) -> bool:
        """True when a subject matches. An expression that fails to evaluate counts as a match (fail closed)."""
        return any(subject.matches(caller) for subject in self.subjects)

    def first_match(
        self, request: Request, caller: Caller, question: Question | None = None
    ) -> RuleMatch | None:
        """The first rule that matches, in order. question: the same two, when they are put to many policies."""
        return self.rules.first_match(question or Question(request, caller))

    def needs_object(self, request: Request) -> bool:
        """Could any rule that may match this request read `object`, `oldObject` or the name of a new object?"""
        question = _anonymous(request)
        return (
            self._reads(question, "object")
            or self._reads(question, "oldObject")
            or self.names_in_body(request)
            or self.rules.asks_whether_new(question)
        )

    def reads_object(self, request: Request) -> bool:
        """Could any rule that may match this request read the resulting object?"""
        return self._reads(_anonymous(request), "object")

    def reads_live(self, request: Request) -> bool:
        """Could any rule that may match this request compare with the live object, or ask whether there is one?"""
        question = _anonymous(request)
        return self._reads(question, "oldObject") or self.rules.asks_whether_new(question)

    def names_in_body(self, request: Request) -> bool:
        """Does a rule look at the name (of a Namespace: its namespace) that only the body of this create tells?"""
        if request.verb != "create" or request.name:
            return False
        candidates = self.rules.candidates(_anonymous(request))
        reads = frozenset[str]().union(*(rule.expression.reads for rule in candidates if rule.expression))
        return any(rule.names or rule.namespaces for rule in candidates) or not reads.isdisjoint(
            _NAMED_BY_BODY
        )

    def _reads(self, question: Question, variable: str) -> bool:
        return any(variable in reads for reads in self.rules.reading(question))


_NAMED_BY_BODY = frozenset({"request.name", "request.namespace"})
_NOBODY = Caller(issuer="", subject="", username="")


def _anonymous(request: Request) -> Question:
    return Question(request, _NOBODY)


@dataclass(frozen=True, slots=True)
class BrokenPolicy:
    """A policy that is in the cluster and does not compile. It denies all whom it (possibly) governs.

    subjects, identity: None when these cannot be read either.
    """

    name: str
    generation: int
    faults: tuple[Fault, ...]
    subjects: tuple[Subject, ...] | None = None
    identity: Identity | None = None

    def governs(self, caller: Caller) -> bool:
        """By its subjects where these can be read, otherwise True."""
        return self.subjects is None or any(subject.matches(caller) for subject in self.subjects)


@dataclass(frozen=True, slots=True)
class PolicySet:
    """Every policy of the cluster at one moment, and what the gate needs to know beside them."""

    policies: tuple[Policy, ...] = ()
    broken: tuple[BrokenPolicy, ...] = ()
    risk_settings: RiskSettings = field(default_factory=RiskSettings)
    capabilities: Capabilities = field(default_factory=Capabilities)

    def governing(self, caller: Caller) -> tuple[tuple[Policy, ...], tuple[BrokenPolicy, ...]]:
        return (
            tuple(policy for policy in self.policies if policy.governs(caller)),
            tuple(policy for policy in self.broken if policy.governs(caller)),
        )
