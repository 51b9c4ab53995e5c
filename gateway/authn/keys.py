"""An issuer's published keys (RFC 7517) as key objects, built once and only asked to verify.

What cannot be used is left out: other key types, keys for encryption, weak keys, private or symmetric ones. A
key that is published with its private part is not secret to anyone and vouches for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from jose import jwk
from jose.exceptions import JOSEError

from chaperone.core.token import MAX_KEY_ID, Refused, decode_segment, read_object, unauthenticated

MAX_KEYS = 64
RSA_BITS = range(2048, 8193)
"""Size of a modulus: no weaker, and no slower to verify."""
RSA_EXPONENT_BITS = 64
CURVES = {"ES256": ("P-256", 32), "ES384": ("P-384", 48), "ES512": ("P-521", 66)}
RSA_ALGORITHMS = ("RS256", "RS384", "RS512")


class KeySetError(Exception):
    """An issuer's discovery document or key set that cannot be fetched or used; says which and why."""


class Verifier(Protocol):
    """A python-jose key object."""

    def verify(self, message: bytes, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key and what it may verify, by algorithm."""

    key_id: str | None
    verifiers: Mapping[str, Verifier]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The usable keys of one issuer at one moment; equal when the keys are."""

    fingerprint: str
    keys: tuple[SigningKey, ...] = field(compare=False)

    def find(self, algorithm: str, key_id: str | None) -> Verifier | Refused | None:
        """The one key for a token's header. None: no key of that id, so the issuer may have a newer set."""
        held = self.keys if key_id is None else tuple(key for key in self.keys if key.key_id == key_id)
        if not held:
            return None
        if key_id is None and len(held) > 1:
            return unauthenticated("the token names no key, and the issuer has several")
        fitting = [key.verifiers[algorithm] for key in held if algorithm in key.verifiers]
        if len(fitting) != 1:
            return unauthenticated("the token's key is not for its algorithm, or not the only one of its id")
        return fitting[0]


def read_key_set(raw: bytes, algorithms: frozenset[str]) -> KeyRing:
    """A JWK set as published. algorithms: the issuer's allow-list. Raises KeySetError when no key is usable."""
    try:
        entries = read_object(raw).get("keys")
    except ValueError as error:
        raise KeySetError(f"the key set is unreadable: {error}") from None
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise KeySetError(f"the key set has no list of at most {MAX_KEYS} keys")
    members = [entry for entry in entries if isinstance(entry, dict)]
    keys = tuple(key for entry in members if (key := _signing_key(entry, algorithms)))
    if not keys:
        raise KeySetError(f"the key set has no key for {', '.join(sorted(algorithms))}")
    return KeyRing(hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest(), keys)


def _signing_key(entry: Mapping[str, Any], algorithms: frozenset[str]) -> SigningKey | None:
    if not _may_verify(entry):
        return None
    key_id = entry.get("kid")
    if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID):
        return None
    named = entry.get("alg")
    usable = [name for name in _algorithms(entry) if name in algorithms and named in (None, name)]
    try:
        verifiers = {name: jwk.construct(_public_members(entry), name) for name in usable}
    except (JOSEError, ValueError, TypeError, OverflowError):
        return None
    return SigningKey(key_id, verifiers) if verifiers else None


def _may_verify(entry: Mapping[str, Any]) -> bool:
    operations = entry.get("key_ops", ["verify"])
    return (
        "d" not in entry
        and entry.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _algorithms(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Which algorithms the key itself is fit for, by its type, size and curve."""
    if entry.get("kty") == "RSA":
        is_fit = _bits(entry.get("n")) in RSA_BITS and 1 < _bits(entry.get("e")) <= RSA_EXPONENT_BITS
        return RSA_ALGORITHMS if is_fit else ()
    if entry.get("kty") != "EC":
        return ()
    return tuple(
        name
        for name, (curve, size) in CURVES.items()
        if entry.get("crv") == curve and len(_octets(entry.get("x"))) == size == len(_octets(entry.get("y")))
    )


def _bits(number: object) -> int:
    return int.from_bytes(_octets(number)).bit_length()


def _octets(number: object) -> bytes:
    """What a base64url member encodes; empty when it does not."""
    try:
        return decode_segment(number) if isinstance(number, str) else b""
    except ValueError:
        return b""


def _public_members(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in entry}
