"""The examples for well-known issuers, each with claims as that issuer writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chaperone.core.authentication import Issuer
from chaperone.core.caller import map_caller
from chaperone.core.identity import Caller
from chaperone.core.token import Refused
from gateway.authn.issuers_file import read_issuers

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "examples" / "issuers"
TENANT = "11111111-2222-3333-4444-555555555555"
ACCOUNT = {
    "namespace": "agents",
    "pod": {"name": "coder-0", "uid": "pod-1"},
    "serviceaccount": {"name": "coder", "uid": "sa-1"},
}

CLAIMS: dict[str, tuple[dict[str, Any], tuple[str, tuple[str, ...], str, str]]] = {
    "github-actions": (
        {
            "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app",
            "repository_owner": "acme",
            "run_id": "77",
            "run_attempt": "2",
            "workflow": "fix",
        },
        ("repo:acme/app:ref:refs/heads/main", ("github:acme", "github:acme/app"), "acme/app/77/2", "fix"),
    ),
    "gitlab": (
        {
            "sub": "project_path:acme/app:ref_type:branch:ref:main",
            "namespace_path": "acme",
            "project_path": "acme/app",
            "pipeline_id": "77",
        },
        ("gitlab:project_path:acme/app:ref_type:branch:ref:main", ("gitlab:acme",), "77", "acme/app"),
    ),
    "service-account": (
        {"sub": "system:serviceaccount:agents:coder", "kubernetes.io": ACCOUNT},
        ("sa:agents:coder", ("sa:agents",), "pod-1", "coder-0"),
    ),
    "spiffe": (
        {"sub": "spiffe://acme.example/ns/agents/sa/coder"},
        ("spiffe://acme.example/ns/agents/sa/coder", (), "spiffe://acme.example/ns/agents/sa/coder", ""),
    ),
    "keycloak": (
        {"sub": "u-1", "preferred_username": "coder", "groups": ["/ai"], "sid": "s-1", "azp": "agents"},
        ("keycloak:coder", ("keycloak:/ai",), "s-1", "agents"),
    ),
    "entra": (
        {"sub": "p-1", "oid": "o-1", "tid": TENANT, "groups": ["g-1"], "azp": "a-1"},
        ("entra:o-1", ("entra:g-1",), "o-1", "a-1"),
    ),
    "okta": (
        {"sub": "coder@acme.example", "groups": ["ai"], "run": "r-1", "cid": "c-1"},
        ("okta:coder@acme.example", ("okta:ai",), "r-1", "c-1"),
    ),
    "google": (
        {"sub": "1234", "email": "coder@acme-agents.iam.gserviceaccount.com", "email_verified": True},
        ("coder@acme-agents.iam.gserviceaccount.com", (), "1234", ""),
    ),
}

STRANGERS: dict[str, dict[str, Any]] = {
    "github-actions": {"repository_owner": "mallory"},
    "gitlab": {"namespace_path": "acmeville"},
    "service-account": {"kubernetes.io": {}},
    "spiffe": {"sub": "spiffe://acme.example.evil/coder"},
    "keycloak": {"sid": None},
    "entra": {"tid": "other"},
    "okta": {"run": ""},
    "google": {"email_verified": False},
}


def example(name: str) -> Issuer:
    path = EXAMPLES / f"{name}.yaml"
    return read_issuers(path.read_bytes(), path.name).configuration.issuers[0]


def test_every_example_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.iterdir()} == set(CLAIMS) == set(STRANGERS)


@pytest.mark.parametrize("name", CLAIMS)
def test_an_example_maps_its_issuers_claims(name: str) -> None:
    claims, expected = CLAIMS[name]
    issuer = example(name)
    result = map_caller(issuer, {"iss": issuer.url, "exp": 1, **claims})
    assert isinstance(result, Caller), result
    assert (result.username, result.groups, result.run, result.agent) == expected


@pytest.mark.parametrize("name", STRANGERS)
def test_an_example_keeps_strangers_out(name: str) -> None:
    issuer = example(name)
    refused = map_caller(issuer, {"iss": issuer.url, "exp": 1, **CLAIMS[name][0], **STRANGERS[name]})
    assert isinstance(refused, Refused)


def test_groups_of_entra_that_do_not_fit_refuse_the_token() -> None:
    issuer = example("entra")
    claims = {**CLAIMS["entra"][0], "exp": 1, "_claim_names": {"groups": "src1"}}
    del claims["groups"]
    assert isinstance(map_caller(issuer, claims), Refused)
