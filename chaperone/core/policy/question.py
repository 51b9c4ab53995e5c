"""One request as rules see it: what it may amount to, where it may reach, and which facts an expression may read.

A rule that holds or denies must not be walked round, so for such rules a request also counts as what has the same
effect by another name:

| request                                          | counts for Deny and RequireApproval also as |
|--------------------------------------------------|---------------------------------------------|
| list, watch                                      | get (a list returns the objects whole)      |
| deletecollection                                 | delete                                      |
| update, patch                                    | each other                                  |
| server-side apply, update: no live object known  | create                                      |
| exec, attach, port-forward, proxy, by any method | get and create of that subresource          |
| create of pods/eviction                          | delete of the pod                           |
| update or patch of pods/ephemeralcontainers      | exec into the pod                           |
| list, watch, deletecollection over all namespaces| one in each namespace, and of each name     |
| create whose name is not known yet               | one of each name                            |

For Allow rules a request is only what it says, with one exception: what admission calls CONNECT is always `create`
(since 1.35 Kubernetes asks for that verb as well), so an exec by GET is not a read that anybody allowed.

Admission tells less than the gateway knows (`View`). An UPDATE may be an update or a patch, and of the caller only
what the gateway sent along is known. Facts that are not known are left out of the data of expressions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from chaperone.core.expression import Facts, facts
from chaperone.core.identity import EXTRA_APPROVAL, EXTRA_POLICY, Caller
from chaperone.core.policy.cluster_scope import CLUSTER_SCOPED
from chaperone.core.request import Origin, Request
from chaperone.core.verdict import Action

COLLECTION_VERBS = frozenset({"list", "watch", "deletecollection"})
_APPLY = "application/apply-patch+"
_CALLER_FACTS_SENT_ALONG = ("run", "agent", "subject")

Meaning = tuple[str, str, str]
"""Verb, resource, subresource."""
Kind = tuple[str, str, str, str, "View", bool]
"""Verb, group, resource, subresource, view, and whether it may create: all that a rule's verbs, apiGroups and
resources are compared with."""


class View(Enum):
    """Where a request is judged, and what is known there.

    GATEWAY: everything. FORWARDED: admission, sent by the gateway, which has already judged it with all facts.
    APPROVED: the same, with an approval to spend. DIRECT: admission, by somebody who holds the identity himself.
    """

    GATEWAY = "gateway"
    FORWARDED = "forwarded"
    APPROVED = "approved"
    DIRECT = "direct"

    # Members are keys of the busiest dictionary there is: identity is enough, and half as dear.
    __hash__ = object.__hash__


_SETTLED: Mapping[View, frozenset[Action]] = {
    View.GATEWAY: frozenset(),
    View.FORWARDED: frozenset({Action.ALLOW}),
    View.APPROVED: frozenset({Action.ALLOW, Action.HOLD}),
    View.DIRECT: frozenset(),
}


class Question:
    """A request and its caller, prepared once and put to any number of policies.

    namespace: of the object; a Namespace is in itself. name: "" when it is not known or there are many.
    key: kind and namespace, all that a rule is compared with but the name and the facts of its expression.
    """

    __slots__ = ("_facts", "caller", "key", "kind", "name", "namespace", "request", "view")

    def __init__(self, request: Request, caller: Caller) -> None:
        self.request = request
        self.caller = caller
        self.view = _view(request, caller)
        self.name = request.name or (_name_in_body(request) if request.verb == "create" else "")
        self.namespace = request.namespace
        if not self.namespace and request.resource == "namespaces" and not request.group:
            self.namespace = self.name
        self.kind: Kind = (
            request.verb,
            request.group,
            request.resource,
            request.subresource,
            self.view,
            _may_create(request),
        )
        self.key = (self.kind, self.namespace)
        self._facts: Facts | None = None

    @property
    def reaches_any_namespace(self) -> bool:
        """The namespace is not known, or all of them are meant.

        Without discovery a list of a custom kind without a namespace may be a list over all namespaces or of a
        cluster-scoped kind; it counts as the former. Built-in cluster-scoped kinds are known; a list of the
        namespaces themselves reaches each of them.
        """
        verb, kind = self.request.verb, (self.request.group, self.request.resource)
        spans = verb in COLLECTION_VERBS or (verb == "create" and kind == ("", "namespaces"))
        return spans and not self.namespace and kind not in CLUSTER_SCOPED

    def is_settled(self, action: Action) -> bool:
        """Would a rule with this action, on facts that only the gateway has, have matched there?

        A forwarded request is proof that nothing denied it and, without an approval, that nothing held it.
        """
        return action in _SETTLED[self.view]

    @property
    def facts(self) -> Facts:
        """Variable to value, for expressions."""
        if self._facts is None:
            self._facts = facts(
                {**_request_facts(self), **_object_facts(self.request), **_caller_facts(self)}
            )
        return self._facts

    def lacks(self, reads: frozenset[str]) -> bool:
        """Does an expression read a fact that only the gateway knows?"""
        return not reads - {"object", "oldObject"} <= self.facts.keys()


def _view(request: Request, caller: Caller) -> View:
    if request.origin is Origin.GATEWAY:
        return View.GATEWAY
    if EXTRA_POLICY not in caller.extra:
        return View.DIRECT
    return View.APPROVED if EXTRA_APPROVAL in caller.extra else View.FORWARDED


def _name_in_body(request: Request) -> str:
    """The name that a create will have; "" with `generateName`, or when the body is not known."""
    metadata = (request.payload.object or {}).get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    return name if isinstance(name, str) else ""


def _may_create(request: Request) -> bool:
    if request.verb not in ("update", "patch") or request.payload.old_object is not None:
        return False
    return request.verb == "update" or request.content_type.startswith(_APPLY)


# What a request may amount to


def strict_meanings(kind: Kind, *, connect: bool) -> tuple[Meaning, ...]:
    """All that a request counts as for rules that hold or deny."""
    verb, group, resource, subresource, view, may_create = kind
    found = [
        (meant, resource, subresource)
        for meant in _strict_verbs(verb, view, connect=connect, creates=may_create)
    ]
    if not group and resource == "pods":
        found += _pod_meanings(verb, subresource)
    return tuple(found)


def _strict_verbs(verb: str, view: View, *, connect: bool, creates: bool) -> Iterator[str]:
    yield verb
    if connect:
        yield from ("get", "create")
    elif verb in ("list", "watch"):
        yield "get"
    elif verb == "deletecollection":
        yield "delete"
    elif verb in ("update", "patch"):
        yield "patch" if verb == "update" else "update"
        if creates:
            yield "create"
    elif verb == "create" and view is not View.GATEWAY:
        yield from ("patch", "update")


def _pod_meanings(verb: str, subresource: str) -> list[Meaning]:
    if subresource == "eviction" and verb == "create":
        return [("delete", "pods", "")]
    if subresource == "ephemeralcontainers" and verb in ("update", "patch"):
        return [("get", "pods", "exec"), ("create", "pods", "exec")]
    return []


def allowing_verbs(kind: Kind, *, connect: bool) -> tuple[tuple[str, ...], bool]:
    """The verbs that an Allow rule is compared with, and whether it has to name all of them or any."""
    verb, view = kind[0], kind[4]
    if connect:
        return ("create",), True
    if view is View.GATEWAY:
        return (verb,), True
    if verb == "update":
        return ("update", "patch"), view is View.DIRECT
    if verb == "create" and view is not View.DIRECT:
        return ("create", "patch", "update"), False
    return (verb,), True


# What expressions may read


def _caller_facts(question: Question) -> dict[str, object]:
    caller = question.caller
    if question.view is View.GATEWAY:
        return _token_facts(caller)
    if question.view is View.DIRECT:
        return {}
    return {f"caller.{name}": getattr(caller, name) for name in _CALLER_FACTS_SENT_ALONG}


def subject_facts(caller: Caller) -> Facts:
    """For the expressions of subjects."""
    return facts(_token_facts(caller))


def _token_facts(caller: Caller) -> dict[str, object]:
    """All that a verified token says."""
    return {
        "claims": dict(caller.claims),
        "caller.username": caller.username,
        "caller.groups": list(caller.groups),
        "caller.issuer": caller.issuer,
        "caller.subject": caller.subject,
        "caller.run": caller.run,
        "caller.agent": caller.agent,
        "caller.model": caller.model,
        "caller.extra": {key: list(values) for key, values in caller.extra.items()},
    }


def _request_facts(question: Question) -> dict[str, object]:
    request = question.request
    facts: dict[str, object] = {
        "request.group": request.group,
        "request.version": request.version,
        "request.resource": request.resource,
        "request.subresource": request.subresource,
        "request.namespace": question.namespace,
        "request.name": question.name,
        "request.dryRun": request.dry_run,
    }
    if question.view is View.GATEWAY:
        facts["request.path"] = request.path
        facts["request.parameters"] = _parameters(request)
    if question.view is View.GATEWAY or request.verb in ("delete", "deletecollection"):
        facts["request.verb"] = request.verb
    return facts


def _parameters(request: Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in request.parameters:
        found.setdefault(key, []).append(value)
    return found


def _object_facts(request: Request) -> dict[str, object]:
    """The options of a CONNECT are only known in admission, so neither side shows them as an object."""
    payload = request.payload
    known = {
        "object": None if request.is_connect else payload.object,
        "oldObject": payload.old_object,
    }
    return {
        name: value if value is None else dict(value)
        for name, value in known.items()
        if name not in payload.undetermined
    }
