"""Recordings at rest, kept by the first worker of a gateway: what an earlier gateway left open is sealed and recorded as
cut off, at the start and from time to time; what is older than the retention goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chaperone.core.audit import Stage, record
from chaperone.core.recording_seal import described_as_record
from chaperone.settings.gateway import AuditSettings
from chaperone.store.engine import store_url
from chaperone.store.interface import Pruned
from chaperone.store.recording_folder import FolderRecordings
from chaperone.store.recording_retention import prune_recordings
from chaperone.store.recording_store import Cut, Recordings
from gateway.audit_retention import Pruning, signer_of_settings

log = logging.getLogger(__name__)

EVERY = 600.0
"""Seconds between two looks for what was cut off."""
CUT_OFF = "the gateway ended before the stream did: its recording is cut off"


class Audit(Protocol):
    def write(self, record: Mapping[str, Any]) -> None: ...


class Keeper:
    """prune: removes what is too old by now, None for a gateway that keeps everything. wall: Unix seconds."""

    def __init__(
        self,
        recordings: Recordings,
        audit: Audit,
        prune: Callable[[], Pruned] | None = None,
        *,
        wall: Callable[[], float] = time.time,
        every: float = EVERY,
    ) -> None:
        self._recordings = recordings
        self._audit = audit
        self._prune = prune
        self._wall = wall
        self._every = every

    async def run(self) -> None:
        """Until it is cancelled."""
        await asyncio.to_thread(self._look_at_rights)
        pruning = Pruning(self._prune, "recordings") if self._prune is not None else None
        if pruning is not None:
            pruning.start()
        try:
            while True:
                await self._seal_what_was_cut_off()
                await asyncio.sleep(self._every)
        finally:
            if pruning is not None:
                pruning.stop()

    async def _seal_what_was_cut_off(self) -> None:
        for cut in await asyncio.to_thread(self._cut_off):
            log.warning("a recording was cut off by the end of a gateway", extra={"auditID": cut.audit_id})
            try:
                self._audit.write(cut_record(cut, self._wall()))
            except Exception:
                log.exception("the end of a stream could not be recorded", extra={"auditID": cut.audit_id})

    def _cut_off(self) -> list[Cut]:
        """Those before a fault are not forgotten with it."""
        found: list[Cut] = []
        try:
            found.extend(self._recordings.cut_off(self._wall()))
        except OSError as fault:
            log.warning("recordings that were cut off could not be sealed", extra={"cause": str(fault)})
        except Exception:
            log.exception("recordings that were cut off could not be sealed")
        return found

    def _look_at_rights(self) -> None:
        place = self._recordings
        if isinstance(place, FolderRecordings) and place.is_open_to_others():
            log.warning(
                "other accounts of this machine may enter the folder of recordings: chmod 700",
                extra={"folder": str(place.folder)},
            )


def prune_by_age(
    audit: AuditSettings, recordings: Recordings, age: float, wall: Callable[[], float] = time.time
) -> Callable[[], Pruned]:
    """age: seconds. What it returns raises OSError. The signing key is there once the audit log is."""

    def prune() -> Pruned:
        signer = signer_of_settings(audit)
        return prune_recordings(store_url(audit.store), recordings, age, signer, now=wall())

    return prune


def cut_record(cut: Cut, now: float) -> dict[str, Any]:
    """The audit record of the end of a stream whose gateway ended before it."""
    entry = record(Stage.PANIC, audit_id=cut.audit_id, received_at=now, now=now, reason=CUT_OFF)
    entry.update(described_as_record(cut.about))
    entry["recording"] = {"name": cut.name, "bytes": cut.length, "sha256": cut.sha256, "state": "cut"}
    return entry
