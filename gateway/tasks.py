"""Tasks with an owner, and coroutines that only become tasks when they must wait.

Most requests are answered without waiting for anything. `Tasks.start` runs such a coroutine to its end at once;
one that has to wait says so with `await must_wait()` before its first real await, and goes on as a task.
"""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Coroutine, Generator
from typing import Any

log = logging.getLogger(__name__)


@types.coroutine
def must_wait() -> Generator[None, None, None]:
    """Leave the synchronous part of a coroutine run by `Tasks.start`; inside a task it only yields once."""
    yield


class Tasks:
    """The tasks of one owner. A failure that nobody awaited is logged; closing cancels whatever is left."""

    __slots__ = ("_loop", "_running")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run up to the first `must_wait()`. None: it came to its end; otherwise the task that carries on."""
        try:
            waited_for = coroutine.send(None)
        except StopIteration:
            return None
        if waited_for is not None:
            coroutine.close()
            raise RuntimeError(f"{coroutine!r} waited for {waited_for!r} without must_wait()")
        return self.spawn(coroutine)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the data path failed", exc_info=error)

    async def finish(self, seconds: float) -> None:
        """Give running tasks `seconds`, then cancel them and wait for their end."""
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
        await self.cancel()

    async def cancel(self) -> None:
        for task in tuple(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
