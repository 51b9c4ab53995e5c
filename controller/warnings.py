"""What a policy asks for that is not done as written. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Obj = Mapping[str, Any]


def policy_warnings(policy: Obj) -> tuple[str, ...]:
    """Sentences for people, in the order of the spec; none when everything is done as written."""
    return tuple(_identity_warnings(policy.get("spec") or {}))


def _identity_warnings(spec: Obj) -> list[str]:
    identity = spec.get("identity") or {}
    if not identity.get("user") or not spec.get("access"):
        return []
    cause = "whoever can log in as this user has the rights of spec.access without the gateway"
    return [
        f"spec.identity.user: {cause}; prefer a service account, or a name that no authenticator hands out"
    ]
