"""The AgentSessions of the runs that this worker serves: found or made, kept up to date, and obeyed.

All sessions are mirrored, so a person's `spec.terminated` is heard within a moment, also by a gateway that started
after it. Requests only add to numbers in memory (`gateway.run_state`); what has changed is written every two seconds
for each run, off the request path.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol
from weakref import WeakValueDictionary

from chaperone.core import session as sessions
from chaperone.core.identity import Caller
from chaperone.core.session import Phase, RunKey, Session
from chaperone.kube.connection import Connection
from chaperone.kube.errors import KubeError, RefusedError
from chaperone.kube.mirror import MirrorTerms, Object
from chaperone.kube.sessions import TERMS, SessionStore
from gateway.run_state import RunState

log = logging.getLogger(__name__)

EVERY = 2.0
"""Seconds between two writes of one run."""
SOON = 0.25
"""The same where other gateways must know: changes of a run whose number is limited."""
AGAIN = 5.0
"""Seconds after a write that failed."""
TURN = 0.1
"""Seconds between two rounds of writing, while there is something to write."""
AT_ONCE = 8
"""Writes at the same time."""
HEARTBEAT = 240.0
"""Seconds after which a run with open streams is written anew, although nothing has changed."""
LOOK = 30.0
MOST_SESSIONS = 100_000
"""With more of them in the cluster no new one is made."""
MOST_TRIES = 5
FOLD_FROM = 4
"""So many stale entries are folded into one."""

LAST_WRITES = 5.0
"""Seconds for them, when the gateway ends."""
_GOES_ON = frozenset({Phase.ACTIVE, Phase.TERMINATED})


class SessionMetrics(Protocol):
    def sessions(self, active: int) -> None: ...
    def terminated(self) -> None: ...


class Sessions:
    """`run` keeps it. place, process: see `core.session.entry_name`. close: ends a run's open streams and
    says how many there were. max_age: seconds for which the mirror is believed. wall: Unix seconds; clock: monotonic."""

    def __init__(
        self,
        connection: Connection,
        *,
        place: str,
        process: str,
        max_age: float,
        close: Callable[[RunKey, str], int],
        metrics: SessionMetrics,
        wall: Callable[[], float],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        terms: MirrorTerms = TERMS,
    ) -> None:
        self.store = SessionStore(
            connection, clock=clock, jitter=jitter, on_change=self._changed, terms=terms
        )
        self._place, self._process = place, process
        self._max_age = max_age
        self._close = close
        self._metrics = metrics
        self._wall = wall
        self._clock = clock
        self._numbers = itertools.count(1)
        self._known: dict[str, Session] = {}
        self._names: dict[RunKey, set[str]] = {}
        self._active: set[str] = set()
        self._runs: WeakValueDictionary[RunKey, RunState] = WeakValueDictionary()
        self._dirty: set[RunState] = set()
        self._streaming: set[RunState] = set()
        self._wake = asyncio.Event()
        self._failure = ""

    # For the data path

    @property
    def fresh(self) -> bool:
        """False when a run might have been terminated without our knowing: then nothing may be served."""
        return self.store.mirror.age <= self._max_age

    @property
    def missing(self) -> str:
        """Why it is not fresh, for an operator; "" when it is."""
        if self.fresh:
            return ""
        why = self.store.mirror.failure or "the first list is not complete"
        return f"agentsessions are not known or older than {self._max_age:g} s: {why}"

    def of(self, caller: Caller, policies: Iterable[str]) -> RunState:
        """The same object as long as anybody refers to it."""
        key = (caller.issuer, caller.subject, caller.run)
        run = self._runs.get(key)
        if run is None:
            run = RunState(caller, tuple(policies), new_entry=self._new_entry, changed=self._mark)
            self._runs[key] = run
            self._refresh(run)
        return run

    def _new_entry(self) -> str:
        return sessions.entry_name(self._place, self._process, next(self._numbers))

    def _mark(self, run: RunState) -> None:
        self._dirty.add(run)
        self._wake.set()

    # What the cluster says

    def _changed(self, name: str, obj: Object | None) -> None:
        before = self._known.pop(name, None)
        self._active.discard(name)
        touched: set[RunKey] = set()
        if before is not None:
            touched.add(before.key)
            self._forget(before)
        if obj is not None:
            session = _stays_terminated(before, sessions.read(obj))
            touched.add(session.key)
            self._known[name] = session
            self._names.setdefault(session.key, set()).add(name)
            if session.phase is Phase.ACTIVE:
                self._active.add(name)
        self._metrics.sessions(len(self._active))
        for key in touched:
            if (run := self._runs.get(key)) is not None:
                self._refresh(run)

    def _forget(self, session: Session) -> None:
        names = self._names[session.key]
        names.discard(session.name)
        if not names:
            del self._names[session.key]

    def _refresh(self, run: RunState) -> None:
        """Bring a run to what is known of its sessions; obey."""
        found = [self._known[name] for name in self._names.get(run.key, ())]
        current = _current(found, run.key)
        if current is not None:
            run.session = current
            run.started_at = current.started_at or run.started_at
        elif run.session is not None:
            run.lose_session()
        before, run.termination = run.termination, current.termination if current is not None else None
        if run.termination is not None and before is None:
            self._end(run)
        if current is not None and current.phase in _GOES_ON and not current.shows_its_counts(self._wall()):
            run.mark()

    def _end(self, run: RunState) -> None:
        reason = f"this run was terminated {run.termination}".strip()
        waiting = tuple(run.waiting)
        streams = self._close(run.key, reason)
        for request in waiting:
            request.close(reason)
        if run.requests:
            self._metrics.terminated()
        run.urgent = True
        run.mark()
        log.warning(
            "a run was terminated",
            extra={"run": run.key[2], "subject": run.key[1], "streams": streams, "waiting": len(waiting)},
        )

    # Writing

    async def run(self) -> None:
        """Mirror and write until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.store.run())
            group.create_task(self._keep())
            group.create_task(self._take_over())

    async def _keep(self) -> None:
        await self.store.mirror.wait_ready()
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()
            except TimeoutError:
                self._beat()
            await self._write_due()
            if not self._dirty:
                self._wake.clear()
            await asyncio.sleep(TURN)

    def _beat(self) -> None:
        now = self._wall()
        for run in tuple(self._streaming):
            if now - run.tried_at > HEARTBEAT:
                run.mark()

    async def _write_due(self) -> None:
        now = self._clock()
        due = [run for run in self._dirty if now >= run.next_at - (EVERY - SOON) * run.urgent]
        places = asyncio.Semaphore(AT_ONCE)

        async def write(run: RunState) -> None:
            async with places:
                await self._write(run)

        if due:
            await asyncio.gather(*(write(run) for run in due))

    async def flush(self) -> None:
        """Write what has not been written, once: the gateway is about to end."""
        try:
            async with asyncio.timeout(LAST_WRITES):
                for run in tuple(self._dirty):
                    run.next_at = 0.0
                await self._write_due()
        except TimeoutError:
            log.warning("some counts of sessions were not written", extra={"runs": len(self._dirty)})

    async def _write(self, run: RunState) -> None:
        self._dirty.discard(run)
        run.dirty = run.urgent = False
        try:
            await self._store(run)
            run.next_at = self._clock() + EVERY
            self._failure = ""
        except KubeError as fault:
            if str(fault) != self._failure:
                log.warning("a session cannot be written", extra={"run": run.key[2], "cause": str(fault)})
            self._failure = str(fault)
            run.next_at = self._clock() + AGAIN
            run.mark()
        except asyncio.CancelledError:
            run.mark()
            raise
        (self._streaming.add if run.streams else self._streaming.discard)(run)

    async def _store(self, run: RunState) -> None:
        session = run.session or await self._create(run)
        name, entry = run.own_entry(self._wall())
        patch = sessions.written(session, name, entry, last_activity=run.last_activity)
        stored = await self.store.patch_status(session.name, patch)
        if stored is None:
            self._changed(session.name, None)
            run.mark()
            return
        if run.session is not None and run.session.uid == session.uid:
            run.stored(entry)
        latest = sessions.read(stored)
        stale = sessions.stale_entries(latest, entry.written_at)
        if len(stale) >= FOLD_FROM:
            await self._fold(latest, stale)

    async def _create(self, run: RunState) -> Session:
        """Raises KubeError."""
        try:
            return await self._find_or_make(run)
        except KubeError:
            run.unwritten_since = min(run.unwritten_since, self._wall())
            raise

    async def _find_or_make(self, run: RunState) -> Session:
        if len(self._known) >= MOST_SESSIONS:
            raise KubeError(f"there are more than {MOST_SESSIONS} AgentSessions: delete old ones")
        started_at = run.started_at or self._wall()
        for number in self._free_numbers(run):
            obj = sessions.build(run.caller, run.policies, started_at=started_at, number=number)
            name = obj["metadata"]["name"]
            stored = await self.store.create(obj) or await self.store.get(name)
            if stored is not None:
                self._changed(name, stored)
            if run.session is not None:
                log.info("session", extra={"session": name, "run": run.key[2], "agent": run.caller.agent})
                return run.session
        raise KubeError("the AgentSession of a run cannot be made: those of its name come and go")

    def _free_numbers(self, run: RunState) -> Iterable[int]:
        """A run has one session; a caller without runs has them one after the other."""
        if run.key[2]:
            return itertools.repeat(1, MOST_TRIES)
        free = (
            number
            for number in itertools.count(1)
            if sessions.session_name(run.key, run.caller.agent, number) not in self._known
        )
        return itertools.islice(free, MOST_TRIES)

    async def _take_over(self) -> None:
        """What a process that was here before, and was killed, says to be open no longer is. Nothing depends on it."""
        await self.store.mirror.wait_ready()
        for session in tuple(self._known.values()):
            left = sessions.left_behind(session, self._place, self._process)
            if any(session.entries[name].open_streams for name in left):
                try:
                    await self._fold(session, left)
                except KubeError as fault:
                    log.info("left as it is", extra={"session": session.name, "cause": str(fault)})

    async def _fold(self, session: Session, names: Sequence[str]) -> None:
        """Nothing depends on it: whoever is first does it, and the others see it done."""
        try:
            await self.store.patch_status(session.name, sessions.folded(session, names, self._wall()))
        except RefusedError as refused:
            if not refused.conflict:
                raise


def place_of(lease: str) -> str:
    """A short name for where a gateway process runs. lease: of its presence, the same after a restart."""
    return hashlib.sha256(lease.encode()).hexdigest()[:8]


def _current(found: list[Session], key: RunKey) -> Session | None:
    """The session that stands for the run now: a terminated one, otherwise the oldest that goes on."""
    living = [session for session in found if key[2] or session.phase is not Phase.ENDED]
    return min(
        living,
        key=lambda session: (not session.is_terminated, session.started_at, session.name),
        default=None,
    )


def _stays_terminated(before: Session | None, after: Session) -> Session:
    """Once heard, never unheard, whatever somebody writes into the same object."""
    if before is None or before.termination is None or before.uid != after.uid or after.is_terminated:
        return after
    return replace(after, termination=before.termination, phase=Phase.TERMINATED)
