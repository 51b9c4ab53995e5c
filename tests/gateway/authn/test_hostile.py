"""Hostile tokens, by their ids: what reaches the authenticator, and the code that comes back."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from chaperone.core.identity import Caller
from chaperone.core.token import Refused, Token, extract_token
from gateway.authn.authenticator import Authenticator
from tests.gateway.authn.issuing import (
    NOW,
    Clock,
    Source,
    claims,
    configuration,
    key,
    published,
    running,
    signing_key,
    token,
    write,
)


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: dict[str, Any], payload: dict[str, Any] | None = None, signer: str = "dev") -> str:
    """With any header: python-jose makes the signature, over the header we want."""
    head, body = (
        encode(json.dumps(part).encode()) for part in (header, claims() if payload is None else payload)
    )
    message = f"{head}.{body}".encode()
    return f"{head}.{body}.{encode(signing_key(signer).sign(message))}"


def hs256_with_the_public_key() -> str:
    public = (
        key("dev")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    head, body = (encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "dev"}, claims()))
    return f"{head}.{body}.{encode(hmac.digest(public, f'{head}.{body}'.encode(), hashlib.sha256))}"


def without_signature(algorithm: str) -> str:
    head, body = (encode(json.dumps(part).encode()) for part in ({"alg": algorithm, "kid": "dev"}, claims()))
    return f"{head}.{body}."


def with_another_payload() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{encode(json.dumps(claims(sub='admin')).encode())}.{signature}"


HOSTILE: list[tuple[str, Callable[[], str], int]] = [
    ("ID-02 no JWT", lambda: "abc", 401),
    ("ID-02 empty", lambda: "", 401),
    ("ID-02 malformed", lambda: "a.b.c", 401),
    ("ID-02 signature cut", lambda: token()[:-8], 401),
    ("ID-02 signed by a stranger", lambda: token("stranger", kid="dev"), 401),
    ("ID-02 payload swapped", with_another_payload, 401),
    ("ID-02 signature of another token", lambda: f"{token().rpartition('.')[0]}.{token(sub='x').rpartition('.')[2]}", 401),
    ("ID-03 wrong issuer", lambda: token(iss="https://other.example"), 401),
    ("ID-03 issuer with a slash", lambda: token(iss="https://issuer.example/"), 401),
    ("ID-03 issuer in another case", lambda: token(iss="https://Issuer.example"), 401),
    ("ID-04 wrong audience", lambda: token(aud="other"), 401),
    ("ID-04 no audience", lambda: token(aud=...), 401),
    ("ID-04 empty audience", lambda: token(aud=[]), 401),
    ("ID-05 expired", lambda: token(exp=NOW - 31), 401),
    ("ID-05 no expiry", lambda: token(exp=...), 401),
    ("ID-05 expiry true", lambda: token(exp=True), 401),
    ("ID-05 expiry as text", lambda: token(exp="1900000000"), 401),
    ("ID-05 not yet valid", lambda: token(nbf=NOW + 60), 401),
    ("ID-05 from the future", lambda: token(iat=NOW + 60), 401),
    ("ID-06 alg none", lambda: without_signature("none"), 401),
    ("ID-06 alg None", lambda: without_signature("None"), 401),
    ("ID-06 alg none with a signature", lambda: without_signature("none") + encode(b"x"), 401),
    ("ID-06 HS256 with the public key", hs256_with_the_public_key, 401),
    ("ID-06 an algorithm that is not allowed", lambda: signed({"alg": "RS512", "kid": "dev"}), 401),
    ("ID-06 an algorithm of another key type", lambda: signed({"alg": "ES256", "kid": "dev"}), 401),
    ("ID-07 required claim missing", lambda: token(team=...), 401),
    ("ID-07 required claim different", lambda: token(team="red"), 401),
    ("ID-07 no run", lambda: token(run=...), 401),
    ("ID-08 empty user name", lambda: token(name=""), 403),
    ("ID-08 no user name", lambda: token(name=...), 403),
    ("crit", lambda: signed({"alg": "RS256", "kid": "dev", "crit": ["exp"]}), 401),
    ("unencoded payload", lambda: signed({"alg": "RS256", "kid": "dev", "b64": False, "crit": ["b64"]}), 401),
    ("another typ", lambda: signed({"alg": "RS256", "kid": "dev", "typ": "dpop+jwt"}), 401),
    ("ID-15 unknown kid beside jku", lambda: signed({"alg": "RS256", "kid": "k", "jku": "https://evil.example"}), 401),
    ("ID-15 kid is a path", lambda: token(kid="../../dev"), 401),
    ("ID-15 kid is a URL", lambda: token(kid="https://evil.example/keys"), 401),
    ("empty kid", lambda: token(kid=""), 401),
    ("no kid, several keys", lambda: signed({"alg": "RS256"}), 401),
    ("ID-17 system:masters as a group", lambda: token(groups=["system:masters"]), 403),
    ("ID-17 system:nodes as the one group", lambda: token(groups="system:nodes"), 403),
    ("ID-17 system: as a user name", lambda: token(name="system:admin"), 403),
    ("ID-18 CR LF in the user name", lambda: token(name="a\r\nImpersonate-User: admin"), 403),
    ("ID-18 NUL in the user name", lambda: token(name="a\0b"), 403),
    ("ID-18 non-ASCII user name", lambda: token(name="zoë"), 403),
    ("ID-18 LF in a group", lambda: token(groups=["a\nb"]), 403),
    ("ID-18 CR in the run", lambda: token(run="r\r"), 403),
    ("ID-18 NUL in an extra claim", lambda: token(extra="a\0"), 403),
    ("ID-18 non-ASCII extra claim", lambda: token(extra="ä"), 403),
]  # fmt: skip

STRICT = configuration(
    claimMappings={
        "username": {"claim": "name", "prefix": "oidc:"},
        "groups": {"claim": "groups", "prefix": "oidc:"},
        "extra": [{"key": "a.io/extra", "valueExpression": "has(claims.extra) ? claims.extra : ''"}],
    },
    claimValidationRules=[{"claim": "team", "requiredValue": "blue"}],
)


@pytest.fixture
def authenticator(tmp_path: Path) -> Authenticator:
    return Authenticator(
        write(tmp_path / "issuers.yaml", STRICT),
        clock=Clock(),
        fetcher=Source(published("dev", "ec")).fetcher,
    )


def decide(authenticator: Authenticator, text: str) -> Caller | Refused:
    async def scenario() -> Caller | Refused:
        async with running(authenticator):
            first = await authenticator.authenticate(text)
            assert await authenticator.authenticate(text) == first, "the second answer differs"
            assert (authenticator.cached(text) is None) is isinstance(first, Refused)
            return first

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def _good_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token of this module is good for STRICT but for what its row changes."""
    plain = claims

    def strict_claims(**changes: Any) -> dict[str, Any]:
        return plain(**({"name": "coder", "team": "blue"} | changes))

    monkeypatch.setattr("tests.gateway.authn.issuing.claims", strict_claims)
    monkeypatch.setitem(globals(), "claims", strict_claims)


@pytest.mark.parametrize(("make", "code"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_tokens_are_refused(authenticator: Authenticator, make: Callable[[], str], code: int) -> None:
    text = make()
    refused = decide(authenticator, text)
    assert isinstance(refused, Refused), refused
    assert refused.code == code
    assert refused.audit_reason
    for part in text.split("."):
        assert len(part) < 8 or part not in refused.public_message + refused.audit_reason


FRIENDLY: list[tuple[str, Callable[[], str]]] = [
    ("RS256", token),
    ("ES256", lambda: token("ec")),
    ("several audiences", lambda: token(aud=["other", "kube-chaperone"])),
    ("just expired, within leeway", lambda: token(exp=NOW - 29)),
    (
        "ID-15 key sources in the header",
        lambda: signed({"alg": "RS256", "kid": "dev", "jku": "https://e", "jwk": {}}),
    ),
]


@pytest.mark.parametrize("make", [row[1] for row in FRIENDLY], ids=[row[0] for row in FRIENDLY])
def test_good_tokens_pass_the_same_configuration(
    authenticator: Authenticator, make: Callable[[], str]
) -> None:
    async def scenario() -> Caller | Refused:
        async with running(authenticator):
            return await authenticator.authenticate(make())

    result = asyncio.run(scenario())
    assert isinstance(result, Caller), result
    assert (result.username, result.groups, result.run) == ("oidc:coder", ("oidc:ai-agents",), "r-1")


def test_a_request_is_authenticated_from_its_headers(authenticator: Authenticator) -> None:
    found = extract_token([f"bearer {token()}"], None, False)
    assert isinstance(found, Token)
    assert isinstance(decide(authenticator, found.value), Caller)


def test_without_a_key_id_one_key_is_enough(tmp_path: Path) -> None:
    single = Authenticator(write(tmp_path / "i.yaml", STRICT), clock=Clock(), fetcher=Source().fetcher)
    assert isinstance(decide(single, signed({"alg": "RS256"})), Caller)


def test_what_breaks_inside_is_a_refusal(
    authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.authn.authenticator.map_caller", lambda *_: 1 / 0)
    refused = decide(authenticator, token())
    assert isinstance(refused, Refused)
    assert refused.code == 401
