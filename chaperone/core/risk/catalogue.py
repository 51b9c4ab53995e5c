"""All 64 rows in order, and the index that finds those that can match a request.

The index is built once, at import; what it says for one kind of request is remembered in a bounded cache, because the
names in a request are chosen by the client.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Origin, Request
from chaperone.core.risk import destruction, guard, medium, patches, pods, rights, runtime, services
from chaperone.core.risk.changes import CREATES
from chaperone.core.risk.podspec import POD_SPEC_PATHS
from chaperone.core.risk.row import (
    ANY_VERB,
    CUSTOM,
    NO,
    NON_RESOURCE,
    UNKNOWN,
    YES,
    Clause,
    Condition,
    Outcome,
    Row,
    Target,
)
from chaperone.core.verdict import Finding

CATALOGUE: tuple[Row, ...] = tuple(
    sorted(
        (
            *rights.ROWS,
            *guard.ROWS,
            *pods.ROWS,
            *destruction.ROWS,
            *runtime.ROWS,
            *services.ROWS,
            *medium.ROWS,
        ),
        key=lambda row: row.id,
    )
)
"""Every row, by id: for the index below, the documentation and the command line."""

ROWS_BY_ID: Mapping[str, Row] = {row.id: row for row in CATALOGUE}

UNLIFTABLE_ROWS = frozenset({"R05", "R10", "R11", "R12", "R13", "R25", "R26", "R27", "R63"})
"""Attacks on identity or on the guard itself: neither a rule nor an approval should let them pass."""

PLAIN_GROUPS = frozenset(
    {
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "autoscaling",
        "certificates.k8s.io",
        "chaperone.dev",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
"""Groups whose kinds hold no pod template beyond the known workloads; a kind of any other group may embed one."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that can match one kind of request, cut down to the clauses that can, with both findings ready."""

    matched: Finding
    undetermined: Finding
    clauses: tuple[tuple[Condition, ...], ...]

    def finding(self, request: Request, settings: RiskSettings) -> Finding | None:
        strongest = NO
        for conditions in self.clauses:
            outcome = _all_of(conditions, request, settings)
            if outcome is YES:
                return self.matched
            strongest = max(strongest, outcome)
        return self.undetermined if strongest is UNKNOWN else None


def candidates(request: Request) -> tuple[Candidate, ...]:
    """The rows that can match this request, in the order of their ids."""
    if not request.is_resource:
        return _candidates(request.verb, request.origin, None, applies=False)
    applies = request.verb == "patch" and patches.may_create(request)
    kind = (request.group, request.resource, request.subresource)
    return _candidates(request.verb, request.origin, kind, applies=applies)


@lru_cache(maxsize=1024)
def _candidates(
    verb: str, origin: Origin, kind: tuple[str, str, str] | None, *, applies: bool
) -> tuple[Candidate, ...]:
    """applies: a patch that may create its object, unless it is of a subresource: rows about creating count too."""
    creatable = applies and kind is not None and not kind[2]
    clauses: dict[str, list[tuple[Condition, ...]]] = defaultdict(list)
    for target in _targets(kind):
        for row, clause in _INDEX.get(target, ()):
            conditions = _under_verb(clause, verb, creatable=creatable)
            if conditions is not None and origin in row.seen_by:
                clauses[row.id].append(conditions)
    rows = (ROWS_BY_ID[row_id] for row_id in sorted(clauses))
    return tuple(
        Candidate(row.finding(), row.finding(undetermined=True), tuple(clauses[row.id])) for row in rows
    )


def _targets(kind: tuple[str, str, str] | None) -> Iterator[Target]:
    """Every way in which a row may name this kind of request."""
    if kind is None:
        yield NON_RESOURCE
        return
    group, resource, subresource = kind
    if "*" not in group + resource + subresource:  # a client must not name a pattern
        yield group, f"{resource}/{subresource}" if subresource else resource
    yield "*", f"*/{subresource}" if subresource else "*"
    yield "*", "*/*"
    yield group, "*/*"
    if subresource:
        yield group, f"{resource}/*"
    elif group not in PLAIN_GROUPS and (group, resource) not in POD_SPEC_PATHS:
        yield CUSTOM, "*"


def _under_verb(clause: Clause, verb: str, *, creatable: bool) -> tuple[Condition, ...] | None:
    """The conditions of a clause under this verb; None when it does not apply."""
    if verb in clause.verbs or clause.verbs == ANY_VERB:
        return clause.when
    return (*clause.when, CREATES) if creatable and "create" in clause.verbs else None


def _all_of(conditions: tuple[Condition, ...], request: Request, settings: RiskSettings) -> Outcome:
    weakest = YES
    for condition in conditions:
        outcome = condition.test(request, settings)
        if outcome is UNKNOWN and _patch_spares(condition, request):
            outcome = NO
        if outcome is NO:
            return NO
        weakest = min(weakest, outcome)
    return weakest


def _patch_spares(condition: Condition, request: Request) -> bool:
    """Does the patch itself prove that what this condition compares stays as it is?"""
    if not condition.paths or request.verb != "patch":
        return False
    return not patches.patch_touches(patches.document(request), request.content_type, condition.paths)


def _build_index() -> Mapping[Target, tuple[tuple[Row, Clause], ...]]:
    index: dict[Target, list[tuple[Row, Clause]]] = defaultdict(list)
    for row in CATALOGUE:
        for clause in row.clauses:
            for target in clause.targets:
                index[target].append((row, clause))
    return {target: tuple(entries) for target, entries in index.items()}


_INDEX = _build_index()
