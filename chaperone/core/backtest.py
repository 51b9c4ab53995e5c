"""Recorded requests judged again under other policies: what would be decided differently. Pure.

The risk of each request is the one that was found when its body was at hand. What a record does not hold, the body and
the claims of the token, an expression cannot see: a verdict that rests on one is said to be unsure, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.gate import governance, judge
from chaperone.core.policy import PolicySet, Question
from chaperone.core.recorded_request import Recorded, read
from chaperone.core.verdict import Action


@dataclass(frozen=True, slots=True)
class Difference:
    """One request that would be decided differently. policy, rule: what would decide now. unsure: why that cannot be told
    for certain, "" when it can."""

    recorded: Recorded
    would: Action
    policy: str
    rule: str
    reason: str
    unsure: str = ""


@dataclass(slots=True)
class Result:
    """judged: requests; same: of these, decided as before. left_out: why records were not judged, counted."""

    judged: int = 0
    same: int = 0
    differences: list[Difference] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def backtest(records: Iterable[Mapping[str, Any]], policies: PolicySet, now: float) -> Result:
    """Every record that ends a request, under these policies and no others."""
    result = Result()
    for record in records:
        recorded = read(record)
        if isinstance(recorded, str):
            result.left_out[recorded] = result.left_out.get(recorded, 0) + 1
            continue
        result.judged += 1
        difference = _judged(recorded, policies, now)
        if difference is None:
            result.same += 1
        else:
            result.differences.append(difference)
    return result


def _judged(recorded: Recorded, policies: PolicySet, now: float) -> Difference | None:
    governed = governance(recorded.caller, policies)
    verdict = judge(
        recorded.request, recorded.caller, policies, None, now, governed=governed, risk=recorded.risk
    )
    question = Question(recorded.request, recorded.caller)
    errors = [
        match.error
        for policy in governed.policies
        if (match := policy.first_match(recorded.request, recorded.caller, question)) is not None
        and match.error
    ]
    unsure = f"an expression needs what records do not hold: {errors[0]}" if errors else ""
    if verdict.action is recorded.decided and not unsure:
        return None
    return Difference(recorded, verdict.action, verdict.policy, verdict.rule, verdict.reason, unsure)
