"""One timer for all connections of a worker: it looks at their deadlines twice a second.

A timer for each request would cost more than most requests do.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

NEVER = math.inf


class Timed(Protocol):
    deadline: float
    """Loop time after which `expired` is called; NEVER for no limit."""

    def expired(self) -> None: ...


class Deadlines:
    """The open connections of a worker, and the tick that expires them."""

    __slots__ = ("_handle", "_interval", "_loop", "_members", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval: float = 0.5) -> None:
        self._loop = loop
        self._interval = interval
        self._members: set[Timed] = set()
        self._handle: asyncio.TimerHandle | None = None
        self.now: Callable[[], float] = loop.time

    def add(self, member: Timed) -> None:
        self._members.add(member)
        if self._handle is None:
            self._handle = self._loop.call_later(self._interval, self._tick)

    def discard(self, member: Timed) -> None:
        self._members.discard(member)

    def _tick(self) -> None:
        self._handle = None
        self.expire(self.now())
        if self._members:
            self._handle = self._loop.call_later(self._interval, self._tick)

    def expire(self, now: float) -> None:
        """Call `expired` on every member whose deadline has passed."""
        for member in [member for member in self._members if member.deadline <= now]:
            member.deadline = NEVER
            member.expired()

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
