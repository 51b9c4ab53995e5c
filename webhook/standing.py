"""What the webhook knows of policies and of powerful roles, and how sure it may be of it.

Five lists and watches feed one snapshot. Who is guarded is remembered from the last good list, however old
that is; whether the rest may still be believed is a question of age. RBAC that is not known or too old
leaves the risk catalogue's questions open, and open questions count as matched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from chaperone.core.policy import Policy, PolicySet, RiskSettings, policy_set
from chaperone.core.rights import survey
from chaperone.kube.identities import named_identities
from chaperone.kube.official import (
    AGENT_POLICIES,
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Obj,
    Resource,
)

log = logging.getLogger(__name__)

Objects = tuple[Obj, ...]
OnChange = Callable[[Objects], None]

RIGHTS = (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
"""In the order in which `survey` takes them."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All policies at one moment. guarded: the usernames that policies hand out, broken policies included."""

    policies: PolicySet = field(default_factory=PolicySet)
    by_name: Mapping[str, Policy] = field(default_factory=dict)
    guarded: frozenset[str] = frozenset()


class Aged(Protocol):
    """What is used of `chaperone.kube.cache.Cache`: seconds since the API server last confirmed it."""

    def age(self) -> float: ...


class Standing:
    """The newest snapshot. Caches write through `follow`; everything else may be called from any thread."""

    def __init__(self, risk_settings: RiskSettings, max_age: float) -> None:
        self._base = risk_settings
        self._surveyed = risk_settings
        self._max_age = max_age
        self._snapshot: Snapshot | None = None
        self._last_rated: tuple[Snapshot, RiskSettings, Snapshot] | None = None
        self._caches: dict[Resource, Aged] = {}
        self._rights: dict[Resource, Objects] = {}
        self._lock = threading.Lock()

    def follow(self, make_cache: Callable[[str, OnChange], Aged]) -> None:
        """Make one cache a kind, given its path and what to call on a change."""
        self._caches[AGENT_POLICIES] = make_cache(AGENT_POLICIES.path(), self._policies_changed)
        for resource in RIGHTS:
            self._caches[resource] = make_cache(resource.path(), self._rights_follower(resource))

    def latest(self) -> Snapshot | None:
        """The last good snapshot, however old. None before the first list."""
        return self._snapshot

    def fresh(self) -> Snapshot | None:
        """The snapshot while it may be believed, otherwise None."""
        found = self._snapshot
        if found is None or not self._is_fresh(AGENT_POLICIES):
            return None
        sure = all(self._is_fresh(resource) for resource in RIGHTS)
        return self._rated(found, self._surveyed if sure else self._base)

    def _rated(self, found: Snapshot, risk_settings: RiskSettings) -> Snapshot:
        """The snapshot with these risk settings; the last one is kept, for the next review asks for the same."""
        kept = self._last_rated
        if kept is None or kept[0] is not found or kept[1] is not risk_settings:
            rated = replace(found, policies=replace(found.policies, risk_settings=risk_settings))
            self._last_rated = kept = (found, risk_settings, rated)
        return kept[2]

    def _is_fresh(self, resource: Resource) -> bool:
        cache = self._caches.get(resource)
        return cache is not None and cache.age() <= self._max_age

    def _policies_changed(self, objects: Objects) -> None:
        self._snapshot = snapshot(objects)
        log.info("%d policies hand out %d identities", len(objects), len(self._snapshot.guarded))

    def _rights_follower(self, resource: Resource) -> OnChange:
        def changed(objects: Objects) -> None:
            with self._lock:
                self._rights[resource] = objects
                if len(self._rights) == len(RIGHTS):
                    self._surveyed = self._survey()

        return changed

    def _survey(self) -> RiskSettings:
        found = survey(*(self._rights[resource] for resource in RIGHTS))
        return replace(
            self._base, powerful_roles=found.powerful_roles, privileged_accounts=found.privileged_accounts
        )


def snapshot(objects: tuple[Mapping[str, Any], ...]) -> Snapshot:
    """Compile all policies and collect whom they hand out. Pure."""
    compiled = policy_set(objects)
    guarded = frozenset(identity.username for identity in named_identities(objects))
    return Snapshot(compiled, {policy.name: policy for policy in compiled.policies}, guarded)
