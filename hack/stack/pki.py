"""The stack's own certificates: one authority for all its servers; client certificates for people."""

import time
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from hack.cluster.certificates import issue, new_authority
from hack.cluster.pki import LOOPBACK, write_private
from hack.stack.layout import Layout

RENEW_BEFORE = 7 * 24 * 3600
SERVERS = ("gateway", "webhook", "issuer", "console")


@dataclass(frozen=True)
class Files:
    certificate: Path
    key: Path


def server_files(layout: Layout, name: str) -> Files:
    return Files(layout.pki(f"{name}.crt"), layout.pki(f"{name}.key"))


def ensure(layout: Layout) -> None:
    """Make the authority and what it signs, unless all are there and valid for another week.

    The authority's key is not kept: new certificates mean a new authority.
    """
    if all(_is_valid(server_files(layout, name).certificate) for name in SERVERS) and layout.ca_file.exists():
        return
    authority = new_authority("kube-chaperone-development-ca")
    layout.ca_file.parent.mkdir(parents=True, exist_ok=True)
    layout.ca_file.write_bytes(authority.pair.certificate)
    for name in SERVERS:
        pair = issue(authority, f"chaperone-{name}", hosts=LOOPBACK)
        files = server_files(layout, name)
        write_private(files.certificate, pair.certificate)
        write_private(files.key, pair.key)


def _is_valid(path: Path) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return False
    return certificate.not_valid_after_utc.timestamp() > time.time() + RENEW_BEFORE
