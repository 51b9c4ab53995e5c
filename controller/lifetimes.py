"""When an approval ends by the clock: a pending one at expiresAt, an approved one at useBefore; the ended
are deleted after the retention time. Pure: `now` is an argument. Nobody waits on this: the gateway looks
at the same times itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from chaperone.core.approval import GRANT, TERMINAL, Approval, Phase

NEVER = float("inf")


class Due(Enum):
    """What the clock asks for now."""

    NOTHING = "nothing"
    EXPIRE = "expire"
    DELETE = "delete"


def deadline(approval: Approval, retention: float) -> float:
    """The Unix time at which something is due. retention: seconds, 0 keeps ended approvals for ever.

    An executing one has no deadline: it is the gateway's, and a crash leaves it for people to see.
    """
    if approval.phase is Phase.PENDING:
        return approval.expires_at or NEVER
    if approval.phase is Phase.APPROVED:
        return approval.use_before or NEVER
    if approval.phase in TERMINAL and retention and approval.created_at:
        return max(approval.created_at, approval.expires_at) + retention
    return NEVER


def due(approval: Approval, now: float, retention: float) -> Due:
    if now < deadline(approval, retention):
        return Due.NOTHING
    return Due.DELETE if approval.phase in TERMINAL else Due.EXPIRE


def expiry(approval: Approval) -> dict[str, Any]:
    """The merge patch of the status subresource that expires exactly the approval that was read."""
    return {
        "metadata": {"resourceVersion": approval.resource_version},
        "status": {"phase": Phase.EXPIRED.value},
    }


def attention(approval: Approval, retention: float) -> float:
    """The Unix time at which an approval wants to be looked at: its deadline, and what its grant asks for before that."""
    return min(deadline(approval, retention), _grant_deadline(approval))


def _grant_deadline(approval: Approval) -> float:
    """At once when there is something to bind or to unbind, otherwise when the grant is over."""
    if approval.type != GRANT:
        return NEVER
    if approval.phase is Phase.EXECUTING:
        return approval.grant_expires_at
    waits = approval.phase is Phase.APPROVED or (approval.phase in TERMINAL and approval.bindings)
    return 0.0 if waits else NEVER


@dataclass
class Agenda:
    """The deadlines of all approvals heard of, so that an expiry need not wait for the next full listing."""

    retention: float
    _deadlines: dict[str, float] = field(default_factory=dict)

    def note(self, approval: Approval) -> None:
        """Called for every event: the newest word on an approval counts."""
        when = attention(approval, self.retention)
        if when == NEVER:
            self.forget(approval.name)
        else:
            self._deadlines[approval.name] = when

    def forget(self, name: str) -> None:
        self._deadlines.pop(name, None)

    def take_due(self, now: float) -> tuple[str, ...]:
        """Names whose deadline has passed. Each is handed out once; the event that follows notes it again."""
        names = tuple(name for name, when in self._deadlines.items() if when <= now)
        for name in names:
            del self._deadlines[name]
        return names

    def next_deadline(self) -> float:
        """Unix time, or infinity."""
        return min(self._deadlines.values(), default=NEVER)

    def restart(self, approvals: Mapping[str, Approval]) -> None:
        """Forget everything that is not in this full listing."""
        self._deadlines.clear()
        for approval in approvals.values():
            self.note(approval)
