"""One worker process: makes every service, serves, and ends in order. The only place where the parts are joined.

Imported in the worker itself, after the supervisor has said where the metrics of several workers meet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import secrets
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaperone.core.identity import Caller
from chaperone.core.policy import Capabilities, RiskSettings
from chaperone.core.token import Refused
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.connection import Connection
from chaperone.kube.tokens import mint_token
from chaperone.settings.gateway import GatewaySettings
from chaperone.store.recordings import open_recordings
from gateway import server
from gateway.access import AccessDesk, GrantWatch
from gateway.audit import AuditLog
from gateway.audit_making import audit_log
from gateway.authn import Authenticator
from gateway.claims import Claims
from gateway.credential import FileCredential, MintedCredential
from gateway.endpoints import Endpoints
from gateway.health import Checks, HealthServer, Readiness, health_app, missing
from gateway.held import HoldTerms
from gateway.holds import HoldLoop
from gateway.limits import RunLimits
from gateway.masking.choice import Choice
from gateway.masking.engine import MaskingEngine
from gateway.masking.people import Hiding
from gateway.metrics import GatewayMetrics
from gateway.presence import Presence
from gateway.preview import preview
from gateway.recording.commands import ShownTargets
from gateway.recording.keeping import Keeper, prune_by_age
from gateway.recording.screens import ChooseScreens
from gateway.recording.taps import Taps, TapSettings
from gateway.services import Services
from gateway.sessions import Sessions, place_of
from gateway.snapshot import PolicySnapshot
from gateway.withdrawal import Withdrawals

log = logging.getLogger(__name__)

GAUGES_EVERY = 1.0
WARM_UP = 15.0
"""Seconds for which a worker waits to be ready before it listens all the same, and says 503 in person."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which worker this is, and the folder where all of them meet (None: it is the only one). masking_key: the same in
    all of them."""

    number: int = 0
    count: int = 1
    folder: Path | None = None
    masking_key: bytes = field(default=b"", repr=False)

    @property
    def shares(self) -> bool:
        return self.count > 1


class CountedAuthenticator:
    """Counts whether a token was known. Implements services.Authenticator."""

    def __init__(self, inner: Authenticator, metrics: GatewayMetrics) -> None:
        self._inner = inner
        self._metrics = metrics

    def cached(self, token: str) -> Caller | None:
        caller = self._inner.cached(token)
        self._metrics.token_cache(hit=caller is not None)
        return caller

    async def authenticate(self, token: str) -> Caller | Refused:
        return await self._inner.authenticate(token)


class Worker:
    """Everything one worker is made of. Make it inside its event loop, with an open control connection."""

    def __init__(self, settings: GatewaySettings, place: Place, control: Connection) -> None:
        self.settings = settings
        self.place = place
        self.metrics = GatewayMetrics()
        self.authenticator = Authenticator(settings.authentication, api=control)
        self.snapshot = PolicySnapshot(
            control,
            risk_settings=RiskSettings(guard_namespace=settings.guard_namespace),
            capabilities=Capabilities(recording=bool(settings.recordings.path)),
            max_age=settings.max_policy_age,
            clock=time.monotonic,
            jitter=random.random,
        )
        self.credential = make_credential(settings, control)
        self.limits = RunLimits()
        grants = GrantWatch(self.limits.every_stream)
        self.approvals = ApprovalStore(
            control, clock=time.monotonic, jitter=random.random, on_change=grants.changed
        )
        self.presence = Presence(
            control,
            namespace=settings.guard_namespace,
            lease=lease_name(f"{socket.gethostname()}-{settings.listen.port}", place.number),
            nonce=secrets.token_hex(4),
            clock=time.monotonic,
            wall=time.time,
            dead_after=settings.holds.abandoned_after,
        )
        self.sessions = Sessions(
            control,
            place=place_of(self.presence.lease),
            process=self.presence.nonce,
            max_age=settings.max_policy_age,
            close=self.limits.close_run,
            metrics=self.metrics,
            wall=time.time,
            clock=time.monotonic,
            jitter=random.random,
        )
        self.claims = Claims(self.approvals, self.presence, wall=time.time, jitter=random.random)
        self.masking = MaskingEngine(
            place.masking_key, settings.masking.cache_dir or own_folder("chaperone-masking")
        )
        self.holds = HoldLoop(
            self.approvals,
            self.claims,
            self.snapshot,
            self.metrics,
            terms=HoldTerms(
                cluster=settings.cluster,
                step=settings.holds.step,
                connect_step=settings.holds.connect_step,
                waiting=settings.holds.waiting,
            ),
            wall=time.time,
            clock=time.monotonic,
            preview=partial(preview, hide=Hiding(self.masking.for_people())),
        )
        self.audit = make_audit(settings, place, self.metrics)
        path = settings.recordings.path
        self.recordings = open_recordings(path) if path else None
        self.taps = Taps(
            self.recordings,
            wall=time.time,
            clock=time.monotonic,
            screens=ChooseScreens(self.masking),
            settings=TapSettings(limit=settings.recordings.limit, patience=settings.recordings.wait),
        )
        self.readiness = Readiness(
            self.checks(), clock=time.time, folder=place.folder, worker=place.number, workers=place.count
        )
        self.services = Services(
            authenticator=CountedAuthenticator(self.authenticator, self.metrics),
            snapshot=self.snapshot,
            holds=self.holds,
            audit=self.audit,
            metrics=self.metrics,
            credential=self.credential,
            limits=self.limits,
            runs=self.sessions,
            access=AccessDesk(self.approvals, self.snapshot, wall=time.time),
            withdrawals=Withdrawals(self.approvals, wall=time.time),
            choose_filter=Choice(self.masking),
            masking=self.masking,
            open_tap=self.taps,
            show_target=ShownTargets(ChooseScreens(self.masking)),
        )

    def checks(self) -> Checks:
        """What must be there before requests are served; each names what is missing."""
        return {
            "policies": lambda: self.snapshot.missing,
            "sessions": lambda: self.sessions.missing,
            "credential": lambda: "" if self.credential.ready else "there is no valid data-path token",
            "issuers": self._missing_issuers,
            "audit": lambda: self.audit.failure,
        }

    def refresh(self) -> None:
        """Gauges that are read, not counted."""
        self.metrics.policy_age(self.snapshot.age)
        self.metrics.audit_queue(self.audit.depth)
        self.metrics.flush()

    def background(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What runs beside the server. One that ends with an error ends the worker: half a gateway must not serve."""
        return (
            self.authenticator.run,
            self.snapshot.run,
            self.credential.run,
            self.approvals.run,
            self.sessions.run,
            self.presence.run,
            self.claims.run,
            self.readiness.run,
            self._keep_gauges,
            *self._keepers(),
        )

    async def _keep_gauges(self) -> None:
        try:
            while True:
                self.refresh()
                await asyncio.sleep(GAUGES_EVERY)
        finally:
            self.metrics.flush()

    def _keepers(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """One worker looks after the recordings of all."""
        if self.recordings is None or self.place.number:
            return ()
        age = self.settings.recordings.retention
        prune = prune_by_age(self.settings.audit, self.recordings, age) if age else None
        return (Keeper(self.recordings, self.audit, prune).run,)

    def end(self, stop: asyncio.Event) -> None:
        """Begin to drain: nobody is held through it."""
        stop.set()
        self.holds.let_go()

    def _missing_issuers(self) -> str:
        """One issuer that is down keeps its own agents away; only when all are is nobody served."""
        faults = self.authenticator.faults()
        return "; ".join(faults) if faults and len(faults) == len(list(self.authenticator.key_sets())) else ""


async def run(settings: GatewaySettings, endpoints: Endpoints, place: Place) -> None:
    """Serve until SIGTERM or SIGINT, then drain. Raises what cannot be put right while running."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    relax = settings.upstream.relax_x509_strict
    async with Connection(
        endpoints.control, timeout=settings.control.timeout, relax_x509_strict=relax
    ) as control:
        worker = Worker(settings, place, control)
        loop.add_signal_handler(signal.SIGHUP, worker.audit.reopen)
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, worker.end, stop)
        async with running(worker):
            log.info("worker started", extra={"worker": place.number, "instance": worker.presence.instance})
            await warm_up(worker, stop)
            await server.main(worker.services, endpoints.serving(settings), stop)
            await worker.sessions.flush()
            if not worker.claims.open:
                await worker.presence.withdraw()


async def warm_up(worker: Worker, stop: asyncio.Event) -> None:
    """Workers share a port: one that knows no policies yet must not take requests that another could serve."""
    end = time.monotonic() + WARM_UP
    while (found := missing(worker.checks())) and not stop.is_set():
        if time.monotonic() >= end:
            log.warning("not ready, but listening", extra={"missing": found})
            return
        await asyncio.sleep(0.02)


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """The services around the server: up before it listens, down after its last request."""
    async with AsyncExitStack() as stack:
        worker.audit.start()
        stack.push_async_callback(worker.audit.close)
        stack.callback(worker.taps.close)
        health = worker.settings.health
        if health.enabled:
            app = health_app(worker.readiness, worker.metrics, worker.refresh)
            probes = HealthServer(app, health.address, health.port, share=worker.place.shares)
            await probes.start()
            stack.push_async_callback(probes.close)
            log.info("probes", extra={"address": probes.address[0], "port": probes.address[1]})
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(start()) for start in worker.background()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def make_credential(settings: GatewaySettings, control: Connection) -> MintedCredential | FileCredential:
    account = settings.data_path
    if account.token_file is not None:
        return FileCredential(account.token_file, clock=time.monotonic)
    return MintedCredential(
        lambda: mint_token(control, account.namespace, account.name, account.token_lifetime),
        clock=time.monotonic,
        jitter=random.random,
    )


def make_audit(settings: GatewaySettings, place: Place, metrics: GatewayMetrics) -> AuditLog:
    """Raises AuditUnavailable for a store or a key that cannot be used."""
    return audit_log(
        settings.audit,
        gateway=f"{socket.gethostname()}-{settings.listen.port}",
        worker=place.number,
        shares=place.shares,
        on_failure=metrics.audit_failure,
    )


def own_folder(name: str) -> Path:
    """One of this account's own below the system's temporary folder; who uses it checks that."""
    return Path(tempfile.gettempdir()) / f"{name}-{os.geteuid()}"


def lease_name(host: str, worker: int) -> str:
    """The same after a restart of this worker; a valid object name whatever the host is called."""
    safe = re.sub(r"[^a-z0-9.-]+", "-", host.lower()).strip(".-")[:200] or "host"
    return f"chaperone-gateway-{safe}-{worker}"
