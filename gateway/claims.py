"""Claims on approvals: taken by compare-and-swap, finished with an outcome, and given up when their gateway is gone.

An approval is executed at most once. Approved → Executing is one patch that names the resourceVersion which was read;
who loses that race executes nothing. From there only an outcome is written. Whoever dies in between leaves Executing
behind, which another gateway turns into Unknown, never into a second execution.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from chaperone.core.access import is_access
from chaperone.core.approval import Approval, Phase, claim, finished, read
from chaperone.kube.approvals import ApprovalStore
from chaperone.kube.errors import KubeError, RefusedError
from gateway.presence import Presence

log = logging.getLogger(__name__)

SWEEP_EVERY = 15.0
LOOKS = 4
"""So often the API is asked whether a claim of which the answer was lost has been written."""
BACKOFF_FIRST = 0.2
BACKOFF_MOST = 30.0


class Claims:
    """The claims of one gateway process. wall: Unix seconds; jitter: a number in [0, 1) each time."""

    def __init__(
        self,
        store: ApprovalStore,
        presence: Presence,
        *,
        wall: Callable[[], float],
        jitter: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._presence = presence
        self._wall = wall
        self._jitter = jitter
        self._sleep = sleep
        self._numbers = itertools.count(1)
        self._open: set[str] = set()

    @property
    def open(self) -> int:
        """Claims whose outcome has not been written yet."""
        return len(self._open)

    async def take(self, approval: Approval) -> Approval | None:
        """Claim exactly the approval that was read: as it stands then, or None when somebody was first.

        Raises KubeError when it cannot be told; the sweep then gives up what may have been claimed.
        """
        claim_id = f"{self._presence.instance}/{next(self._numbers)}"
        self._open.add(claim_id)
        claimed = None
        try:
            claimed = await self._swap(approval, claim_id)
        finally:
            if claimed is None:
                self._open.discard(claim_id)
        return claimed

    def abandon(self, approval: Approval) -> None:
        """Nothing was forwarded under this claim and nothing will be: the next sweep ends it as Failed."""
        self._open.discard(approval.claimed_by)

    async def finish(self, approval: Approval, code: int, audit_id: str) -> None:
        """Write the outcome of a claim of ours, until it is written. code: HTTP status, 0 when nobody knows."""
        phase = outcome_phase(code)
        patch = finished(phase, audit_id=audit_id, code=code, now=self._wall())
        for attempt in itertools.count():
            try:
                if await self._store.patch_status(approval.name, patch) is not None:
                    break
            except KubeError as fault:
                final = isinstance(fault, RefusedError) and not fault.temporary and fault.code != 401
                if final or attempt == 0:
                    log.warning(
                        "outcome of an approval cannot be written",
                        extra={
                            "approval": approval.name,
                            "phase": phase.value,
                            "cause": str(fault),
                            "final": final,
                        },
                    )
                if final:
                    break
            await self._pause(attempt)
        self._open.discard(approval.claimed_by)

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except (KubeError, ValueError) as fault:
                log.warning("claims cannot be swept", extra={"cause": str(fault)})
            await self._sleep(SWEEP_EVERY * (0.5 + self._jitter()))

    async def sweep(self) -> None:
        """Give up every claim that nobody works on; a grant has none. Raises KubeError, ValueError."""
        if not self._store.mirror.ready:
            return
        for obj in tuple(self._store.mirror.objects.values()):
            status = obj.get("status") or {}
            if status.get("phase") == Phase.EXECUTING.value and not is_access(obj):
                await self._look_at(str(obj["metadata"]["name"]), str(status.get("claimedBy") or ""))

    async def _look_at(self, name: str, claim_id: str) -> None:
        if claim_id in self._open:
            return
        instance = claim_id.rpartition("/")[0]
        if instance == self._presence.instance:
            # Ours, and not open: its claimant was refused or cancelled before anything was forwarded.
            await self._give_up(name, claim_id, Phase.FAILED)
        elif not self._presence.missing and await self._presence.is_dead(instance):
            # Who cannot keep a Lease of its own must not take the lack of one for a death.
            await self._give_up(name, claim_id, Phase.UNKNOWN)

    async def _give_up(self, name: str, claim_id: str, phase: Phase) -> None:
        """Rests on the API's own answer, and on its resourceVersion: an outcome that came meanwhile stays."""
        obj = await self._store.get(name)
        approval = read(obj) if obj is not None else None
        if approval is None or approval.phase is not Phase.EXECUTING or approval.claimed_by != claim_id:
            return
        if claim_id in self._open:
            return
        patch = finished(phase, audit_id="", code=0, now=self._wall())
        patch["metadata"] = {"resourceVersion": approval.resource_version}
        if await self._store.patch_status(name, patch) is not None:
            log.warning(
                "claim given up", extra={"approval": name, "claimed_by": claim_id, "phase": phase.value}
            )

    async def _swap(self, approval: Approval, claim_id: str) -> Approval | None:
        try:
            obj = await self._store.patch_status(approval.name, claim(approval, claim_id))
        except KubeError as fault:
            if isinstance(fault, RefusedError) and fault.code < 500:
                raise
            return await self._find_out(approval.name, claim_id, fault)
        if obj is None:
            return None
        claimed = read(obj)
        # A guard may have changed what we wrote: only what stands counts.
        return claimed if _is_claimed(claimed, claim_id) else None

    async def _find_out(self, name: str, claim_id: str, fault: KubeError) -> Approval | None:
        """The answer was lost; the claim may not be. Whose it is stands in the object."""
        for attempt in range(LOOKS):
            await self._pause(attempt)
            try:
                obj = await self._store.get(name)
            except KubeError:
                continue
            found = read(obj) if obj is not None else None
            return found if found is not None and _is_claimed(found, claim_id) else None
        raise fault

    async def _pause(self, attempt: int) -> None:
        await self._sleep(
            min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(attempt, 12)) * (0.5 + 0.5 * self._jitter())
        )


def outcome_phase(code: int) -> Phase:
    """What an answer of the API server says of an execution. A refusal changed nothing; a server error, or a client
    that went while we waited, leaves it open."""
    if 100 <= code < 400:
        return Phase.EXECUTED
    return Phase.FAILED if 400 <= code < 499 else Phase.UNKNOWN


def _is_claimed(approval: Approval, claim_id: str) -> bool:
    return approval.phase is Phase.EXECUTING and approval.claimed_by == claim_id
