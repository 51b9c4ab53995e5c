"""One run as this worker knows it: what it has asked for so far, what ends it, and what is open of it. No I/O.

Numbers here only grow. What of them belongs to the entry that is being written is the difference to `base`; what other
gateways, and earlier entries of this one, have counted comes with the mirrored session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from chaperone.core import run_limits
from chaperone.core.identity import Caller
from chaperone.core.policy import Limits, Policy
from chaperone.core.run_limits import RunRefused
from chaperone.core.session import (
    NONE,
    RENAMED_AFTER,
    Counts,
    Entry,
    RunKey,
    Session,
    Termination,
)
from chaperone.core.timestamp import rfc3339

WITHOUT_SESSION = 60.0
"""Seconds for which changes of a run are still forwarded although its session cannot be written."""
NEVER = float("inf")


class Waiting(Protocol):
    """A request that waits for people."""

    def close(self, reason: str) -> None: ...


def unheard(_run: RunState) -> None:
    """Nobody keeps sessions."""


class RunState:
    """Made once for each run while anybody refers to it. policies: names, when it began. new_entry: a name of
    `status.instances` that was never used. changed: called when there is something to write; urgent: soon."""

    __slots__ = (
        "__weakref__",
        "_changed",
        "_new_entry",
        "acknowledged",
        "base",
        "caller",
        "denied",
        "dirty",
        "entry",
        "held",
        "key",
        "last_activity",
        "masked",
        "mutations",
        "next_at",
        "policies",
        "requests",
        "session",
        "started_at",
        "streams",
        "termination",
        "tried_at",
        "unwritten_since",
        "urgent",
        "waiting",
    )

    def __init__(
        self,
        caller: Caller,
        policies: tuple[str, ...] = (),
        *,
        new_entry: Callable[[], str] = lambda: "one",
        changed: Callable[[RunState], None] = unheard,
    ) -> None:
        self.key: RunKey = (caller.issuer, caller.subject, caller.run)
        self.caller = caller
        self.policies = policies
        self.requests = self.denied = self.held = self.masked = self.mutations = self.streams = 0
        self.started_at = 0.0
        self.last_activity = 0.0
        self.termination: Termination | None = None
        self.session: Session | None = None
        self.waiting: set[Waiting] = set()
        self.dirty = False
        self.urgent = False
        self.base = self.acknowledged = NONE
        self.entry = new_entry()
        self.tried_at = 0.0
        self.next_at = 0.0  # of the keeper's clock
        self.unwritten_since = NEVER
        self._new_entry = new_entry
        self._changed = changed

    @property
    def counts(self) -> Counts:
        return Counts(self.requests, self.denied, self.held, self.masked, self.mutations)

    # What happens to it

    def asked(self, now: float) -> None:
        """A request that is served, held or denied by policy. now: Unix seconds, like all times here."""
        self.requests += 1
        self.last_activity = now
        if not self.started_at:
            self.started_at = now
        if not self.dirty:
            self.mark()

    def turned_away(self) -> None:
        """A request that this run may no longer make. It is no activity: a run that is over must not look alive."""
        self.requests += 1
        self.mark()

    def was_denied(self) -> None:
        self.denied += 1
        self.mark()

    def was_held(self) -> None:
        self.held += 1
        self.mark()

    def was_masked(self) -> None:
        """An answer in which something was masked."""
        self.masked += 1
        self.mark()

    def opened(self) -> None:
        self.streams += 1
        self.mark()

    def closed(self, now: float) -> None:
        self.streams -= 1
        self.last_activity = max(self.last_activity, now)
        self.mark()

    def mark(self) -> None:
        if not self.dirty:
            self.dirty = True
            self._changed(self)

    # What it may do

    def refusal(self, limits: Limits, policies: Iterable[Policy], now: float) -> RunRefused | None:
        """Why it may do nothing any more."""
        if self.termination is not None:
            return run_limits.terminated(self.key, self.termination)
        longest = limits.max_run_duration
        if longest is not None and now >= self.ends_at(limits):
            return run_limits.too_long(self.key, policies, longest, rfc3339(self.started_at))
        return None

    def may_go_on(self, limits: Limits, now: float) -> bool:
        """As `refusal`, without words."""
        return self.termination is None and (limits.max_run_duration is None or now < self.ends_at(limits))

    def ends_at(self, limits: Limits) -> float:
        """Unix seconds; infinite when nothing limits its time or it has not begun."""
        if limits.max_run_duration is None or not self.started_at:
            return NEVER
        return self.started_at + limits.max_run_duration

    @property
    def all_mutations(self) -> int:
        """Of every gateway, as far as they have told."""
        others = self.session.counts_without(self.entry).mutations if self.session is not None else 0
        return others + self.mutations - self.base.mutations

    def mutate(self, limits: Limits, policies: Iterable[Policy], now: float) -> RunRefused | None:
        """Count one change that is about to be forwarded, unless it may not be."""
        refused = self.mutation_refusal(limits, policies, now)
        if refused is not None:
            return refused
        self.mutations += 1
        self.urgent = self.urgent or limits.mutations_per_run is not None
        self.mark()
        return None

    def mutation_refusal(self, limits: Limits, policies: Iterable[Policy], now: float) -> RunRefused | None:
        """Why it may change nothing, or nothing more."""
        if now - self.unwritten_since > WITHOUT_SESSION:
            return run_limits.unwritten(self.key)
        most = limits.mutations_per_run
        if most is not None and (made := self.all_mutations) >= most:
            return run_limits.too_many_mutations(self.key, policies, most, made)
        return None

    # What is written of it

    def own_entry(self, now: float) -> tuple[str, Entry]:
        """Name and content to write now. An entry that was left alone for long may have been folded by others, so a new
        one is begun."""
        if self.tried_at and now - self.tried_at > RENAMED_AFTER:
            self.begin_entry()
        self.tried_at = now
        return self.entry, Entry(self.counts - self.base, self.streams, now)

    def begin_entry(self) -> None:
        """What was acknowledged stays in the old one."""
        self.base, self.entry = self.acknowledged, self._new_entry()

    def stored(self, entry: Entry) -> None:
        """This much is in the cluster."""
        self.acknowledged = self.base + entry.counts
        self.unwritten_since = NEVER

    def lose_session(self) -> None:
        """There is none any more. A run goes on as what it was, and all of it is written anew; a caller without runs
        begins from nothing."""
        self.session = None
        if self.key[2]:
            self.base = self.acknowledged = NONE
        else:
            self.base = self.acknowledged = self.counts
            self.started_at = 0.0
