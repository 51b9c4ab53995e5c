"""The words in which the catalogue is written: an outcome, a condition, a clause, a row. No row stands here.

A row matches when one of its clauses matches; a clause matches when its verbs, its targets and all its conditions do.
What cannot be told is UNKNOWN, which counts as matched and marks the finding undetermined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Origin, Request
from chaperone.core.verdict import Finding, RiskLevel


class Outcome(IntEnum):
    """What a condition says. Ordered, so that "any of" is the largest and "all of" the smallest."""

    NO = 0
    UNKNOWN = 1
    YES = 2


NO, UNKNOWN, YES = Outcome.NO, Outcome.UNKNOWN, Outcome.YES


class Reads(Enum):
    """What a condition looks at beyond the request line, so that no more than that has to be gathered.

    NAME: the object's own name, which only a create keeps in its body. OBJECT: the resulting object. CHANGE: the
    resulting object and the live one. OPTIONS: the options object in the body of a delete.
    """

    NOTHING = "nothing"
    NAME = "name"
    OBJECT = "object"
    CHANGE = "change"
    OPTIONS = "options"


Test = Callable[[Request, RiskSettings], Outcome]


@dataclass(frozen=True, slots=True)
class Condition:
    """One named question about a request.

    name: as the catalogue calls it. text: the same for people. paths: set for a comparison with the live object when
    nothing outside these fields can change its outcome; a patch that leaves them alone then answers it with NO.
    """

    name: str
    text: str
    test: Test
    reads: Reads = Reads.NOTHING
    paths: tuple[tuple[str, ...], ...] = ()


Target = tuple[str, str]
"""API group and resource, the latter with its subresource as RBAC writes it.

Resource "*" is every resource without a subresource, "*/scale" one subresource of all, "*/*" everything; group "*" is
every group.
"""

CUSTOM = "custom resources"
"""The group of a target that means: every kind that may embed a pod template and is not a known workload."""
NON_RESOURCE: Target = ("non-resource", "*")
"""Paths that name no resource."""


@dataclass(frozen=True, slots=True)
class Clause:
    """Verbs ("*": any, known or not), targets, and conditions that must all hold."""

    verbs: tuple[str, ...]
    targets: tuple[Target, ...]
    when: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One operation of the catalogue. reason: one sentence for people; seen_by: where it can be noticed at all."""

    id: str
    level: RiskLevel
    reason: str
    clauses: tuple[Clause, ...]
    seen_by: tuple[Origin, ...] = (Origin.GATEWAY, Origin.ADMISSION)

    @property
    def verbs(self) -> tuple[str, ...]:
        return _once(verb for clause in self.clauses for verb in clause.verbs)

    @property
    def groups(self) -> tuple[str, ...]:
        """API groups; "" is the core group."""
        return _once(group for clause in self.clauses for group, _ in clause.targets)

    @property
    def resources(self) -> tuple[str, ...]:
        return _once(resource for clause in self.clauses for _, resource in clause.targets)

    @property
    def condition(self) -> str:
        """Place and condition for people; "" when the row is unconditional. Alternatives are joined by "; or"."""
        texts = _once(" and ".join(condition.text for condition in clause.when) for clause in self.clauses)
        return "; or ".join(text or "always" for text in texts) if texts != ("",) else ""

    def finding(self, *, undetermined: bool = False) -> Finding:
        return Finding(self.id, self.level, self.reason, undetermined)


WRITES = ("create", "update", "patch")
CHANGES = ("update", "patch")
DELETES = ("delete", "deletecollection")
READS = ("get", "list", "watch")
ANY_VERB = ("*",)
GATEWAY_ONLY = (Origin.GATEWAY,)

CRITICAL, HIGH, MEDIUM, LOW = RiskLevel.CRITICAL, RiskLevel.HIGH, RiskLevel.MEDIUM, RiskLevel.LOW


def clause(verbs: tuple[str, ...], group: str, *resources: str, when: tuple[Condition, ...] = ()) -> Clause:
    """A clause over resources of one group."""
    return Clause(verbs, tuple((group, resource) for resource in resources), when)


def _once(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
