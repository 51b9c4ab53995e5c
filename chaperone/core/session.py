"""AgentSessions as objects: named, built and read; what several gateways counted of one run, put together.

Each gateway process writes its own entry of `status.instances` and nobody else's, with growing numbers, so that merge
patches of many writers never undo each other. Totals are for columns; what counts is the sum of the entries. An entry
that nobody has written for long is never written again (its gateway takes a new name for the next one) and may be
folded into the entry PAST.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from chaperone.core.identity import Caller
from chaperone.core.legible import visible
from chaperone.core.timestamp import rfc3339, unix_seconds

API_VERSION = "chaperone.dev/v1alpha1"
KIND = "AgentSession"
PAST = "past"
"""The entry that holds what was folded. No gateway has this name."""
RENAMED_AFTER = 300.0
"""Seconds after which a gateway no longer writes to the entry that it wrote last, but begins a new one."""
STALE_AFTER = 900.0
"""Seconds after which an entry counts as nobody's: three times as long, for clocks that do not agree."""
LONGEST_PREFIX = 40
MAX_REASON = 1024

Object = Mapping[str, Any]
RunKey = tuple[str, str, str]
"""(issuer, subject, run); run "": the caller itself, whose token names none."""


class Phase(Enum):
    ACTIVE = "Active"
    IDLE = "Idle"
    ENDED = "Ended"
    TERMINATED = "Terminated"


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests, and how many of them were denied, held, answered with something masked, or forwarded as a change."""

    requests: int = 0
    denied: int = 0
    held: int = 0
    masked: int = 0
    mutations: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(mine + theirs for mine, theirs in zip(_numbers(self), _numbers(other), strict=True)))

    def __sub__(self, other: Counts) -> Counts:
        return Counts(*(mine - theirs for mine, theirs in zip(_numbers(self), _numbers(other), strict=True)))

    def fields(self) -> dict[str, int]:
        """As the status writes them."""
        return dict(zip(COUNTED, _numbers(self), strict=True))


COUNTED = ("requests", "denied", "held", "masked", "mutations")
NONE = Counts()


def _numbers(counts: Counts) -> tuple[int, int, int, int, int]:
    return counts.requests, counts.denied, counts.held, counts.masked, counts.mutations


@dataclass(frozen=True, slots=True)
class Entry:
    """What one gateway process has counted. written_at: Unix seconds, by its own clock."""

    counts: Counts = NONE
    open_streams: int = 0
    written_at: float = 0.0

    def fields(self) -> dict[str, Any]:
        return {
            **self.counts.fields(),
            "openStreams": self.open_streams,
            "writtenAt": rfc3339(self.written_at),
        }


@dataclass(frozen=True, slots=True)
class Termination:
    """Who threw the switch, when (RFC 3339), and in which words; "" where that is not known."""

    by: str = ""
    at: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """`by ann@example.com at 2026-01-31T09:00:00Z: it deletes too much`; safe to show."""
        by = f" by {visible(self.by, 200)}" if self.by else ""
        at = f" at {visible(self.at, 40)}" if self.at else ""
        said = f": {visible(self.reason, 300)}" if self.reason else ""
        return f"{by}{at}{said}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """An AgentSession object, read. Times are Unix seconds, 0.0 when unset. shown, shown_streams: the totals as they
    are written."""

    name: str
    uid: str
    resource_version: str
    key: RunKey
    started_at: float
    phase: Phase
    last_activity: float = 0.0
    termination: Termination | None = None
    entries: Mapping[str, Entry] = field(default_factory=dict)
    shown: Counts = NONE
    shown_streams: int = 0

    def shows_its_counts(self, now: float) -> bool:
        """False after two gateways have written at the same moment."""
        return self.shown == self.counts and self.shown_streams == self.open_streams(now)

    @property
    def is_terminated(self) -> bool:
        return self.termination is not None

    @property
    def counts(self) -> Counts:
        return self.counts_without("")

    def counts_without(self, entry: str) -> Counts:
        """The sum of all entries but this one."""
        return total(other.counts for name, other in self.entries.items() if name != entry)

    def open_streams(self, now: float, without: str = "") -> int:
        """Of gateways that still write; whoever has streams open writes now and then."""
        return sum(
            entry.open_streams
            for name, entry in self.entries.items()
            if name != without and not is_stale(entry, now)
        )


def total(counts: Iterable[Counts]) -> Counts:
    return sum(counts, NONE)


def is_stale(entry: Entry, now: float) -> bool:
    return now - entry.written_at > STALE_AFTER


# Names


def session_name(key: RunKey, agent: str, number: int = 1) -> str:
    """A DNS-1123 label: agent and run as far as they can be read, then 60 bits over the whole key. number: which of the
    sessions that a caller without runs had one after the other."""
    _, subject, run = key
    digest = hashlib.sha256(json.dumps([*key, number]).encode()).digest()
    short = base64.b32encode(digest).decode().lower()[:12]
    words = [_readable(word) for word in (agent, run or subject)]
    prefix = "-".join(word for word in words if word)[:LONGEST_PREFIX].strip("-")
    return f"{prefix or 'session'}-{short}"


def _readable(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


# Objects


def build(caller: Caller, policies: Iterable[str], *, started_at: float, number: int = 1) -> dict[str, Any]:
    """The object to create: all of it from a verified token."""
    key = (caller.issuer, caller.subject, caller.run)
    told = {"run": caller.run, "agent": caller.agent, "model": caller.model}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": session_name(key, caller.agent, number)},
        "spec": {
            "username": caller.username,
            "issuer": caller.issuer,
            "subject": caller.subject,
            **{name: value for name, value in told.items() if value},
            "policies": list(policies),
            "startedAt": rfc3339(started_at),
        },
    }


def read(obj: Object) -> Session:
    """Never fails on what is inside: a session that reads badly must still be found terminated."""
    metadata, spec, status = (_mapping(obj.get(name)) for name in ("metadata", "spec", "status"))
    termination = _termination(spec)
    started = _moment(spec.get("startedAt")) or _moment(metadata.get("creationTimestamp"))
    return Session(
        name=_text(metadata.get("name")),
        uid=_text(metadata.get("uid")),
        resource_version=_text(metadata.get("resourceVersion")),
        key=(_text(spec.get("issuer")), _text(spec.get("subject")), _text(spec.get("run"))),
        started_at=started,
        phase=_phase(status.get("phase"), termination),
        last_activity=_moment(status.get("lastActivity")) or started,
        termination=termination,
        entries={name: _entry(entry) for name, entry in _mapping(status.get("instances")).items()},
        shown=_counts(status),
        shown_streams=_number(status.get("openStreams")),
    )


def _termination(spec: Object) -> Termination | None:
    if not spec.get("terminated"):
        return None
    return Termination(
        *(_text(spec.get(name)) for name in ("terminatedBy", "terminatedAt", "terminatedReason"))
    )


def _phase(written: object, termination: Termination | None) -> Phase:
    if termination is not None:
        return Phase.TERMINATED
    known = {phase.value: phase for phase in Phase if phase is not Phase.TERMINATED}
    return known.get(_text(written), Phase.ACTIVE)


def _entry(value: object) -> Entry:
    fields = _mapping(value)
    return Entry(_counts(fields), _number(fields.get("openStreams")), _moment(fields.get("writtenAt")))


def _counts(fields: Object) -> Counts:
    return Counts(*(_number(fields.get(name)) for name in COUNTED))


def _mapping(value: object) -> Object:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _moment(value: object) -> float:
    try:
        return unix_seconds(_text(value))
    except ValueError:
        return 0.0


# Writes: merge patches of the status


def written(session: Session, name: str, entry: Entry, *, last_activity: float) -> dict[str, Any]:
    """The patch by which a gateway writes its own entry, and the totals as it knows them."""
    counts = session.counts_without(name) + entry.counts
    streams = session.open_streams(entry.written_at, without=name) + entry.open_streams
    phase = Phase.TERMINATED if session.is_terminated else Phase.ACTIVE
    latest = max(last_activity, session.last_activity)
    status = {
        "phase": phase.value,
        "lastActivity": rfc3339(latest),
        **counts.fields(),
        "openStreams": streams,
        "instances": {name: entry.fields()},
    }
    return {"status": status}


def folded(session: Session, names: Iterable[str], now: float) -> dict[str, Any]:
    """The patch that adds these entries up under PAST and shows the totals, onto exactly the session that was read
    (compare-and-swap). Empty when there is nothing to fold."""
    gone = [name for name in names if name != PAST and name in session.entries]
    if not gone:
        return {}
    past = session.entries.get(PAST, Entry()).counts + total(session.entries[name].counts for name in gone)
    instances: dict[str, Any] = {**dict.fromkeys(gone), PAST: Entry(past, written_at=now).fields()}
    left = replace(
        session, entries={name: entry for name, entry in session.entries.items() if name not in gone}
    )
    shown = {**session.counts.fields(), "openStreams": left.open_streams(now)}
    return {
        "metadata": {"resourceVersion": session.resource_version},
        "status": {**shown, "instances": instances},
    }


def entry_name(place: str, process: str, number: int) -> str:
    """place: where a gateway process runs, the same after its restart; process: unlike any before or after."""
    return f"{place}.{process}.{number}"


def left_behind(session: Session, place: str, process: str) -> tuple[str, ...]:
    """Names of the entries of earlier processes at this place: where this one runs, they no longer do."""
    return tuple(
        name
        for name in session.entries
        if name.startswith(f"{place}.") and not name.startswith(f"{place}.{process}.")
    )


def stale_entries(session: Session, now: float) -> tuple[str, ...]:
    """Names of the entries that nobody will write to again."""
    return tuple(name for name, entry in session.entries.items() if name != PAST and is_stale(entry, now))
