"""Which published keys are used, and for what."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from chaperone.core.token import Refused
from gateway.authn.keys import KeyRing, KeySetError, read_key_set
from hack.issuer import public_jwk
from tests.gateway.authn.issuing import key, published

BOTH = frozenset({"RS256", "ES256"})
ALL = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})


def jwk(name: str = "dev", **changes: Any) -> dict[str, Any]:
    """A published key with some members changed, or removed by `...`."""
    members = public_jwk(key(name), name) | changes
    return {member: value for member, value in members.items() if value is not ...}


def ring(*entries: object, algorithms: frozenset[str] = BOTH) -> KeyRing:
    return read_key_set(json.dumps({"keys": list(entries)}).encode(), algorithms)


def test_a_key_is_found_by_id_and_algorithm() -> None:
    keys = read_key_set(published("dev", "ec"), BOTH)
    rsa_key, ec_key = keys.find("RS256", "dev"), keys.find("ES256", "ec")
    assert rsa_key is not None
    assert rsa_key is not ec_key
    assert not isinstance(rsa_key, Refused)
    assert rsa_key is keys.find("RS256", "dev"), "key objects are built once"
    assert keys.find("RS256", "other") is None
    assert isinstance(keys.find("ES256", "dev"), Refused)
    assert isinstance(keys.find("RS256", None), Refused), "no id, several keys"


def test_one_key_needs_no_id() -> None:
    keys = ring(jwk(kid=...))
    assert not isinstance(keys.find("RS256", None), Refused | None)
    assert keys.find("RS256", "dev") is None


def test_two_keys_of_one_id_and_type_are_ambiguous() -> None:
    assert isinstance(ring(jwk(), jwk("other", kid="dev")).find("RS256", "dev"), Refused)
    assert not isinstance(ring(jwk(), jwk("ec", kid="dev")).find("RS256", "dev"), Refused | None)


def small() -> dict[str, str]:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    return public_jwk(weak, "small")


@pytest.mark.parametrize(
    "entry",
    [
        jwk(use="enc"),
        jwk(key_ops=["encrypt"]),
        jwk(key_ops="verify"),
        jwk(alg="PS256"),
        jwk(alg="RS384"),
        jwk(d="AQAB"),
        jwk(kty="oct", k="c2VjcmV0"),
        jwk(kty="OKP", crv="Ed25519", x="AAAA"),
        jwk(kty=["RSA"]),
        jwk(n=...),
        jwk(n=5),
        jwk(n="A+B/"),
        jwk(e="AQ"),
        jwk(e="AQAB" * 4),
        jwk(kid=5),
        jwk(kid="k" * 300),
        small(),
        jwk("ec", crv="P-384"),
        jwk("ec", x="AQAB"),
        jwk("ec", x=jwk("ec")["y"], y=jwk("ec")["x"]),
        jwk("p384"),
        "key",
        None,
    ],
    ids=lambda entry: str(entry)[:60],
)
def test_unusable_keys_are_left_out(entry: object) -> None:
    with pytest.raises(KeySetError, match="has no key"):
        ring(entry)
    assert len(ring(entry, jwk("other")).keys) == 1, "and do not spoil the others"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}', b"<html>"])
def test_an_unreadable_set_is_an_error(raw: bytes) -> None:
    with pytest.raises(KeySetError):
        read_key_set(raw, BOTH)


def test_a_set_is_bounded() -> None:
    with pytest.raises(KeySetError, match="at most"):
        ring(*[jwk()] * 65)


def test_a_key_without_alg_serves_what_fits_it() -> None:
    keys = ring(jwk(alg=...), jwk("p384", alg=...), algorithms=ALL)
    for algorithm in ("RS256", "RS384", "RS512"):
        assert not isinstance(keys.find(algorithm, "dev"), Refused | None)
    assert not isinstance(keys.find("ES384", "p384"), Refused | None)
    assert isinstance(keys.find("ES256", "p384"), Refused)
    assert ring(jwk(alg=...)).keys[0].verifiers.keys() == {"RS256"}, "only what the issuer may use"


def test_rings_are_equal_when_the_keys_are() -> None:
    assert read_key_set(published("dev"), BOTH) == ring(jwk())
    assert ring(jwk()) != ring(jwk("other"))
    assert ring(jwk()) != ring(jwk(), jwk("other"))
