"""What the exchanges of one worker share, and how each begins."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from chaperone.core import status
from gateway.audit_ids import AuditIds
from gateway.changes import Changes
from gateway.exchange import Exchange
from gateway.http.connection import ClientConnection
from gateway.http.framing import Fault, Head
from gateway.http.pool import Pool
from gateway.record import COMPLETE, request_record
from gateway.restoring import Restorer
from gateway.services import Services
from gateway.standing import Standings
from gateway.tasks import Tasks

log = logging.getLogger(__name__)


class DataPath:
    """Makes an exchange of every request. One for each worker; implements gateway.http.connection.Handler."""

    __slots__ = ("changes", "clock", "loop", "new_id", "pool", "restorer", "services", "standings", "tasks")

    def __init__(
        self,
        services: Services,
        pool: Pool,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.services = services
        self.pool = pool
        self.loop = loop
        self.clock = clock
        self.new_id = AuditIds().new
        self.restorer = Restorer(services.masking)
        self.changes = Changes(services.masking)
        self.tasks = Tasks(loop)
        self.standings = Standings(services.snapshot, services.runs)

    def begin(self, connection: ClientConnection, head: Head) -> Exchange:
        return Exchange(self, connection, head)

    def fault(
        self, connection: ClientConnection, fault: Fault, method: str, target: str
    ) -> Mapping[str, Any]:
        now = self.clock()
        head = Head(method=method, target=target) if method or target else None
        record = request_record(
            stage=COMPLETE,
            audit_id=self.new_id(),
            received_at=now,
            now=now,
            peer=connection.peer,
            head=head,
            code=fault.code,
            reason=fault.message,
        )
        try:
            self.services.audit.write(record)
        except Exception:
            log.exception("a refused request could not be recorded")
        self.services.metrics.observe("", "", fault.code, 0.0)
        return status.status(fault.code, fault.message)
