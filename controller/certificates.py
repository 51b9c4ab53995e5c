"""The webhook's certificate: what is kept of it, and what to do next. Pure: bytes in, bytes out; no clock, no keys made.

Every certificate comes from an authority of its own, whose key is thrown away once it has signed: there is nothing to
steal. A renewal goes in three steps, each a write of one Secret, so that at any moment the API servers trust what the
webhook shows, and a crash between two of them loses nothing:

    PREPARE   a new pair lies beside the one in use; both authorities are in the bundle
    PROMOTE   once every webhook configuration carries that bundle, and for a while: the new pair is used
    RETIRE    once every webhook must have read the new pair: the old authority leaves the bundle
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

Obj = Mapping[str, Any]
Manifest = dict[str, Any]

SINCE = "chaperone.dev/since"
"""Annotation of the Secret: Unix seconds of the last step."""
CERTIFICATE, KEY, BUNDLE = "tls.crt", "tls.key", "ca.crt"
NEXT_CERTIFICATE, NEXT_KEY = "next.crt", "next.key"


class Step(Enum):
    """What to do with the Secret now."""

    KEEP = "keep"
    ISSUE = "issue"
    PREPARE = "prepare"
    PROMOTE = "promote"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Terms:
    """names: DNS names that the certificate is for. lifetime, renew_before, overlap: seconds; overlap: how long a step
    is given to reach every API server and every replica of the webhook."""

    names: tuple[str, ...]
    lifetime: float
    renew_before: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, its key and the authority that signed it: PEM."""

    certificate: bytes
    key: bytes
    authority: bytes = b""


@dataclass(frozen=True, slots=True)
class Material:
    """What the Secret holds. authorities: PEM, one each. since: Unix seconds of the last step."""

    current: Pair
    authorities: tuple[bytes, ...]
    since: float
    upcoming: Pair | None = None

    @property
    def bundle(self) -> bytes:
        """What API servers are to trust: the caBundle of the webhook configurations."""
        return b"".join(self.authorities)


def decide(material: Material | None, now: float, terms: Terms, *, spread: bool) -> Step:
    """The next step. spread: does every webhook configuration carry exactly `material.bundle`?"""
    if material is None:
        return Step.ISSUE
    waited = now - material.since >= terms.overlap
    if material.upcoming is not None and not must_renew(material.upcoming, now, terms):
        urgent = not is_valid(material.current, now)
        return Step.PROMOTE if spread and (waited or urgent) else Step.KEEP
    if must_renew(material.current, now, terms):
        return Step.PREPARE
    return Step.RETIRE if len(material.authorities) > 1 and spread and waited else Step.KEEP


def must_renew(pair: Pair, now: float, terms: Terms) -> bool:
    """Does it end soon, or name other hosts than it should?"""
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    ends = certificate.not_valid_after_utc.timestamp()
    return now >= ends - terms.renew_before or names_of(certificate) != set(terms.names)


def is_valid(pair: Pair, now: float) -> bool:
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    return certificate.not_valid_before_utc.timestamp() <= now < certificate.not_valid_after_utc.timestamp()


def names_of(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


# The steps


def issued(pair: Pair, now: float) -> Material:
    """A fresh start: nothing that was there before is trusted."""
    return Material(pair, (pair.authority,), now)


def prepared(material: Material, pair: Pair, now: float) -> Material:
    """A pair that was prepared before, and never used, gives way."""
    return Material(material.current, (*_of(material, material.current), pair.authority), now, pair)


def promoted(material: Material, now: float) -> Material:
    """Raises ValueError when nothing is prepared."""
    if material.upcoming is None:
        raise ValueError("no certificate is prepared that could be used next")
    return Material(material.upcoming, material.authorities, now)


def retired(material: Material, now: float) -> Material:
    return replace(material, authorities=_of(material, material.current), since=now)


def _of(material: Material, pair: Pair) -> tuple[bytes, ...]:
    """The authority of one pair, among those that are kept."""
    return tuple(authority for authority in material.authorities if signed_by(pair, authority))


def signed_by(pair: Pair, authority: bytes) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


# The Secret


def read_secret(data: Mapping[str, bytes], annotations: Mapping[str, str]) -> Material | None:
    """What is in the Secret; None when it is not a certificate, its key and its authority, whatever else it is."""
    try:
        authorities = tuple(
            certificate.public_bytes(serialization.Encoding.PEM)
            for certificate in x509.load_pem_x509_certificates(data.get(BUNDLE, b""))
        )
        current = Pair(data.get(CERTIFICATE, b""), data.get(KEY, b""))
        upcoming = Pair(data.get(NEXT_CERTIFICATE, b""), data.get(NEXT_KEY, b""))
        since = float(annotations.get(SINCE, "0"))
    except ValueError:
        return None
    if not _is_usable(current, authorities):
        return None
    return Material(current, authorities, since, upcoming if _is_usable(upcoming, authorities) else None)


def _is_usable(pair: Pair, authorities: Iterable[bytes]) -> bool:
    """A certificate and a key that belong together, signed by one of the authorities."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
    except (ValueError, TypeError):
        return False
    belongs = key.public_key() == certificate.public_key()
    return belongs and any(signed_by(pair, authority) for authority in authorities)


def secret_data(material: Material) -> dict[str, bytes]:
    """What the Secret holds then; every other key goes."""
    data = {CERTIFICATE: material.current.certificate, KEY: material.current.key, BUNDLE: material.bundle}
    if material.upcoming is None:
        return data
    return {**data, NEXT_CERTIFICATE: material.upcoming.certificate, NEXT_KEY: material.upcoming.key}


# The webhook configurations


def carries(configuration: Obj, bundle: str) -> bool:
    """Do all webhooks of a configuration trust exactly this bundle (base64)?"""
    return all(
        (webhook.get("clientConfig") or {}).get("caBundle") == bundle
        for webhook in configuration.get("webhooks") or ()
    )


def trusting(configuration: Obj, bundle: str) -> Manifest:
    """The configuration with this bundle (base64) in all its webhooks, and nothing else changed."""
    webhooks = [
        {**webhook, "clientConfig": {**(webhook.get("clientConfig") or {}), "caBundle": bundle}}
        for webhook in configuration.get("webhooks") or ()
    ]
    return {**configuration, "webhooks": webhooks}
