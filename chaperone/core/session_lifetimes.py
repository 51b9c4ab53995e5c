"""When a session goes idle, ends, and is deleted. `now` is an argument; the controller acts on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from chaperone.core.session import Phase, Session
from chaperone.core.timestamp import unix_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """Seconds: without a request until a session is idle, until it has ended; how long an ended one, and one that was
    terminated, is kept (0: for ever). most: how many sessions are kept at all."""

    idle_after: float
    end_after: float
    keep_ended: float
    keep_terminated: float
    most: int


class Due(Enum):
    """What the clock asks for now."""

    NOTHING = "nothing"
    IDLE = "idle"
    END = "end"
    TERMINATE = "terminate"
    """A person has said so in the spec; the status does not show it yet."""
    DELETE = "delete"


def due(session: Session, shown: str, lifetimes: Lifetimes, now: float) -> Due:
    """shown: status.phase as it is written."""
    quiet = 0.0 if session.open_streams(now) else now - session.last_activity
    if session.phase is Phase.TERMINATED:
        if shown != Phase.TERMINATED.value:
            return Due.TERMINATE
        return _delete(min(quiet, now - thrown_at(session)), lifetimes.keep_terminated)
    if session.phase is Phase.ENDED:
        return _delete(quiet, lifetimes.end_after + lifetimes.keep_ended if lifetimes.keep_ended else 0.0)
    if quiet >= lifetimes.end_after:
        return Due.END
    idle = quiet >= lifetimes.idle_after and session.phase is Phase.ACTIVE
    return Due.IDLE if idle else Due.NOTHING


def thrown_at(session: Session) -> float:
    """When the switch was thrown, in Unix seconds; 0.0 where that is not known."""
    try:
        return unix_seconds(session.termination.at) if session.termination else 0.0
    except ValueError:
        return 0.0


def _delete(quiet: float, after: float) -> Due:
    return Due.DELETE if after and quiet >= after else Due.NOTHING


def surplus(sessions: Iterable[Session], most: int) -> tuple[Session, ...]:
    """Those to delete because there are too many: ended ones only, the longest quiet first."""
    every = tuple(sessions)
    ended = sorted(
        (session for session in every if session.phase is Phase.ENDED),
        key=lambda session: (session.last_activity, session.name),
    )
    return tuple(ended[: max(0, len(every) - most)])
