"""Which rule matches which request: a table of sentences, for a rule that denies and one that allows."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.policy import RuleMatch
from chaperone.core.policy.rules import MAX_REMEMBERED, RuleBook
from chaperone.core.request import Payload, Request
from chaperone.core.verdict import Action
from tests.core.policies import CALLER, ask, policy, rule

POD = "/api/v1/namespaces/dev/pods/p"
PODS = "/api/v1/namespaces/dev/pods"
WEB = "/apis/apps/v1/namespaces/dev/deployments/web"
NAMED = {"metadata": {"name": "web-1"}}
APPLY = "application/apply-patch+yaml"
LIVE = Payload(object={}, old_object={})

BOTH, DENY, ALLOW, NEITHER = (True, True), (True, False), (False, True), (False, False)

MATCHES: dict[str, tuple[dict[str, Any], Request, tuple[bool, bool]]] = {
    # sentence: (match, request, does it match as (Deny, Allow))
    "nothing said matches everything": ({}, ask(f"DELETE {POD}"), BOTH),
    "nothing said matches a path": ({}, ask("GET /metrics"), BOTH),
    "a verb": ({"verbs": ["get", "delete"]}, ask(f"DELETE {POD}"), BOTH),
    "any verb": ({"verbs": ["*"]}, ask(f"DELETE {POD}"), BOTH),
    "another verb": ({"verbs": ["get"]}, ask(f"DELETE {POD}"), NEITHER),
    # groups and resources
    "the core group": ({"apiGroups": [""]}, ask(f"GET {POD}"), BOTH),
    "another group": ({"apiGroups": ["apps"]}, ask(f"GET {POD}"), NEITHER),
    "a glob over groups": (
        {"apiGroups": ["*.example.com"]},
        ask("GET /apis/x.example.com/v1/things/a"),
        BOTH,
    ),
    "a resource": ({"resources": ["pods"]}, ask(f"GET {POD}"), BOTH),
    "a resource is not its subresources": ({"resources": ["pods"]}, ask(f"GET {POD}/log"), NEITHER),
    "a subresource": ({"resources": ["pods/log"]}, ask(f"GET {POD}/log"), BOTH),
    "a subresource is not its resource": ({"resources": ["pods/log"]}, ask(f"GET {POD}"), NEITHER),
    "all subresources of one": ({"resources": ["pods/*"]}, ask(f"GET {POD}/log"), BOTH),
    "all subresources are not the resource": ({"resources": ["pods/*"]}, ask(f"GET {POD}"), NEITHER),
    "one subresource of all": ({"resources": ["*/scale"]}, ask(f"GET {WEB}/scale"), BOTH),
    "one subresource of all is not another": ({"resources": ["*/scale"]}, ask(f"GET {WEB}/status"), NEITHER),
    "everything covers resources": ({"resources": ["*"]}, ask(f"GET {POD}"), BOTH),
    "everything covers subresources": ({"resources": ["*"]}, ask(f"GET {POD}/log"), BOTH),
    "a glob over resources": ({"resources": ["deploy*"]}, ask(f"GET {WEB}"), BOTH),
    "a glob over resources is not subresources": (
        {"resources": ["deploy*"]},
        ask(f"GET {WEB}/scale"),
        NEITHER,
    ),
    # paths
    "a path": ({"nonResourceURLs": ["/metrics"]}, ask("GET /metrics"), BOTH),
    "a longer path": ({"nonResourceURLs": ["/metrics"]}, ask("GET /metrics/cadvisor"), NEITHER),
    "a prefix of a path": ({"nonResourceURLs": ["/debug/*"]}, ask("GET /debug/pprof/heap"), BOTH),
    "every path": ({"nonResourceURLs": ["*"]}, ask("GET /debug/pprof/heap"), BOTH),
    "a path by its method": ({"nonResourceURLs": ["*"], "verbs": ["post"]}, ask("GET /metrics"), NEITHER),
    "HEAD is a GET": ({"nonResourceURLs": ["*"], "verbs": ["get"]}, ask("HEAD /metrics"), BOTH),
    "a rule of paths is not of resources": ({"nonResourceURLs": ["*"]}, ask(f"GET {POD}"), NEITHER),
    "a rule of resources is not of paths": ({"resources": ["*"]}, ask("GET /metrics"), NEITHER),
    "a rule of namespaces is not of paths": ({"namespaces": ["*"]}, ask("GET /metrics"), NEITHER),
    # namespaces
    "a namespace": ({"namespaces": ["d*"]}, ask(f"GET {POD}"), BOTH),
    "another namespace": ({"namespaces": ["kube-*"]}, ask(f"GET {POD}"), NEITHER),
    "a list in the namespace": ({"namespaces": ["dev"]}, ask(f"GET {PODS}"), BOTH),
    "a list over all namespaces reaches it": ({"namespaces": ["kube-*"]}, ask("GET /api/v1/secrets"), DENY),
    "so does a watch": ({"namespaces": ["kube-*"]}, ask("GET /api/v1/secrets?watch=1"), DENY),
    "so does a watch by path": ({"namespaces": ["kube-*"]}, ask("GET /api/v1/watch/secrets"), DENY),
    "so does a deletecollection": ({"namespaces": ["kube-*"]}, ask("DELETE /apis/x.io/v1/things"), DENY),
    "a list of nodes does not": ({"namespaces": ["kube-*"]}, ask("GET /api/v1/nodes"), NEITHER),
    "a node is in no namespace": ({"namespaces": ["*"]}, ask("DELETE /api/v1/nodes/n"), NEITHER),
    "a Namespace is in itself": (
        {"namespaces": ["kube-*"]},
        ask("DELETE /api/v1/namespaces/kube-system"),
        BOTH,
    ),
    "its finalize too": (
        {"namespaces": ["kube-*"]},
        ask("PUT /api/v1/namespaces/kube-system/finalize"),
        BOTH,
    ),
    "a list of namespaces reaches each": ({"namespaces": ["kube-*"]}, ask("GET /api/v1/namespaces"), DENY),
    "a list of one namespace reaches that": (
        {"namespaces": ["kube-*"]},
        ask("GET /api/v1/namespaces?fieldSelector=metadata.name%3Ddev"),
        NEITHER,
    ),
    "a new Namespace is in itself": (
        {"namespaces": ["sandbox-*"]},
        ask("POST /api/v1/namespaces", {"metadata": {"name": "sandbox-1"}}),
        BOTH,
    ),
    "a new Namespace of no known name": ({"namespaces": ["kube-*"]}, ask("POST /api/v1/namespaces"), DENY),
    # names
    "a name": ({"names": ["p", "q"]}, ask(f"GET {POD}"), BOTH),
    "another name": ({"names": ["q*"]}, ask(f"GET {POD}"), NEITHER),
    "a list reaches every name": ({"names": ["q*"]}, ask(f"GET {PODS}"), DENY),
    "a list of one name is of that": (
        {"names": ["q*"]},
        ask(f"GET {PODS}?fieldSelector=metadata.name%3Dp"),
        NEITHER,
    ),
    "a deletecollection reaches every name": ({"names": ["q*"]}, ask(f"DELETE {PODS}"), DENY),
    "a new object by the name in its body": ({"names": ["web-*"]}, ask(f"POST {PODS}", NAMED), BOTH),
    "a new object by another name": ({"names": ["db-*"]}, ask(f"POST {PODS}", NAMED), NEITHER),
    "a generated name may be any": (
        {"names": ["db-*"]},
        ask(f"POST {PODS}", {"metadata": {"generateName": "web-"}}),
        DENY,
    ),
    "a name in an odd body is not known": (
        {"names": ["db-*"]},
        ask(f"POST {PODS}", {"metadata": {"name": 1}}),
        DENY,
    ),
    "a body without metadata": ({"names": ["db-*"]}, ask(f"POST {PODS}", {"metadata": []}), DENY),
    "the name of a subresource is in the path": (
        {"names": ["other"]},
        ask(f"POST {POD}/eviction", {"metadata": {"name": "other"}}),
        NEITHER,
    ),
    # the same effect by another name
    "get covers list for a Deny": (
        {"verbs": ["get"], "resources": ["secrets"]},
        ask("GET /api/v1/secrets"),
        DENY,
    ),
    "get covers watch for a Deny": ({"verbs": ["get"]}, ask(f"GET {PODS}?watch=1"), DENY),
    "list does not cover get": ({"verbs": ["list"]}, ask(f"GET {POD}"), NEITHER),
    "delete covers deletecollection for a Deny": ({"verbs": ["delete"]}, ask(f"DELETE {PODS}"), DENY),
    "delete of pods covers eviction for a Deny": (
        {"verbs": ["delete"], "resources": ["pods"]},
        ask(f"POST {POD}/eviction"),
        DENY,
    ),
    "update covers patch for a Deny": ({"verbs": ["update"]}, ask(f"PATCH {POD}"), DENY),
    "patch covers update for a Deny": ({"verbs": ["patch"]}, ask(f"PUT {POD}"), DENY),
    "create covers an apply that may create": (
        {"verbs": ["create"]},
        ask(f"PATCH {POD}", content_type=APPLY),
        DENY,
    ),
    "an apply to what is there creates nothing": (
        {"verbs": ["create"]},
        ask(f"PATCH {POD}", content_type=APPLY, payload=LIVE),
        NEITHER,
    ),
    "create covers an update that may create": ({"verbs": ["create"]}, ask(f"PUT {POD}"), DENY),
    "no other patch creates": (
        {"verbs": ["create"]},
        ask(f"PATCH {POD}", content_type="application/merge-patch+json"),
        NEITHER,
    ),
    "exec covers ephemeral containers for a Deny": (
        {"verbs": ["create"], "resources": ["pods/exec"]},
        ask(f"PATCH {POD}/ephemeralcontainers"),
        DENY,
    ),
    "an exec by GET is a create": (
        {"verbs": ["create"], "resources": ["pods/exec"]},
        ask(f"GET {POD}/exec?command=sh", upgrade="websocket"),
        BOTH,
    ),
    "an exec is no read to allow": (
        {"verbs": ["get", "list"]},
        ask(f"GET {POD}/exec", upgrade="websocket"),
        DENY,
    ),
    "an exec by POST is denied by get": (
        {"verbs": ["get"]},
        ask(f"POST {POD}/exec", upgrade="spdy/3.1"),
        DENY,
    ),
    "a proxied delete by its own verb": (
        {"verbs": ["delete"], "resources": ["services/proxy"]},
        ask("DELETE /api/v1/namespaces/dev/services/x/proxy/a"),
        DENY,
    ),
    # expressions
    "an expression over the object": ({"expression": "object.a == 1"}, ask(f"PUT {POD}", {"a": 1}), BOTH),
    "an expression that is false": ({"expression": "object.a == 1"}, ask(f"PUT {POD}", {"a": 2}), NEITHER),
    "an expression over the caller": ({"expression": 'caller.run == "run-1"'}, ask(f"GET {POD}"), BOTH),
    "an expression over claims": (
        {"expression": 'claims.repository_owner == "acme"'},
        ask(f"GET {POD}"),
        BOTH,
    ),
    "an expression over the request": (
        {"expression": 'request.parameters["tailLines"][0] == "5" && request.path.endsWith("/log")'},
        ask(f"GET {POD}/log?tailLines=5"),
        BOTH,
    ),
    "an expression over a dry run": ({"expression": "request.dryRun"}, ask(f"PUT {POD}?dryRun=All"), BOTH),
    "an expression over the name in the body": (
        {"expression": 'request.name == "web-1"'},
        ask(f"POST {PODS}", NAMED),
        BOTH,
    ),
    "an expression without a value": ({"expression": "object.a == 1"}, ask(f"PUT {POD}", {}), DENY),
    "an object that is not known": (
        {"expression": "object == null || object.a == 1"},
        ask(f"PATCH {POD}", payload=Payload(undetermined=frozenset({"object"}))),
        DENY,
    ),
    "a text that would be cut for the expression": (
        {"expression": 'object.a == "safe"'},
        ask(f"PUT {POD}", {"a": "safe\0evil"}),
        DENY,
    ),
    "the options of an exec are no object": (
        {"expression": "object == null"},
        ask(f"POST {POD}/exec", {"command": ["sh"]}),
        BOTH,
    ),
}


@pytest.mark.parametrize(("match", "request_", "expected"), MATCHES.values(), ids=MATCHES)
def test_match(match: dict[str, Any], request_: Request, expected: tuple[bool, bool]) -> None:
    found = [
        policy(rules=[rule(action, **match)]).first_match(request_, CALLER) for action in ("Deny", "Allow")
    ]
    assert tuple(item is not None for item in found) == expected


@pytest.mark.parametrize(("match", "request_", "expected"), MATCHES.values(), ids=MATCHES)
def test_require_approval_matches_as_deny_does(
    match: dict[str, Any], request_: Request, expected: tuple[bool, bool]
) -> None:
    found = policy(rules=[rule("RequireApproval", **match)]).first_match(request_, CALLER)
    assert (found is not None) is expected[0]


def test_the_first_match_decides() -> None:
    compiled = policy(
        rules=[
            rule("Deny", "by-name", names=["x"]),
            rule("Allow", "by-expression", expression='request.namespace == "prod"'),
            rule("RequireApproval", "by-namespace", namespaces=["dev"]),
            rule("Deny", "rest"),
        ]
    )
    names = {
        f"GET {POD}": "by-namespace",
        f"GET {PODS}/x": "by-name",
        "GET /api/v1/namespaces/prod/pods/p": "by-expression",
        "GET /api/v1/namespaces/test/pods/p": "rest",
        "GET /metrics": "rest",
    }
    for _ in range(2):  # the second time from memory
        for line, name in names.items():
            found = compiled.first_match(ask(line), CALLER)
            assert found is not None
            assert found.name == name


def test_an_error_denies_or_skips() -> None:
    compiled = policy(
        rules=[
            rule("Allow", "allows", expression="object.nope == 1"),
            rule("RequireApproval", "holds", message="why", expression="object.nope == 1"),
        ]
    )
    found = compiled.first_match(ask(f"PUT {POD}", {}), CALLER)
    assert found == RuleMatch(
        "holds", Action.DENY, "why", "a field that it reads is not there (guard it with has())"
    )


def test_no_match() -> None:
    assert policy(rules=[rule(verbs=["list"])]).first_match(ask(f"DELETE {POD}"), CALLER) is None
    assert policy().first_match(ask(f"DELETE {POD}"), CALLER) is None


def test_memory_is_bounded() -> None:
    book = policy(rules=[rule(namespaces=["dev"])]).rules
    assert isinstance(book, RuleBook)
    compiled = policy(rules=[rule(namespaces=["dev"])])
    for number in range(MAX_REMEMBERED + 10):
        compiled.first_match(ask(f"GET /apis/g{number}.io/v1/namespaces/dev/things/a"), CALLER)
    assert len(compiled.rules._plans) <= MAX_REMEMBERED
    assert len(compiled.rules._kinds) <= MAX_REMEMBERED
    assert compiled.first_match(ask(f"GET {POD}"), CALLER) is not None


NEEDS: dict[str, tuple[dict[str, Any], Request, tuple[bool, bool, bool]]] = {
    # sentence: (match, request, does it read (the object, the live object, the name in the body))
    "no expression": ({"verbs": ["update"]}, ask(f"PUT {POD}"), (False, False, False)),
    "the object": ({"expression": "object.a == 1"}, ask(f"PUT {POD}"), (True, False, False)),
    "the live object": ({"expression": "oldObject.a == 1"}, ask(f"DELETE {POD}"), (False, True, False)),
    "a rule of other verbs": (
        {"verbs": ["create"], "expression": "object.a == 1"},
        ask(f"DELETE {POD}"),
        (False,) * 3,
    ),
    "a name that the path tells": ({"names": ["a"]}, ask(f"PUT {POD}"), (False, False, False)),
    "a name that the body tells": ({"names": ["a"]}, ask(f"POST {PODS}"), (False, False, True)),
    "a name in an expression": (
        {"expression": 'request.name == "a"'},
        ask(f"POST {PODS}"),
        (False, False, True),
    ),
    "whether an apply creates": (
        {"verbs": ["create"]},
        ask(f"PATCH {POD}", content_type=APPLY),
        (False, True, False),
    ),
    "nothing for other verbs": (
        {"verbs": ["update"]},
        ask(f"PATCH {POD}", content_type=APPLY),
        (False, False, False),
    ),
}


@pytest.mark.parametrize(("match", "request_", "expected"), NEEDS.values(), ids=NEEDS)
def test_needs(match: dict[str, Any], request_: Request, expected: tuple[bool, bool, bool]) -> None:
    compiled = policy(rules=[rule("Deny", **match)])
    found = (
        compiled.reads_object(request_),
        compiled.reads_live(request_),
        compiled.names_in_body(request_),
    )
    assert found == expected
    assert compiled.needs_object(request_) is any(expected)
