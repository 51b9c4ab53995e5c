"""TLS contexts: the listener's, which takes renewed certificates while it runs, and the one towards the API server."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from gateway.http.pool_settings import UpstreamSettings

log = logging.getLogger(__name__)

ALPN = ["http/1.1"]
Stamp = tuple[int, int, int]
"""Inode, size and time of change: enough to see a file replaced or written anew."""


def upstream_context(ca_pem: str | None, *, relax_x509_strict: bool = False) -> ssl.SSLContext:
    """Verifies the API server against its CA (None: the system's). relax_x509_strict clears only that flag, for CAs
    without key identifiers. Raises ssl.SSLError when the PEM cannot be read."""
    context = ssl.create_default_context(cadata=ca_pem)
    if relax_x509_strict:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(ALPN)
    return context


def upstream_settings(
    server: str,
    ca_pem: str | None,
    *,
    relax_x509_strict: bool = False,
    first_byte_seconds: float = 65.0,
    most_idle: int = 64,
) -> UpstreamSettings:
    """From an https:// address. Raises ValueError for an address with a path, a user or another scheme."""
    url = urlsplit(server)
    if url.scheme != "https" or not url.hostname or url.username or url.path.strip("/") or url.query:
        raise ValueError(f"the API server's address must be https://HOST[:PORT], not {server!r}")
    return UpstreamSettings(
        host=url.hostname,
        port=url.port or 443,
        tls=upstream_context(ca_pem, relax_x509_strict=relax_x509_strict),
        first_byte_seconds=first_byte_seconds,
        most_idle=most_idle,
    )


class UpstreamTrust:
    """Follows the files that say whom to trust as the API server. New connections use what they say now; open ones
    were verified when they were made, and live on."""

    def __init__(self, files: Sequence[Path], make: Callable[[], UpstreamSettings]) -> None:
        """make: settings from the files as they are now; it raises ValueError or OSError (ssl.SSLError is one)."""
        self._files = tuple(files)
        self._make = make
        self._stamps = self._look()

    def _look(self) -> tuple[Stamp | None, ...]:
        return tuple(_stamp(path) if path.exists() else None for path in self._files)

    def refresh(self) -> UpstreamSettings | None:
        """New settings when a file has changed, else None. Files that cannot be used are tried again next time."""
        try:
            stamps = self._look()
            if stamps == self._stamps:
                return None
            made = self._make()
        except (OSError, ValueError) as error:
            log.warning(
                "the API server's renewed CA cannot be used; the old one stays", extra={"cause": str(error)}
            )
            return None
        self._stamps = stamps
        log.info("the API server's CA was reloaded", extra={"files": [str(path) for path in self._files]})
        return made


class ServingCertificate:
    """The listener's context. `refresh` loads files that have changed into it: new handshakes use them, open
    connections live on."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises OSError or ssl.SSLError when the first certificate cannot be used."""
        self._certificate = certificate
        self._key = key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(ALPN)
        self._stamp = self._look()
        self.context.load_cert_chain(certificate, key)

    def _look(self) -> tuple[Stamp, Stamp]:
        return _stamp(self._certificate), _stamp(self._key)

    def refresh(self) -> bool:
        """True when a changed pair was loaded. A pair that does not fit (yet) is tried again next time."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return False
            self._try_pair()
            self.context.load_cert_chain(self._certificate, self._key)
        except (OSError, ssl.SSLError) as error:
            log.warning(
                "the renewed certificate cannot be used; the old one stays",
                extra={"certificate": str(self._certificate), "cause": str(error)},
            )
            return False
        self._stamp = stamp
        log.info("serving certificate reloaded", extra={"certificate": str(self._certificate)})
        return True

    def _try_pair(self) -> None:
        """On a context of its own: a failed load would leave the live one with half a pair."""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._certificate, self._key)


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
