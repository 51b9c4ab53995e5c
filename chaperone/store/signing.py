"""The Ed25519 key that signs checkpoints: a PEM file of its owner alone, made when missing, its public half beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chaperone.core.chain import (
    NOTHING_KEPT,
    Checkpoint,
    Kept,
    Link,
    Reason,
    checkpoint_line,
    checkpoint_payload,
)
from chaperone.core.chain_check import Trust

KEY_FILE = "audit.key"
"""Its usual name, beside an SQLite store or a file of JSON lines."""


class KeyFileError(OSError):
    """The file cannot be read or made, or holds no Ed25519 key."""


@dataclass(frozen=True, slots=True)
class Signer:
    """name: of the key, from its public half; public: PEM."""

    name: str
    public: str
    sign: Callable[[bytes], bytes]

    def checkpoint(self, link: Link, now: float, reason: Reason, kept: Kept = NOTHING_KEPT) -> bytes:
        """The signed line. now: Unix seconds."""
        payload = checkpoint_payload(link, now, reason, self.name, kept)
        return checkpoint_line(payload, self.sign(payload))


def load_signer(path: Path) -> Signer:
    """Of the key in the file; a missing one is made, and `PATH.pub` holds what verifies. Raises KeyFileError."""
    try:
        if not path.exists():
            _make(path)
        return signer_of(path.read_bytes(), str(path))
    except OSError as fault:
        if isinstance(fault, KeyFileError):
            raise
        raise KeyFileError(
            f"the audit's signing key {path} cannot be used: {fault.strerror or fault}"
        ) from fault


def signer_of(pem: bytes, source: str = "the key") -> Signer:
    """Raises KeyFileError."""
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError) as fault:
        raise KeyFileError(f"{source} is no private key in PEM without a password") from fault
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"{source} is no Ed25519 key: make one with `openssl genpkey -algorithm ed25519`")
    public = private.public_key()
    return Signer(key_name(public), _pem(public), private.sign)


def new_signer() -> Signer:
    """With a key that nobody will have again."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key()
    return Signer(key_name(public), _pem(public), private.sign)


def key_name(public: Ed25519PublicKey) -> str:
    """ "ed25519:" and 32 hexadecimal digits of its fingerprint."""
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"ed25519:{hashlib.sha256(raw).hexdigest()[:32]}"


def public_keys(pems: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Keys by their name. Raises KeyFileError for a text that is none."""
    found = {}
    for pem in pems:
        try:
            key = serialization.load_pem_public_key(pem.encode())
        except ValueError as fault:
            raise KeyFileError("this is no public key in PEM") from fault
        if not isinstance(key, Ed25519PublicKey):
            raise KeyFileError("this is no Ed25519 public key")
        found[key_name(key)] = key
    return found


def signature_check(trusted: Mapping[str, Ed25519PublicKey]) -> Callable[[Checkpoint], Trust]:
    """For core.chain_check.ChainCheck."""

    def check(checkpoint: Checkpoint) -> Trust:
        key = trusted.get(checkpoint.key)
        if key is None:
            return Trust.UNKNOWN_KEY
        try:
            key.verify(checkpoint.signature, checkpoint.payload)
        except InvalidSignature:
            return Trust.BAD
        return Trust.GOOD

    return check


def _make(path: Path) -> None:
    """Whole or not at all: several workers may start at once, and the first one's key is everybody's."""
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(fd)
    try:
        os.link(partial, path)
    except FileExistsError:
        return
    finally:
        partial.unlink()
    path.with_name(f"{path.name}.pub").write_text(_pem(private.public_key()))


def _pem(public: Ed25519PublicKey) -> str:
    return public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
