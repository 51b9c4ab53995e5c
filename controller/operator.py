"""The controller's one periodic task: what wakes it, what it does then, and how it outlives an API server
that is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaperone.core import approval as approvals
from chaperone.core.approval import Approval
from chaperone.kube.errors import KubeError
from controller.lifetimes import Agenda

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds between attempts while the API server is away."""

GATHER = 0.2
"""Seconds that pokes are collected: applying ten policies is one pass, not ten."""


class Work(Protocol):
    """What is used of `Reconciler`."""

    def resync(self) -> dict[str, Approval]: ...
    def look_at(self, name: str) -> None: ...


@dataclass
class Operator:
    """State of the running controller. Lives in the event loop; only `work` runs in a thread."""

    work: Work
    resync: float
    agenda: Agenda
    clock: Callable[[], float]
    _terminated: set[str] = field(default_factory=set)
    _poked: asyncio.Event = field(default_factory=asyncio.Event)
    _full: bool = True
    _last_full: float = float("-inf")
    _last_turn: float | None = None

    def poke(self) -> None:
        """Something that policies depend on has changed: make a full pass soon."""
        self._full = True
        self._poked.set()

    def note_approval(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        """An event on an approval: remember its deadline. kind: ADDED, MODIFIED, DELETED or None (first
        listing)."""
        if kind == "DELETED":
            self.agenda.forget(str(obj["metadata"]["name"]))
            return
        try:
            self.agenda.note(approvals.read(obj))
        except ValueError as error:
            log.warning("approval %s cannot be read: %s", obj["metadata"]["name"], error)
        self._poked.set()

    def note_session(self, kind: str | None, obj: Mapping[str, Any]) -> None:
        """An event on a session. One that was terminated is looked at soon, once: its approvals must go."""
        name = str(obj["metadata"]["name"])
        if kind == "DELETED" or not (obj.get("spec") or {}).get("terminated"):
            self._terminated.discard(name)
        elif name not in self._terminated:
            self._terminated.add(name)
            self.poke()

    def idle_for(self) -> float:
        """Seconds since a turn last ended, well or badly: what liveness looks at. 0 before the first."""
        return 0.0 if self._last_turn is None else self.clock() - self._last_turn

    async def run(self) -> None:
        """Turn after turn until cancelled. Nothing that a turn meets ends it."""
        while True:
            pause = RETRY
            try:
                await self.turn()
                pause = self._pause()
            except KubeError as error:
                self._full = True
                log.warning("the cluster cannot be reconciled now, trying again in %gs: %s", RETRY, error)
            except Exception:
                self._full = True
                log.exception("reconciling failed, trying again in %gs", RETRY)
            self._last_turn = self.clock()
            await self._sleep(pause)

    async def turn(self) -> None:
        """A full pass when one is due or asked for, otherwise only the approvals whose time has come."""
        now = self.clock()
        if self._full or now - self._last_full >= self.resync:
            self._full = False
            self.agenda.restart(await asyncio.to_thread(self.work.resync))
            self._last_full = now
        for name in self.agenda.take_due(self.clock()):
            await asyncio.to_thread(self.work.look_at, name)

    def _pause(self) -> float:
        wake = min(self._last_full + self.resync, self.agenda.next_deadline())
        return max(0.0, wake - self.clock())

    async def _sleep(self, pause: float) -> None:
        try:
            async with asyncio.timeout(pause):  # wait_for may swallow a cancellation on Python 3.11
                await self._poked.wait()
        except TimeoutError:
            return
        await asyncio.sleep(GATHER)
        self._poked.clear()
