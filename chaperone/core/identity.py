"""Who calls (from a verified token) and whom the gateway impersonates for them (from a policy).

Nothing here verifies a signature; it maps, checks and represents. An identity that is empty, that claims a
`system:` name, or that cannot travel in a header is refused, never repaired.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaperone.core.legible import visible

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

    subject: the raw `sub`; username and groups: after the issuer's claim mappings; run, model, agent: from
    the `run:` mappings of the issuer ("" when the token does not say). claims: all verified claims, for
    CEL. expires_at: Unix s.
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

    username "system:serviceaccount:NS:NAME" with no groups for a service account (the API server adds the
    service account groups itself), otherwise a user with exactly these groups.
    """

    username: str
    groups: tuple[str, ...] = ()


MAX_NAME = 512
"""Longest username or group."""
MAX_EXTRA = 1024
"""Longest value of one extra."""


def check_name(value: str) -> str:
    """Why a username or group from a token is refused, or "". Nothing is ever repaired: no trimming, no
    folding.
    """
    if not value:
        return "is empty"
    if len(value) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    if not value.isascii() or not value.isprintable():
        return "holds a control character or one outside of ASCII"
    if value != value.strip():
        return "begins or ends with a space"
    if value.lower().startswith("system:"):
        return "begins with system:, which only Kubernetes itself may use"
    return ""


def impersonation(
    identity: Identity, caller: Caller, policies: Sequence[str], *, approval: tuple[str, str] | None = None
) -> tuple[tuple[str, str], ...]:
    """The complete set of impersonation headers for one upstream request, names and values ready for the
    wire.

    policies: names of the governing policies, joined by "," in one value. approval: (uid, name) when one is
    spent. Raises ValueError when a value cannot be represented in a header (then nothing may be forwarded).
    """
    uid, name = approval or ("", "")
    if approval and not (uid and name):
        raise ValueError("an approval that is spent needs both its uid and its name")
    extras = (
        (EXTRA_RUN, caller.run),
        (EXTRA_AGENT, caller.agent),
        (EXTRA_POLICY, ",".join(policies)),
        (EXTRA_SUBJECT, caller.subject),
        (EXTRA_APPROVAL, uid),
        (EXTRA_APPROVAL_NAME, name),
    )
    return (
        ("Impersonate-User", _username(identity.username)),
        *(("Impersonate-Group", _group(group)) for group in identity.groups),
        *((_EXTRA_HEADERS[key], _extra(key, value)) for key, value in extras if value),
    )


_EXTRA_HEADERS = {key: "Impersonate-Extra-" + key.replace("/", "%2F") for key in EXTRA_KEYS}
_SERVICE_ACCOUNT = re.compile(
    r"system:serviceaccount:[a-z0-9]([a-z0-9-]*[a-z0-9])?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
)


def _username(value: str) -> str:
    """Without a user the API server would run the request as the gateway itself, so this is the last check."""
    fault = check_name(value)
    if fault and not (len(value) <= MAX_NAME and _SERVICE_ACCOUNT.fullmatch(value)):
        raise ValueError(f"the impersonated user {visible(value, 80)!r} {fault}")
    return value


def _group(value: str) -> str:
    fault = check_name(value)
    if fault:
        raise ValueError(f"the impersonated group {visible(value, 80)!r} {fault}")
    return value


def _extra(key: str, value: str) -> str:
    if len(value) > MAX_EXTRA:
        raise ValueError(f"the value of {key} is longer than {MAX_EXTRA} characters")
    if not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(f"the value of {key} cannot travel in a header: {visible(value, 80)!r}")
    return value
