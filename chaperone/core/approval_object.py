"""ApprovalRequests as objects: read from the API, built for it, and the patches that move them. No rules
here.

What is written for people to look at is escaped; what decides is the digest. No raw body is stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from chaperone.core.approval_target import NO_TARGET, Target, target_spec
from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.request import Request
from chaperone.core.timestamp import rfc3339, rfc3339_micro, unix_seconds
from chaperone.core.verdict import Risk

API_VERSION = "chaperone.dev/v1alpha1"
KIND = "ApprovalRequest"
MAX_REASON = 1024
MAX_COMMAND = 4096
"""Longest free text of the requester, and longest shown command, in characters."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Phase(Enum):
    PENDING = "Pending"
    APPROVED = "Approved"
    DENIED = "Denied"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"
    EXECUTING = "Executing"
    EXECUTED = "Executed"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Review:
    username: str
    decision: str  # "Approved" or "Denied"
    digest: str
    time: str = ""  # RFC 3339
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An ApprovalRequest object, read. Times are Unix seconds, 0.0 when unset.

    decided_at: when it was last approved, denied or cancelled. executed_at: when the outcome of its
    execution was written.
    """

    name: str
    uid: str
    resource_version: str
    digest: str
    phase: Phase
    policy: str
    policy_generation: int
    required: int
    reviews: tuple[Review, ...] = ()
    target: Target = NO_TARGET
    requester: str = ""
    issuer: str = ""
    run: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    decided_at: float = 0.0
    use_before: float = 0.0
    claimed_by: str = ""
    request: Mapping[str, Any] | None = None  # spec.request as stored
    subject: str = ""
    agent: str = ""
    rule: str = ""
    type: str = "Request"  # or "Access"
    executed_at: float = 0.0
    access: Mapping[str, Any] | None = None  # spec.access as stored
    grant_expires_at: float = 0.0
    bindings: tuple[tuple[str, str], ...] = ()  # of a grant: (namespace, name)


def read(obj: Mapping[str, Any]) -> Approval:
    """An ApprovalRequest object as an Approval. Raises ValueError naming the field when it cannot be read."""
    source = _Source(obj)
    digest, required = source.text("spec.digest"), source.integer("spec.required", 1)
    if not _DIGEST.fullmatch(digest):
        raise ValueError("spec.digest is not sha256: and 64 hexadecimal digits")
    if required < 1:
        raise ValueError("spec.required is less than 1")
    reviews = tuple(_review(entry) for entry in source.entries("status.reviews"))
    return Approval(
        name=source.text("metadata.name"),
        uid=source.text("metadata.uid"),
        resource_version=source.text("metadata.resourceVersion", ""),
        digest=digest,
        phase=_phase(source.text("status.phase", "") or Phase.PENDING.value),
        policy=source.text("spec.policy.name"),
        policy_generation=source.integer("spec.policy.generation"),
        required=required,
        reviews=reviews,
        target=_target(source),
        requester=source.text("spec.requester.username"),
        issuer=source.text("spec.requester.issuer", ""),
        run=source.text("spec.requester.run", ""),
        created_at=source.moment("metadata.creationTimestamp"),
        expires_at=source.moment("spec.expiresAt"),
        decided_at=_decided_at(source, reviews),
        use_before=source.moment("status.useBefore"),
        claimed_by=source.text("status.claimedBy", ""),
        request=source.mapping("spec.request"),
        subject=source.text("spec.requester.subject", ""),
        agent=source.text("spec.requester.agent", ""),
        rule=source.text("spec.policy.rule", ""),
        type=source.text("spec.type", "Request"),
        executed_at=source.moment("status.execution.time"),
        access=source.mapping("spec.access"),
        grant_expires_at=source.moment("status.grant.expiresAt"),
        bindings=tuple(_binding(entry) for entry in source.entries("status.grant.bindings")),
    )


def build(
    *,
    name: str,
    request: Request,
    caller: Caller,
    target: Target,
    digest: str,
    body_sha256: str,
    policy: str,
    policy_generation: int,
    rule: str,
    risk: Risk,
    required: int,
    expires_at: float,
    use_within: float,
    reason: str = "",
    preview: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ApprovalRequest to create for one held request. expires_at: Unix seconds; use_within: seconds. body_sha256: as
    `digest.body_sha256` gives it. reason, preview: untrusted words; the reason is escaped and bounded
    here.
    """
    spec: dict[str, Any] = {
        "type": "Request",
        "requester": requester_of(caller),
        "request": _request(request, body_sha256),
        "digest": digest,
        "policy": {"name": policy, "generation": policy_generation, "rule": rule},
        "risk": {
            "level": risk.level.word,
            "reasons": [f"{item.row}: {item.reason}" for item in risk.findings],
        },
        "required": required,
        "expiresAt": rfc3339(expires_at),
        "useWithin": f"{use_within:.9g}s",
    }
    if target != NO_TARGET:
        spec["target"] = target_spec(target)
    if reason:
        spec["reason"] = visible(reason, MAX_REASON)
    if preview is not None:
        spec["preview"] = dict(preview)
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def uncounted(required: int) -> dict[str, Any]:
    """The merge patch that fills the column of approvals before anybody has reviewed."""
    return {"status": {"approvals": f"0/{required}"}}


def decided(approval: Approval, phase: Phase, now: float, use_within: float) -> dict[str, Any]:
    """The status fields of a decision: phase, its condition, and for an approval the time it must be used
    by.
    """
    condition = {
        "type": phase.value,
        "status": "True",
        "reason": "Reviewed",
        "message": f"{len(approval.reviews)} review(s), {approval.required} approval(s) required",
        "lastTransitionTime": rfc3339(now),
    }
    fields: dict[str, Any] = {"phase": phase.value, "conditions": [condition]}
    if phase is Phase.APPROVED:
        fields["useBefore"] = rfc3339(now + use_within)
    return fields


def claim(approval: Approval, claimed_by: str) -> dict[str, Any]:
    """The merge patch of the status that claims exactly the approval that was read (compare and swap)."""
    return {
        "metadata": {"resourceVersion": approval.resource_version},
        "status": {"phase": Phase.EXECUTING.value, "claimedBy": claimed_by},
    }


def finished(phase: Phase, *, audit_id: str, code: int, now: float) -> dict[str, Any]:
    """The merge patch of the status that ends a claimed approval: Executed, Failed or Unknown. It carries no
    resourceVersion: only the claimant may write, and the outcome must not be lost to a conflict."""
    execution: dict[str, Any] = {"code": code, "time": rfc3339_micro(now)}
    if audit_id:  # Kubernetes 1.20 takes an empty text in a merge patch for null
        execution["auditID"] = audit_id
    return {"status": {"phase": phase.value, "execution": execution}}


def requester_of(caller: Caller) -> dict[str, Any]:
    """spec.requester of an agent."""
    words = {
        "username": caller.username,
        "issuer": caller.issuer,
        "subject": caller.subject,
        "run": caller.run,
        "agent": caller.agent,
    }
    return {**{key: value for key, value in words.items() if value}, "groups": list(caller.groups)}


def _request(request: Request, body_sha256: str) -> dict[str, Any]:
    words = {
        "verb": request.verb,
        "apiGroup": request.group,
        "apiVersion": request.version,
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": visible(request.namespace),
        "name": visible(request.name),
        "path": request.path,
        "query": request.query,
        "contentType": visible(request.content_type, 200),
        "bodySHA256": body_sha256,
    }
    shown: dict[str, Any] = {key: value for key, value in words.items() if value}
    command = [value for key, value in request.parameters if key == "command"]
    if request.subresource == "exec" and command:
        shown["command"] = _bounded(command)
    return shown


def _bounded(command: Sequence[str]) -> list[str]:
    """The command in words that hide nothing; how much was left out, where it is too long."""
    shown: list[str] = []
    left = MAX_COMMAND
    for at, word in enumerate(command):
        if left <= 0:
            return [*shown, f"… and {len(command) - at} more"]
        shown.append(visible(word, left))
        left -= len(shown[-1]) + 1
    return shown


def _target(source: _Source) -> Target:
    generation = source.integer("spec.target.generation", 0)
    state = source.text("spec.target.stateSHA256", "")
    version = source.text("spec.target.resourceVersion", "")
    known = (generation and f"g{generation}") or (state and f"s{state}") or (version and f"r{version}")
    return Target(source.text("spec.target.uid", ""), known or "")


def _phase(text: str) -> Phase:
    try:
        return Phase(text)
    except ValueError as error:
        raise ValueError(f"status.phase {visible(text, 40)!r} is not a phase") from error


def _review(entry: Mapping[str, Any]) -> Review:
    source = _Source(entry, "status.reviews[].")
    return Review(
        username=source.text("username"),
        decision=source.text("decision"),
        digest=source.text("digest", ""),
        time=source.text("time", ""),
        reason=source.text("reason", ""),
    )


def _binding(entry: Mapping[str, Any]) -> tuple[str, str]:
    source = _Source(entry, "status.grant.bindings[].")
    return source.text("namespace"), source.text("name")


def _decided_at(source: _Source, reviews: tuple[Review, ...]) -> float:
    """By the conditions that decisions left, an approved one can be denied or cancelled yet; else by the last review."""
    deciding = (Phase.APPROVED.value, Phase.DENIED.value, Phase.CANCELLED.value)
    left = [
        _Source(entry, "status.conditions[].").moment("lastTransitionTime")
        for entry in source.entries("status.conditions")
        if entry.get("type") in deciding
    ]
    return max(left or [unix_seconds(review.time) for review in reviews if review.time], default=0.0)


@dataclass(frozen=True, slots=True)
class _Source:
    """An object of which fields are asked by their path. What is missing without a default, or of another
    kind, raises ValueError.
    """

    obj: Any
    place: str = ""

    def text(self, path: str, default: str | None = None) -> str:
        value = self._value(path)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (default is None and not value):
            raise ValueError(f"{self.place}{path} is not a text")
        return value

    def integer(self, path: str, default: int | None = None) -> int:
        value = self._value(path)
        if value is None and default is not None:
            return default
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{self.place}{path} is not an integer")  # noqa: TRY004  one kind for all faults
        return value

    def moment(self, path: str) -> float:
        text = self.text(path, "")
        try:
            return unix_seconds(text) if text else 0.0
        except ValueError as error:
            raise ValueError(f"{self.place}{path} is {error}") from error

    def mapping(self, path: str) -> Mapping[str, Any] | None:
        value = self._value(path)
        if value is not None and not isinstance(value, Mapping):
            raise ValueError(f"{self.place}{path} is not an object")
        return value

    def entries(self, path: str) -> Sequence[Mapping[str, Any]]:
        value = self._value(path)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise ValueError(f"{self.place}{path} is not a list of objects")
        return value

    def _value(self, path: str) -> Any:
        value = self.obj
        for at, key in enumerate(path.split(".")):
            if value is None:
                return None
            if not isinstance(value, Mapping):
                where = ".".join(path.split(".")[:at])
                raise ValueError(f"{self.place}{where} is not an object")  # noqa: TRY004
            value = value.get(key)
        return value
