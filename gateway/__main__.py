"""The gateway: `python -m gateway --config FILE`.

Settings, endpoints, certificates and issuers are checked before anything starts; what is wrong is named whole, and the
exit code is 2. One worker runs in this process; several are forked, and started again when they die.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvloop

from chaperone.kube.errors import EndpointError
from chaperone.settings.gateway import GatewaySettings
from chaperone.settings.loading import SettingFault, SettingsError, load_file
from gateway import endpoints, logs
from gateway.authn import ConfigurationError
from gateway.authn.issuers_file import read_issuers
from gateway.endpoints import Endpoints
from gateway.masking.key_file import masking_key, read_key
from gateway.server import bind
from gateway.tls import ServingCertificate
from gateway.workers import Supervisor

log = logging.getLogger("gateway")

BAD_CONFIGURATION = 2
FAILED = 1
METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 after an orderly end, 1 after a failure, 2 for a configuration that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="gateway", description="The control point between AI agents and Kubernetes."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="settings, YAML")
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that share the port, instead of the setting"
    )
    parser.add_argument("--check", action="store_true", help="check the configuration and end")
    options = parser.parse_args(arguments)
    try:
        settings = _with_workers(load_file(GatewaySettings, options.config), options.workers)
        found = check(settings, str(options.config))
    except SettingsError as fault:
        sys.stderr.write(f"{fault}\n")
        return BAD_CONFIGURATION
    if options.check:
        return 0
    logs.set_up(settings.logging.level)
    return serve(settings, found)


def _with_workers(settings: GatewaySettings, workers: int | None) -> GatewaySettings:
    """Raises SettingsError for a number that the setting would not take either."""
    if workers is None:
        return settings
    changed = replace(settings, workers=workers)
    faults = [SettingFault("", f"is {workers}; 1 to 64 are possible")] if not 1 <= workers <= 64 else []
    faults += changed.faults()
    if faults:
        raise SettingsError("--workers", tuple(faults))
    return changed


def check(settings: GatewaySettings, source: str) -> Endpoints:
    """Everything that the settings point at. Raises SettingsError with every fault."""
    faults: list[SettingFault] = []
    found: Endpoints | None = None
    try:
        found = endpoints.find(settings)
        found.towards_upstream(settings)
    except (EndpointError, ValueError, ssl.SSLError) as fault:
        faults.append(SettingFault("upstream, control", str(fault)))
    try:
        read_issuers(settings.authentication.read_bytes(), str(settings.authentication))
    except ConfigurationError as fault:
        faults += [
            SettingFault("authentication", f"{one.path} {one.message}".strip()) for one in fault.faults
        ]
    except OSError as fault:
        faults.append(SettingFault("authentication", str(fault)))
    faults += _masking_faults(settings)
    faults += _listen_faults(settings)
    if faults or found is None:
        raise SettingsError(source, tuple(faults))
    return found


def _masking_faults(settings: GatewaySettings) -> Iterator[SettingFault]:
    if settings.masking.key_file is not None:
        try:
            read_key(settings.masking.key_file)
        except (OSError, ValueError) as fault:
            yield SettingFault("masking.keyFile", str(fault))


def _listen_faults(settings: GatewaySettings) -> Iterator[SettingFault]:
    listen = settings.listen
    if listen.certificate and listen.key:
        try:
            ServingCertificate(listen.certificate, listen.key)
        except (OSError, ssl.SSLError) as fault:
            yield SettingFault(
                "listen", f"certificate {listen.certificate} and its key cannot be used: {fault}"
            )
    try:
        bind(listen.address, listen.port).close()
    except OSError as fault:
        yield SettingFault(
            "listen", f"cannot listen on {listen.address}:{listen.port}: {fault.strerror or fault}"
        )


def serve(settings: GatewaySettings, found: Endpoints) -> int:
    key = masking_key(settings.masking.key_file)
    if settings.workers == 1:
        return _work(settings, found, 0, None, key)
    with _meeting_place(settings.run_folder) as folder:
        os.environ[METRICS_FOLDER] = str(folder)  # prometheus_client reads it when a worker first imports it
        return Supervisor(
            lambda number: _work(settings, found, number, folder, key), settings.workers, gone=_forget_metrics
        ).run()


def _work(
    settings: GatewaySettings, found: Endpoints, number: int, folder: Path | None, masking_key: bytes
) -> int:
    from gateway import worker

    place = worker.Place(number, settings.workers, folder, masking_key)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(worker.run(settings, found, place))
    except Exception:
        log.exception("the gateway failed", extra={"worker": number})
        return FAILED
    return 0


def _forget_metrics(process: int) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(process)  # type: ignore[no-untyped-call]


@contextmanager
def _meeting_place(folder: Path | None) -> Iterator[Path]:
    """Where workers' metrics and readiness meet. What an earlier run left there is removed: it would count twice."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="chaperone-gateway-") as made:
            yield Path(made)
        return
    own = folder / "gateway-workers"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir(parents=True)
    yield own


if __name__ == "__main__":
    sys.exit(main())
