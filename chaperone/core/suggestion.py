"""The least AgentPolicy and roles that a run needed, from its audit records. Pure.

What was allowed is allowed, what was held asks for approval again, everything else is denied. Names are kept where an
object was named; reads of whole collections are as wide as they were. The result is a draft for people to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaperone.core.recorded_request import Recorded, read
from chaperone.core.verdict import Action

Obj = dict[str, Any]

RBAC = "rbac.authorization.k8s.io"
NOTHING_ELSE = {
    "name": "nothing-else",
    "action": "Deny",
    "message": "the run that this comes from needed nothing else",
}
MOST_NAMES = 20
"""Names that one rule lists; with more of them it is about all."""
_GLOB = frozenset("*?[]")
"""What a policy reads as a pattern. An agent may ask for a namespace of such a name and gets an empty list: left out."""
UNNAMED = frozenset({"create", "list", "watch", "deletecollection"})
"""RBAC cannot limit these by name, or not as clients ask them."""


class NothingToSuggestError(ValueError):
    """The records hold no request from which a policy could be made. The message says why."""


@dataclass(frozen=True, slots=True, order=True)
class _Need:
    """What was asked for, as RBAC counts it. namespace "": cluster-wide. name "": any."""

    namespace: str
    group: str
    resource: str
    verb: str
    name: str


def suggest(records: Iterable[Mapping[str, Any]], name: str) -> list[Obj]:
    """AgentPolicy, then ClusterRoles. Raises NothingToSuggestError."""
    known = [recorded for record in records if isinstance(recorded := read(record), Recorded)]
    done = [
        one for one in known if one.decided is not Action.DENY and one.request.is_resource and one.code < 400
    ]
    done = [
        one
        for one in done
        if not _GLOB & {*one.request.namespace, *one.request.name, *one.request.full_resource}
    ]
    if not done:
        raise NothingToSuggestError("no request of it was allowed or approved and then succeeded")
    if _GLOB & set(done[0].caller.username):
        raise NothingToSuggestError(
            "its user name would stand for others in a policy, where names are patterns"
        )
    needs = {
        action: {_need(one) for one in done if one.decided is action}
        for action in (Action.ALLOW, Action.HOLD)
    }
    roles = _roles(needs[Action.ALLOW] | needs[Action.HOLD], name)
    return [_policy(name, done, needs, roles), *(role for _, role in roles)]


def _need(one: Recorded) -> _Need:
    request = one.request
    name = "" if request.verb in UNNAMED and request.subresource != "eviction" else request.name
    namespace = "" if (request.group, request.resource) == ("", "namespaces") else request.namespace
    return _Need(namespace, request.group, request.full_resource, request.verb, name)


# Roles


def _roles(needs: Iterable[_Need], name: str) -> list[tuple[tuple[str, ...], Obj]]:
    """One ClusterRole for each set of namespaces that needs the same; (namespaces, role), () for the whole cluster."""
    by_namespace: dict[str, list[_Need]] = {}
    for need in sorted(needs):
        by_namespace.setdefault(need.namespace, []).append(need)
    alike: dict[str, tuple[list[str], list[Obj]]] = {}
    for namespace, wanted in by_namespace.items():
        rules = _rbac_rules(wanted)
        key = "" if not namespace else repr(rules)
        alike.setdefault(key, ([], rules))[0].append(namespace)
    return [
        (tuple(filter(None, namespaces)), _role(f"{name}-{number}", rules))
        for number, (namespaces, rules) in enumerate(alike.values(), 1)
    ]


def _role(name: str, rules: Sequence[Obj]) -> Obj:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": list(rules),
    }


def _rbac_rules(needs: Sequence[_Need]) -> list[Obj]:
    """Verbs with the same group, resource and names are one rule."""
    verbs: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    for (group, resource, verb), names in _named(needs).items():
        verbs.setdefault((group, resource, names), set()).add(verb)
    return [
        {
            "apiGroups": [group],
            "resources": [resource],
            "verbs": sorted(used),
            **({"resourceNames": list(names)} if names else {}),
        }
        for (group, resource, names), used in verbs.items()
    ]


def _named(needs: Iterable[_Need]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """Names by group, resource and verb; none where any is meant."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for need in needs:
        found.setdefault((need.group, need.resource, need.verb), set()).add(need.name)
    return {
        key: () if "" in names or len(names) > MOST_NAMES else tuple(sorted(names))
        for key, names in found.items()
    }


# The policy


def _policy(
    name: str,
    done: Sequence[Recorded],
    needs: Mapping[Action, set[_Need]],
    roles: Sequence[tuple[tuple[str, ...], Obj]],
) -> Obj:
    caller = done[0].caller
    access = [
        {
            "roleRef": {"kind": "ClusterRole", "name": role["metadata"]["name"]},
            **({"namespaces": list(namespaces)} if namespaces else {"clusterWide": True}),
        }
        for namespaces, role in roles
    ]
    spec = {
        "subjects": [{"issuer": caller.issuer, "usernames": [caller.username]}],
        "identity": {"serviceAccount": {"namespace": "agents", "name": name}},
        "access": access,
        "rules": [
            *_rules("asked", "RequireApproval", needs[Action.HOLD]),
            *_rules("needed", "Allow", needs[Action.ALLOW]),
            {
                "name": "nothing-else",
                "match": {"verbs": ["*"]},
                "action": "Deny",
                "message": "this run needed nothing else",
            },
        ],
    }
    return {
        "apiVersion": "chaperone.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


def _rules(prefix: str, action: str, needs: Iterable[_Need]) -> list[Obj]:
    """Verbs and namespaces with the same group, resource and names are one rule."""
    places: dict[tuple[str, str, str], list[_Need]] = {}
    for need in sorted(needs):
        places.setdefault((need.namespace, need.group, need.resource), []).append(need)
    merged: dict[str, tuple[Obj, list[str]]] = {}
    for (namespace, group, resource), wanted in places.items():
        for names, verbs in _by_names(wanted):
            match: Obj = {"verbs": verbs, "apiGroups": [group], "resources": [resource]}
            if names:
                match["names"] = list(names)
            merged.setdefault(repr((match, bool(namespace))), (match, []))[1].append(namespace)
    return [
        {
            "name": f"{prefix}-{number}-{_slug(match['resources'][0])}",
            "match": {**match, **({"namespaces": sorted(set(namespaces))} if namespaces[0] else {})},
            "action": action,
        }
        for number, (match, namespaces) in enumerate(merged.values(), 1)
    ]


def _by_names(needs: Sequence[_Need]) -> list[tuple[tuple[str, ...], list[str]]]:
    verbs: dict[tuple[str, ...], list[str]] = {}
    for (_, _, verb), names in sorted(_named(needs).items()):
        verbs.setdefault(names, []).append(verb)
    return list(verbs.items())


def _slug(resource: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", resource.lower()).strip("-")
