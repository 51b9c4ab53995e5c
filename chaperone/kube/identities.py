"""Which Kubernetes identities policies hand out, read leniently from AgentPolicy objects. Pure.

The compiled policies say whom the gateway may become. This reading is for the opposite question, whom to
guard: a policy that does not compile must not set its identity free, so whatever names one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chaperone.core.identity import Identity
from chaperone.kube.rbac import SERVICE_ACCOUNT_PREFIX


def named_identities(policies: Iterable[Mapping[str, Any]]) -> frozenset[Identity]:
    """Every identity that any of these AgentPolicy objects names, however broken the rest of it is."""
    return frozenset(identity for policy in policies if (identity := named_identity(policy)) is not None)


def named_identity(policy: Mapping[str, Any]) -> Identity | None:
    """The identity in spec.identity, or None when it names none that could exist."""
    identity = _mapping(_mapping(policy.get("spec")).get("identity"))
    account = _mapping(identity.get("serviceAccount"))
    namespace, name = account.get("namespace"), account.get("name")
    if _is_text(namespace) and _is_text(name):
        return Identity(f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
    user = identity.get("user")
    if not _is_text(user):
        return None
    groups = identity.get("groups")
    return Identity(str(user), tuple(str(group) for group in groups) if isinstance(groups, list) else ())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""
