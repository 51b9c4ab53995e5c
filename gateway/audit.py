"""The audit log: sealed records, and on stable storage before a mutation is forwarded.

The event loop only puts records into a queue; one thread encodes, chains, writes and syncs them in batches (group
commit), so a record costs the loop a few microseconds and any number of mutations share one sync. Where they go is the
ledger's business: a database, a file of JSON lines, a stream. When the answer to a batch is lost, the ledger is asked
where the chain ends before anything is written again, so nothing is written twice. Reads that are already queued survive
an outage of the ledger; new records are refused while it lasts.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chaperone.core.chain import Link, Reason, Sealed
from chaperone.store.interface import RecordWriter, StoreMismatchError
from gateway.audit_chain import SignedChain
from gateway.audit_retention import Pruning

log = logging.getLogger(__name__)

Record = Mapping[str, Any]

LINGER = 0.25
"""Seconds that records of reads are gathered for, unless a mutation hurries the writer: what a batch costs is shared."""
BATCH = 512
"""Records written at a time."""
RETRY = 1.0
"""Seconds between two attempts to bring a failed ledger back."""


class AuditUnavailable(Exception):  # noqa: N818  the condition, as the data path names it
    """A record cannot be written, or not in time: what it is about must not happen."""


class _Entry:
    """A record on its way. done None: nobody waits for it."""

    __slots__ = ("done", "record")

    def __init__(self, record: Record, done: asyncio.Future[None] | None) -> None:
        self.record = record
        self.done = done


class AuditLog:
    """`start` in the event loop that will write; `close` writes what is queued. queue: records that may wait.

    wait: longest seconds for `durable`. on_failure: called (in the writer's thread) for each failed write.
    """

    def __init__(
        self,
        ledger: RecordWriter,
        chain: SignedChain,
        *,
        queue: int = 10_000,
        wait: float = 5.0,
        retry: float = RETRY,
        on_failure: Callable[[], None] = lambda: None,
        pruning: Pruning | None = None,
    ) -> None:
        self._ledger = ledger
        self._chain = chain
        self._most = queue
        self._wait = wait
        self._retry = retry
        self._on_failure = on_failure
        self._pruning = pruning
        self._queue: deque[_Entry] = deque()
        self._pending: list[_Entry] = []
        self._doubt: list[tuple[Sealed, _Entry]] = []
        self._work = threading.Event()
        self._hurry = threading.Event()
        self._reopen = False
        self._closing = False
        self._failure = ""
        self._refusing = "it is not open"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Open the ledger and start the writer. Raises AuditUnavailable when it cannot be opened."""
        self._loop = asyncio.get_running_loop()
        try:
            end = self._ledger.open()
        except (OSError, ValueError, StoreMismatchError) as fault:
            raise AuditUnavailable(f"audit log cannot be opened: {fault}") from fault
        if end is not None:
            self._chain.resume(end)
        self._refusing = ""
        self._thread.start()
        if self._pruning is not None:
            self._pruning.start()

    @property
    def failure(self) -> str:
        """Why records are refused at present; "" when all is well."""
        return self._refusing or self._failure

    @property
    def depth(self) -> int:
        """Records that wait for the writer."""
        return len(self._queue) + len(self._pending)

    def write(self, record: Record) -> None:
        """Enqueue. Raises AuditUnavailable when the queue is full or the sink is down: nothing is dropped silently.
        A caller that may wait then awaits `durable` instead."""
        if self._refusing or self._failure:
            self._check()
        if len(self._queue) + len(self._pending) >= self._most:
            raise AuditUnavailable(f"audit queue is full ({self._most} records)")
        self._queue.append(_Entry(record, None))
        if not self._work.is_set():
            self._work.set()

    async def durable(self, record: Record) -> None:
        """Returns once the record is on stable storage. Raises AuditUnavailable when that fails or takes too long.

        After a cancellation or a timeout the record may still be written: it then tells of a request that was not
        forwarded, which its own later record says.
        """
        self._check()
        if self.depth >= 2 * self._most:
            raise AuditUnavailable(f"audit queue is full ({2 * self._most} records)")
        assert self._loop is not None  # noqa: S101  set by start, without which _check has raised
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.append(_Entry(record, done))
        self._hurry.set()
        self._work.set()
        try:
            async with asyncio.timeout(self._wait):
                await done
        except TimeoutError as fault:
            raise AuditUnavailable(f"audit record was not durable within {self._wait:g} s") from fault

    def reopen(self) -> None:
        """After a rotation: carry on in a new file of the same name, with the same chain."""
        self._reopen = True
        self._work.set()

    async def close(self) -> None:
        """Write what is queued, then stop. Records that a dead sink would not take are counted in the log."""
        if self._pruning is not None:
            self._pruning.stop()
        if self._thread.is_alive():
            self._closing = True
            self._refusing = "it is being closed"
            self._hurry.set()
            self._work.set()
            await asyncio.to_thread(self._thread.join, self._wait)
        if self.depth:
            log.error("audit records lost at shutdown", extra={"count": self.depth})

    def _check(self) -> None:
        if self._refusing or self._failure:
            raise AuditUnavailable(f"audit log cannot be written: {self.failure}")

    # The writer's thread. Only it takes from the queue; what it has taken and not written is `_pending`.

    def _run(self) -> None:
        while True:
            self._work.wait(self._retry if self._failure else self._chain.due_in)
            if not self._closing and self._work.is_set():
                self._hurry.wait(LINGER)
            self._work.clear()
            self._hurry.clear()
            if self._failure or self._reopen:
                self._open_again()
            while not (self._failure or self._reopen) and self._take():
                self._write_batch()
            if not self._failure and self._chain.due_in == 0.0:
                self._write([], Reason.INTERVAL)
            if self._closing and (self._failure or not self._queue):
                break
        if not self._failure and self._chain.link.sequence:
            self._write([], Reason.CLOSE)
        self._ledger.close()

    def _open_again(self) -> None:
        """The chain goes on from our own memory: what stands in the ledger may have been changed by somebody."""
        rotated, self._reopen = self._reopen and not self._failure, False
        try:
            self._end_doubt(self._ledger.open())
        except (OSError, ValueError, StoreMismatchError) as fault:
            self._fail(fault)
            return
        if self._failure:
            log.warning("audit log can be written again")
        self._failure = ""
        if rotated and self._chain.link.sequence:
            self._write([], Reason.ROTATE)

    def _end_doubt(self, end: Link | None) -> None:
        """Of a batch whose answer was lost, what is in the ledger is not written again."""
        doubt, self._doubt = self._doubt, []
        links = [sealed.link for sealed, _ in doubt]
        if end is not None and end in links:
            there = doubt[: links.index(end) + 1]
            written = {id(entry) for _, entry in there}
            self._pending = [entry for entry in self._pending if id(entry) not in written]
            self._chain.back_to(end)
            self._chain.written(signed=False)
        elif end is not None and end != self._chain.link:
            expected = self._chain.link.sequence
            log.error(
                "the audit log does not end where it was left: somebody changed it",
                extra={"writer": end.writer, "expected": expected, "found": end.sequence},
            )

    def _take(self) -> bool:
        while self._queue and len(self._pending) < BATCH:
            self._pending.append(self._queue.popleft())
        return bool(self._pending)

    def _write_batch(self) -> None:
        before = self._chain.link
        batch, self._pending = self._pending[:BATCH], self._pending[BATCH:]
        sealed = self._seal(batch)
        if not sealed:
            return
        due = self._chain.checkpoint_due([record for record, _ in sealed])
        if not self._write(sealed, Reason.INTERVAL if due else None, before):
            return
        self._settle([entry for _, entry in sealed if entry.done is not None], "")

    def _write(
        self, sealed: list[tuple[Sealed, _Entry]], reason: Reason | None, before: Link | None = None
    ) -> bool:
        """False: it failed, and whoever waited was told. before: where the chain was without these records."""
        durable = reason is not None or any(entry.done is not None for _, entry in sealed)
        try:
            checkpoint = self._chain.checkpoint(reason) if reason is not None else None
            self._ledger.append([record for record, _ in sealed], checkpoint, durable=durable)
        except Exception as fault:  # noqa: BLE001  whatever it was, what waits for the record must not happen
            self._pending = [entry for _, entry in sealed] + self._pending
            if before is not None:
                self._chain.back_to(before)
                self._doubt = sealed
            self._fail(fault)
            return False
        self._chain.written(signed=reason is not None)
        return True

    def _seal(self, batch: Sequence[_Entry]) -> list[tuple[Sealed, _Entry]]:
        """A record that cannot be encoded does not take its neighbours with it: whoever waits for it is refused."""
        sealed: list[tuple[Sealed, _Entry]] = []
        for entry in batch:
            try:
                sealed.append((self._chain.seal(entry.record), entry))
            except (TypeError, ValueError) as fault:
                log.error("audit record cannot be encoded", extra={"cause": str(fault)[:200]})  # noqa: TRY400  no traceback: it would show the record
                self._on_failure()
                self._settle([entry], f"audit record cannot be encoded: {fault}")
        return sealed

    def _fail(self, fault: Exception) -> None:
        """Records of reads stay; those that somebody waits for are refused, so what they are about never happens."""
        if not self._failure:
            log.error("audit log cannot be written", extra={"cause": str(fault)})
        self._failure = str(fault)
        self._on_failure()
        while self._queue:
            self._pending.append(self._queue.popleft())
        refused = [entry for entry in self._pending if entry.done is not None]
        self._pending = [entry for entry in self._pending if entry.done is None]
        self._settle(refused, f"audit log cannot be written: {fault}")

    def _settle(self, entries: list[_Entry], failure: str) -> None:
        """One hop into the loop for a whole batch."""
        if entries and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(_settle_now, entries, failure)
            except RuntimeError:
                log.warning("audit batch finished after its event loop")


def _settle_now(entries: list[_Entry], failure: str) -> None:
    for entry in entries:
        if entry.done is None or entry.done.done():
            continue
        if failure:
            entry.done.set_exception(AuditUnavailable(failure))
        else:
            entry.done.set_result(None)
