"""The certificate is renewed without a restart; a renewal that cannot be used changes nothing."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chaperone.serving.certificates import Certificates
from chaperone.settings.webhook import WebhookListenSettings


def write_pair(folder: Path, name: str, *, mtime: int) -> WebhookListenSettings:
    """A self-signed certificate for `name` and its key, with this modification time."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    files = {
        "tls.crt": certificate.public_bytes(serialization.Encoding.PEM),
        "tls.key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)
        os.utime(folder / file, (mtime, mtime))
    return WebhookListenSettings(certificate=folder / "tls.crt", key=folder / "tls.key")


def served_name(context: ssl.SSLContext) -> str:
    """The common name that a client gets from this context."""
    here, there = socket.socketpair()
    client = ssl.create_default_context()
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE

    def serve() -> None:
        with context.wrap_socket(there, server_side=True):
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(here) as connection:
        der = connection.getpeercert(binary_form=True)
    thread.join()
    assert der is not None
    (attribute,) = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(attribute.value)


def test_the_same_files_give_the_same_context(tmp_path: Path) -> None:
    certificates = Certificates(write_pair(tmp_path, "one", mtime=1000))
    assert certificates.context() is certificates.context()


def test_a_renewed_certificate_is_served_at_once(tmp_path: Path) -> None:
    certificates = Certificates(write_pair(tmp_path, "one", mtime=1000))
    assert served_name(certificates.context()) == "one"
    write_pair(tmp_path, "two", mtime=2000)
    assert served_name(certificates.context()) == "two"


def test_a_half_written_renewal_leaves_the_old_one_in_service(tmp_path: Path) -> None:
    certificates = Certificates(write_pair(tmp_path, "one", mtime=1000))
    certificates.context()
    (tmp_path / "tls.crt").write_bytes(b"-----BEGIN CERT")
    assert served_name(certificates.context()) == "one"
    (tmp_path / "tls.key").unlink()
    assert served_name(certificates.context()) == "one"
    write_pair(tmp_path, "two", mtime=3000)
    assert served_name(certificates.context()) == "two"


def test_without_any_good_certificate_there_is_no_context(tmp_path: Path) -> None:
    settings = write_pair(tmp_path, "one", mtime=1000)
    settings.certificate.write_bytes(b"nothing")
    with pytest.raises(ssl.SSLError):
        Certificates(settings).context()


def test_old_protocols_are_off(tmp_path: Path) -> None:
    context = Certificates(write_pair(tmp_path, "one", mtime=1000)).context()
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
