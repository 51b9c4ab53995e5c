"""The issuers file: what Kubernetes accepts is accepted, and every mistake is named at once, with its path."""

from __future__ import annotations

from typing import Any

import pytest

from chaperone.core.authentication import (
    DEFAULT_RUN,
    AuthenticationConfiguration,
    TokenReviewSettings,
    read_configuration,
)

ENTRY: dict[str, Any] = {
    "issuer": {"url": "https://issuer.example", "audiences": ["us"]},
    "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
}


def document(*entries: dict[str, Any], **fields: Any) -> dict[str, Any]:
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    return {**head, "jwt": list(entries), **fields}


def with_fields(path: str, value: Any) -> dict[str, Any]:
    """ENTRY with one field set (or, for `...`, removed), by its dotted path."""
    *parents, last = path.split(".")
    entry: dict[str, Any] = _copy(ENTRY)
    place = entry
    for name in parents:
        place = place.setdefault(name, {})
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return entry


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def accepted(value: object) -> AuthenticationConfiguration:
    result = read_configuration(value)
    assert isinstance(result, AuthenticationConfiguration), result
    return result


def faults(value: object) -> dict[str, str]:
    result = read_configuration(value)
    assert isinstance(result, tuple), "no fault was found"
    return {fault.path: fault.message for fault in result}


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_every_version_of_the_format_is_read(version: str) -> None:
    result = accepted(document(ENTRY, apiVersion=f"apiserver.config.k8s.io/{version}"))
    assert [issuer.url for issuer in result.issuers] == ["https://issuer.example"]


def test_defaults_are_strict() -> None:
    issuer = accepted(document(ENTRY)).issuers[0]
    assert issuer.algorithms == {"RS256", "ES256"}
    assert issuer.leeway == 30
    assert issuer.run == DEFAULT_RUN
    assert issuer.run.required
    assert not issuer.model.required
    assert not issuer.agent.required
    assert issuer.document_url == "https://issuer.example/.well-known/openid-configuration"


def test_a_whole_entry_is_read() -> None:
    issuer = accepted(
        document(
            {
                "issuer": {
                    "url": "https://issuer.example/realm/",
                    "discoveryURL": "https://keys.example/discovery",
                    "audiences": ["us", "we"],
                    "audienceMatchPolicy": "MatchAny",
                    "certificateAuthority": "PEM",
                    "egressSelectorType": "cluster",
                },
                "claimValidationRules": [
                    {"claim": "hd", "requiredValue": "example.com"},
                    {"expression": "claims.exp - claims.nbf <= 86400", "message": "a day at most"},
                ],
                "claimMappings": {
                    "username": {"expression": 'claims.username + ":external"'},
                    "groups": {"expression": 'claims.roles.split(",")'},
                    "uid": {"claim": "sub"},
                    "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
                },
                "userValidationRules": [
                    {"expression": "!user.username.startsWith('system:')", "message": "no"}
                ],
                "run": {
                    "run": {"expression": "claims.pipeline + '/' + claims.attempt", "required": False},
                    "agent": {"claim": "azp", "required": True},
                },
                "signingAlgorithms": ["ES384"],
                "leeway": "1m30s",
            }
        )
    ).issuers[0]
    assert issuer.audiences == {"us", "we"}
    assert issuer.document_url == "https://keys.example/discovery"
    assert [rule.claim for rule in issuer.claim_rules] == ["hd", ""]
    assert issuer.claim_rules[1].message == "a day at most"
    assert [extra.key for extra in issuer.extra] == ["example.com/tenant"]
    assert len(issuer.user_rules) == 1
    assert (issuer.run.required, issuer.agent.claims, issuer.agent.required) == (False, ("azp",), True)
    assert issuer.algorithms == {"ES384"}
    assert issuer.leeway == 90


def test_token_review_stands_beside_or_instead_of_issuers() -> None:
    assert accepted(document(ENTRY)).token_review is None
    given = {"audiences": ["us"], "allowServiceAccounts": True, "runRequired": False, "runExtra": "a/b"}
    settings = accepted(document(tokenReview=given)).token_review
    assert settings == TokenReviewSettings(
        audiences=("us",), allow_service_accounts=True, run_required=False, run_extra="a/b"
    )


EMAIL = {"username": {"expression": "claims.email"}}
ONE_FAULT: list[tuple[str, str, Any]] = [
    ("jwt[0].issuer.url", "issuer.url", ...),
    ("jwt[0].issuer.url", "issuer.url", "http://issuer.example"),
    ("jwt[0].issuer.url", "issuer.url", "https://"),
    ("jwt[0].issuer.url", "issuer.url", "https://user@issuer.example"),
    ("jwt[0].issuer.url", "issuer.url", "https://issuer.example?x"),
    ("jwt[0].issuer.url", "issuer.url", "https://issuer.example/#"),
    ("jwt[0].issuer.url", "issuer.url", "https://issuer.example:port"),
    ("jwt[0].issuer.url", "issuer.url", "https://issuer.example/a b"),
    ("jwt[0].issuer.url", "issuer.url", "https://issüer.example"),
    ("jwt[0].issuer.discoveryURL", "issuer.discoveryURL", "https://issuer.example/"),
    ("jwt[0].issuer.discoveryURL", "issuer.discoveryURL", "http://other.example/d"),
    ("jwt[0].issuer.audiences", "issuer.audiences", []),
    ("jwt[0].issuer.audiences", "issuer.audiences", "us"),
    ("jwt[0].issuer.audiences[1]", "issuer.audiences", ["us", ""]),
    ("jwt[0].issuer.audienceMatchPolicy", "issuer.audiences", ["us", "we"]),
    ("jwt[0].issuer.audienceMatchPolicy", "issuer.audienceMatchPolicy", "MatchAll"),
    ("jwt[0].issuer.certificateAuthority", "issuer.certificateAuthority", 5),
    ("jwt[0].issuer.clientID", "issuer.clientID", "x"),
    ("jwt[0].claimMapping", "claimMapping", {}),
    ("jwt[0].claimMappings.username", "claimMappings.username", ...),
    ("jwt[0].claimMappings.username", "claimMappings.username", {"claim": "a", "prefix": "", "expression": "claims.a"}),
    ("jwt[0].claimMappings.username.prefix", "claimMappings.username", {"claim": "sub"}),
    ("jwt[0].claimMappings.username.prefix", "claimMappings.username", {"claim": "sub", "prefix": "system:"}),
    ("jwt[0].claimMappings.username.prefix", "claimMappings.username", {"claim": "sub", "prefix": "System:node:"}),
    ("jwt[0].claimMappings.username.prefix", "claimMappings.username", {"expression": "claims.a", "prefix": "x"}),
    ("jwt[0].claimMappings.username.expression", "claimMappings.username", {"expression": "claim.a"}),
    ("jwt[0].claimMappings.username.expression", "claimMappings.username", {"expression": "claims."}),
    ("jwt[0].claimMappings.username.expression", "claimMappings", EMAIL),
    ("jwt[0].claimMappings.groups.prefix", "claimMappings.groups", {"claim": "groups"}),
    ("jwt[0].claimMappings.extra[0].key", "claimMappings.extra", [{"key": "a", "valueExpression": "'b'"}]),
    ("jwt[0].claimMappings.extra[0].key", "claimMappings.extra", [{"key": "A.io/x", "valueExpression": "'b'"}]),
    ("jwt[0].claimMappings.extra[0].key", "claimMappings.extra", [{"key": "k8s.io/x", "valueExpression": "'b'"}]),
    ("jwt[0].claimMappings.extra[0].key", "claimMappings.extra", [{"key": "x.kubernetes.io/x", "valueExpression": "'b'"}]),
    ("jwt[0].claimMappings.extra[0].key", "claimMappings.extra", [{"key": "chaperone.dev/approval", "valueExpression": "'b'"}]),
    ("jwt[0].claimMappings.extra[0].valueExpression", "claimMappings.extra", [{"key": "a.io/x"}]),
    ("jwt[0].claimMappings.extra[1].key", "claimMappings.extra", [{"key": "a.io/x", "valueExpression": "'b'"}] * 2),
    ("jwt[0].claimValidationRules[0]", "claimValidationRules", [{}]),
    ("jwt[0].claimValidationRules[0]", "claimValidationRules", [{"claim": "a", "expression": "true"}]),
    ("jwt[0].claimValidationRules[0].message", "claimValidationRules", [{"claim": "a", "message": "m"}]),
    ("jwt[0].claimValidationRules[0].requiredValue", "claimValidationRules", [{"expression": "true", "requiredValue": "x"}]),
    ("jwt[0].claimValidationRules[0].requiredValue", "claimValidationRules", [{"claim": "a", "requiredValue": True}]),
    ("jwt[0].claimValidationRules[0].expression", "claimValidationRules", [{"expression": "claims.a + 'x'"}]),
    ("jwt[0].claimValidationRules[0].expression", "claimValidationRules", [{"expression": "'" + "x" * 5000 + "' == ''"}]),
    ("jwt[0].userValidationRules[0].expression", "userValidationRules", [{"message": "m"}]),
    ("jwt[0].userValidationRules[0].expression", "userValidationRules", [{"expression": "claims.a == 'b'"}]),
    ("jwt[0].run.runId", "run.runId", {}),
    ("jwt[0].run.run", "run.run", {"claim": "a", "expression": "claims.a"}),
    ("jwt[0].run.run.required", "run.run", {"required": "no"}),
    ("jwt[0].run.model.expression", "run.model", {"expression": "claims.a ++ 1"}),
    ("jwt[0].signingAlgorithms[0]", "signingAlgorithms", ["none"]),
    ("jwt[0].signingAlgorithms[1]", "signingAlgorithms", ["RS256", "HS256"]),
    ("jwt[0].signingAlgorithms[0]", "signingAlgorithms", ["PS256"]),
    ("jwt[0].signingAlgorithms[0]", "signingAlgorithms", ["EdDSA"]),
    ("jwt[0].signingAlgorithms[1]", "signingAlgorithms", ["RS256", "RS256"]),
    ("jwt[0].leeway", "leeway", 301),
    ("jwt[0].leeway", "leeway", "301s"),
    ("jwt[0].leeway", "leeway", -1),
    ("jwt[0].leeway", "leeway", True),
    ("jwt[0].leeway", "leeway", "1h"),
    ("jwt[0].leeway", "leeway", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "field", "value"), ONE_FAULT, ids=[f"{case[1]}={case[2]!r}"[:70] for case in ONE_FAULT]
)
def test_a_fault_is_named_with_its_path(path: str, field: str, value: Any) -> None:
    found = faults(document(with_fields(field, value)))
    assert list(found) == [path]
    assert found[path]


@pytest.mark.parametrize("value", [None, [], "jwt", 1, {1: 2}])
def test_what_is_no_configuration_is_refused(value: object) -> None:
    assert {"apiVersion", "kind", "jwt"} <= set(faults(value))


def test_a_text_where_fields_belong_is_a_fault() -> None:
    found = faults(document(with_fields("claimMappings", "sub")))
    assert set(found) == {"jwt[0].claimMappings", "jwt[0].claimMappings.username"}


def test_nobody_configured_is_a_fault() -> None:
    assert list(faults(document())) == ["jwt"]


def test_anonymous_access_is_never_configured() -> None:
    accepted(document(ENTRY, anonymous={"enabled": False}))
    assert list(faults(document(ENTRY, anonymous={"enabled": True, "conditions": [{"path": "/livez"}]}))) == [
        "anonymous.enabled"
    ]


def test_issuers_are_distinct() -> None:
    assert list(faults(document(ENTRY, ENTRY))) == ["jwt[1].issuer.url"]
    first, second = (with_fields("issuer.discoveryURL", "https://d.example/d") for _ in range(2))
    second["issuer"]["url"] = "https://second.example"
    assert list(faults(document(first, second))) == ["jwt[1].issuer.discoveryURL"]


def test_issuers_are_bounded() -> None:
    entries = [with_fields("issuer.url", f"https://i{number}.example") for number in range(65)]
    assert list(faults(document(*entries))) == ["jwt"]


def test_all_faults_are_named_at_once() -> None:
    found = faults(
        document({"issuer": {"url": "http://i"}, "leeway": "9m"}, ENTRY | {"rnu": {}}, kind="Config")
    )
    assert set(found) == {
        "kind",
        "jwt[0].issuer.url",
        "jwt[0].issuer.audiences",
        "jwt[0].claimMappings.username",
        "jwt[0].leeway",
        "jwt[1].rnu",
    }


@pytest.mark.parametrize(
    "field",
    [
        {"claimMappings": {"username": {"expression": "claims.email_verified ? claims.email : claims.sub"}}},
        {"claimMappings": EMAIL, "claimValidationRules": [{"expression": "claims.?email_verified.orValue(true) == true"}]},
        {
            "claimMappings": EMAIL
            | {"extra": [{"key": "a.io/v", "valueExpression": "string(claims.email_verified)"}]}
        },
    ],
)  # fmt: skip
def test_an_email_address_may_name_when_its_verification_is_looked_at(field: dict[str, Any]) -> None:
    accepted(document(ENTRY | field))


@pytest.mark.parametrize(
    "source", ["claims.email", "claims.?email.orValue('')", "claims[ 'email' ]", "claims . email"]
)
def test_an_email_address_cannot_name_without(source: str) -> None:
    entry = with_fields("claimMappings.username", {"expression": source})
    assert list(faults(document(entry))) == ["jwt[0].claimMappings.username.expression"]


def test_a_remedy_names_what_is_possible() -> None:
    found = faults(document(with_fields("signingAlgorithms", ["PS256"])))
    assert "RS256" in found["jwt[0].signingAlgorithms[0]"]
