"""What kopf calls: thin. Events only wake the operator; the periodic task does the work, so a lost event
costs a minute.

Start it as `python -m controller --config FILE`, or as `python -m kopf run --standalone --all-namespaces -m
controller.handlers` with the settings file named in CHAPERONE_CONTROLLER_CONFIG. No timers, daemons or
change handlers on objects: they put finalizers and annotations on them, and objects would hang while this
program is down.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kopf

from chaperone.kube.errors import EndpointError
from chaperone.kube.official import connect, load_configuration
from chaperone.settings.controller import ControllerSettings
from chaperone.settings.loading import SettingsError, load_file
from controller.lifetimes import Agenda
from controller.notifications import Notifier, TargetsError
from controller.operator import Operator
from controller.reconciliation import Reconciler

log = logging.getLogger(__name__)

CONFIG_VARIABLE = "CHAPERONE_CONTROLLER_CONFIG"
SETTINGS_KEY = "chaperone"
GROUP, VERSION = "chaperone.dev", "v1alpha1"
LOGIN_LIFETIME = timedelta(minutes=10)
"""Credentials are read again after this: a pod's token is renewed in its file once an hour."""


class EndlessBackoffs:
    """Seconds between kopf's attempts to reach the API server: it must never give up, for then its watches
    end."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 5.0), itertools.repeat(10.0))


def settings_of(memo: Any) -> ControllerSettings:
    """The settings that `python -m controller` has put there; under plain `kopf run`, from the file in the
    variable."""
    if SETTINGS_KEY not in memo:
        memo[SETTINGS_KEY] = load_file(ControllerSettings, Path(os.environ[CONFIG_VARIABLE]))
    settings: ControllerSettings = memo[SETTINGS_KEY]
    return settings


@kopf.on.startup()
async def configure(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: Any) -> None:
    """Tell kopf what not to do, and start the periodic task."""
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = EndlessBackoffs()
    try:
        ours = settings_of(memo)
        cluster = _connect(ours)
        notifier = Notifier(cluster, ours.notifications, time.time)
    except (SettingsError, EndpointError, KeyError, TargetsError) as error:
        raise kopf.PermanentError(f"the controller cannot start: {error}") from error
    reconciler = Reconciler(cluster, ours, time.time)
    agenda = Agenda(ours.retention.approvals)
    memo["operator"] = Operator(reconciler, ours.resync, agenda, time.time)
    loop = asyncio.get_running_loop()
    memo["task"] = loop.create_task(memo["operator"].run(), name="reconciliation")
    memo["notifier"] = notifier
    memo["notices"] = loop.create_task(notifier.run(), name="notices")


@kopf.on.cleanup()
async def end(memo: kopf.Memo, **_: Any) -> None:
    """Stop the tasks; a pass that is running in its thread ends by itself, every act can be repeated."""
    for name in ("task", "notices"):
        task: asyncio.Task[None] | None = memo.get(name)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@kopf.on.login()
def login(memo: kopf.Memo, **_: Any) -> kopf.ConnectionInfo:
    """The same credentials as our own calls: kopf's guessing from the environment is not used."""
    ours = settings_of(memo).kubernetes
    found = load_configuration(str(ours.kubeconfig or ""), ours.context)
    return connection_info(found, datetime.now(UTC) + LOGIN_LIFETIME)  # noqa: TID251 - this is the shell


@kopf.on.event(GROUP, VERSION, "agentpolicies")
async def policy_event(memo: kopf.Memo, **_: Any) -> None:
    _operator(memo).poke()


@kopf.on.event(GROUP, VERSION, "approvalrequests")
async def approval_event(event: Mapping[str, Any], memo: kopf.Memo, **_: Any) -> None:
    _operator(memo).note_approval(event["type"], event["object"])
    memo["notifier"].note(event["type"], event["object"])


@kopf.on.event(GROUP, VERSION, "agentsessions")
async def session_event(event: Mapping[str, Any], memo: kopf.Memo, **_: Any) -> None:
    _operator(memo).note_session(event["type"], event["object"])


@kopf.on.probe(id="idle")
async def liveness(memo: kopf.Memo, **_: Any) -> float:
    """Seconds since the last turn ended. Raises, which fails the probe, when the task hangs or is gone."""
    return check_alive(_operator(memo), memo["task"], settings_of(memo))


def check_alive(operator: Operator, task: asyncio.Task[None], settings: ControllerSettings) -> float:
    """Raises RuntimeError when a restart would help. An API server that is away is no reason to restart."""
    idle = operator.idle_for()
    if task.done():
        raise RuntimeError("the reconciliation task has ended")
    if idle > settings.stuck_after:
        raise RuntimeError(f"no reconciliation has ended for {idle:.0f}s")
    return idle


def connection_info(found: Any, expiration: datetime) -> kopf.ConnectionInfo:
    """The official client's Configuration as kopf wants it."""
    header = next((entry["value"] for entry in found.auth_settings().values() if entry["value"]), "")
    scheme, _, token = header.partition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        ca_data=found.ca_cert_data,
        insecure=not found.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        expiration=expiration,
    )


def _connect(settings: ControllerSettings) -> Any:
    ours = settings.kubernetes
    return connect(
        str(ours.kubeconfig or ""), ours.context, strict_ca=not ours.relax_x509_strict, timeout=ours.timeout
    )


def _operator(memo: kopf.Memo) -> Operator:
    operator: Operator = memo["operator"]
    return operator
