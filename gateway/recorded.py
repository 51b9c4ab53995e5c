"""What is known of one request, and what is written down of it: the audit records, the metrics, the spent approval.

A mutation is on stable storage before it is forwarded; a request has one end.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chaperone.core.approval import Approval
from chaperone.core.audit import Stage
from chaperone.core.identity import Caller
from chaperone.core.request import Request, redact_target
from chaperone.core.verdict import Action, Verdict
from gateway.changes import Change
from gateway.http.framing import Head
from gateway.known_reads import end_record
from gateway.passage import Passage
from gateway.record import COMPLETE, RECEIVED, request_record
from gateway.refusal import refusal
from gateway.standing import KnownRead, Standing

if TYPE_CHECKING:
    from gateway.data_path import DataPath

log = logging.getLogger(__name__)


class Recorded:
    """The facts of one exchange, as they become known, and its records."""

    __slots__ = (
        "_approval",
        "_head",
        "_passage",
        "_path",
        "audit_id",
        "caller",
        "done",
        "forwarded_at",
        "peer",
        "received_at",
        "request",
        "standing",
        "verdict",
    )

    def __init__(self, path: DataPath, peer: str, head: Head) -> None:
        self._path = path
        self._head = head
        self._passage: Passage | None = None
        self._approval: Approval | None = None
        self.audit_id = path.new_id()
        self.peer = peer
        self.received_at = path.clock()
        self.caller: Caller | None = None
        self.request: Request | None = None
        self.standing: Standing | None = None
        self.verdict: Verdict | None = None
        self.done = False
        self.forwarded_at = 0.0

    def record(self, stage: Stage, code: int | None = None, reason: str = "") -> dict[str, Any]:
        standing, request = self.standing, self.request
        record = request_record(
            stage=stage,
            audit_id=self.audit_id,
            received_at=self.received_at,
            now=self._path.clock(),
            peer=self.peer,
            head=self._head,
            caller=self.caller,
            request=request,
            verdict=self.verdict,
            identity=standing.governed.identity if standing is not None else None,
            forwarded_at=self.forwarded_at,
            code=code,
            reason=reason,
        )
        if standing is not None and request is not None and request.is_connect:
            record["requestURI"] = redact_target(self._path.services.show_target(request, standing))
        return record

    def begun_record(
        self, stage: Stage, code: int, known: KnownRead | None, masked: Mapping[str, int]
    ) -> Mapping[str, Any]:
        """Written before the client sees the answer. masked: how many values, by rule, as far as that is known."""
        if known is not None and stage is COMPLETE and not masked:
            return end_record(self, known, self._head, code, self._path.clock())
        record = self.record(stage, code)
        if masked and stage is COMPLETE:
            record["masked"] = dict(masked)
        return record

    async def record_durably(self, request: Request, change: Change | None = None) -> None:
        """Before it is executed. change: what is recorded of its objects. Raises RefusalError."""
        record = self.record(RECEIVED)
        if change is not None:
            record.update(change.received)
        try:
            await self._path.services.audit.durable(record)
        except Exception as error:
            raise refusal(
                503,
                "the audit log cannot take the record of this request, so it was not executed; try again",
                request,
                reason=f"audit: {type(error).__name__}",
            ) from error

    def complete(
        self,
        code: int,
        *,
        reason: str = "",
        recorded: bool = False,
        outcome: int | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        """The end, once: the last record, the metrics, the spent approval.

        code: what the client got. outcome: what upstream answered, 0 when that is unknown; None: the same as code.
        """
        if self.done:
            return
        self.done = True
        if self.verdict is not None and self.verdict.action is Action.DENY and self.standing is not None:
            self.standing.session.was_denied()
        self._passage = None  # a cycle less for the garbage collector, with every request
        services, now = self._path.services, self._path.clock()
        if not recorded:
            record = self.record(COMPLETE, code, reason)
            record.update(self._attempted())
            record.update(more or {})
            try:
                services.audit.write(record)
            except Exception as error:  # noqa: BLE001 - one line for each, whatever the store is down for
                told = {"auditID": self.audit_id, "cause": type(error).__name__}
                log.error("the end of a request could not be recorded", extra=told)  # noqa: TRY400
        verb = self.request.verb if self.request is not None else ""
        word = self.verdict.action.word if self.verdict is not None else ""
        services.metrics.observe(verb, word, code, now - self.received_at)
        if self._approval is not None:
            executed = code if outcome is None else outcome
            self._path.tasks.spawn(services.holds.finish(self._approval, executed, self.audit_id))

    def _attempted(self) -> Mapping[str, Any]:
        """The body of a write that policy denies: nobody has another record of what was tried."""
        request, standing = self.request, self.standing
        denied = self.verdict is not None and self.verdict.action is Action.DENY
        if not denied or request is None or standing is None or not request.body:
            return {}
        return self._path.changes.attempted(request, standing)
