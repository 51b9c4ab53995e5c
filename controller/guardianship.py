"""Who may be impersonated and who is guarded, kept equal to whom policies hand out. Pure: live objects in,
changes out.

The impersonator's roles name the identities of policies that compile: nothing else may be impersonated.
The guard names the identity of every policy, compiled or not: a broken policy must not set its identity free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chaperone.core.identity import Identity
from chaperone.kube.admission_policies import agent_conditions
from chaperone.kube.configurations import GUARDED_FROM, guard_conditions
from chaperone.kube.rbac import (
    IMPERSONATOR,
    impersonated,
    impersonator_cluster_rules,
    impersonator_manifests,
    impersonator_namespace_rules,
)

Obj = Mapping[str, Any]
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoleChanges:
    """cluster_rules: new rules for the ClusterRole, None when they are right. rules: new rules by
    namespace, for Roles that are missing or wrong. bind: RoleBindings that are missing. retire: namespaces
    whose Role and RoleBinding go."""

    cluster_rules: tuple[Manifest, ...] | None = None
    rules: Mapping[str, tuple[Manifest, ...]] | None = None
    bind: tuple[Manifest, ...] = ()
    retire: tuple[str, ...] = ()


def role_changes(
    identities: Iterable[Identity],
    home: str,
    *,
    cluster_role: Obj,
    roles: Mapping[str, Obj],
    bindings: Iterable[str],
    namespaces: frozenset[str],
) -> RoleChanges:
    """What brings the impersonator's roles to exactly these identities.

    home: our namespace. roles: live Roles of the impersonator's name by namespace; bindings: namespaces
    that have its RoleBinding; namespaces: all that exist (there is nothing to impersonate in one that does
    not).
    """
    handed_out = tuple(identities)
    whom = impersonated(handed_out)
    wanted = {
        namespace: tuple(impersonator_namespace_rules(whom, namespace))
        for namespace in whom.namespaces
        if namespace in namespaces
    }
    cluster_rules = tuple(impersonator_cluster_rules(whom))
    bound = frozenset(bindings)
    return RoleChanges(
        cluster_rules=None if _rules(cluster_role) == cluster_rules else cluster_rules,
        rules={space: rules for space, rules in wanted.items() if _rules(roles.get(space)) != rules},
        bind=tuple(
            manifest
            for manifest in impersonator_manifests(home, handed_out)
            if manifest["kind"] == "RoleBinding" and manifest["metadata"]["namespace"] in set(wanted) - bound
        ),
        retire=tuple(sorted(set(roles) - set(wanted))),
    )


def empty_role(namespace: str, home: str) -> Manifest:
    """The impersonator's Role without rules: making it needs no right that the controller does not hold."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {
            "name": IMPERSONATOR,
            "namespace": namespace,
            "annotations": {"chaperone.dev/home": home},
        },
        "rules": [],
    }


def guard_change(
    live: Obj, identities: Iterable[Identity], server_version: tuple[int, int]
) -> Manifest | None:
    """The agent guard's configuration with the right matchConditions, or None when there is nothing to
    change.

    Where the server has no matchConditions the guard looks at everybody's gated requests: nothing to keep
    in step.
    """
    if server_version < GUARDED_FROM:
        return None
    conditions = guard_conditions(identity.username for identity in identities)
    webhooks = list(live.get("webhooks") or [])
    if all(webhook.get("matchConditions") == conditions for webhook in webhooks):
        return None
    return {**live, "webhooks": [{**webhook, "matchConditions": conditions} for webhook in webhooks]}


def admission_policy_change(live: Obj, identities: Iterable[Identity]) -> Manifest | None:
    """A policy about agents with the right matchConditions, or None when there is nothing to change."""
    conditions = agent_conditions(identity.username for identity in identities)
    if live["spec"].get("matchConditions") == conditions:
        return None
    return {**live, "spec": {**live["spec"], "matchConditions": conditions}}


def _rules(role: Obj | None) -> tuple[Manifest, ...] | None:
    return None if role is None else tuple(role.get("rules") or ())
