"""Answers that API clients understand: `metav1.Status` objects, and messages that a model can act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.request import Request
from chaperone.core.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of details.causes: a machine-readable reason, the field it is about, a message."""

    reason: str
    message: str
    field: str = ""


def status(
    code: int,
    message: str,
    *,
    reason: str = "",
    request: Request | None = None,
    causes: Sequence[Cause] = (),
    retry_after: int | None = None,
) -> dict[str, Any]:
    """A `metav1.Status` failure. reason: derived from the code as the API server does when "". request: fills
    details.name, group, kind (its resource). retry_after: whole seconds, details.retryAfterSeconds."""
    raise NotImplementedError


def denied(request: Request, verdict: Verdict) -> dict[str, Any]:
    """403 for a Deny: who denied (policy and rule), why, the risk rows, and what to do instead."""
    raise NotImplementedError


def unauthorized(message: str = "") -> dict[str, Any]:
    """401 as the API server words it; the reason goes to the audit record, not to the client."""
    raise NotImplementedError
