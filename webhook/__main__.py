"""`python -m webhook --config FILE`: read the settings whole, connect, serve."""

from __future__ import annotations

import argparse
import logging
import ssl
import sys
import time
from pathlib import Path

from flask import Flask

from chaperone.core.policy import RiskSettings
from chaperone.kube.errors import EndpointError
from chaperone.kube.official import Cache, connect
from chaperone.settings.loading import SettingsError, load_file
from chaperone.settings.webhook import WebhookSettings
from webhook.app import create_app
from webhook.gathering import Gathering
from webhook.server import Server
from webhook.standing import OnChange, Standing


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
    server.run()
    return 0


def build(settings: WebhookSettings) -> Flask:
    """The application with its policy cache running. Raises EndpointError when there are no usable
    credentials."""
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
