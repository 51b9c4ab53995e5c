"""One recording on its way to its sink: appended to on the event loop, written in order by a thread, bounded between."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from chaperone.store.recording_sink import RecordingWriter

log = logging.getLogger(__name__)

ENOUGH = 4 * 1024 * 1024
"""Bytes that may wait for the sink before the stream is told to pause."""
SYNC_EVERY = 5.0
"""Seconds after which what was written is put on stable storage, while the stream goes on."""


class RecordingError(Exception):
    """The recording could not be written. The message says why."""


class Track:
    """Everything but the writing itself happens on the event loop.

    relieved: called when less than ENOUGH waits again. failed: called once with the reason, when the sink fails.
    """

    def __init__(
        self,
        writer: RecordingWriter,
        pool: Executor,
        *,
        relieved: Callable[[], None] = lambda: None,
        failed: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._writer = writer
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._writing = False
        self._synced_at = self._loop.time()
        self._digest = hashlib.sha256()
        self._idle = asyncio.Event()
        self._idle.set()
        self._over = False
        self.relieved = relieved
        self.failed = failed
        self.length = 0
        self.backlog = 0
        self.failure = ""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def is_full(self) -> bool:
        return self.backlog >= ENOUGH

    def append(self, data: bytes) -> None:
        """Never waits. After a failure nothing more is kept."""
        if not data or self.failure or self._over:
            return
        self._digest.update(data)
        self.length += len(data)
        self.backlog += len(data)
        self._waiting.append(data)
        self._idle.clear()
        self._write_on()

    def _write_on(self) -> None:
        if self._writing or not self._waiting:
            return
        batch, self._waiting = b"".join(self._waiting), deque()
        self._writing = True
        due = self._loop.time() - self._synced_at >= SYNC_EVERY
        if due:
            self._synced_at = self._loop.time()
        self._in_thread(lambda: self._write(batch, sync=due), lambda error: self._written(len(batch), error))

    def _write(self, batch: bytes, *, sync: bool) -> None:
        """In the thread."""
        self._writer.append(batch)
        if sync:
            self._writer.sync()

    def _written(self, size: int, error: BaseException | None) -> None:
        was_full = self.is_full
        self._writing = False
        self.backlog = max(0, self.backlog - size)
        if error is not None:
            self._fail(error)
        self._write_on()
        if not self._writing:
            self._idle.set()
        if was_full and not self.is_full:
            self.relieved()

    def _fail(self, error: BaseException) -> None:
        if self.failure:
            return
        self.failure = f"{type(error).__name__}: {error}"[:200]
        log.error("a recording could not be written", extra={"error": self.failure})
        self._waiting.clear()
        self.backlog = 0
        self._idle.set()
        self.failed(self.failure)

    def give_up(self, reason: str) -> None:
        """The sink does not answer; nothing more is given to it."""
        self._fail(RecordingError(reason))

    async def durable(self) -> None:
        """Raises RecordingError."""
        await self._quiet()
        await self._awaited(self._writer.sync)

    async def close(self) -> None:
        """Seal it. Raises RecordingError; what was written then stays as it is, for the next start to repair."""
        self._over = True
        await self._quiet()
        await self._awaited(self._writer.close)

    def abort(self) -> None:
        """There is nothing worth keeping."""
        self._over = True
        self._waiting.clear()
        self._in_thread(self._writer.abort, lambda _error: None)

    async def _quiet(self) -> None:
        await self._idle.wait()
        if self.failure:
            raise RecordingError(self.failure)

    async def _awaited(self, job: Callable[[], None]) -> None:
        try:
            await self._loop.run_in_executor(self._pool, job)
        except Exception as error:
            self._fail(error)
            raise RecordingError(self.failure) from error

    def _in_thread(self, job: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        future = self._loop.run_in_executor(self._pool, job)
        future.add_done_callback(lambda done: then(None if done.cancelled() else done.exception()))
