"""Values as a cluster makes them, from a seed: digests, uids, certificates. None of them is a secret, and each knows its sort."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID


class Sort(Enum):
    """What a string of the corpus is."""

    DIGEST = "digests"
    UID = "uids"
    CHECKSUM = "checksums"
    CERTIFICATE = "certificates"
    NAME = "names"
    SEALED = "sealed values"
    OTHER = "elsewhere"


PUBLIC = tuple(sort for sort in Sort if sort is not Sort.OTHER)


class Known(str):
    """A string with its sort."""

    __slots__ = ("sort",)
    sort: Sort

    def __new__(cls, text: str, sort: Sort) -> Known:
        made = super().__new__(cls, text)
        made.sort = sort
        return made


class Mill:
    """Values as a cluster makes them, from a seed."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(seed)

    def hex(self, length: int) -> str:
        return "".join(self._dice.choices("0123456789abcdef", k=length))

    def raw(self, length: int) -> bytes:
        return bytes(self._dice.choices(range(256), k=length))

    def uid(self) -> str:
        digits = self.hex(32)
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def suffix(self, length: int) -> str:
        """As generateName adds it."""
        return "".join(self._dice.choices("bcdfghjklmnpqrstvwxz2456789", k=length))

    def fill(self, text: str) -> str:
        """`%digest%` and its like, each time another value; a text that holds one is of its sort."""
        sorts = [_FILLERS[name][0] for name in _FILLER.findall(text)]
        filled = _FILLER.sub(lambda found: _FILLERS[found[1]][1](self), text)
        return Known(filled, sorts[0]) if sorts else text


def _certificate(mill: Mill) -> str:
    """A real one, of a key that nobody keeps."""
    key = Ed25519PrivateKey.from_private_bytes(mill.raw(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca-{mill.suffix(5)}")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    built = (
        builder.serial_number(int(mill.hex(30), 16))
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=3650))
    )
    return built.sign(key, None).public_bytes(serialization.Encoding.PEM).decode()


def _request(mill: Mill) -> str:
    key = Ed25519PrivateKey.from_private_bytes(mill.raw(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop.example")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, None)
    return made.public_bytes(serialization.Encoding.PEM).decode()


def _public_key(mill: Mill) -> str:
    key = Ed25519PrivateKey.from_private_bytes(mill.raw(32)).public_key()
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _b64(raw: bytes | str) -> str:
    return base64.b64encode(raw.encode() if isinstance(raw, str) else raw).decode()


_FILLERS: Mapping[str, tuple[Sort, Callable[[Mill], str]]] = {
    "digest": (Sort.DIGEST, lambda mill: f"sha256:{mill.hex(64)}"),
    "sha1": (Sort.CHECKSUM, lambda mill: mill.hex(40)),
    "sha224": (Sort.CHECKSUM, lambda mill: mill.hex(56)),
    "sha256": (Sort.CHECKSUM, lambda mill: mill.hex(64)),
    "sha256-base64": (Sort.CHECKSUM, lambda mill: _b64(mill.raw(32))),
    "uid": (Sort.UID, Mill.uid),
    "certificate": (Sort.CERTIFICATE, _certificate),
    "certificate-base64": (Sort.CERTIFICATE, lambda mill: _b64(_certificate(mill))),
    "csr-base64": (Sort.CERTIFICATE, lambda mill: _b64(_request(mill))),
    "public-key": (Sort.CERTIFICATE, _public_key),
    "sealed": (Sort.SEALED, lambda mill: _b64(b"\x02\x00" + mill.raw(560))),
    "wireguard-public": (Sort.CERTIFICATE, lambda mill: _b64(mill.raw(32))),
}
_FILLER = re.compile(f"%({'|'.join(_FILLERS)})%")
