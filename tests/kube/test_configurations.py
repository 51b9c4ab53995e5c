"""The webhook configurations: complete where they fail closed, narrow where they fail open, never `*/*`."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cel_expr_python import cel

from chaperone.kube.configurations import AGENT_GUARD, guard_conditions, webhook_configurations

VERSIONS = [(1, 20), (1, 27), (1, 28), (1, 36)]
CODER = "system:serviceaccount:agents:coder"


def built(version: tuple[int, int] = (1, 30), **more: Any) -> dict[str, dict[str, Any]]:
    terms = {
        "url": "https://127.0.0.1:9443",
        "service": None,
        "ca_bundle": b"PEM",
        "identities": [CODER],
        **more,
    }
    return {
        item["metadata"]["name"]: item for item in webhook_configurations(server_version=version, **terms)
    }


def webhooks(version: tuple[int, int], **more: Any) -> list[dict[str, Any]]:
    return [webhook for item in built(version, **more).values() for webhook in item["webhooks"]]


def covered(webhook: dict[str, Any]) -> set[tuple[str, str, str]]:
    """(group, resource, operation) triples of the rules, as written."""
    return {
        (group, resource, operation)
        for rule in webhook["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for operation in rule["operations"]
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_ever_matches_everything(version: tuple[int, int]) -> None:
    for webhook in webhooks(version):
        assert not any(resource == "*/*" for _, resource, _ in covered(webhook))
        assert webhook["sideEffects"] == "None"
        assert webhook["timeoutSeconds"] <= 5
        assert webhook["admissionReviewVersions"] == ["v1"]


@pytest.mark.parametrize("version", VERSIONS)
def test_leases_events_and_reviews_are_never_named(version: tuple[int, int]) -> None:
    never = {"leases", "events", "subjectaccessreviews", "tokenreviews", "selfsubjectaccessreviews"}
    for webhook in webhooks(version):
        assert not never & {resource.partition("/")[0] for _, resource, _ in covered(webhook)}


def test_where_resources_are_not_named_conditions_keep_leases_events_and_reviews_out() -> None:
    (guard,) = built((1, 30))[AGENT_GUARD]["webhooks"]
    expression = " ".join(condition["expression"] for condition in guard["matchConditions"])
    for name in (
        "coordination.k8s.io",
        "authentication.k8s.io",
        "authorization.k8s.io",
        "events.k8s.io",
        "'events'",
    ):
        assert name in expression


@pytest.mark.parametrize("version", VERSIONS)
def test_own_kinds_fail_closed_with_their_status_in_every_version(version: tuple[int, int]) -> None:
    own = built(version)
    triples = {triple for webhook in own["chaperone-own-kinds"]["webhooks"] for triple in covered(webhook)}
    for kind in ("approvalrequests", "agentpolicies", "agentsessions"):
        for resource in (kind, f"{kind}/status"):
            for operation in ("CREATE", "UPDATE", "DELETE"):
                assert ("chaperone.dev", resource, operation) in triples
    for name in ("chaperone-own-kinds", "chaperone-approvals"):
        for webhook in own[name]["webhooks"]:
            assert webhook["failurePolicy"] == "Fail"
            assert all(rule["apiVersions"] == ["*"] for rule in webhook["rules"])


@pytest.mark.parametrize(
    ("username", "request_", "asked"),
    [
        ("system:serviceaccount:kube-chaperone:chaperone-gateway", {"subResource": "status"}, False),
        ("system:serviceaccount:kube-chaperone:chaperone-gateway", {}, True),
        ("system:serviceaccount:elsewhere:chaperone-gateway", {"subResource": "status"}, True),
        (CODER, {"subResource": "status"}, True),
        ("alice", {}, True),
    ],
)
def test_only_the_gateways_own_counts_are_not_asked_about(
    username: str, request_: dict[str, Any], asked: bool
) -> None:
    own = {webhook["name"]: webhook for webhook in built()["chaperone-own-kinds"]["webhooks"]}
    (condition,) = own["sessions.chaperone.dev"]["matchConditions"]
    assert [name for name, webhook in own.items() if "matchConditions" in webhook] == [
        "sessions.chaperone.dev"
    ]
    request = {**request_, "userInfo": {"username": username}}
    assert evaluated(condition["expression"], request) is asked
    assert "matchConditions" not in str(built((1, 27))["chaperone-own-kinds"])


def test_the_decision_is_stamped_before_it_is_checked() -> None:
    stamping = built()["chaperone-approvals"]
    assert stamping["kind"] == "MutatingWebhookConfiguration"
    assert ("chaperone.dev", "approvalrequests/status", "UPDATE") in covered(stamping["webhooks"][0])


@pytest.mark.parametrize("version", [(1, 28), (1, 36)])
def test_the_guard_fails_closed_where_the_server_keeps_everybody_else_away(version: tuple[int, int]) -> None:
    (guard,) = built(version)[AGENT_GUARD]["webhooks"]
    assert guard["failurePolicy"] == "Fail"
    assert guard["matchConditions"] == guard_conditions([CODER])
    triples = covered(guard)
    for resource in (
        "pods/exec",
        "pods/attach",
        "pods/portforward",
        "pods/proxy",
        "services/proxy",
        "nodes/proxy",
    ):
        assert ("", resource, "CONNECT") in triples
    for resource in (
        "pods/ephemeralcontainers",
        "pods/eviction",
        "pods/binding",
        "pods/resize",
        "serviceaccounts/token",
    ):
        assert ("", resource, "CREATE") in triples
    assert ("*", "*", "DELETE") in triples
    assert ("*", "*/scale", "UPDATE") in triples
    assert ("*", "*/status", "UPDATE") in triples


@pytest.mark.parametrize("version", [(1, 20), (1, 27)])
def test_the_guard_fails_open_and_is_narrow_where_everybody_would_wait_for_it(
    version: tuple[int, int],
) -> None:
    guards = built(version)[AGENT_GUARD]["webhooks"]
    for guard in guards:
        assert guard["failurePolicy"] == "Ignore"
        assert "matchConditions" not in guard
        triples = covered(guard)
        assert not any(resource == "*" for _, resource, _ in triples)
        assert {resource for group, resource, _ in triples if group == "*"} <= {"*/scale"}
        assert ("", "pods/status", "UPDATE") not in triples
        frequent = {("", "nodes/status", "UPDATE"), ("", "configmaps", "UPDATE")}
        assert guard["timeoutSeconds"] == 1 or not frequent & triples
    everything = {triple for guard in guards for triple in covered(guard)}
    assert ("", "namespaces", "DELETE") in everything
    assert ("", "pods/exec", "CONNECT") in everything


def test_where_everybody_waits_our_own_namespace_waits_for_the_shortest_time() -> None:
    """A webhook that is starting must not hold up its own pods."""
    guards = {item["name"].partition(".")[0]: item for item in built((1, 24))[AGENT_GUARD]["webhooks"]}
    assert "namespaceSelector" not in guards["guard-cluster"]
    for name, operator in (
        ("guard-namespaced", "NotIn"),
        ("guard-frequent", "NotIn"),
        ("guard-home", "In"),
    ):
        (selector,) = guards[name]["namespaceSelector"]["matchExpressions"]
        assert selector == {
            "key": "kubernetes.io/metadata.name",
            "operator": operator,
            "values": ["kube-chaperone"],
        }
    assert guards["guard-home"]["timeoutSeconds"] == 1
    assert guards["guard-home"]["failurePolicy"] == "Ignore"


def test_whatever_is_gated_elsewhere_is_gated_at_home() -> None:
    guards = {item["name"].partition(".")[0]: item for item in built((1, 24))[AGENT_GUARD]["webhooks"]}
    elsewhere = covered(guards["guard-namespaced"]) | covered(guards["guard-frequent"])
    exempt = {("", "nodes/status"), ("", "services/status"), ("snapshot.storage.k8s.io", "volumesnapshots")}
    missing = {triple for triple in elsewhere - covered(guards["guard-home"]) if triple[:2] not in exempt}
    assert not missing


def test_a_policy_cannot_put_the_control_plane_under_guard() -> None:
    expression = guard_conditions(["system:kube-scheduler", "system:node:n1", CODER])[0]["expression"]
    assert "kube-scheduler" not in expression
    assert "system:node" not in expression
    assert CODER in expression


def test_a_username_cannot_break_out_of_the_expression() -> None:
    expression = guard_conditions(['x"] || true || request.userInfo.username in ["y'])[0]["expression"]
    assert expression.startswith(
        r'request.userInfo.username in ["x\"] || true || request.userInfo.username in [\"y"] '
    )


def test_reach_by_service_and_by_url() -> None:
    for webhook in webhooks((1, 30), url=None, service=("ns", "webhook", 8443)):
        service = webhook["clientConfig"]["service"]
        assert {key: service[key] for key in ("namespace", "name", "port")} == {
            "namespace": "ns",
            "name": "webhook",
            "port": 8443,
        }
        assert service["path"].startswith("/")
    for webhook in webhooks((1, 30)):
        assert webhook["clientConfig"]["url"].startswith("https://127.0.0.1:9443/")
        assert base64.b64decode(webhook["clientConfig"]["caBundle"]) == b"PEM"


@pytest.mark.parametrize("ways", [{"url": None}, {"url": "https://x", "service": ("a", "b", 1)}])
def test_exactly_one_way_to_the_webhook(ways: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either url or service"):
        built((1, 30), **ways)


def passes(user: dict[str, Any], resource: tuple[str, str], identities: list[str]) -> bool:
    """Do all matchConditions let a request through to the guard? Evaluated as CEL, as the API server does."""
    request = {"userInfo": user, "resource": {"group": resource[0], "version": "v1", "resource": resource[1]}}
    results = [evaluated(condition["expression"], request) for condition in guard_conditions(identities)]
    return all(results)


def evaluated(expression: str, request: dict[str, Any]) -> bool:
    environment = cel.NewEnv(variables={"request": cel.Type.DYN})
    result = environment.compile(expression).eval(data={"request": request})
    assert result.type() == cel.Type.BOOL
    return bool(result.value())


FORWARDED = {"username": "anybody", "extra": {"chaperone.dev/run": ["r"]}}
ODD = 'o"d\\d\nü'


@pytest.mark.parametrize(
    ("user", "resource", "expected"),
    [
        ({"username": CODER}, ("", "pods"), True),
        ({"username": CODER, "extra": {}}, ("apps", "deployments"), True),
        ({"username": ODD}, ("", "pods"), True),
        (FORWARDED, ("", "pods"), True),
        ({"username": "alice"}, ("", "pods"), False),
        ({"username": "alice", "extra": {"scopes": ["chaperone.dev/run"]}}, ("", "pods"), False),
        ({"username": "system:serviceaccount:kube-system:coder"}, ("", "pods"), False),
        ({"username": CODER}, ("coordination.k8s.io", "leases"), False),
        ({"username": CODER}, ("", "events"), False),
        ({"username": CODER}, ("events.k8s.io", "events"), False),
        ({"username": CODER}, ("authorization.k8s.io", "subjectaccessreviews"), False),
        ({"username": CODER}, ("example.org", "events"), True),
    ],
)
def test_the_conditions_let_agents_through_and_nobody_else(
    user: dict[str, Any], resource: tuple[str, str], *, expected: bool
) -> None:
    """An error would be a refusal for everybody, so every shape of a user must give a plain yes or no."""
    assert passes(user, resource, [CODER, ODD]) is expected


def test_without_policies_only_forwarded_requests_reach_the_guard() -> None:
    assert not passes({"username": CODER}, ("", "pods"), [])
    assert passes(FORWARDED, ("", "pods"), [])
