"""`python -m console --config FILE`: read the settings whole, connect, serve."""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from chaperone.core.authentication import Issuer
from chaperone.kube.errors import EndpointError
from chaperone.kube.official import connect
from chaperone.serving.server import Server
from chaperone.settings.console import ConsoleSettings
from chaperone.settings.loading import SettingsError, load_file
from chaperone.store.interface import AuditStore, StoreMismatchError, StoreUnavailableError
from chaperone.store.opening import open_store
from chaperone.store.recording_store import Recordings
from chaperone.store.recordings import open_recordings
from console.app import Services, create_app
from console.cluster import Cluster
from console.login import LoginError, read_issuer
from console.rights import Rights

LONGEST_REQUEST_LINE = 4094


def main(arguments: list[str]) -> int:
    """Serve until stopped. 2 when the settings, the certificate, the issuer or the credentials cannot be used."""
    parser = argparse.ArgumentParser(
        prog="console", description="The web console: approvals, sessions, replay and search, for people."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML file with the settings"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_file(ConsoleSettings, options.config)
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        issuer = read_issuer(settings.login)
        server = Server(settings, lambda: build(settings, issuer), request_line=LONGEST_REQUEST_LINE)
    except (SettingsError, EndpointError, LoginError, OSError, ssl.SSLError) as error:
        sys.stderr.write(f"console cannot start: {error}\n")
        return 2
    server.run()
    return 0


def build(settings: ConsoleSettings, issuer: Issuer) -> Flask:
    """The application. Raises EndpointError when there are no usable credentials."""
    ours = settings.kubernetes
    api = connect(
        str(ours.kubeconfig or ""), ours.context, strict_ca=not ours.relax_x509_strict, timeout=ours.timeout
    )
    services = Services(
        settings, Cluster(api), Rights(api), _records(settings.records.store), _recordings(settings)
    )
    return create_app(services, issuer, settings.cookie_key.read_bytes())


def _recordings(settings: ConsoleSettings) -> Recordings | None:
    """Wherever the gateways keep them. Raises EndpointError."""
    place = settings.records.recordings
    try:
        return open_recordings(place) if place else None
    except StoreMismatchError as error:
        raise EndpointError(f"records.recordings: {error}") from error


def _records(address: str) -> Callable[[], AuditStore | None]:
    """Opened when it is first asked for, and again until that has worked: the gateway may come later than the console."""
    lock = threading.Lock()
    opened: list[AuditStore] = []

    def records() -> AuditStore | None:
        if not address:
            return None
        with lock:
            if not opened:
                try:
                    opened.append(open_store(address))
                except StoreMismatchError as error:
                    raise StoreUnavailableError(str(error)) from error
            return opened[0]

    return records


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
