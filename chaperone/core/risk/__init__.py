"""The risk catalogue: 64 operations, each a named check with its reason. Rows keep their ids (R01 to R64) for ever.

`assess` evaluates every row; a row matches when its verbs, group, resource, place and condition all match. A condition
that cannot be evaluated counts as matched and is marked undetermined. Nothing matched means "no known risk", never
"allowed": policy decides. One module a chapter holds the rows; `catalogue` puts them in order and finds them again.
"""

from __future__ import annotations

from chaperone.core.policy import RiskSettings
from chaperone.core.request import Request
from chaperone.core.risk.catalogue import CATALOGUE, ROWS_BY_ID, UNLIFTABLE_ROWS, Candidate, candidates
from chaperone.core.risk.patches import LARGEST_PROOF, document, patch_touches
from chaperone.core.risk.row import Condition, Reads, Row
from chaperone.core.verdict import NO_RISK, Finding, Risk

__all__ = [
    "CATALOGUE",
    "UNLIFTABLE_ROWS",
    "Row",
    "assess",
    "finding",
    "needs_live",
    "needs_object",
    "patch_touches",
]


def assess(request: Request, settings: RiskSettings) -> Risk:
    """All matched rows of the catalogue for one request, in the order of their ids."""
    rows = candidates(request)
    if not rows:
        return NO_RISK
    findings = tuple(found for row in rows if (found := row.finding(request, settings)) is not None)
    return Risk(findings) if findings else NO_RISK


def finding(row_id: str, *, undetermined: bool = False) -> Finding:
    """The finding of a row that was noticed elsewhere: R05 by the gateway, which refuses `Impersonate-*` headers.

    Raises KeyError when there is no such row.
    """
    return ROWS_BY_ID[row_id].finding(undetermined=undetermined)


def needs_object(request: Request) -> bool:
    """Does any row that may match this request read its body: the object, the patch, or the options of a delete?"""
    wanted = _BODY_READS.get(request.verb)
    return wanted is not None and any(
        condition.reads in wanted for condition in _conditions(candidates(request))
    )


def needs_live(request: Request, patch: object | None = None) -> bool:
    """Does any row that may match this request compare with the live object (or need the outcome of a patch)?

    patch: the decoded body of a patch, when it is at hand; without it the body of the request is read, if that is
    there already. What the patch provably leaves alone needs no comparison; `assess` sees the same proof in the body.
    """
    if request.verb == "update":
        return any(condition.reads is Reads.CHANGE for condition in _conditions(candidates(request)))
    if request.verb != "patch":
        return False
    conditions = [item for item in _conditions(candidates(request)) if item.reads in _OUTCOME_READS]
    if not all(condition.paths for condition in conditions):
        return True
    paths = {path for condition in conditions for path in condition.paths}
    # A patch too large for the proof in `assess` is not worth one here.
    known = document(request) if patch is None or len(request.body) > LARGEST_PROOF else patch
    return bool(paths) and patch_touches(known, request.content_type, paths)


_OUTCOME_READS = frozenset({Reads.OBJECT, Reads.CHANGE})
_BODY_READS = {
    "create": frozenset({Reads.NAME, Reads.OBJECT, Reads.CHANGE}),
    "update": _OUTCOME_READS,
    "patch": _OUTCOME_READS,
    "delete": frozenset({Reads.OPTIONS}),
    "deletecollection": frozenset({Reads.OPTIONS}),
}


def _conditions(rows: tuple[Candidate, ...]) -> list[Condition]:
    return [condition for row in rows for conditions in row.clauses for condition in conditions]
