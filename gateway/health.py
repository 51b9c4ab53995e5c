"""Probes and metrics over plain HTTP, on loopback unless told otherwise: /healthz, /readyz, /metrics.

`/readyz` names what is missing, in words without secrets. With several workers each writes its state into a
small file
and whoever is asked answers for all: a worker that is not ready must not hide behind one that is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from aiohttp import web

from gateway.metrics import CONTENT_TYPE, GatewayMetrics

Checks = Mapping[str, Callable[[], str]]
"""By name: "" when all is well, otherwise what is missing, in words for an operator."""

STATE_EVERY = 1.0
STATE_OLD = 10.0
"""Seconds after which a worker that has not written its state counts as not ready."""


def missing(checks: Checks) -> dict[str, str]:
    """What stands between this worker and its work, by name."""
    return {name: words for name, check in checks.items() if (words := check())}


class Readiness:
    """The readiness of all workers, through one small file each. folder None: this worker is the only one."""

    def __init__(
        self,
        checks: Checks,
        *,
        clock: Callable[[], float],
        folder: Path | None = None,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self._checks = checks
        self._clock = clock
        self._folder = folder
        self._worker = worker
        self._workers = workers

    async def run(self) -> None:
        """Write this worker's state until cancelled."""
        while self._folder is not None:
            self.publish()
            await asyncio.sleep(STATE_EVERY)

    def publish(self) -> None:
        path = self._path(self._worker)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"time": self._clock(), "missing": missing(self._checks)}))
        fresh.replace(path)

    def missing(self) -> dict[str, str]:
        """Of every worker; names carry the worker's number where there are several."""
        if self._folder is None:
            return missing(self._checks)
        found: dict[str, str] = {}
        for worker in range(self._workers):
            for name, words in self._of(worker).items():
                found[f"worker {worker}: {name}"] = words
        return found

    def _of(self, worker: int) -> dict[str, str]:
        try:
            state = json.loads(self._path(worker).read_text())
            age = self._clock() - float(state["time"])
            return dict(state["missing"]) if age <= STATE_OLD else {"heartbeat": f"silent for {age:.0f} s"}
        except (OSError, ValueError, KeyError, TypeError):
            return {"heartbeat": "has not reported yet"}

    def _path(self, worker: int) -> Path:
        assert self._folder is not None  # noqa: S101  both callers have asked
        return self._folder / f"ready-{worker}.json"


def health_app(readiness: Readiness, metrics: GatewayMetrics, refresh: Callable[[], None]) -> web.Application:
    """refresh: brings gauges that are read, not counted (ages, depths), up to date before they are shown."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        found = readiness.missing()
        if not found:
            return web.Response(text="ok\n")
        lines = "".join(f"{name}: {words}\n" for name, words in sorted(found.items()))
        return web.Response(text=f"not ready\n{lines}", status=503)

    async def show(_request: web.Request) -> web.Response:
        refresh()
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", show)])
    return app


class HealthServer:
    """Serves `health_app`; `address` is where it ended up when the port was 0."""

    def __init__(self, app: web.Application, address: str, port: int, *, share: bool = False) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self._at = (address, port)
        self._share = share

    async def start(self) -> None:
        """Raises OSError when the port cannot be had."""
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._at, reuse_port=self._share or None).start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def close(self) -> None:
        await self._runner.cleanup()
