"""A gateway process for `test_crashes` to kill: the real data path, holds and claims, with fakes only around them.

python -m tests.gateway.doomed CONTROL_URL UPSTREAM_PORT NONCE: prints its port, serves until it is killed.
"""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop

from chaperone.core.policy import policy_set
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.connection import Connection
from chaperone.kube.endpoint import Endpoint
from gateway.claims import Claims
from gateway.held import HoldTerms
from gateway.holds import HoldLoop
from gateway.http.pool_settings import UpstreamSettings
from gateway.metrics import GatewayMetrics
from gateway.presence import Presence
from gateway.server import Server, ServerSettings
from gateway.services import Services
from tests.gateway.stage import (
    HOLD_DELETES,
    FakeAudit,
    FakeAuthenticator,
    FakeCredential,
    FakeSnapshot,
)

LEASE = "gw-0"


async def serve(control: str, upstream: int, nonce: str) -> None:
    endpoint = Endpoint(server=control, source="fake", token="control")
    async with Connection(endpoint, timeout=5) as connection, asyncio.TaskGroup() as group:
        store = ApprovalStore(connection, clock=time.monotonic, jitter=lambda: 0.5)
        presence = Presence(
            connection,
            namespace="default",
            lease=LEASE,
            nonce=nonce,
            clock=time.monotonic,
            wall=time.time,
            dead_after=60,
        )
        claims = Claims(store, presence, wall=time.time, jitter=lambda: 0.0, sleep=_briefly)
        snapshot, metrics = FakeSnapshot(policy_set([HOLD_DELETES])), GatewayMetrics()
        holds = HoldLoop(
            store,
            claims,
            snapshot,
            metrics,
            terms=HoldTerms(cluster="test"),
            wall=time.time,
            clock=time.monotonic,
        )
        services = Services(
            authenticator=FakeAuthenticator(),
            snapshot=snapshot,
            holds=holds,
            audit=FakeAudit(),
            metrics=metrics,
            credential=FakeCredential(),
        )
        for background in (store.run, presence.run, claims.run):
            group.create_task(background())
        await store.mirror.wait_ready()
        server = Server(services, ServerSettings(upstream=UpstreamSettings(host="127.0.0.1", port=upstream)))
        await server.start()
        print(server.address[1], flush=True)
        await asyncio.Event().wait()


async def _briefly(_seconds: float) -> None:
    """Sweeps follow each other quickly, so that a test need not wait for them."""
    await asyncio.sleep(0.05)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
