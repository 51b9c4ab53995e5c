"""Telling people: every event of an approval goes to each target that wants it, at least once, and normally not twice.

What was told is written on the object after it was sent, so a restart goes on where it stopped. A target that fails is
left in peace for a growing while, and neither the other targets nor the rest of the controller wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol

from chaperone.core.notice import Event, Notice, mark_told, notice, told, untold
from chaperone.kube.errors import KubeError, RefusedError
from chaperone.kube.official import APPROVAL_REQUESTS, Obj
from chaperone.settings.controller import NotificationSettings
from controller.notification_targets import Target, TargetFile, TargetsError

__all__ = ["Notifier", "TargetsError"]

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Targets that are told at the same time."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
"""Seconds for which a target that failed is left in peace; doubled each time."""
IDLE = 60.0
"""Seconds after which the file of targets is looked at although nothing has happened."""


class Cluster(Protocol):
    """What is used of `chaperone.kube.official.Api`."""

    def merge(self, path: str, patch: Mapping[str, Any]) -> Obj: ...


class Patience:
    """How long each target is left in peace."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def rests(self, name: str, now: float) -> bool:
        return now < self._until.get(name, 0.0)

    def took(self, name: str) -> None:
        self._failures.pop(name, None)
        self._until.pop(name, None)

    def failed(self, name: str, now: float) -> float:
        """Seconds until it is tried again."""
        count = self._failures[name] = self._failures.get(name, 0) + 1
        pause = float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(count - 1, 10)))
        self._until[name] = now + pause
        return pause

    def next_try(self, now: float) -> float:
        """Seconds until the first of those that rest is tried again; infinite when none does."""
        return min((until - now for until in self._until.values() if until > now), default=float("inf"))


class Notifier:
    """Lives in the event loop; only sending and writing happen in threads. clock: Unix seconds."""

    def __init__(self, cluster: Cluster, settings: NotificationSettings, clock: Callable[[], float]) -> None:
        """Raises TargetsError when the file of targets cannot be used."""
        self._cluster = cluster
        self._settings = settings
        self._clock = clock
        self._file = TargetFile(settings.targets)
        self._latest: dict[str, Obj] = {}
        self._delivered: dict[str, set[tuple[Event, str]]] = {}
        self._marked: dict[str, set[str]] = {}
        self._patience = Patience()
        self._stuck = False
        self._poked = asyncio.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="notices")

    def note(self, kind: str | None, obj: Obj) -> None:
        """An event on an approval; the newest word on it counts. kind as kopf gives it: None at the first listing."""
        if self._settings.targets is None:
            return
        name, uid = str(obj["metadata"]["name"]), str(obj["metadata"].get("uid") or "")
        if kind == "DELETED":
            self._latest.pop(name, None)
            self._delivered.pop(uid, None)
            self._marked.pop(uid, None)
            return
        self._latest[name] = obj
        self._poked.set()

    async def run(self) -> None:
        """Turn after turn until cancelled. Nothing that a turn meets ends it."""
        try:
            while True:
                try:
                    await self.turn()
                except Exception:
                    self._stuck = True
                    log.exception("telling people failed, trying again")
                await self._sleep()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def turn(self) -> None:
        """Tell whatever is to be told now."""
        self._stuck = False
        self._poked.clear()
        targets = await self._in_thread(self._file.targets) if self._latest else ()
        for name, obj in tuple(self._latest.items()):
            if await self._tell_all(obj, targets) and self._latest.get(name) is obj:
                del self._latest[name]

    async def _tell_all(self, obj: Obj, targets: tuple[Target, ...]) -> bool:
        """True when nothing is left to be told of this object as it is. Each target is told its events in order: one that
        fails rests, and misses none."""
        complete = True
        try:
            events = untold(obj, self._clock(), self._settings.max_age)
            marked = self._marked.get(str(obj["metadata"].get("uid") or ""), set())
            for event in events:
                if event.value in marked:
                    continue
                wanted = tuple(target for target in targets if target.interest.covers(obj, event))
                if wanted and not await self._tell(obj, event, wanted):
                    complete = False
        except ValueError as error:
            log.warning("approval %s cannot be read, nobody is told: %s", obj["metadata"]["name"], error)
        return complete

    async def _tell(self, obj: Obj, event: Event, wanted: tuple[Target, ...]) -> bool:
        """True when all of them have it, and that is on record."""
        delivered = self._delivered.setdefault(str(obj["metadata"].get("uid") or ""), set())
        now = self._clock()
        missing = [target for target in wanted if (event, target.name) not in delivered]
        ready = [target for target in missing if not self._patience.rests(target.name, now)]
        words = notice(obj, event, self._settings.console_url)
        sent = await asyncio.gather(*(self._send(target, words) for target in ready))
        delivered.update((event, target.name) for target, done in zip(ready, sent, strict=True) if done)
        if len(ready) < len(missing) or not all(sent):
            return False
        return await self._mark(obj, event)

    async def _send(self, target: Target, words: Notice) -> bool:
        if await self._in_thread(target.send, words):
            self._patience.took(target.name)
            return True
        pause = self._patience.failed(target.name, self._clock())
        log.warning("%s could not be told, trying again in %gs", target.name, pause)
        return False

    async def _mark(self, obj: Obj, event: Event) -> bool:
        """Write down that it was told. Not written is told again only after a restart."""
        name, uid = str(obj["metadata"]["name"]), str(obj["metadata"].get("uid") or "")
        marked = self._marked.setdefault(uid, set())
        patch = mark_told(told(obj) | marked, event)
        patch["metadata"]["uid"] = uid
        try:
            await self._in_thread(self._cluster.merge, APPROVAL_REQUESTS.path(name), patch)
        except KubeError as error:
            if isinstance(error, RefusedError) and (error.not_found or error.conflict):
                return True  # it is gone, or another of the same name
            self._stuck = True
            log.warning("what people were told of approval %s cannot be written down: %s", name, error)
            return False
        marked.add(event.value)
        return True

    async def _in_thread(self, act: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, act, *arguments)

    async def _sleep(self) -> None:
        """Until something happens, or somebody who rested may be tried again."""
        pause = IDLE
        if self._latest:
            pause = min(IDLE, self._patience.next_try(self._clock()), FIRST_PAUSE if self._stuck else IDLE)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.05, pause)):
                await self._poked.wait()
