"""The audit log: sealed records, and on stable storage before a mutation is forwarded.

The event loop only encodes records and puts them into a queue; one thread chains, writes and syncs them in batches (group
commit), so a record costs the loop a few microseconds and any number of mutations share one sync. Where they go is the
ledger's business: a database, a file of JSON lines, a stream. When the answer to a batch is lost, the ledger is asked
where the chain ends before anything is written again, so nothing is written twice. Reads that are already queued survive
an outage of the ledger; new records are refused while it lasts. Queue and batches are bounded in records and in bytes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chaperone.core.audit import encode
from chaperone.core.chain import Link, Reason, Sealed
from chaperone.store.interface import RecordWriter, StoreMismatchError
from gateway.audit_chain import SignedChain
from gateway.audit_retention import Pruning

log = logging.getLogger(__name__)

Record = Mapping[str, Any]
Entry = tuple[bytes, Record, asyncio.Future[None] | None]
"""A record on its way: its line, the record without what makes it large, and who waits for it; None: nobody does."""

LINGER = 0.25
"""Seconds that records of reads are gathered for, unless somebody hurries the writer: what a batch costs is shared."""
BATCH = 512
"""Records written at a time."""
BATCH_BYTES = 4 << 20
"""Bytes of records after which a batch is closed: a mutation's record may hold objects of some hundred kilobytes."""
MOST_BYTES = 64 << 20
"""Bytes of records that may wait; twice as many where mutations are among them."""
LARGE = 4096
"""Bytes of a line; of a longer one only the line is kept whole."""
OBJECTS = ("requestObject", "objectBefore", "responseObject")
"""Fields that make a record large, and that nothing is searched by."""
RETRY = 1.0
"""Seconds between two attempts to bring a failed ledger back."""


class AuditUnavailable(Exception):  # noqa: N818  the condition, as the data path names it
    """A record cannot be written, or not in time: what it is about must not happen."""


class AuditLog:
    """`start` in the event loop that will write; `close` writes what is queued. queue, most_bytes: what may wait.

    wait: longest seconds for `durable`. on_failure: called (in the writer's thread) for each failed write.
    """

    def __init__(
        self,
        ledger: RecordWriter,
        chain: SignedChain,
        *,
        queue: int = 10_000,
        most_bytes: int = MOST_BYTES,
        wait: float = 5.0,
        retry: float = RETRY,
        on_failure: Callable[[], None] = lambda: None,
        pruning: Pruning | None = None,
    ) -> None:
        self._ledger = ledger
        self._chain = chain
        self._most = queue
        self._most_bytes = most_bytes
        self._wait = wait
        self._retry = retry
        self._on_failure = on_failure
        self._pruning = pruning
        self._queue: deque[Entry] = deque()
        self._backlog: deque[Entry] = deque()
        self._doubt: list[tuple[Sealed, Entry]] = []
        self._entered = self._bytes_entered = 0
        self._left = self._bytes_left = 0
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
        """Records that are not written yet."""
        return self._entered - self._left

    @property
    def bytes_waiting(self) -> int:
        return self._bytes_entered - self._bytes_left

    def write(self, record: Record) -> None:
        """Enqueue. Raises AuditUnavailable when the queue is full or the sink is down: nothing is dropped silently.
        A caller that may wait then awaits `durable` instead."""
        self._put(record, None, share=1)

    async def durable(self, record: Record) -> None:
        """Returns once the record is on stable storage. Raises AuditUnavailable when that fails or takes too long.

        After a cancellation or a timeout the record may still be written: it then tells of a request that was not
        forwarded, which its own later record says.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(record, done, share=2)
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

    def _put(self, record: Record, done: asyncio.Future[None] | None, *, share: int) -> None:
        """share: of the room that reads have; mutations have as much again."""
        if self._refusing or self._failure:
            raise AuditUnavailable(f"audit log cannot be written: {self.failure}")
        waiting = self.depth
        if waiting >= share * self._most:
            raise AuditUnavailable(f"audit queue is full ({share * self._most} records)")
        line = self._encoded(record)
        size = self.bytes_waiting + len(line)
        if size > share * self._most_bytes:
            raise AuditUnavailable(f"audit queue is full ({share * self._most_bytes} bytes)")
        self._entered += 1
        self._bytes_entered += len(line)
        self._queue.append((line, _lean(record) if len(line) > LARGE else record, done))
        if done is not None or 2 * waiting > self._most or 2 * size > self._most_bytes:
            self._hurry.set()
        if not self._work.is_set():
            self._work.set()

    def _encoded(self, record: Record) -> bytes:
        """A record that cannot be encoded does not take others with it: what it is about is refused."""
        try:
            line = encode(record)
        except (TypeError, ValueError) as fault:
            log.error("audit record cannot be encoded", extra={"cause": str(fault)[:200]})  # noqa: TRY400  no traceback: it would show the record
            self._on_failure()
            raise AuditUnavailable(f"audit record cannot be encoded: {fault}") from fault
        if line == b"{}":
            raise AuditUnavailable("an audit record with nothing in it is none")
        return line

    # The writer's thread. Only it takes from the queue; what it has taken and could not write is `_backlog`. It alone
    # counts what leaves, and the event loop alone what enters.

    def _run(self) -> None:
        """Whatever ends the writer before its time ends the taking of records: none is taken that nobody will write."""
        try:
            self._write_until_closed()
        except Exception as fault:
            log.exception("the audit log's writer ended")
            self._refusing = f"its writer ended: {type(fault).__name__}"
            self._fail(fault)

    def _write_until_closed(self) -> None:
        while True:
            self._work.wait(self._retry if self._failure else self._chain.due_in)
            if not self._closing and self._work.is_set():
                self._hurry.wait(LINGER)
            self._work.clear()
            self._hurry.clear()
            if self._failure or self._reopen:
                self._open_again()
            while not (self._failure or self._reopen) and (batch := self._take()):
                self._write(batch)
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
            written = {id(entry) for _, entry in doubt[: links.index(end) + 1]}
            self._gone([entry for entry in self._backlog if id(entry) in written])
            self._backlog = deque(entry for entry in self._backlog if id(entry) not in written)
            self._chain.back_to(end)
            self._chain.written(signed=False)
        elif end is not None and end != self._chain.link:
            expected = self._chain.link.sequence
            log.error(
                "the audit log does not end where it was left: somebody changed it",
                extra={"writer": end.writer, "expected": expected, "found": end.sequence},
            )

    def _take(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while len(batch) < BATCH and size < BATCH_BYTES and (source := self._backlog or self._queue):
            batch.append(source.popleft())
            size += len(batch[-1][0])
        return batch

    def _write(self, batch: list[Entry], reason: Reason | None = None) -> None:
        """reason: of a checkpoint behind the batch, which it also gets when one is due."""
        before = self._chain.link
        sealed: list[Sealed] = []
        try:
            sealed = [self._chain.seal_line(line, record) for line, record, _ in batch]
            if reason is None and self._chain.checkpoint_due(sealed):
                reason = Reason.INTERVAL
            checkpoint = self._chain.checkpoint(reason) if reason is not None else None
            durable = checkpoint is not None or any(done is not None for _, _, done in batch)
            self._ledger.append(sealed, checkpoint, durable=durable)
        except Exception as fault:  # noqa: BLE001  whatever it was, what waits for the record must not happen
            self._backlog.extendleft(reversed(batch))
            self._chain.back_to(before)
            self._doubt = list(zip(sealed, batch, strict=False))
            self._fail(fault)
            return
        self._chain.written(signed=reason is not None)
        self._gone(batch)
        self._settle([done for _, _, done in batch if done is not None], "")

    def _gone(self, entries: Sequence[Entry]) -> None:
        self._left += len(entries)
        self._bytes_left += sum([len(line) for line, _, _ in entries])

    def _fail(self, fault: Exception) -> None:
        """Records of reads stay; those that somebody waits for are refused, so what they are about never happens."""
        if not self._failure:
            log.error("audit log cannot be written", extra={"cause": str(fault)})
        self._failure = str(fault)
        self._on_failure()
        while self._queue:
            self._backlog.append(self._queue.popleft())
        refused = [entry for entry in self._backlog if entry[2] is not None]
        self._backlog = deque(entry for entry in self._backlog if entry[2] is None)
        self._gone(refused)
        self._settle(
            [done for _, _, done in refused if done is not None], f"audit log cannot be written: {fault}"
        )

    def _settle(self, waiting: list[asyncio.Future[None]], failure: str) -> None:
        """One hop into the loop for a whole batch."""
        if waiting and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(_settle_now, waiting, failure)
            except RuntimeError:
                log.warning("audit batch finished after its event loop")


def _lean(record: Record) -> Record:
    """Without its objects: what waits for the writer holds them once, in its line."""
    if not isinstance(record, dict):
        return record
    return {name: value for name, value in record.items() if name not in OBJECTS}


def _settle_now(waiting: list[asyncio.Future[None]], failure: str) -> None:
    for done in waiting:
        if done.done():
            continue
        if failure:
            done.set_exception(AuditUnavailable(failure))
        else:
            done.set_result(None)
