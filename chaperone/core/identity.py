"""Who calls (from a verified token) and whom the gateway impersonates for them (from a policy).

Nothing here verifies a signature; it maps, checks and represents. An identity that is empty, that claims a `system:`
name, or that cannot travel in a header is refused, never repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

EXTRA_PREFIX = "chaperone.dev/"
EXTRA_RUN = EXTRA_PREFIX + "run"
EXTRA_AGENT = EXTRA_PREFIX + "agent"
EXTRA_POLICY = EXTRA_PREFIX + "policy"
EXTRA_SUBJECT = EXTRA_PREFIX + "subject"
EXTRA_APPROVAL = EXTRA_PREFIX + "approval"
"""The uid of the ApprovalRequest that a forwarded request spends."""
EXTRA_APPROVAL_NAME = EXTRA_PREFIX + "approval-name"
"""Its name, so that the webhook can fetch it without a search; the uid still decides."""
EXTRA_KEYS = (EXTRA_RUN, EXTRA_AGENT, EXTRA_POLICY, EXTRA_SUBJECT, EXTRA_APPROVAL, EXTRA_APPROVAL_NAME)
"""Every key the gateway may send; RBAC must name each (resource `userextras/<key>`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The agent behind a request; every field comes from a verified token.

    subject: the raw `sub`; username and groups: after the issuer's claim mappings; run, model, agent: from the `run:`
    mappings of the issuer ("" when the token does not say). claims: all verified claims, for CEL. expires_at: Unix s.
    """

    issuer: str
    subject: str
    username: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    run: str = ""
    model: str = ""
    agent: str = ""
    claims: Mapping[str, Any] = field(default_factory=dict)
    expires_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Identity:
    """A Kubernetes identity that a policy hands out.

    username "system:serviceaccount:NS:NAME" with no groups for a service account (the API server adds the service
    account groups itself), otherwise a user with exactly these groups.
    """

    username: str
    groups: tuple[str, ...] = ()


def impersonation(
    identity: Identity, caller: Caller, policies: Sequence[str], *, approval: tuple[str, str] | None = None
) -> tuple[tuple[str, str], ...]:
    """The complete set of impersonation headers for one upstream request, names and values ready for the wire.

    policies: names of the governing policies, joined by "," in one value. approval: (uid, name) when one is spent.
    Raises ValueError when a value cannot be represented in a header (then nothing may be forwarded).
    """
    raise NotImplementedError
