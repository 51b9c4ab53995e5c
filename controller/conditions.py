"""What a policy's status says: conditions with reasons and every fault by its path. Pure; `now` is an
argument."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chaperone.core.policy import BrokenPolicy, Masking, Policy
from controller.bindings import Place

Status = dict[str, Any]

MESSAGE_LIMIT = 32_768
"""What Kubernetes lets a condition's message hold."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition before it gets its times."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the bindings of one policy are. problems: sentences that name the object and the remedy."""

    bindings: tuple[Place, ...] = ()
    problems: tuple[str, ...] = ()
    reason: str = ""


def policy_status(
    policy: Policy | BrokenPolicy,
    standing: Standing | None,
    before: Mapping[str, Any],
    now: float,
) -> Status:
    """The status of one AgentPolicy.

    standing None: bindings are managed elsewhere, nothing is said of them. warnings: what the policy asks
    for and this version does not do. before: the status so far; a condition that does not change keeps its
    transition time.
    """
    conditions = [_ready(policy), _enforceable(policy), _masking(policy)]
    if standing is not None:
        conditions.append(_bound(policy, standing))
    return {
        "observedGeneration": policy.generation,
        "conditions": dated(conditions, before.get("conditions") or (), policy.generation, now),
        "bindings": [_reference(place) for place in (standing.bindings if standing else ())],
    }


def dated(
    conditions: Iterable[Condition], before: Iterable[Mapping[str, Any]], generation: int, now: float
) -> list[dict[str, Any]]:
    """Conditions with lastTransitionTime: kept while the status stays the same, `now` when it flips."""
    known = {str(condition.get("type")): condition for condition in before}
    return [_dated(condition, known.get(condition.type), generation, now) for condition in conditions]


def timestamp(now: float) -> str:
    """Unix seconds as the API server writes times."""
    return datetime.fromtimestamp(int(now), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dated(
    condition: Condition, before: Mapping[str, Any] | None, generation: int, now: float
) -> dict[str, Any]:
    status = "True" if condition.holds else "False"
    since = before.get("lastTransitionTime") if before and before.get("status") == status else None
    return {
        "type": condition.type,
        "status": status,
        "reason": condition.reason,
        "message": condition.message[:MESSAGE_LIMIT],
        "observedGeneration": generation,
        "lastTransitionTime": since or timestamp(now),
    }


def _ready(policy: Policy | BrokenPolicy) -> Condition:
    if isinstance(policy, Policy):
        return Condition("Ready", holds=True, reason="Compiled", message="the policy is in force")
    faults = "; ".join(f"{fault.path}: {fault.message}" for fault in policy.faults)
    message = f"everybody whom this policy may govern is refused until it is corrected: {faults}"
    return Condition("Ready", holds=False, reason="Invalid", message=message)


def _enforceable(policy: Policy | BrokenPolicy) -> Condition:
    if isinstance(policy, BrokenPolicy):
        return Condition("Enforceable", holds=False, reason="Invalid", message="see the condition Ready")
    if policy.warnings:
        message = "; ".join(f"{fault.path}: {fault.message}" for fault in policy.warnings)
        return Condition("Enforceable", holds=False, reason="NotAsMeant", message=message)
    return Condition(
        "Enforceable", holds=True, reason="AsMeant", message="all that the policy asks for is done"
    )


def _masking(policy: Policy | BrokenPolicy) -> Condition:
    """Off is said aloud, with the reason; the printer column shows the profile."""
    if isinstance(policy, BrokenPolicy):
        return Condition(
            "Masking", holds=False, reason="Invalid", message="nothing is shown: see the condition Ready"
        )
    masking = policy.masking
    if masking.is_off:
        message = f"these agents see every secret they can read: {masking.reason}"
        return Condition("Masking", holds=False, reason="Off", message=message)
    return Condition("Masking", holds=True, reason=masking.profile, message=_hidden(masking))


def _hidden(masking: Masking) -> str:
    counts = (
        (len(masking.keys), "key"),
        (len(masking.patterns), "pattern"),
        (len(masking.exempt), "exemption"),
    )
    added = [f"{number} {word}{'' if number == 1 else 's'}" for number, word in counts if number]
    return "secrets are masked" + (f", with {', '.join(added)} of its own" if added else "")


def _bound(policy: Policy | BrokenPolicy, standing: Standing) -> Condition:
    if isinstance(policy, BrokenPolicy):
        message = "bindings are left as they were until the policy is corrected"
        return Condition("BindingsReady", holds=False, reason="Invalid", message=message)
    if standing.problems:
        reason = standing.reason or "Incomplete"
        return Condition("BindingsReady", holds=False, reason=reason, message="; ".join(standing.problems))
    message = f"{len(standing.bindings)} bindings in place"
    return Condition("BindingsReady", holds=True, reason="Bound", message=message)


def _reference(place: Place) -> dict[str, str]:
    namespace = {"namespace": place.namespace} if place.namespace else {}
    return {"kind": place.kind, **namespace, "name": place.name}
