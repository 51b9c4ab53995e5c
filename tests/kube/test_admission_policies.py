"""The ValidatingAdmissionPolicies: their shape, and every expression compiled and evaluated as CEL.

No server that knows the kind is at hand here, so what a server adds (its own type checking, its cost limits) is not
tested; names, fields and the absence of optional fields are as its documentation and source have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pytest
from cel_expr_python import cel

from chaperone.core.approval import ACCESS_TRANSITIONS, TRANSITIONS, Actor, Phase
from chaperone.core.risk import UNLIFTABLE_ROWS
from chaperone.kube.admission_policies import OF_AGENTS, ROWS_HELD, admission_policies
from chaperone.kube.configurations import webhook_configurations

CODER = "system:serviceaccount:agents:coder"
GATEWAY = "system:serviceaccount:kube-chaperone:chaperone-gateway"
CONTROLLER = "system:serviceaccount:kube-chaperone:chaperone-controller"
Obj = dict[str, Any]


def built(identities: tuple[str, ...] = (CODER,)) -> dict[str, Obj]:
    made = admission_policies(server_version=(1, 30), identities=identities)
    return {item["metadata"]["name"]: item for item in made if item["kind"] == "ValidatingAdmissionPolicy"}


POLICIES = built()
DIGEST = "sha256:" + "0" * 64


def evaluate(expression: str, data: Obj) -> Any:
    """Raises when the expression does not compile, or cannot be evaluated."""
    result = program(expression).eval(data=data)
    if result.type() == cel.Type.ERROR:
        raise ValueError(f"{expression}: {result.value()}")
    return result.value()


def refusals(name: str, data: Obj) -> list[str]:
    """What a policy says against a request; nothing when its conditions leave the request alone."""
    spec = POLICIES[name]["spec"]
    if not all(evaluate(item["expression"], data) for item in spec.get("matchConditions", ())):
        return []
    return [
        item["message"]
        for item in spec["validations"]
        if evaluate(inlined(item["expression"], spec), data) is not True
    ]


@lru_cache(maxsize=256)
def program(expression: str) -> Any:
    """The compiled expression. Raises when it does not compile."""
    names = ("request", "object", "oldObject", "variables")
    return cel.NewEnv(variables=dict.fromkeys(names, cel.Type.DYN)).compile(expression)


def inlined(expression: str, spec: Obj) -> str:
    """With its variables written out: a server evaluates them only where they are used, as this does."""
    for item in reversed(spec.get("variables", ())):
        written = f"({item['expression']})".replace("\\", r"\\")
        expression = re.sub(rf"variables\.{item['name']}\b", written, expression)
    return expression


def request(operation: str, username: str, **more: Any) -> Obj:
    """Optional fields are absent when empty, as a server leaves them out."""
    return {
        "operation": operation,
        "userInfo": {"username": username},
        "resource": {"group": "chaperone.dev", "version": "v1alpha1", "resource": "approvalrequests"},
        **more,
    }


def approval(phase: str = "Pending", *reviews: Obj, type: str = "Request", **status: Any) -> Obj:  # noqa: A002 - a field
    spec = {"type": type, "required": 1, "digest": DIGEST, "requester": {"username": "agent-1"}}
    stored: Obj = {"phase": phase, **status}
    if reviews:
        stored["reviews"] = list(reviews)
    return {"metadata": {"name": "x"}, "spec": spec, "status": stored}


def review(username: str, decision: str = "Approved", digest: str = DIGEST) -> Obj:
    return {"username": username, "decision": decision, "digest": digest, "time": "2026-01-01T00:00:00Z"}


def update(who: str, old: Obj, new: Obj) -> list[str]:
    data = {"request": request("UPDATE", who, subResource="status"), "object": new, "oldObject": old}
    return refusals("chaperone-approvals", data)


# Shape


def test_servers_without_the_kind_get_none() -> None:
    assert admission_policies(server_version=(1, 29), identities=()) == []


def test_every_policy_is_bound_and_denies() -> None:
    made = admission_policies(server_version=(1, 36), identities=[CODER])
    bindings = {item["spec"]["policyName"]: item for item in made if item["kind"].endswith("Binding")}
    assert bindings.keys() == POLICIES.keys()
    assert all(item["spec"]["validationActions"] == ["Deny"] for item in bindings.values())
    assert {item["apiVersion"] for item in made} == {"admissionregistration.k8s.io/v1"}


@pytest.mark.parametrize("version", [(1, 20), (1, 28), (1, 36)])
def test_every_rule_is_one_that_a_server_accepts(version: tuple[int, int]) -> None:
    """kubernetes/kubernetes pkg/apis/admissionregistration/validation: wildcards make what they cover redundant, and
    a server refuses redundant rules."""
    configurations = webhook_configurations(
        url="https://127.0.0.1", service=None, ca_bundle=b"", server_version=version, identities=[CODER]
    )
    rules = [rule for item in configurations for webhook in item["webhooks"] for rule in webhook["rules"]] + [
        rule for item in POLICIES.values() for rule in item["spec"]["matchConstraints"]["resourceRules"]
    ]
    for rule in rules:
        for words in (rule["apiGroups"], rule["apiVersions"], rule["operations"]):
            assert words
            assert "*" not in words or len(words) == 1
        check_resources(rule["resources"])
        assert rule["scope"] in ("*", "Namespaced", "Cluster")


def check_resources(resources: list[str]) -> None:
    assert len(set(resources)) == len(resources) > 0
    if "*/*" in resources:
        assert resources == ["*/*"]
    if "*" in resources:
        assert not [name for name in resources if "/" not in name and name != "*"]
    for name in resources:
        resource, _, subresource = name.partition("/")
        if subresource and name != f"*/{subresource}":
            assert f"*/{subresource}" not in resources
        if subresource not in ("", "*"):
            assert f"{resource}/*" not in resources


def test_every_policy_is_one_that_a_server_accepts() -> None:
    for item in POLICIES.values():
        spec = item["spec"]
        assert spec["validations"]
        for entry in spec["validations"]:
            assert "\n" not in entry["message"]
            assert entry["reason"] in ("Unauthorized", "Forbidden", "Invalid", "RequestEntityTooLarge")
        for entry in spec.get("variables", ()):
            assert re.fullmatch("[a-z]+", entry["name"])


def test_only_the_one_about_leases_fails_open() -> None:
    failing = {name: item["spec"]["failurePolicy"] for name, item in POLICIES.items()}
    assert {name for name, way in failing.items() if way == "Ignore"} == {"chaperone-leases"}
    for name, item in POLICIES.items():
        rules = item["spec"]["matchConstraints"]["resourceRules"]
        named = {resource for rule in rules for resource in rule["resources"]}
        assert ("leases" in named) == (name == "chaperone-leases")


def test_whatever_is_about_more_than_our_kinds_is_about_agents_only() -> None:
    for name, item in POLICIES.items():
        groups = {
            group for rule in item["spec"]["matchConstraints"]["resourceRules"] for group in rule["apiGroups"]
        }
        if groups != {"chaperone.dev"}:
            assert name in OF_AGENTS
            assert CODER in item["spec"]["matchConditions"][0]["expression"]


def test_a_namespace_selector_never_meets_cluster_scoped_objects() -> None:
    """A server matches those whatever the selector says; but a Namespace, which is matched by its own labels."""
    for item in POLICIES.values():
        constraints = item["spec"]["matchConstraints"]
        if "namespaceSelector" in constraints:
            for rule in constraints["resourceRules"]:
                assert rule["scope"] == "Namespaced" or rule["resources"] == ["namespaces", "namespaces/*"]


def test_rows_that_no_policy_lifts_have_a_second_lock() -> None:
    """But for R05: whoever impersonates is somebody else by the time admission looks."""
    assert UNLIFTABLE_ROWS - ROWS_HELD.keys() == {"R05"}
    assert all(held.split()[0] in POLICIES for held in ROWS_HELD.values())


def every_expression() -> Iterator[str]:
    for item in POLICIES.values():
        spec = item["spec"]
        for part in ("matchConditions", "variables", "validations"):
            yield from (entry["expression"] for entry in spec.get(part, ()))


@pytest.mark.parametrize("expression", sorted(set(every_expression())))
def test_every_expression_compiles(expression: str) -> None:
    assert program(expression)


# Approvals


def test_what_happens_every_day_passes() -> None:
    pending, asked = approval(), review("alice")
    assert update("alice", pending, approval("Approved", asked)) == []
    assert (
        update("bob", approval("Approved", asked), approval("Denied", asked, review("bob", "Denied"))) == []
    )
    assert update(CONTROLLER, pending, approval("Expired")) == []
    assert update(GATEWAY, approval("Approved", asked), approval("Executing", asked)) == []
    assert update(GATEWAY, approval("Executing", asked), approval("Executed", asked)) == []
    created = {"request": request("CREATE", GATEWAY), "object": pending, "oldObject": None}
    assert refusals("chaperone-approvals", created) == []
    asked_for = {"request": request("CREATE", "alice"), "object": approval(type="Access"), "oldObject": None}
    assert refusals("chaperone-approvals", asked_for) == []
    gone = {"request": request("DELETE", "alice"), "object": None, "oldObject": approval("Executed", asked)}
    assert refusals("chaperone-approvals", gone) == []


def two_needed(phase: str, *reviews: Obj) -> Obj:
    made = approval(phase, *reviews)
    return {**made, "spec": {**made["spec"], "required": 2}}


def other_spec(made: Obj) -> Obj:
    return {**made, "spec": {**made["spec"], "digest": "sha256:" + "1" * 64}}


FORGED = [
    ("alice", approval(), approval("Approved"), "approvals that it needs"),
    ("alice", approval(), approval("Approved", review("bob")), "no review but their own"),
    (
        "alice",
        approval("Pending", review("bob", "Denied")),
        approval("Approved", review("alice")),
        "no review but their own",
    ),
    (GATEWAY, approval(), approval("Approved", review("alice")), "programs none"),
    (CONTROLLER, approval(), approval("Pending", review("alice")), "programs none"),
    ("agent-1", approval(), approval("Approved", review("agent-1")), "nobody reviews what they asked for"),
    ("alice", approval(), approval("Approved", review("alice", digest="sha256:1")), "another digest"),
    ("alice", approval(), approval(decision="Approved"), "was not turned into a review"),
    ("alice", approval(), approval(decisionReason="x"), "was not turned into a review"),
    ("alice", approval(), other_spec(approval()), "immutable"),
    ("alice", two_needed("Pending"), two_needed("Approved", review("alice")), "approvals that it needs"),
    (
        "alice",
        approval("Pending", review("bob", "Denied")),
        approval("Approved", review("bob", "Denied"), review("alice")),
        "approvals that it needs",
    ),
    (GATEWAY, approval(), approval("Executing"), "may not take this step"),
    (GATEWAY, approval("Executed"), approval("Executing"), "may not take this step"),
    (
        CONTROLLER,
        approval("Approved", review("alice")),
        approval("Executing", review("alice")),
        "may not take this step",
    ),
    ("alice", approval("Executing"), approval("Executed"), "may not take this step"),
    ("alice", approval(), approval("Expired"), "may not take this step"),
    (
        GATEWAY,
        approval("Approved", review("alice"), type="Access"),
        approval("Executing", review("alice"), type="Access"),
        "may not take this step",
    ),
]


@pytest.mark.parametrize(("who", "old", "new", "why"), FORGED)
def test_what_the_webhook_refuses_is_refused_without_it(who: str, old: Obj, new: Obj, why: str) -> None:
    assert any(why in refusal for refusal in update(who, old, new))


def test_only_the_gateway_makes_requests_for_approval() -> None:
    for who in ("alice", CONTROLLER):
        data = {"request": request("CREATE", who), "object": approval(), "oldObject": None}
        assert refusals("chaperone-approvals", data) == ["only the gateway makes requests for approval"]


@pytest.mark.parametrize("phase", ["Pending", "Approved", "Executing"])
def test_what_has_not_ended_is_not_deleted(phase: str) -> None:
    data = {"request": request("DELETE", "alice"), "object": None, "oldObject": approval(phase)}
    assert refusals("chaperone-approvals", data)
    never_written = {**data, "oldObject": {"metadata": {}, "spec": approval()["spec"]}}
    assert refusals("chaperone-approvals", never_written)


WRITERS = {
    GATEWAY: {Actor.GATEWAY},
    CONTROLLER: {Actor.CONTROLLER},
    "alice": {Actor.REVIEW, Actor.REQUESTER},
}


@pytest.mark.parametrize("kind", ["Request", "Access"])
@pytest.mark.parametrize("who", WRITERS)
def test_every_step_is_as_in_the_table(who: str, kind: str) -> None:
    table = ACCESS_TRANSITIONS if kind == "Access" else TRANSITIONS
    said = review("carol")
    for before in Phase:
        for after in set(Phase) - {before}:
            old = approval(before.value, said, type=kind)
            told = update(who, old, approval(after.value, said, type=kind))
            may = bool(table.get((before, after), frozenset()) & WRITERS[who])
            assert (told == []) is may, (before, after)


# Policies and sessions


@pytest.mark.parametrize(
    ("policy", "operation", "who", "more", "allowed"),
    [
        ("chaperone-policies", "UPDATE", "alice", {}, True),
        ("chaperone-policies", "UPDATE", CONTROLLER, {"subResource": "status"}, True),
        ("chaperone-policies", "UPDATE", "alice", {"subResource": "status"}, False),
        ("chaperone-sessions", "CREATE", GATEWAY, {}, True),
        ("chaperone-sessions", "CREATE", "alice", {}, False),
        ("chaperone-sessions", "UPDATE", "alice", {"subResource": "status"}, False),
        ("chaperone-sessions", "UPDATE", CONTROLLER, {"subResource": "status"}, True),
        ("chaperone-sessions", "UPDATE", "alice", {}, True),
    ],
)
def test_status_is_for_programs(policy: str, operation: str, who: str, more: Obj, *, allowed: bool) -> None:
    data = {"request": request(operation, who, **more), "object": {"spec": {}}, "oldObject": {"spec": {}}}
    assert (refusals(policy, data) == []) is allowed


def test_a_run_that_was_ended_stays_ended() -> None:
    ended: Obj = {"spec": {"terminated": True}}
    takings_back: list[Obj] = [{"spec": {}}, {"spec": {"terminated": False}}]
    for new in takings_back:
        data = {"request": request("UPDATE", GATEWAY), "object": new, "oldObject": ended}
        assert refusals("chaperone-sessions", data) == ["a run that was ended stays ended"]
    data = {"request": request("UPDATE", "alice"), "object": ended, "oldObject": {"spec": {}}}
    assert refusals("chaperone-sessions", data) == []


def test_nobody_ends_a_run_in_another_name() -> None:
    for name, told in (("alice", []), ("bob", ["spec.terminatedBy names somebody else"])):
        thrown: Obj = {"spec": {"terminated": True, "terminatedBy": name}}
        data = {"request": request("UPDATE", "alice"), "object": thrown, "oldObject": {"spec": {}}}
        assert refusals("chaperone-sessions", data) == told


@pytest.mark.parametrize(
    ("who", "spec", "allowed"),
    [
        ("alice", {"terminated": True, "run": "r"}, False),
        (CONTROLLER, {"terminated": True, "run": "r"}, True),
        ("alice", {"terminated": True}, True),
        ("alice", {"run": "r"}, True),
    ],
)
def test_a_terminated_session_is_not_deleted_to_let_its_run_in(who: str, spec: Obj, *, allowed: bool) -> None:
    data = {"request": request("DELETE", who), "object": None, "oldObject": {"spec": spec}}
    assert (refusals("chaperone-sessions", data) == []) is allowed


# Agents


def by(username: str, group: str, resource: str, **user: Any) -> Obj:
    return {
        "operation": "DELETE",
        "userInfo": {"username": username, **user},
        "resource": {"group": group, "version": "v1", "resource": resource},
    }


FORWARDED = {"extra": {"chaperone.dev/run": ["r"]}}
NAMED: Obj = {"metadata": {"name": "agentpolicies.chaperone.dev"}}


@pytest.mark.parametrize("policy", OF_AGENTS)
@pytest.mark.parametrize(
    ("username", "user", "refused"),
    [
        (CODER, {}, True),
        ("whoever", FORWARDED, True),
        ("alice", {}, False),
        ("alice", {"extra": {"scopes": ["chaperone.dev/run"]}}, False),
        ("system:kube-scheduler", {}, False),
        ("system:node:n1", {}, False),
    ],
)
def test_agents_are_refused_and_nobody_else(policy: str, username: str, user: Obj, *, refused: bool) -> None:
    asked = by(username, "chaperone.dev", "agentpolicies", **user)
    data = {"request": asked, "object": None, "oldObject": NAMED}
    assert bool(refusals(policy, data)) is refused


@pytest.mark.parametrize(
    ("name", "refused"), [("agentpolicies.chaperone.dev", True), ("things.example.org", False)]
)
def test_of_definitions_only_ours_are_refused(name: str, *, refused: bool) -> None:
    named = {"metadata": {"name": name}}
    asked = by(CODER, "apiextensions.k8s.io", "customresourcedefinitions")
    for operation, new, old in (("DELETE", None, named), ("CREATE", named, None), ("UPDATE", named, named)):
        data = {"request": {**asked, "operation": operation}, "object": new, "oldObject": old}
        assert bool(refusals("chaperone-agents", data)) is refused


def test_a_username_cannot_break_out_of_an_expression() -> None:
    odd = 'x"] || true || request.userInfo.username in ["y'
    condition = built((odd,))["chaperone-agents"]["spec"]["matchConditions"][0]["expression"]
    for name, expected in ((odd, True), ("y", False), ("x", False)):
        assert evaluate(condition, {"request": by(name, "", "pods")}) is expected
