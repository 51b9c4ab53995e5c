"""`python -m webhook --config FILE`: read the settings whole, connect, serve."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask

from chaperone.core.policy import RiskSettings
from chaperone.kube.cache import Cache
from chaperone.kube.errors import EndpointError
from chaperone.kube.official import connect
from chaperone.serving.server import Server
from chaperone.settings.loading import SettingsError, load_file
from chaperone.settings.webhook import WebhookSettings
from webhook.gathering import Gathering
from webhook.standing import OnChange, Standing

METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def main(arguments: list[str]) -> int:
    """Serve until stopped. 2 when the settings, the certificate or the credentials cannot be used."""
    parser = argparse.ArgumentParser(
        prog="webhook", description="Guards approvals, policies and agents' writes."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML file with the settings"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_file(WebhookSettings, options.config)
        logging.basicConfig(
            level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        server = Server(settings, lambda: build(settings))
    except (SettingsError, EndpointError, OSError, ssl.SSLError) as error:
        sys.stderr.write(f"webhook cannot start: {error}\n")
        return 2
    with _shared_metrics(settings.workers):
        server.run()
    return 0


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Where the metrics of several workers meet; prometheus_client looks for it when a worker first imports it."""
    if workers == 1:
        yield
        return
    folder, owner = tempfile.mkdtemp(prefix="chaperone-webhook-"), os.getpid()
    os.environ[METRICS_FOLDER] = folder
    try:
        yield
    finally:
        if os.getpid() == owner:  # a worker that ends comes by here too
            shutil.rmtree(folder, ignore_errors=True)


def build(settings: WebhookSettings) -> Flask:
    """The application with its policy cache running. Raises EndpointError when there are no usable
    credentials."""
    from webhook.app import create_app

    ours = settings.kubernetes
    api = connect(
        str(ours.kubeconfig or ""), ours.context, strict_ca=not ours.relax_x509_strict, timeout=ours.timeout
    )
    standing = Standing(RiskSettings(guard_namespace=settings.guard_namespace), settings.max_policy_age)

    def cache(path: str, on_change: OnChange) -> Cache:
        made = Cache(api, path, on_change)
        made.start()
        return made

    standing.follow(cache)
    return create_app(settings, Gathering(api, standing), clock=time.time)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
