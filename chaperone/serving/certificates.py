"""The server's TLS context, made again when a renewed certificate appears: no restart, no connection
dropped."""

from __future__ import annotations

import logging
import ssl
import threading
from pathlib import Path

from chaperone.settings.serving import TlsListenSettings

log = logging.getLogger(__name__)

Times = tuple[int, ...]


class Certificates:
    """Hands out one context for as long as the files stay the same. Called for every new connection."""

    def __init__(self, settings: TlsListenSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._times: Times = ()
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext:
        """The current context. While a renewal is half written the old one serves on. Raises only when
        there never was a good one: OSError, ssl.SSLError."""
        with self._lock:
            try:
                times = self._file_times()
                if self._context is None or times != self._times:
                    self._context = self._load()
                    self._times = times
            except (OSError, ssl.SSLError) as error:
                if self._context is None:
                    raise
                log.error("the renewed certificate cannot be used, serving the old one: %s", error)  # noqa: TRY400
            return self._context

    def _file_times(self) -> Times:
        files = (self._settings.certificate, self._settings.key, self._settings.client_ca)
        return tuple(Path(file).stat().st_mtime_ns for file in files if file is not None)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._settings.certificate, self._settings.key)
        context.set_alpn_protocols(["http/1.1"])
        if self._settings.client_ca is not None:
            context.load_verify_locations(self._settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
