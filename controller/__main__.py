"""`python -m controller --config FILE`: read the settings whole, then let kopf run the handlers."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import kopf

from chaperone.settings.controller import ControllerSettings, ProbeSettings
from chaperone.settings.loading import SettingsError, load_file


def main(arguments: list[str]) -> int:
    """Run until stopped. 2 when the settings cannot be used: every fault is printed."""
    parser = argparse.ArgumentParser(
        prog="controller", description="Keeps policies, bindings and approvals in order."
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="YAML file with the settings"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_file(ControllerSettings, options.config)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    _log_to_stderr(settings.log_level)
    run(settings)
    return 0


def run(settings: ControllerSettings) -> None:
    """Importing the handlers registers them with kopf."""
    from controller import handlers

    kopf.run(
        standalone=True,
        clusterwide=True,
        liveness_endpoint=_endpoint(settings.probe),
        memo=kopf.Memo({handlers.SETTINGS_KEY: settings}),
    )


def _endpoint(probe: ProbeSettings) -> str | None:
    return f"http://{probe.address}:{probe.port}/healthz" if probe.port else None


def _log_to_stderr(level: str) -> None:
    """One line an event. kopf's lines for every object and every probe are noise, and its debug lines
    quote whole objects: of kopf and aiohttp only warnings are shown."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("kopf", "aiohttp"):
        logging.getLogger(name).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
