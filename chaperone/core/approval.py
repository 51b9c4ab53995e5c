"""The life of an ApprovalRequest as a table, and the questions asked of it. No I/O: `now` is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


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


class Actor(Enum):
    """Who moves a phase: people only through reviews (the webhook counts them), the controller, the gateway."""

    REVIEW = "review"
    REQUESTER = "requester"
    CONTROLLER = "controller"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Review:
    username: str
    decision: str  # "Approved" or "Denied"
    digest: str
    time: str = ""  # RFC 3339
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The live object as observed when the request was held. uid "" when there is none (create, collections).

    version: its metadata.generation as "g<N>", or "r<resourceVersion>" where a kind keeps no generation.
    """

    uid: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An ApprovalRequest object, read. Times are Unix seconds, 0.0 when unset."""

    name: str
    uid: str
    resource_version: str
    digest: str
    phase: Phase
    policy: str
    policy_generation: int
    required: int
    reviews: tuple[Review, ...] = ()
    target: Target = Target()
    requester: str = ""
    issuer: str = ""
    run: str = ""
    created_at: float = 0.0
    expires_at: float = 0.0
    decided_at: float = 0.0
    use_before: float = 0.0
    claimed_by: str = ""
    request: Mapping[str, Any] | None = None  # spec.request as stored


def read(obj: Mapping[str, Any]) -> Approval:
    """An ApprovalRequest object as an Approval. Raises ValueError naming the field when it cannot be read."""
    raise NotImplementedError
