"""What ends a run: a person's word, its longest duration, and its number of changes. In words that say who can help."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from chaperone.core.legible import visible
from chaperone.core.policy import Policy
from chaperone.core.request import Request
from chaperone.core.session import RunKey, Termination

REVIEWS = frozenset({"authorization.k8s.io", "authentication.k8s.io"})
"""Groups in which a create only asks: `kubectl auth can-i` and `whoami` change nothing."""
_NO_WAY_ROUND = "Do not try to go on in another way."


@dataclass(frozen=True, slots=True)
class RunRefused:
    """reason: machine-readable, as in details.causes. field: of the policy or session that says so. message: for
    clients."""

    reason: str
    field: str
    message: str


def is_mutation(request: Request) -> bool:
    """Does it count as a change? What may change something does, streams into pods included; dry runs and questions
    about rights do not."""
    return not (request.is_read or request.dry_run or request.group in REVIEWS)


def terminated(key: RunKey, termination: Termination) -> RunRefused:
    how = f" {termination}" if str(termination) else " by a person"
    fresh = "" if key[2] else " It is let in again when a person deletes its AgentSession."
    return RunRefused(
        "RunTerminated",
        "spec.terminated",
        f"{_whose(key)} was terminated{how}. Nothing more of it is executed. {_NO_WAY_ROUND}{fresh}",
    )


def too_long(key: RunKey, policies: Iterable[Policy], limit: float, started: str) -> RunRefused:
    """started: RFC 3339."""
    return RunRefused(
        "MaxRunDuration",
        "spec.limits.maxRunDuration",
        f"{_whose(key)} began at {started} and has lasted longer than the {limit:g} seconds that "
        f"{_set_by(policies, 'max_run_duration', limit)} allows (limits.maxRunDuration). {_remedy(key)}",
    )


def too_many_mutations(key: RunKey, policies: Iterable[Policy], limit: int, made: int) -> RunRefused:
    return RunRefused(
        "MutationsPerRun",
        "spec.limits.mutationsPerRun",
        f"{_whose(key)} has made {made} changes, and {_set_by(policies, 'mutations_per_run', limit)} allows {limit} "
        f"(limits.mutationsPerRun); this one was not executed. {_remedy(key)}",
    )


def unwritten(key: RunKey) -> RunRefused:
    """Nobody could end a run that has no session."""
    return RunRefused(
        "NoSession",
        "",
        f"the AgentSession of {_whose(key)} cannot be written, so nobody could end the run; "
        "this change was not executed. Reads still work; try again later.",
    )


def _whose(key: RunKey) -> str:
    _, subject, run = key
    return f"run {visible(run, 120)}" if run else f"the session of {visible(subject, 120)}"


def _set_by(policies: Iterable[Policy], limit: str, value: float) -> str:
    names = [policy.name for policy in policies if getattr(policy.limits, limit) == value]
    return f"AgentPolicy {', '.join(names)}" if names else "its policy"


def _remedy(key: RunKey) -> str:
    anew = "a new run counts from zero" if key[2] else "it counts from zero once it has been idle long enough"
    return f"Whoever keeps that policy can raise the limit; {anew}."
