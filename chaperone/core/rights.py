"""Which roles are powerful, and which service accounts reach one. Pure: from listed RBAC objects to two sets.

A role is powerful when it can be turned into more than it says: all verbs, `bind`, `escalate` or `impersonate`, or a
write on all resources. What cannot be read counts as powerful. For a live ClusterRole with an aggregationRule its
own rules and those it selects are judged (the built-in `view` is such a role, and harmless); for a ClusterRole that
is being written the aggregationRule itself is the risk, which the risk catalogue checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

RoleKey = tuple[str, str]
"""(namespace, name) of a Role; ("", name) of a ClusterRole."""
Account = tuple[str, str]
"""(namespace, name) of a service account; (namespace, "*"): all of a namespace; ("*", "*"): all there are."""

AGGREGATE_TO = "rbac.authorization.k8s.io/aggregate-to-"
"""Labels with this prefix make the rules of a ClusterRole part of the built-in admin, edit or view."""

ALL_ACCOUNTS: Account = ("*", "*")

_GROWING_VERBS = frozenset({"*", "bind", "escalate", "impersonate"})
_WRITE_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
_SIGNING_VERBS = frozenset({"approve", "sign", "*"})


@dataclass(frozen=True, slots=True)
class Rights:
    """Both sets in the form in which RiskSettings wants them."""

    powerful_roles: frozenset[RoleKey] = frozenset()
    privileged_accounts: frozenset[Account] = frozenset()


def survey(
    roles: Iterable[Object],
    cluster_roles: Iterable[Object],
    role_bindings: Iterable[Object],
    cluster_role_bindings: Iterable[Object],
) -> Rights:
    """Read all RBAC objects of a cluster at one moment. Never raises."""
    known_cluster_roles = list(cluster_roles)
    powerful = frozenset(
        [_key(role) for role in roles if _is_powerful(_rules(role))]
        + [
            ("", _key(role)[1])
            for role in known_cluster_roles
            if _aggregate_is_powerful(role, known_cluster_roles)
        ]
    )
    accounts = frozenset(
        account
        for binding in (*role_bindings, *cluster_role_bindings)
        if (role := role_key(binding, _key(binding)[0])) is None or role in powerful
        for account in _accounts(binding)
    )
    return Rights(powerful, accounts)


def reaches(accounts: frozenset[Account], namespace: str, name: str) -> bool:
    """Is this service account among the accounts, by name or by group?

    namespace "": it is not known, so an account of that name in any namespace counts.
    """
    if not accounts:
        return False
    if not namespace:
        return any(account in (name, "*") for _, account in accounts)
    return not accounts.isdisjoint(((namespace, name), (namespace, "*"), ALL_ACCOUNTS))


def role_key(binding: Object, namespace: str) -> RoleKey | None:
    """The role that a binding in this namespace names; None when it cannot be read."""
    reference = binding.get("roleRef")
    if not isinstance(reference, Mapping):
        return None
    kind, name = reference.get("kind"), reference.get("name")
    if kind not in ("Role", "ClusterRole") or not isinstance(name, str) or not name:
        return None
    return (namespace if kind == "Role" else "", name)


def rules_are_powerful(rules: object) -> bool | None:
    """Can the holder of these rules gain more than they say? None: some of them cannot be read, and no other does."""
    return _any_rule(rules, _rule_is_powerful)


def rules_allow_signing(rules: object) -> bool | None:
    """May the holder of these rules approve certificates for a signer, or sign them? None: cannot be read."""
    return _any_rule(rules, _rule_allows_signing)


def _is_powerful(rules: object) -> bool:
    return rules_are_powerful(rules) is not False


def _any_rule(rules: object, test: Any) -> bool | None:
    if rules is None:
        return False
    if not isinstance(rules, list):
        return None
    answers = [test(rule) if isinstance(rule, Mapping) else None for rule in rules]
    if True in answers:
        return True
    return None if None in answers else False


def _rule_is_powerful(rule: Object) -> bool | None:
    verbs, resources = _words(rule.get("verbs")), _words(rule.get("resources"))
    if verbs is None:
        return None
    if verbs & _GROWING_VERBS:
        return True
    return bool(verbs & _WRITE_VERBS and "*" in resources) if resources is not None else None


def _rule_allows_signing(rule: Object) -> bool | None:
    verbs, groups, resources = (_words(rule.get(key)) for key in ("verbs", "apiGroups", "resources"))
    if verbs is None or groups is None or resources is None:
        return None
    return bool(
        verbs & _SIGNING_VERBS and groups & {"certificates.k8s.io", "*"} and resources & {"signers", "*"}
    )


def _words(value: object) -> frozenset[str] | None:
    if value is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return None
    return frozenset(value)


# Aggregation


def _aggregate_is_powerful(role: Object, cluster_roles: Sequence[Object]) -> bool:
    """Own rules, and those of every ClusterRole that the selectors choose: the cluster may not have added them yet."""
    aggregation = role.get("aggregationRule")
    if _is_powerful(_rules(role)):
        return True
    if aggregation is None:
        return False
    selectors = aggregation.get("clusterRoleSelectors") if isinstance(aggregation, Mapping) else aggregation
    if selectors is None:
        return False
    if not isinstance(selectors, list):
        return True
    return any(
        _selects(selector, other) and _is_powerful(_rules(other))
        for selector in selectors
        for other in cluster_roles
    )


def _selects(selector: object, role: Object) -> bool:
    """Does a label selector choose this role? An operator that is not known does (more rules, never fewer)."""
    if not isinstance(selector, Mapping):
        return True
    labels = _mapping(_mapping(role.get("metadata")).get("labels"))
    wanted = _mapping(selector.get("matchLabels"))
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted.items()) and (
        not isinstance(expressions, list) or all(_holds(expression, labels) for expression in expressions)
    )


def _holds(expression: object, labels: Object) -> bool:
    expression = _mapping(expression)
    key, values = expression.get("key"), expression.get("values") or []
    if not isinstance(key, str) or not isinstance(values, list):
        return True
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case _:
            return True


# Subjects


def _accounts(binding: Object) -> Iterator[Account]:
    subjects = binding.get("subjects")
    if subjects is None:
        return
    if not isinstance(subjects, list):
        yield ALL_ACCOUNTS
        return
    for subject in subjects:
        account = _account(_mapping(subject), _key(binding)[0])
        if account is not None:
            yield account


def _account(subject: Object, namespace: str) -> Account | None:
    """The service accounts that a subject stands for; None for people. Cannot be read: all of them."""
    kind, name = subject.get("kind"), subject.get("name")
    if not isinstance(kind, str) or not isinstance(name, str):
        return ALL_ACCOUNTS
    if kind == "ServiceAccount":
        own = subject.get("namespace") or namespace
        return (own, name) if isinstance(own, str) else ALL_ACCOUNTS
    return _group(name) if kind == "Group" else _user(name)


def _group(name: str) -> Account | None:
    if name in ("system:serviceaccounts", "system:authenticated"):
        return ALL_ACCOUNTS
    prefix, _, namespace = name.rpartition(":")
    return (namespace, "*") if prefix == "system:serviceaccounts" else None


def _user(name: str) -> Account | None:
    """A service account may also be bound by its user name."""
    parts = name.split(":")
    return (parts[2], parts[3]) if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else None


def _rules(role: Object) -> object:
    return role.get("rules")


def _key(obj: Object) -> tuple[str, str]:
    metadata = _mapping(obj.get("metadata"))
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or "")


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}
