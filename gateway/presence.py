"""Which gateways are alive: one Lease for each, renewed while it runs, looked at before its claims are given up.

An approval that a gateway has claimed and not finished says Executing. Whether that gateway is still at work (an exec
may last for hours) or has died is told by its Lease. Age is judged by our own clock: a Lease counts as dead when we
have seen it unchanged for too long, so wrong clocks elsewhere change nothing.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from chaperone.core.timestamp import rfc3339_micro
from chaperone.kube.connection import Connection
from chaperone.kube.errors import KubeError, RefusedError

log = logging.getLogger(__name__)

RENEW_EVERY = 15.0
"""Seconds between two renewals."""
LABELS = {"app.kubernetes.io/name": "kube-chaperone", "app.kubernetes.io/component": "gateway"}
MOST_WATCHED = 1000
LEASE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?")


class Presence:
    """This gateway's Lease, and a look at others'. clock: monotonic seconds; wall: Unix seconds.

    lease: name of the Lease, the same after a restart of this worker. nonce: unlike that of any process before or
    after. Both together, "LEASE/NONCE", are this gateway's name in its claims.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        namespace: str,
        lease: str,
        nonce: str,
        clock: Callable[[], float],
        wall: Callable[[], float],
        dead_after: float,
    ) -> None:
        self.instance = f"{lease}/{nonce}"
        self.lease, self.nonce = lease, nonce
        self._lease_name = lease
        self._connection = connection
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._clock = clock
        self._wall = wall
        self._dead_after = dead_after
        self._failure = ""
        self._renewed_at = float("-inf")
        self._seen: dict[str, tuple[str, float]] = {}

    @property
    def missing(self) -> str:
        """Why others may soon take this gateway for dead, for an operator; "" when all is well."""
        if self._clock() - self._renewed_at < self._dead_after:
            return ""
        return f"the lease {self.instance} is not renewed: {self._failure or 'not yet'}"

    async def run(self) -> None:
        """Renew until cancelled. A failure is tried again at the next turn."""
        while True:
            try:
                await self.renew()
                self._failure = ""
            except KubeError as fault:
                if str(fault) != self._failure:
                    log.warning(
                        "lease cannot be renewed", extra={"lease": self.instance, "cause": str(fault)}
                    )
                self._failure = str(fault)
            await asyncio.sleep(RENEW_EVERY)

    async def renew(self) -> None:
        """Raises KubeError."""
        spec = {
            "holderIdentity": self.instance,
            "leaseDurationSeconds": max(1, int(self._dead_after)),
            "renewTime": rfc3339_micro(self._wall()),
        }
        try:
            await self._connection.merge_patch(f"{self._path}/{self._lease_name}", {"spec": spec})
        except RefusedError as refused:
            if not refused.not_found:
                raise
            await self._connection.post(self._path, self._lease(spec))
        self._renewed_at = self._clock()

    async def withdraw(self) -> None:
        """At an orderly end: everything claimed has been finished. Best effort, for dead leases are noticed too."""
        try:
            await self._connection.call("DELETE", f"{self._path}/{self._lease_name}")
        except KubeError as fault:
            log.info("lease is left behind", extra={"lease": self.instance, "cause": str(fault)})

    async def is_dead(self, instance: str) -> bool:
        """True when there is no such Lease, it is held by a later process, or we have seen it unchanged for too
        long. Raises KubeError."""
        name, _, nonce = instance.partition("/")
        if not (LEASE_NAME.fullmatch(name) and nonce):
            return True
        try:
            lease = await self._connection.get(f"{self._path}/{name}")
        except RefusedError as refused:
            if refused.not_found:
                self._seen.pop(instance, None)
                return True
            raise
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") != instance:
            return True
        renewed = str(spec.get("renewTime") or "")
        before = self._seen.get(instance)
        if before is None or before[0] != renewed:
            self._remember(instance, renewed)
            return False
        return self._clock() - before[1] > self._dead_after

    def _remember(self, instance: str, renewed: str) -> None:
        while len(self._seen) >= MOST_WATCHED:
            del self._seen[next(iter(self._seen))]
        self._seen[instance] = (renewed, self._clock())

    def _lease(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._lease_name, "labels": LABELS},
            "spec": {**spec, "acquireTime": spec["renewTime"]},
        }
